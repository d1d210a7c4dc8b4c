"""The tree of a beam search in the record: what it holds, and that an altered one is refused."""

import math
from pathlib import Path

import pytest

import decoding
from decoding.errors import FormatError
from decoding.record.trace import Trace
from tests.beam_searches import SIX, small


def test_a_search_is_a_trace_with_its_tree(tmp_path: Path) -> None:
    engine = small(tmp_path, 6)
    trace = decoding.beam_search(engine, SIX[0], max_new_tokens=6, num_beams=3, top_k=4)
    assert trace.model.engine == f"beam search, 3 beams, {engine.info.engine}"
    assert (trace.max_new_tokens, trace.top_k, trace.stop_reason) == (6, 4, "steps")
    assert [step.forced for step in trace.steps] == [step.picked.rank != 0 for step in trace.steps]
    # The same ids, decoded step by step with those picks.
    forced = [(step.index, step.picked.token_id) for step in trace.steps if step.forced]
    run = decoding.run.Run(engine, decoding.run.check_request(SIX[0], 6, 4, forced))
    assert [step.picked.token_id for step in run] == list(trace.generated_token_ids)
    assert run.trace.logprob == pytest.approx(trace.logprob, abs=1e-5)
    tree = trace.beams
    assert tree
    assert [len(beams) for beams in tree.steps] == [3] * 6
    for step, beams in enumerate(tree.steps):
        for place, beam in enumerate(beams):
            ids = tree.token_ids(step, place)
            given = engine.score(trace.prompt_token_ids, ids, top_k=2)
            nats = [scores.picked.logprob for scores in given if scores.picked]
            assert beam.total == pytest.approx(math.fsum(nats), abs=1e-5)
            assert beam.logprob == pytest.approx(nats[-1], abs=1e-5)
            went_on = any(other.parent == place for other in tree.steps[step + 1]) if step < 5 else True
            assert tree.dropped_at(step, place) == (None if went_on else step + 1)
    assert any(tree.dropped_at(step, place) for step in range(5) for place in range(3))
    greedy = decoding.trace(engine, SIX[0], max_new_tokens=6, top_k=2).generated_token_ids
    marked = {tree.token_ids(step, place) for step in range(6) for place in range(3) if tree.is_greedy(step, place)}
    assert marked == {greedy[: n + 1] for n in range(len(marked))} != set()
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


ALTERED: dict[str, tuple[str, str]] = {
    "a total": ('"total":-', '"total":-9'),
    "a parent": ('"parent":2', '"parent":7'),
    "a step's number": ('"beam_step":3', '"beam_step":4'),
    "the winner": ('"finished":[[5,0]', '"finished":[[5,2]'),
    "a winner that is not there": ('"finished":[[5,0]', '"finished":[[5,9]'),
    "a beam twice": ('"finished":[[5,0],', '"finished":[[5,0],[5,0],'),
    "no beams": ('"beam_step":3,"beams":[', '"beam_step":3,"beams":[],"finished":['),
    "a field": ('"beam_step":3', '"beam_step":3,"more":1'),
}


@pytest.mark.parametrize("altered", ALTERED)
def test_an_altered_tree_is_refused(tmp_path: Path, altered: str) -> None:
    trace = decoding.beam_search(small(tmp_path, 6), SIX[0], max_new_tokens=6, num_beams=3, top_k=4)
    old, new = ALTERED[altered]
    assert old in trace.to_jsonl()
    with pytest.raises(FormatError):
        Trace.from_jsonl(trace.to_jsonl().replace(old, new, 1))
