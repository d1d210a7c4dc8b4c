"""The server's engine, held against the engine that is behind a fake server, through every fault there is."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import decoding
from decoding import cancellation
from decoding.engines.vllm.client import Patience, ServerClient
from decoding.engines.vllm.connection import KEY
from decoding.engines.vllm.engine import ServerEngine
from decoding.engines.vllm.handshake import check_served, list_models
from decoding.errors import ModelError, RequestError
from decoding.greedy import score_rows
from decoding.models.loading import ModelWithoutWeights
from decoding.record.step import StepScores
from decoding.run import Run, check_request
from tests import tiny_models
from tests.fake_vllm import FakeVllm
from tests.fakes import END, ScriptedEngine

PROMPT = "the toy"


class Varied(ScriptedEngine):
    """Logits that hang on every id before them, and so the same however they are asked for; many are equal."""

    def _forward(self, unread: Sequence[int], before: Any) -> tuple[NDArray[np.float32], Any]:
        ids = (*(before or ()), *unread)
        return self._after(ids), ids

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        text = (*token_ids, *continuation_ids)
        rows = [self._after(text[:place]) for place in range(len(token_ids), len(text))]
        return score_rows(rows, continuation_ids, top_k=top_k)

    def _after(self, ids: Sequence[int]) -> NDArray[np.float32]:
        draw = np.random.default_rng(hash(tuple(ids)) % 2**31)
        logits = (draw.standard_normal(self.size) * 6).round().astype(np.float32) / 2
        if END in self.end_ids:
            logits[END] = 30.0 if len(ids) == 15 else -30.0
        return logits


PATIENT = Patience(retry_seconds=120.0)
"""A busy machine is slow, not dead."""
HASTY = Patience(retry_seconds=0.4)
"""It does not try again for long. How soon it takes a server for dead is as ever: a busy machine's may be slow."""


class Pair:
    """An engine, a fake server of it, and the engine of that server."""

    def __init__(self, url: str, fake: FakeVllm, patience: Patience = PATIENT) -> None:
        self.url, self.fake, self.local = url, fake, fake.engine
        self.server = engine_of(url, fake, patience=patience)

    def waiting(self, patience: Patience) -> "Pair":
        """The same two, with an engine that waits so long, and has not heard yet that the server lives."""
        return Pair(self.url, self.fake, patience)


def engine_of(url: str, fake: FakeVllm, dtype: str = "auto", patience: Patience = PATIENT) -> ServerEngine:
    """As `connect` makes it, for a model that has no files."""
    wire, local = ServerClient(url, patience), fake.engine
    words = ModelWithoutWeights(
        model=local.info.id,
        names=frozenset({fake.name}),
        vocabulary=local.vocabulary,
        vocabulary_size=local.vocabulary_size,
        end_ids=frozenset(local.end_ids),
        beginning_id=local.beginning_id,
        context_length=local.context_length,
    )
    return ServerEngine(wire, words, check_served(wire, list_models(wire), words), dtype=dtype)


@pytest.fixture(scope="module")
def started() -> Iterator[Pair]:
    fake = FakeVllm(Varied(end_ids=()))
    with fake.served() as url:
        yield Pair(url, fake)


@pytest.fixture
def pair(started: Pair) -> Pair:
    fake = started.fake
    fake.faults.clear()
    fake.asked.clear()
    fake.closed.clear()
    fake.health, fake.pause, fake.chunk, fake.key, fake.context, fake.most = 200, 0.0, 1, "", 4096, 20
    return started


def same(theirs: Sequence[StepScores], ours: Sequence[StepScores]) -> None:
    assert [r.token_ids for r in theirs] == [r.token_ids for r in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert their.logprobs == pytest.approx(our.logprobs, abs=1e-9)
        assert bool(their.picked) == bool(our.picked)
        if their.picked and our.picked:
            assert (their.picked.token_id, their.picked.rank) == (our.picked.token_id, our.picked.rank)
            assert their.picked.logprob == pytest.approx(our.picked.logprob, abs=1e-9)


def both(pair: Pair, steps: int = 8, top_k: int = 5, forced: Mapping[int, int] | None = None) -> list[StepScores]:
    """What the server's engine says, once it is what the engine behind it says."""
    ids, options = pair.local.vocabulary.encode(PROMPT), {"max_new_tokens": steps, "top_k": top_k}
    ours = list(pair.local.steps(ids, forced=forced or {}, **options))
    theirs = list(pair.server.steps(ids, forced=forced or {}, **options))
    same(theirs, ours)
    return theirs


# ---- the same as the engine behind it

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


def test_there_are_ties_to_break(started: Pair) -> None:
    readouts = list(started.local.steps([5, 6], max_new_tokens=20, top_k=10))
    assert any(len(set(readout.logprobs)) < 10 for readout in readouts)
    assert any(readout.logprobs[0] == readout.logprobs[1] for readout in readouts)
    assert len({readout.token_ids[0] for readout in readouts}) > 10


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


def test_a_pick_among_the_candidates_costs_one_stream_more(pair: Pair) -> None:
    second = both(pair)[2].token_ids[1]
    pair.fake.asked.clear()
    both(pair, forced={2: second})
    assert [(body["max_tokens"], bool(body.get("stream"))) for body in pair.fake.asked] == [(3, True), (5, True)]


def test_a_pick_beyond_the_candidates_is_read(pair: Pair) -> None:
    last = both(pair, top_k=20)[2].token_ids[-1]
    pair.fake.asked.clear()
    assert both(pair, top_k=2, forced={2: last})[2].picked
    assert [body.get("prompt_logprobs") for body in pair.fake.asked] == [None, 2, None]


def test_a_text_of_ones_own_is_read_at_once(pair: Pair) -> None:
    both(pair, forced={1: 40, 2: 41, 3: 42, 4: 43})
    assert [body["max_tokens"] for body in pair.fake.asked] == [1, 1, 3]


def test_a_given_text(pair: Pair) -> None:
    for text in (" most", " popular toy, and more"):
        ours, theirs = (decoding.score(engine, PROMPT, text, top_k=3) for engine in (pair.local, pair.server))
        assert [s.forced for s in theirs.steps] == [s.forced for s in ours.steps]
        assert [s.picked.token_id for s in theirs.steps] == [s.picked.token_id for s in ours.steps]
        assert theirs.logprob == pytest.approx(ours.logprob, abs=1e-9)
        assert decoding.Trace.from_jsonl(theirs.to_jsonl()) == theirs
        assert theirs.model.engine == "a given text, vLLM 0.0.fake"


def test_entropy_and_logits_are_unknown_and_not_invented(pair: Pair) -> None:
    trace = decoding.trace(pair.server, PROMPT, max_new_tokens=3, top_k=4)
    assert [step.entropy == step.entropy for step in trace.steps] == [False] * 3
    assert {step.log_sums for step in trace.steps} == {()}
    ours = decoding.trace(pair.local, PROMPT, max_new_tokens=3, top_k=4)
    assert [s.rest for s in trace.steps] == pytest.approx([s.rest for s in ours.steps], abs=1e-9)
    assert [s.margin for s in trace.steps] == pytest.approx([s.margin for s in ours.steps], abs=1e-9)
    assert decoding.Trace.from_jsonl(trace.to_jsonl()) == trace
    assert '"entropy":null' in trace.to_jsonl()


def test_a_run_by_either_is_the_same_to_the_other(pair: Pair) -> None:
    from decoding.questions.verify import recompute

    pair.fake.most = 20
    for made, again in ((pair.server, pair.local), (pair.local, pair.server)):
        trace = decoding.trace(made, PROMPT, max_new_tokens=5, top_k=20)  # no room for more than were shown
        assert recompute(again, trace) < 1e-9


def test_probabilities_just_above_one_are_normalized(pair: Pair) -> None:
    sure = ScriptedEngine([np.array([0.0, 30.0, 1.0, *[0.0] * 268], np.float32)], end_ids=())
    fake = FakeVllm(sure)
    with fake.served() as url:
        engine = engine_of(url, fake)
        fake.faults.append(("rounded", 9))
        trace = decoding.trace(engine, PROMPT, max_new_tokens=2, top_k=5)
    assert decoding.Trace.from_jsonl(trace.to_jsonl()) == trace
    assert trace.steps[0].candidates[0].probability == pytest.approx(1, abs=1e-5)


def test_a_candidate_that_is_impossible(pair: Pair) -> None:
    never = ScriptedEngine([{" most": 0.75, " only": 0.25}], end_ids=())
    fake = FakeVllm(never)
    with fake.served() as url:
        trace = decoding.trace(engine_of(url, fake), PROMPT, max_new_tokens=1, top_k=3)
    assert [c.probability for c in trace.steps[0].candidates] == pytest.approx([0.75, 0.25, 0.0])
    assert decoding.Trace.from_jsonl(trace.to_jsonl()) == trace


# ---- where a run ends


def test_a_text_ends_where_the_models_own_files_say(pair: Pair) -> None:
    fake = FakeVllm(Varied())
    with fake.served() as url:
        ending = Pair(url, fake)
        fake.chunk = 3
        written = both(ending, steps=200)
        assert written[-1].token_ids[0] == END
        assert len(written) < 200
        trace = decoding.trace(ending.server, PROMPT, max_new_tokens=200, top_k=2)
    assert trace.stop_reason == "end_of_text"


def test_the_shorter_context_length_applies(pair: Pair) -> None:
    fake = FakeVllm(Varied(end_ids=()), context=60)
    with fake.served() as url:
        engine = engine_of(url, fake)
        assert engine.context_length == 60
        ids = engine.vocabulary.encode(PROMPT)
        assert len(list(engine.steps(ids, max_new_tokens=90, top_k=2))) == 60 - len(ids)
        assert list(engine.steps([5] * 60, max_new_tokens=50, top_k=2)) == []
        with pytest.raises(RequestError, match=r"reads at most 59\. Shorten it"):
            decoding.score(engine, PROMPT, "a" * (60 - len(ids)), top_k=2)


# ---- what is refused on arrival


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (("last", 3), "did not pick the most probable token"),
        (("logits", 3), "numbers that are not log-probabilities. Start it without --logprobs-mode"),
        (("few", 3), "gives 1 candidates where 5 were asked for"),
        (("beyond", 3), "answers with the token id 999999, and scripted has the ids 0 to 270: it serves another model"),
        (("clip", 2), "did not read the token ids that it was sent: it cuts long prompts"),
        (("short", 3), "ended the text before it was told to: it was started with a shorter context"),
        (("400", 0), "refuses the request (400). It said: Told to answer 400"),
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


def test_of_two_that_are_equal_the_servers_pick_comes_first(pair: Pair) -> None:
    """Their logits may differ by less than a logarithm can tell in float32, and the server compares logits."""
    tied = ScriptedEngine([{" most": 0.25, " only": 0.25, " best": 0.25}], end_ids=())
    fake = FakeVllm(tied)
    most, only, best = (tied.vocabulary.encode(word)[0] for word in (" most", " only", " best"))
    with fake.served() as url:
        engine = engine_of(url, fake)
        fake.faults.extend([("last", 1), ("", 0)])
        first, second = (next(engine.steps([5], max_new_tokens=1, top_k=3)) for _ in range(2))
    assert (first.token_ids, second.token_ids) == ((best, most, only), (most, only, best))


def test_token_texts_instead_of_ids_are_refused(pair: Pair) -> None:
    hasty = pair.waiting(HASTY)
    pair.fake.faults.extend([("texts", 3)] * 50)
    with pytest.raises(ModelError, match="its answer cannot be read"):
        decoding.trace(hasty.server, PROMPT, max_new_tokens=3, top_k=5)


# ---- nobody answers


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
    with pytest.raises(ModelError, match=r"does not answer: no connection\. What it has written stays"):
        decoding.trace(engine, PROMPT, max_new_tokens=3, top_k=5)
    with pytest.raises(ModelError, match="does not answer: no connection"):
        list_models(ServerClient(url, HASTY))


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


# ---- stopping


def test_a_run_that_is_closed_closes_its_stream_at_once(pair: Pair) -> None:
    pair.fake.faults.append(("silent", 2))
    steps = decoding.greedy_search(pair.server, PROMPT, max_new_tokens=8, top_k=2)
    next(steps)
    assert not pair.fake.closed.is_set()
    steps.close()
    assert pair.fake.closed.wait(300)


def test_cancellation_is_noticed_between_two_tokens(pair: Pair) -> None:
    """The thread waits for a token that never comes, from a server that lives."""
    pair.fake.faults.append(("silent", 2))
    left, ended = threading.Event(), threading.Event()
    written = []

    def visit() -> None:
        cancellation.bind(left)
        try:
            for step in decoding.greedy_search(pair.server, PROMPT, max_new_tokens=8, top_k=2):
                written.append(step)
        except cancellation.WorkCancelledError:
            ended.set()

    thread = threading.Thread(target=visit)
    thread.start()
    while len(written) < 2:
        time.sleep(0.01)
    left.set()
    assert ended.wait(300)
    assert pair.fake.closed.wait(300)
    thread.join(300)


def test_many_at_once_do_not_mix(pair: Pair) -> None:
    pair.fake.chunk = 2
    prompts = [f"{PROMPT} {n}" for n in range(12)]
    written: dict[str, Any] = {}

    def visit(prompt: str) -> None:
        written[prompt] = decoding.trace(pair.server, prompt, max_new_tokens=10, top_k=3)

    threads = [threading.Thread(target=visit, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for prompt in prompts:
        ours = decoding.trace(pair.local, prompt, max_new_tokens=10, top_k=3)
        assert written[prompt].generated_token_ids == ours.generated_token_ids


# ---- meeting a server

Folder = Callable[[str], Path]


@pytest.fixture
def llama(tiny_folder: Folder) -> Path:
    return tiny_folder("llama")


@pytest.mark.parametrize("most", [2, 3, 20, 49, 50, 64])
def test_the_servers_limit_is_found(pair: Pair, most: int) -> None:
    pair.fake.most = most
    engine = engine_of(pair.url, pair.fake)
    assert engine.max_top_k == min(most, 50)
    assert len(pair.fake.asked) < 12
    if most < 50:
        with pytest.raises(RequestError, match=f"gives at most {most} choices at a step, not {most + 1}") as caught:
            decoding.greedy_search(engine, PROMPT, max_new_tokens=1, top_k=most + 1)
        assert caught.value.field == "choices"
        with pytest.raises(RequestError, match=f"gives at most {most} choices"):
            decoding.score(engine, PROMPT, "a", top_k=most + 1)
    assert decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=min(most, 50)).steps


def test_a_real_model_by_its_folder(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = decoding.load(str(llama), device="cpu")
    monkeypatch.setenv(KEY, "s3cret")
    fake = FakeVllm(local, root=str(llama), context=64, key="s3cret")
    with fake.served() as url:
        for address in (url, f"{url}/", f"{url}/v1", f"{url}/v1/"):
            engine = decoding.connect(address, dtype="float32")
        assert engine.context_length == 64
        assert (engine.end_ids, engine.beginning_id) == (local.end_ids, local.beginning_id)
        ours, theirs = (decoding.trace(e, "트랜스포머 🎉", max_new_tokens=12, top_k=5) for e in (local, engine))
    assert theirs.generated_token_ids == ours.generated_token_ids
    for step, other in zip(theirs.steps, ours.steps, strict=True):
        assert step.rest == pytest.approx(other.rest, abs=1e-4)
    assert theirs.model == decoding.ModelInfo(
        id=str(llama),
        revision="",
        dtype="float32",
        device="server",
        engine="vLLM 0.0.fake",
        why="computed by a server, which gives only the top candidates: no logits, no entropy",
    )


def test_without_its_dtype_nothing_is_claimed(pair: Pair) -> None:
    assert pair.server.info.dtype == "unknown dtype"
    with pytest.raises(RequestError, match='There is no dtype "int4"'):
        decoding.connect(pair.url, dtype="int4")


def test_another_model_is_refused(llama: Path, tiny_folder: Folder) -> None:
    fake = FakeVllm(decoding.load(str(llama), device="cpu"), name="llama", root="/models/llama")
    with fake.served() as url:
        with pytest.raises(ModelError, match=f'has the model "llama", not {tiny_folder("gpt2")}. Choose that one'):
            decoding.connect(url, model=str(tiny_folder("gpt2")))
        with pytest.raises(RequestError, match='has the model "llama", which has no tokenizer here'):
            decoding.connect(url)
        fake.name = "starter"  # it says so, and is not
        with pytest.raises(ModelError, match="reads a text as different token ids than starter does"):
            decoding.connect(url)


def test_a_larger_vocabulary_than_the_servers_is_refused(llama: Path, tmp_path: Path) -> None:
    larger = tiny_models.save(tmp_path, tiny_models.network("llama", vocab_size=321))
    fake = FakeVllm(decoding.load(str(llama), device="cpu"), name=str(larger))
    with fake.served() as url, pytest.raises(ModelError, match="it has another vocabulary, so it serves another model"):
        decoding.connect(url)


def test_a_server_that_is_no_vllm_is_refused(pair: Pair) -> None:
    class Other(ServerClient):
        def get(self, path: str) -> Any:
            return {"hello": 1}

    with pytest.raises(ModelError, match=r"serves no models\. It has to be a vLLM"):
        list_models(Other(pair.url))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://a", "http://", "file:///etc/passwd", "\ud800"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match=r"write it as http://127\.0\.0\.1:8000"):
        decoding.connect(url)


# ---- the key


def test_the_key_is_sent_and_never_shown(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair.fake.key = "s3cret-key"
    with pytest.raises(ModelError, match=r"refuses the key\. Set GREEDYSCOPE_ENGINE_KEY"):
        engine_of(pair.url, pair.fake)
    monkeypatch.setenv(KEY, "wrong-s3cret")
    with pytest.raises(ModelError, match="refuses the key") as wrong:
        engine_of(pair.url, pair.fake)
    monkeypatch.setenv(KEY, " s3cret-key\n")
    engine = engine_of(pair.url, pair.fake)
    pair.fake.faults.extend([("400", 0), ("500", 0)])
    with pytest.raises(ModelError) as told:  # the server says the key, and nobody else does
        decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=2)
    assert "It said: Told to answer 400 to Bearer …" in str(told.value)
    assert decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=2).steps
    said = "".join(map(str, (wrong.value, told.value, repr(engine.info), vars(engine))))
    assert "s3cret" not in said + caplog.text


def test_a_key_in_an_address_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError) as caught:
        decoding.connect("http://me:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv(KEY, "s3c\nret")
    with pytest.raises(RequestError, match="characters that a key cannot have") as caught:
        decoding.connect("http://127.0.0.1:1")
    assert "ret" not in str(caught.value).replace("GREEDYSCOPE", "")


def test_an_unused_engine_ends_its_thread(pair: Pair) -> None:
    before = set(threading.enumerate())
    engine = engine_of(pair.url, pair.fake)
    (thread,) = (each for each in set(threading.enumerate()) - before if each.name == "model's server")
    assert decoding.trace(engine, PROMPT, max_new_tokens=2, top_k=2).steps
    del engine
    gc.collect()
    thread.join(300)
    assert not thread.is_alive()


# ---- what a server cannot do


def test_limits_of_a_server_are_explained(pair: Pair) -> None:
    trace = decoding.trace(pair.server, PROMPT, max_new_tokens=2, top_k=2)
    sentence = "does not run in this process, so transformers' own search cannot be used"
    with pytest.raises(RequestError, match=sentence):
        decoding.agreement(pair.server, trace)


def test_beams_of_a_server_are_those_of_its_engine(pair: Pair) -> None:
    options: Any = {"num_beams": 4, "max_new_tokens": 5, "top_k": 3}
    ids = pair.local.vocabulary.encode(PROMPT)
    ours, theirs = (list(engine.beams(ids, **options)) for engine in (pair.local, pair.server))
    for their, our in zip(theirs, ours, strict=True):
        assert [(beam.parent, beam.token_id) for beam in their.beams] == [(b.parent, b.token_id) for b in our.beams]
        assert [beam.total for beam in their.beams] == pytest.approx([beam.total for beam in our.beams], abs=1e-9)
    assert len({beam.parent for step in ours for beam in step.beams}) > 1
    found = decoding.beam_search(pair.server, PROMPT, max_new_tokens=5, num_beams=4, top_k=3)
    assert decoding.Trace.from_jsonl(found.to_jsonl()).beams == found.beams
    pair.fake.most = 7
    few = engine_of(pair.url, pair.fake)
    with pytest.raises(RequestError, match="gives at most 7 choices at a step, and 4 beams need 8"):
        decoding.beam_search(few, PROMPT, max_new_tokens=2, num_beams=4, top_k=3)


def test_past_the_end_and_a_message_are_as_without_the_server() -> None:
    """Where the server ends the text, it is asked once more, after the next candidate."""
    local = Varied(end_ids=(END,), chat_template="<|begin|>U: {{ messages[0].content }}\n")
    fake = FakeVllm(local)
    with fake.served() as url:
        server = engine_of(url, fake)
        for prompt, as_message in ((PROMPT, False), ("Hi", True)):
            how: Any = {"max_new_tokens": 14, "top_k": 3, "as_message": as_message}
            ended = decoding.trace(local, prompt, **how)
            asked = len(fake.asked)
            ours = decoding.trace(local, prompt, **how, past_end=True)
            theirs = decoding.trace(server, prompt, **how, past_end=True)
            assert (ended.stop_reason, theirs.stop_reason, len(theirs.steps)) == ("end_of_text", "steps", 14)
            assert [step.index for step in theirs.steps if step.past_end] == [len(ended.steps) - 1]
            assert theirs.prompt_tokens == ours.prompt_tokens
            for one, two in zip(theirs.steps, ours.steps, strict=True):
                assert (one.picked.token_id, one.picked.rank) == (two.picked.token_id, two.picked.rank)
                assert one.past_end == two.past_end
                assert [c.token_id for c in one.candidates] == [c.token_id for c in two.candidates]
            assert len(fake.asked) - asked == 2
