"""Past the end of the text: ids that end it are passed over, as transformers' `suppress_tokens` does."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.generate import generate
from decoding.engines.zero_gpu import ZeroGpuEngine
from decoding.errors import FormatError, ModelError, RequestError
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import END, ScriptedEngine

STEPS = 24
PROMPT = "Past the end"


@pytest.fixture(scope="module", params=["gpt2", "llama", "mamba"])
def folder(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path], tmp_path_factory: Any) -> Path:
    """A tiny model whose text ends with each of the three ids that it would write most often."""
    plain = tiny_folder(request.param)
    run = decoding.trace(decoding.load(str(plain), engine="torch"), PROMPT, max_new_tokens=STEPS, top_k=2)
    often = [token_id for token_id, _ in Counter(run.generated_token_ids).most_common(3)]
    ends = copytree(plain, tmp_path_factory.mktemp(request.param) / "ends")
    (ends / "generation_config.json").write_text(json.dumps({"eos_token_id": often}), "utf-8")
    return ends


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_equals_generate_with_the_end_ids_suppressed(folder: Path, engine: str) -> None:
    model = decoding.load(str(folder), device="cpu", engine=engine)
    run = decoding.trace(model, PROMPT, max_new_tokens=STEPS, top_k=3, past_end=True)
    theirs = generate(
        model.reference(),
        run.prompt_token_ids,
        end_ids=(),
        suppress_tokens=sorted(model.end_ids),
        max_new_tokens=STEPS,
        use_cache=True,
    )
    assert list(run.generated_token_ids) == theirs.sequences[0, len(run.prompt_token_ids) :].tolist()
    assert run.stop_reason == "steps"
    passed = [step for step in run.steps if step.past_end]
    assert passed
    for step in run.steps:
        assert step.past_end == step.forced == (step.candidates[0].token_id in model.end_ids)
        assert step.picked.token_id not in model.end_ids
        assert step.chosen is False
    assert decoding.trace(model, PROMPT, max_new_tokens=STEPS, top_k=3).stop_reason == "end_of_text"
    assert decoding.agreement(model, run).compared == STEPS
    assert decoding.agreement(model, run).identical
    # The file holds it, the model writes it again, and every other way to decode gives the same.
    assert Trace.from_jsonl(run.to_jsonl()) == run
    assert recompute(model, run) < 1e-6
    for other in (BatchedEngine(model), ZeroGpuEngine(model)):
        again = decoding.trace(other, PROMPT, max_new_tokens=STEPS, top_k=3, past_end=True)
        assert again.steps == run.steps
    at = passed[-1].index
    branch = decoding.branch(model, run, at, passed[-1].candidates[2].token_id, max_new_tokens=STEPS)
    assert branch.past_end
    assert branch.steps[:at] == run.steps[:at]
    assert branch.steps[at].chosen
    assert len(branch.steps) == STEPS


def test_the_starter_goes_on_where_its_text_ends(starter: LocalEngine) -> None:
    prompt, steps = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n", 24
    ended = decoding.trace(starter, prompt, max_new_tokens=steps, top_k=5)
    run = decoding.trace(starter, prompt, max_new_tokens=steps, top_k=5, past_end=True)
    assert ended.stop_reason == "end_of_text"
    at = len(ended.steps) - 1
    assert at < steps - 1
    assert run.steps[:at] == ended.steps[:at]
    assert replace(run.steps[at], picked=ended.steps[at].picked, forced=False, past_end=False) == ended.steps[at]
    assert run.steps[at].past_end
    assert decoding.agreement(starter, run).identical


def line(*first: int) -> Any:
    """Logits whose largest are those of these ids, in this order."""
    logits = np.zeros(271, np.float32)
    for place, token_id in enumerate(first):
        logits[token_id] = 10 - place
    return logits


def run_of(engine: Any, **options: Any) -> Trace:
    run = Run(engine, check_request("x", options.pop("steps", 3), options.pop("top_k", 1), past_end=True, **options))
    for _ in run:
        pass
    return run.trace


def test_the_next_candidate_may_be_far_below() -> None:
    """Fewer candidates are shown than there are ids that end the text."""
    engine = ScriptedEngine([line(END, 5, 7, 9)], end_ids=(END, 5, 7))
    trace = run_of(engine)
    assert [step.picked.token_id for step in trace.steps] == [9, 9, 9]
    assert [(step.picked.rank, len(step.candidates), step.past_end) for step in trace.steps] == [(3, 1, True)] * 3
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_a_person_may_still_end_the_text() -> None:
    trace = run_of(ScriptedEngine([line(END, 5)]), forced=[(1, END)], top_k=2)
    assert [(step.picked.token_id, step.past_end, step.chosen) for step in trace.steps] == [
        (5, True, False),
        (END, False, True),
    ]
    assert trace.stop_reason == "end_of_text"


def test_nothing_is_left_where_every_token_ends_the_text() -> None:
    engine = ScriptedEngine([line(END, 5)], end_ids=range(271))
    with pytest.raises(ModelError, match="Every token that is left here ends the text"):
        run_of(engine)


def test_the_record_says_so_and_old_files_do_not() -> None:
    plain = decoding.trace(ScriptedEngine(), "x", max_new_tokens=2, top_k=2)
    assert "past_end" not in plain.to_jsonl()
    trace = run_of(ScriptedEngine([line(END, 5), line(7)]), top_k=2, steps=2)
    header, first, second, _ = map(json.loads, trace.to_jsonl().splitlines())
    assert header["past_end"] is True
    assert first["past_end"] is True
    assert "past_end" not in second


@pytest.mark.parametrize(
    ("line_number", "change", "said"),
    [
        (0, {"past_end": False}, "passes over an end of the text"),
        (0, {"past_end": 1}, "true or false"),
        (1, {"past_end": "yes"}, "true or false"),
        (2, {"past_end": True}, "passes over an end of the text"),
        (1, {"forced": False}, "did not pick the first candidate"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(line_number: int, change: dict[str, Any], said: str) -> None:
    lines = [
        json.loads(each)
        for each in run_of(ScriptedEngine([line(END, 5), line(7)]), steps=2).to_jsonl().split("\n")
        if each
    ]
    lines[line_number] |= change
    with pytest.raises(FormatError, match=said):
        Trace.from_jsonl("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize("value", [1, "yes", [], 0.0])
def test_anything_but_true_or_false_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match="true or false") as caught:
        check_request("x", 1, 1, past_end=value)
    assert caught.value.field == "sampling"
