"""A server that breaks off, falls silent, says what is wrong, or is gone: a run goes on by ids or says why not."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding.engines.vllm.client import Patience
from decoding.errors import ModelError
from decoding.run import Run, check_request
from tests.engines.vllm.engine_pair import HASTY, PATIENT, PROMPT, Pair, Varied, both, engine_of, same
from tests.fake_vllm import FakeVllm

RESUMED = ("cut", "ends", "error", "abort", "garbage", "500", "503", "429", "page")
FAULTS = st.lists(st.tuples(st.sampled_from(RESUMED), st.integers(0, 4)), max_size=4)


@settings(max_examples=30)
@given(st.data())
def test_the_same_tokens_and_numbers_whatever_goes_wrong(started: Pair, data: st.DataObject) -> None:
    fake, draw = started.fake, data.draw
    fake.chunk = draw(st.integers(1, 4), "tokens in a chunk")
    ids = draw(st.lists(st.integers(0, started.local.vocabulary_size - 1), min_size=1, max_size=6), "prompt")
    steps, top_k = draw(st.integers(1, 10), "steps"), draw(st.integers(2, 20), "choices")
    places = st.dictionaries(st.integers(0, steps - 1), st.integers(0, started.local.vocabulary_size - 1), max_size=4)
    forced = draw(places, "forced")
    ours = list(started.local.steps(ids, max_new_tokens=steps, top_k=top_k, forced=forced))
    fake.faults.clear()
    fake.faults.extend(draw(FAULTS, "faults"))
    theirs = list(started.server.steps(ids, max_new_tokens=steps, top_k=top_k, forced=forced))
    same(theirs, ours)


@pytest.mark.parametrize("kind", RESUMED)
def test_a_broken_stream_goes_on_by_ids(pair: Pair, kind: str) -> None:
    pair.fake.faults.append((kind, 3))
    written = [readout.token_ids[0] for readout in both(pair)]
    first, *_, last = pair.fake.asked
    assert first["prompt"] == pair.local.vocabulary.encode(PROMPT)
    had = 0 if kind.isdigit() or kind == "page" else 3
    assert last["prompt"] == first["prompt"] + written[:had]
    assert (first["max_tokens"], last["max_tokens"]) == (8, 8 - had)


def test_one_that_falls_silent_is_left_for_one_that_lives(pair: Pair) -> None:
    silent = replace(PATIENT, quiet_seconds=0.05, silence_seconds=0.2)  # it lives, and says nothing all the same
    waiting = pair.waiting(silent)
    pair.fake.faults.append(("silent", 2))
    both(waiting)
    assert pair.fake.closed.wait(300)


def test_one_that_is_slow_and_lives_is_waited_for(pair: Pair) -> None:
    waiting = pair.waiting(replace(PATIENT, quiet_seconds=0.02, health_seconds=60.0))
    pair.fake.asked.clear()
    pair.fake.pause = 0.1
    both(waiting, steps=3)
    assert len(pair.fake.asked) == 1


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (("last", 3), "did not pick the most probable token"),
        (("logits", 3), "numbers that are not log-probabilities. Start it without --logprobs-mode"),
        (("few", 3), "gives 1 candidates where 5 were asked for"),
        (("beyond", 3), "answers with the token id 999999, and scripted has the ids 0 to 270: it serves another model"),
        (("clip", 2), "did not read the token ids that it was sent: it cuts long prompts"),
        (("short", 3), "ended the text before it was told to: it was started with a shorter context"),
        (("400", 0), "other settings: run again, or tell the server's operator. It said: Told to answer 400"),
        (("404", 0), "refuses the request (404)"),
        (("401", 0), "refuses the key. Set GREEDYSCOPE_ENGINE_KEY"),
        (("403", 0), "refuses the key"),
    ],
)
def test_a_wrong_answer_ends_the_run_and_is_not_retried(pair: Pair, fault: tuple[str, int], sentence: str) -> None:
    pair.fake.faults.append(fault)
    run = Run(pair.server, check_request(PROMPT, 8, 5))
    with pytest.raises(ModelError) as caught:
        list(run)
    assert sentence in str(caught.value)
    assert len(pair.fake.asked) == 1
    assert run.trace.stop_reason == "error"
    assert run.trace.message == str(caught.value)
    assert decoding.Trace.from_jsonl(run.trace.to_jsonl()) == run.trace


def test_token_texts_instead_of_ids_are_refused(pair: Pair) -> None:
    hasty = pair.waiting(HASTY)
    pair.fake.faults.extend([("texts", 3)] * 50)
    with pytest.raises(ModelError, match="its answer cannot be read"):
        decoding.trace(hasty.server, PROMPT, max_new_tokens=3, top_k=5)


def test_retries_end_within_five_seconds() -> None:
    usual = Patience()
    assert usual.quiet_seconds + usual.health_seconds < usual.retry_seconds < 5


@pytest.mark.parametrize(
    ("fault", "health", "why"),
    [
        (("cut", 2), 503, "the connection was cut"),
        (("silent", 2), 0, "it fell silent"),
        (("500", 0), 200, "it answered with status 500"),  # as one that drains
        (("429", 0), 200, "it answered with status 429"),
        (("abort", 2), 503, "it ended too early"),
    ],
)
def test_a_dead_server_ends_the_run_with_a_sentence_and_keeps_its_steps(
    pair: Pair, fault: tuple[str, int], health: int, why: str
) -> None:
    patience = HASTY if fault[0] == "silent" else replace(HASTY, quiet_seconds=600.0)
    engine = pair.waiting(patience).server  # one that has not just heard that the server lives
    pair.fake.faults.extend([fault] * 50)
    lines, came = Run(engine, check_request(PROMPT, 8, 5)).lines(), []
    if fault[0] == "silent":  # it lives until then: a busy machine's may be slow to speak
        came = list(islice(lines, 3))
    pair.fake.health = health
    trace = decoding.Trace.from_jsonl("".join([*came, *lines]))
    assert trace.stop_reason == "error"
    assert trace.message.startswith(f"The model's server does not answer: {why}. What it has written stays.")
    assert len(trace.steps) == (0 if health == 200 else 2)


def test_a_server_that_is_gone() -> None:
    fake = FakeVllm(Varied(end_ids=()))
    with fake.served() as url:
        engine = engine_of(url, fake, patience=HASTY)
    with pytest.raises(ModelError, match=r"does not answer: the connection was refused\. What it has written stays"):
        decoding.trace(engine, PROMPT, max_new_tokens=3, top_k=5)


def test_a_run_resumes_when_the_server_is_back(pair: Pair) -> None:
    fake = FakeVllm(Varied(end_ids=()))
    with ExitStack() as first:
        url = first.enter_context(fake.served())
        engine = engine_of(url, fake)
        fake.pause = 0.05
        steps = decoding.greedy_search(engine, PROMPT, max_new_tokens=6, top_k=3)
        written = [next(steps)]
    with ExitStack() as second:

        def again() -> None:
            second.enter_context(fake.served(int(url.rpartition(":")[2])))

        threading.Timer(0.3, again).start()
        written += list(steps)
    ours = decoding.trace(fake.engine, PROMPT, max_new_tokens=6, top_k=3)
    assert [step.picked.token_id for step in written] == list(ours.generated_token_ids)
