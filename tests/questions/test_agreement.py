"""The proof by `generate`: which runs agree with transformers, and where one first differs."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from decoding.errors import RequestError
from tests import tiny_models
from tests.altered_runs import altered
from tests.fakes import ScriptedEngine

Folder = Callable[[str], Path]
PROMPT = "Transformers are the"
REFERENCE = sorted((Path(__file__).resolve().parents[1] / "reference" / "starter").glob("*.json"))


@pytest.mark.parametrize("path", REFERENCE[3:], ids=lambda path: path.stem)
def test_the_starter_agrees_with_the_library(starter: LocalEngine, path: Path) -> None:
    prompt = json.loads(path.read_text("utf-8"))["prompt"]
    trace = decoding.trace(starter, prompt, max_new_tokens=6, top_k=3)
    found = decoding.agreement(starter, trace)
    assert (found.identical, found.first, found.compared, found.first_difference) == (True, 0, 6, None)
    assert (found.ours, found.theirs, found.margin) == (None, None, None)
    assert (found.dtype, found.device, found.switched_off) == ("float32", "cpu", ())


def test_where_a_run_first_differs(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    found = decoding.agreement(engine, altered(trace, 5, 1))
    assert (found.identical, found.first_difference) == (False, 5)
    assert found.ours == trace.steps[5].candidates[1]
    assert found.theirs is not None
    assert (found.theirs.token_id, found.theirs.rank) == (trace.steps[5].picked.token_id, 0)
    assert found.theirs.probability == pytest.approx(trace.steps[5].picked.probability, abs=1e-5)
    assert found.margin == trace.steps[5].margin


def test_a_branch_agrees_after_its_last_pick(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    child = decoding.branch(engine, trace, 2, 300, max_new_tokens=8)
    found = decoding.agreement(engine, child)
    assert (found.identical, found.first, found.compared) == (True, 3, 5)
    wrong = decoding.agreement(engine, altered(child, 6, 2))
    assert (wrong.identical, wrong.first_difference) == (False, 6)
    last = decoding.branch(engine, trace, 7, 300, max_new_tokens=8)
    assert (decoding.agreement(engine, last).identical, decoding.agreement(engine, last).compared) == (True, 0)


def test_a_run_that_goes_on_after_its_end(tmp_path: Path, tiny_folder: Folder) -> None:
    plain = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(plain, PROMPT, max_new_tokens=8, top_k=3)
    plain.end_ids = frozenset({trace.generated_token_ids[4]})
    end = trace.generated_token_ids.index(trace.generated_token_ids[4])
    found = decoding.agreement(plain, trace)
    assert (found.identical, found.first_difference, found.theirs) == (False, end + 1, None)
    assert found.ours == trace.steps[end + 1].picked
    ended = decoding.trace(plain, PROMPT, max_new_tokens=8, top_k=3)
    assert (len(ended.steps), decoding.agreement(plain, ended).identical) == (end + 1, True)


BENT = {
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": list(range(0, 320, 2)),
    "bad_words_ids": [[token_id] for token_id in range(1, 320, 2)],
    "forced_eos_token_id": 7,
}


def test_the_models_own_penalties_are_switched_off(tmp_path: Path) -> None:
    network = tiny_models.network("llama")
    network.generation_config.update(**BENT)
    engine = decoding.load(str(tiny_models.save(tmp_path, network)), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=16, top_k=3)
    before = network_of(engine).generation_config.to_dict()
    found = decoding.agreement(engine, trace)
    assert (found.identical, found.compared) == (True, 16)
    assert {setting.split("=")[0] for setting in found.switched_off} == BENT.keys()
    assert "repetition_penalty=3.0" in found.switched_off
    assert network_of(engine).generation_config.to_dict() == before
    # Without switching them off, the library writes something else.
    ids = torch.tensor([trace.prompt_token_ids])
    bent = network_of(engine).generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, pad_token_id=0)
    assert bent[0, ids.shape[1] :].tolist() != list(trace.generated_token_ids)


def test_an_engine_without_a_network_cannot_be_compared(scripted: ScriptedEngine) -> None:
    trace = decoding.trace(scripted, "a", max_new_tokens=2, top_k=2)
    with pytest.raises(RequestError) as refused:
        decoding.agreement(scripted, trace)
    assert str(refused.value) == (
        "scripted does not run in this process, so transformers' own search cannot be used. "
        "A page or program that loads the model itself can use it."
    )


def test_forged_runs_are_not_compared(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=3, top_k=3)
    for forgery in (
        replace(trace, prompt="another"),
        replace(trace, steps=trace.steps * 100),
        replace(trace, model=replace(trace.model, id="x")),
    ):
        with pytest.raises(RequestError):
            decoding.agreement(engine, forgery)


def test_texts_that_the_ids_do_not_have_are_refused() -> None:
    """Equal ids would be called identical, whatever text the page shows for them."""
    engine = ScriptedEngine()
    trace = decoding.trace(engine, "a", max_new_tokens=3, top_k=3)
    lines = trace.to_jsonl()
    assert " popular" in lines
    changed = decoding.Trace.from_jsonl(lines.replace(" popular", " populus"))
    said = "Token 3 of this run reads “·populus”, and scripted writes “·popular” there: the run was altered."
    for ask in (
        lambda: decoding.agreement(engine, changed),
        lambda: decoding.leave_one_out(engine, changed, 1),
        lambda: decoding.branch(engine, changed, 0, changed.steps[0].candidates[1].token_id, max_new_tokens=3),
    ):
        with pytest.raises(RequestError, match=re.escape(said)):
            ask()
