"""The engine against figures that others made: an independent program's for the starter, the notebook's for gpt2-xl."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import try_to_load_from_cache

import decoding
from decoding.engines.local_engine import LocalEngine

REFERENCE = Path(__file__).parents[1] / "reference"
RUNS = sorted((REFERENCE / "starter").glob("*.json"))


def test_none_is_missing() -> None:
    assert [path.stem for path in RUNS] == ["code", "emoji", "korean", "transformers_are_the", "unicorns"]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_the_starter_agrees_with_the_notebooks_own_loop(starter: LocalEngine, path: Path) -> None:
    expected: dict[str, Any] = json.loads(path.read_text("utf-8"))
    count, top_k = len(expected["steps"]), len(expected["steps"][0]["choices"])
    trace = decoding.trace(starter, expected["prompt"], max_new_tokens=count, top_k=top_k)
    assert list(trace.prompt_token_ids) == expected["prompt_token_ids"]
    for step, reference in zip(trace.steps, expected["steps"], strict=True):
        choices = reference["choices"]
        assert step.picked.token_id == reference["token_id"]
        assert [c.token_id for c in step.candidates] == [choice["token_id"] for choice in choices]
        assert [c.text for c in step.candidates] == [choice["text"] for choice in choices]
        assert [c.probability for c in step.candidates] == pytest.approx([c["prob"] for c in choices], abs=1e-4)
        assert step.entropy == pytest.approx(reference["entropy_nats"], abs=1e-3)
        assert step.margin == pytest.approx(reference["gap"], abs=1e-4)
    assert trace.logprob == pytest.approx(expected["logprob"], abs=1e-3)
    # The reference decoded its ids as one text; ours leaves a character cut off at the end as it is, too.
    assert trace.generated_text == expected["generated_text"]
    assert trace.stop_reason == ("end_of_text" if expected["steps"][-1]["token_id"] == 2 else "steps")


def test_gpt2_xl_makes_the_notebooks_table() -> None:
    if not isinstance(try_to_load_from_cache("gpt2-xl", "model.safetensors"), str):
        pytest.skip("gpt2-xl was not run against the notebook's table: its weights (6.4 GB) are not on this machine.")
    printed = json.loads((REFERENCE / "gpt2_xl_notebook_table.json").read_text("utf-8"))
    trace = decoding.trace(decoding.load("gpt2-xl"), printed["prompt"], max_new_tokens=8, top_k=5)
    frame = trace.to_frame()
    assert [[cell.replace("·", "") for cell in row] for row in frame.to_numpy().tolist()] == [
        [step["input"], *(f"{choice['text']} ({choice['percent']:.2f}%)" for choice in step["choices"])]
        for step in printed["steps"]
    ]
    assert trace.generated_text == printed["generated_text"]
