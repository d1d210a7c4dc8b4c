"""What a question about a step may take: memory that is reserved before the work, and so many passes and logits."""

from types import SimpleNamespace
from typing import Any

import pytest

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.memory_needs import Work, bytes_needed
from decoding.errors import RequestError
from decoding.limits import LEFT_OUT, MAX_LAYERS, MAX_LEFT_OUT, MAX_LENS_LOGITS
from decoding.page.why_question import why
from decoding.questions.logit_lens import check_lens_size
from decoding.record.trace import Trace
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_registry import ModelRegistry
from tests.fakes import ScriptedEngine
from tests.watched import noting, watched


@pytest.fixture(scope="module")
def run(starter: LocalEngine) -> Trace:
    return decoding.trace(starter, "The capital of France is", max_new_tokens=1, top_k=5)


@pytest.fixture
def passes() -> list[tuple[str, int]]:
    """Each pass over `engine`: its kind, and the bytes that are reserved meanwhile in the last one of `budgets`."""
    return []


@pytest.fixture
def engine(starter: LocalEngine, passes: list[tuple[str, int]]) -> LocalEngine:
    def note(kind: str) -> Any:
        return noting(passes, lambda *_, **__: (kind, budgets[-1].reserved))

    return watched(starter, **{kind: note(kind) for kind in ("read", "read_texts", "read_layers")})


budgets: list[MemoryBudget] = []


def answers(engine: Any, trace: Trace, total: int, **asked: object) -> list[dict[str, str]]:
    """What the page says to the question within a budget of so many bytes."""
    budgets.append(MemoryBudget(total))
    registry = ModelRegistry(lambda name, report: engine, ["starter"], memory=budgets[-1], bytes_needed=lambda name: 0)
    said = list(why(registry, {"run": trace.to_jsonl(), "step": 0, **asked}))
    assert budgets[-1].reserved == 0, "released with the answer"
    return said


def test_memory_is_reserved_before_each_pass(
    starter: LocalEngine, engine: LocalEngine, run: Trace, passes: list[tuple[str, int]]
) -> None:
    said = answers(engine, run, 2**30)
    logits = 31 * starter.vocabulary_size * 4
    assert [reserved for kind, reserved in passes if kind == "read_layers"] == [
        bytes_needed(starter, Work("lens", 5, 0, 5, rows=31))
    ]
    assert passes[0][1] > logits
    left_out = {reserved for kind, reserved in passes if kind == "read_texts"}
    assert left_out == {bytes_needed(starter, Work("leave_one_out", 5, 0, 5))}
    assert '{"lens":' in "".join(one.get("why", "") for one in said)


def test_a_lens_that_does_not_fit_is_refused_before_any_layer_is_read(
    starter: LocalEngine, engine: LocalEngine, run: Trace, passes: list[tuple[str, int]]
) -> None:
    needed = bytes_needed(starter, Work("lens", 5, 0, 5, rows=31))
    said = answers(engine, run, needed)  # of which one request may have three quarters
    assert {kind for kind, _ in passes} == {"read_texts"}
    (refusal,) = [one["no-lens"] for one in said if one.get("no-lens")]
    assert "memory" in refusal
    assert said[-1]["why"].startswith('{"leave_one_out":')  # the other question has its answer all the same


def test_no_more_passes_than_were_asked_for() -> None:
    engine = ScriptedEngine()
    trace = decoding.trace(engine, "ab" * 150, max_new_tokens=1, top_k=2)
    for options, most in (({}, LEFT_OUT), ({"last": MAX_LEFT_OUT}, MAX_LEFT_OUT), ({"last": 3}, 3)):
        engine.begun = 0
        assert len(decoding.leave_one_out(engine, trace, 0, **options).parts) == most == engine.begun
    with pytest.raises(
        RequestError, match=f"has to be a whole number from 1 to {MAX_LEFT_OUT}, not {MAX_LEFT_OUT + 1}"
    ):
        decoding.leave_one_out(engine, trace, 0, last=MAX_LEFT_OUT + 1)


@pytest.mark.parametrize(("layers", "vocabulary"), [(MAX_LAYERS + 1, 100), (63, MAX_LENS_LOGITS // 64 + 1)])
def test_a_lens_of_too_many_logits_is_refused(layers: int, vocabulary: int) -> None:
    info = SimpleNamespace(id="wide")
    wide: Any = SimpleNamespace(
        network=SimpleNamespace(layers=layers), vocabulary_size=vocabulary, info=info, layer_logits=None
    )
    with pytest.raises(
        RequestError, match=rf"^The lens of wide would have {layers + 1:,} rows of {vocabulary:,} logits"
    ):
        check_lens_size(wide)
    wide.network.layers, wide.vocabulary_size = 63, MAX_LENS_LOGITS // 64
    assert check_lens_size(wide) == 64
