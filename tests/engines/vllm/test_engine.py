"""The server's engine, held against the engine that is behind a fake server."""

from typing import Any

import numpy as np
import pytest

import decoding
from decoding.errors import RequestError
from tests.engines.vllm.engine_pair import PROMPT, Pair, Varied, both, engine_of, same
from tests.fake_vllm import FakeVllm
from tests.fakes import END, ScriptedEngine


def test_there_are_ties_to_break(started: Pair) -> None:
    readouts = list(started.local.steps([5, 6], max_new_tokens=20, top_k=10))
    assert any(len(set(readout.logprobs)) < 10 for readout in readouts)
    assert any(readout.logprobs[0] == readout.logprobs[1] for readout in readouts)
    assert len({readout.token_ids[0] for readout in readouts}) > 10


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


@pytest.mark.parametrize("first", [0, 1, 5, 6, 7])
def test_picks_up_to_the_end_of_the_context(first: int) -> None:
    fake = FakeVllm(Varied(end_ids=(), context_length=64), context=64)
    ids = [*range(10, 66)]
    with fake.served() as url:
        engine = engine_of(url, fake)
        # The last is among the candidates: another one's probability is read with the text, for which there is no room.
        forced = {step: 200 + step for step in range(first, 7)}
        options: Any = {"max_new_tokens": 8, "top_k": 5}
        before = list(fake.engine.steps(ids, forced=forced, **options))
        forced[7] = before[7].token_ids[1]
        same(list(engine.steps(ids, forced=forced, **options)), list(fake.engine.steps(ids, forced=forced, **options)))


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
