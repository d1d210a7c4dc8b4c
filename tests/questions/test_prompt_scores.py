"""The prompt's own tokens, against a pass over the whole text; and what a file may say of them."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from decoding.errors import FormatError, RequestError
from decoding.limits import MAX_TEXT_TOKENS
from decoding.record.trace import Trace
from tests import tiny_models
from tests.fakes import ScriptedEngine

Folder = Callable[[str], Path]
PROMPT = "The quick brown fox"


@torch.inference_mode()
def rows_of(engine: LocalEngine, ids: tuple[int, ...]) -> torch.Tensor:
    """The log-probabilities of the next token after each id, in one pass without a cache."""
    logits: torch.Tensor = network_of(engine)(torch.tensor([list(ids)]), use_cache=False).logits[0]
    return logits.double().log_softmax(-1)


def check(engine: LocalEngine, scored: Trace) -> None:
    ids = scored.prompt_token_ids
    rows = rows_of(engine, ids)
    assert len(scored.prompt_scores) == len(ids) - 1
    for place, score in enumerate(scored.prompt_scores, start=1):
        row = rows[place - 1]
        assert score.logprob == pytest.approx(row[ids[place]].item(), abs=1e-4)
        assert score.rank == int((row > row[ids[place]]).sum())
        assert score.entropy == pytest.approx(-(row.exp() * row).sum().item(), abs=1e-4)


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_every_family(tiny_folder: Folder, architecture: str) -> None:
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=2, top_k=2)
    scored = decoding.score_prompt(engine, trace)
    check(engine, scored)
    assert len({score.rank for score in scored.prompt_scores}) > 2
    assert (scored.steps, scored.prompt) == (trace.steps, trace.prompt)  # nothing else has changed
    assert decoding.trace(engine, PROMPT, max_new_tokens=2, top_k=2) == trace  # and looking changes nothing
    assert Trace.from_jsonl(scored.to_jsonl()) == scored


def test_the_starter_and_shared_passes(starter: LocalEngine) -> None:
    trace = decoding.trace(starter, "The capital of France is Paris.", max_new_tokens=1, top_k=2)
    scored = decoding.score_prompt(starter, trace)
    check(starter, scored)
    assert decoding.score_prompt(BatchedEngine(starter), trace) == scored


def test_of_a_long_prompt_the_last_tokens_are_scored(tmp_path: Path) -> None:
    long = tiny_models.network("llama", max_position_embeddings=2 * MAX_TEXT_TOKENS)
    engine = decoding.load(str(tiny_models.save(tmp_path, long)), device="cpu")
    trace = decoding.trace(engine, "abc " * 300, max_new_tokens=1, top_k=2)
    ids = trace.prompt_token_ids
    assert len(ids) > MAX_TEXT_TOKENS + 1
    whole = list(engine.score(ids[:1], ids[1:], top_k=1))
    last = decoding.score_prompt(engine, trace).prompt_scores
    assert len(last) == MAX_TEXT_TOKENS
    assert [score.rank for score in last] == [step.picked.rank for step in whole[-MAX_TEXT_TOKENS:] if step.picked]


def test_what_cannot_be_scored_gets_a_sentence(scripted: ScriptedEngine) -> None:
    with pytest.raises(RequestError, match="one token, and nothing stands before it") as refused:
        decoding.score_prompt(scripted, decoding.trace(scripted, "a", max_new_tokens=1, top_k=2))
    assert refused.value.field == "prompt"
    other = decoding.trace(ScriptedEngine(name="other"), "ab", max_new_tokens=1, top_k=2)
    with pytest.raises(RequestError, match="This run was made by other, not by scripted"):
        decoding.score_prompt(scripted, other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"prompt_scores":[', '{"prompt_scores":[{"logprob":-1,"rank":0,"entropy":1},'),
        ('{"prompt_scores":[{"logprob":', '{"prompt_scores":[{"logprob":1'),
        ('"rank":', '"rank":-'),
        ('"entropy":', '"entropy":9'),
        ('{"prompt_scores":', '{"more":1,"prompt_scores":'),
    ],
)
def test_an_altered_line_is_refused(scripted: ScriptedEngine, old: str, new: str) -> None:
    scored = decoding.score_prompt(scripted, decoding.trace(scripted, "ab", max_new_tokens=1, top_k=2))
    head, line, end = scored.to_jsonl().rpartition('{"prompt_scores"')
    assert old in line + end
    with pytest.raises(FormatError):
        Trace.from_jsonl(head + (line + end).replace(old, new, 1))


def test_a_place_of_which_no_entropy_is_known_is_kept(scripted: ScriptedEngine) -> None:
    scored = decoding.score_prompt(scripted, decoding.trace(scripted, "ab", max_new_tokens=1, top_k=2))
    (score,) = scored.prompt_scores
    text = scored.to_jsonl().replace(f'"rank":{score.rank},"entropy":{score.entropy}', '"rank":0,"entropy":null')
    (read,) = Trace.from_jsonl(text).prompt_scores
    assert math.isnan(read.entropy)
