"""Beam search: against transformers' own on every family, and against a search through every sequence."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from decoding.errors import ModelError, RequestError
from decoding.record.trace import Trace
from tests import all_architectures as sweep
from tests import tiny_models
from tests.beam_searches import SIX, Folder, agrees, generated, small, texts
from tests.fakes import ScriptedEngine
from tests.watched import watched

PROMPTS = ("!!", '"!', '!"!', '""', '!""!')
"""Texts of the ids 0 and 1 alone; those of `SIX` may have 2 to 5 as well."""


@pytest.mark.parametrize("architecture", [*tiny_models.ARCHITECTURES, "gemma2", "opt", "falcon", "mamba2"])
def test_every_family(tiny_folder: Folder, architecture: str) -> None:
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu", engine="torch")
    agrees(engine, sweep.PROMPT, steps=6, num_beams=4)


def test_onnx_runtime_and_shared_passes(tmp_path: Path) -> None:
    # ONNX Runtime's attention takes heads of multiples of 16.
    sizes = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "query_pre_attn_scalar": 16}
    folder = tiny_models.save(tmp_path, tiny_models.network("gemma3_text", **sizes))
    engine = decoding.load(str(folder), device="cpu")
    assert "ONNX Runtime" in engine.info.engine
    alone = agrees(engine, sweep.PROMPT, steps=6, num_beams=5)
    shared = agrees(BatchedEngine(engine), sweep.PROMPT, steps=6, num_beams=5)
    assert texts(alone) == texts(shared)


def test_texts_that_end_early(tmp_path: Path) -> None:
    engine = small(tmp_path, 6, eos_token_id=[2, 5])
    lengths = set()
    for prompt, num_beams in itertools.product((*SIX, "&&", "%%", '"%#', "#&"), (2, 3, 5)):
        ids = engine.vocabulary.encode(prompt)
        found = agrees(engine, ids, steps=6, num_beams=num_beams, eos_token_id=[2, 5])
        lengths.add(len(found))
        trace = decoding.beam_search(engine, prompt, max_new_tokens=6, num_beams=num_beams, top_k=2)
        assert trace.beams
        assert trace.generated_token_ids == trace.beams.token_ids(*trace.beams.finished[0])
        assert trace.stop_reason == ("end_of_text" if trace.generated_token_ids[-1] in (2, 5) else "steps")
        assert Trace.from_jsonl(trace.to_jsonl()) == trace
    assert len(lengths) > 1  # some searches are over before their last step


@torch.inference_mode()
def totals(engine: LocalEngine, ids: Sequence[int], steps: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every sequence of so many ids."""
    sequences = list(itertools.product(range(engine.vocabulary_size), repeat=steps))
    read = torch.tensor([[*ids, *sequence[:-1]] for sequence in sequences])
    rows = network_of(engine)(input_ids=read, use_cache=False).logits[:, -steps:].double().log_softmax(-1)
    return {
        sequence: math.fsum(row[n, token_id].item() for n, token_id in enumerate(sequence))
        for sequence, row in zip(sequences, rows, strict=True)
    }


@pytest.mark.parametrize("prompt", PROMPTS)
def test_wide_enough_it_finds_the_best(tmp_path: Path, prompt: str) -> None:
    engine = small(tmp_path, 2)
    trace = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=8, top_k=2)  # 8 = 2³
    every = totals(engine, trace.prompt_token_ids, 4)
    assert len(every) == 16
    assert trace.generated_token_ids == max(every, key=lambda sequence: every[sequence])
    assert trace.logprob == pytest.approx(max(every.values()), abs=1e-5)


def test_narrower_beams_never_beat_the_best(tmp_path: Path) -> None:
    engine = small(tmp_path, 6)
    gaps = []
    for prompt in SIX:
        greedy = decoding.trace(engine, prompt, max_new_tokens=4, top_k=3)
        every = totals(engine, greedy.prompt_token_ids, 4)
        best = max(every, key=lambda sequence: every[sequence])
        widest = list(engine.beams(greedy.prompt_token_ids, num_beams=6**3, max_new_tokens=4, top_k=2))
        assert texts(widest)[-1][0] == best
        assert greedy.logprob == pytest.approx(every[greedy.generated_token_ids], abs=1e-5)
        for num_beams in (2, 3, 8):
            found = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=num_beams, top_k=3)
            assert len(found.steps) == 4
            assert found.logprob == pytest.approx(every[found.generated_token_ids], abs=1e-5)
            assert found.logprob <= every[best] + 1e-5
        gaps.append(every[best] - greedy.logprob)
    assert min(gaps) >= -1e-5
    assert max(gaps) > 0.01  # or greed costs nothing here, and the test shows nothing


def test_the_models_own_settings_do_not_bend_it(tmp_path: Path) -> None:
    bent: dict[str, Any] = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "num_beams": 3, "length_penalty": 9.0}
    engine, plain = small(tmp_path / "bent", 6, **bent), small(tmp_path / "plain", 6)
    for prompt in SIX:
        one, other = (decoding.beam_search(e, prompt, max_new_tokens=8, num_beams=4, top_k=2) for e in (engine, plain))
        assert (one.steps, one.beams) == (other.steps, other.beams)


def test_beam_search_on_the_starter(starter: LocalEngine) -> None:
    found = decoding.beam_search(starter, "Transformers are the", max_new_tokens=8, num_beams=4, top_k=3)
    greedy = decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=3)
    read = decoding.score(starter, "Transformers are the", found.generated_text, top_k=3)
    assert found.logprob == pytest.approx(read.logprob, abs=1e-4)
    theirs, scores = generated(starter, list(found.prompt_token_ids), steps=8, num_beams=4)
    assert list(found.generated_token_ids) == theirs[0]
    assert found.logprob / 8 == pytest.approx(scores[0], abs=1e-5)
    assert decoding.compare_totals(found, greedy).startswith("Beam search's text is 7.7 times as probable")


OF_BEAMS = "The number of beams has to be a whole number from 2 to 8, not"


@pytest.mark.parametrize(
    ("num_beams", "sentence"),
    [
        *((number, f"{OF_BEAMS} {number}.") for number in (1, 0, 9, -2, 2.5)),
        (None, "The number of beams is empty or not a number. It has to be a whole number from 2 to 8."),
        ("4", f"{OF_BEAMS} “4”."),
        (True, f"{OF_BEAMS} true or false."),
        (math.inf, f"{OF_BEAMS} one that is not finite."),
    ],
)
def test_unfit_numbers_of_beams(scripted: ScriptedEngine, num_beams: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.beam_search(scripted, "a", max_new_tokens=4, num_beams=num_beams, top_k=2)
    assert (refused.value.field, str(refused.value)) == ("beams", sentence)


def test_beam_search_refuses_what_a_run_refuses(scripted: ScriptedEngine) -> None:
    for options in ({"prompt": "\0"}, {"max_new_tokens": 257}, {"top_k": 0}, {"prompt": "a" * 1_024}):
        asked: dict[str, Any] = {"prompt": "a", "max_new_tokens": 4, "num_beams": 2, "top_k": 2} | options
        prompt = asked.pop("prompt")
        with pytest.raises(RequestError):
            decoding.beam_search(scripted, prompt, **asked)
    found = decoding.beam_search(scripted, "a", max_new_tokens=3, num_beams=2, top_k=2)
    assert found.generated_text == " most popular toy"


def test_logits_that_are_no_numbers_end_it(tmp_path: Path) -> None:
    def breaking(read: Any) -> Any:
        def broken(*given: Any, **options: Any) -> Any:
            logits, cache = read(*given, **options)
            return logits * math.nan, cache

        return broken

    engine = watched(small(tmp_path, 6), read=breaking)
    with pytest.raises(ModelError, match="not a number"):
        decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)
