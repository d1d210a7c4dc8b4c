"""Values of another type than asked for: NumPy's numbers are taken, and everything else is named in a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import decoding
from decoding.errors import FormatError, GreedyscopeError, RequestError
from decoding.requests.values import is_whole, shown
from tests.fakes import ScriptedEngine

WHOLE = [np.int64(3), np.uint8(3), np.int32(3), np.array(3)]


@pytest.mark.parametrize("three", WHOLE, ids=lambda value: type(value).__name__)
def test_whole_numbers_of_numpy_are_taken_everywhere(scripted: ScriptedEngine, three: Any) -> None:
    run = decoding.trace(scripted, "a", max_new_tokens=three, top_k=three)
    assert (run.max_new_tokens, type(run.max_new_tokens), type(run.top_k)) == (3, int, int)
    assert decoding.Trace.from_jsonl(run.to_jsonl()) == run
    step, token_id = np.int64(1), np.int64(run.steps[1].candidates[1].token_id)
    fork = decoding.branch(scripted, run, step, token_id, max_new_tokens=three)  # type: ignore[arg-type]
    assert fork.generated_token_ids[1] == token_id
    assert fork == decoding.branch(scripted, run, 1, int(token_id), max_new_tokens=3)
    assert decoding.leave_one_out(scripted, decoding.trace(scripted, "ab", max_new_tokens=2, top_k=2), step)  # type: ignore[arg-type]
    how = decoding.Sampling(temperature=np.float32(0.5), top_k=three, seed=three)  # type: ignore[arg-type]
    drawn = decoding.sample(scripted, "a", sampling=how, max_new_tokens=2, top_k=2)
    assert drawn.sampling == decoding.Sampling(temperature=0.5, top_k=3, seed=3)
    assert decoding.Trace.from_jsonl(drawn.to_jsonl()) == drawn


@pytest.mark.parametrize("value", [True, np.True_, "3", None, [3], np.array([3, 4]), 2.5, np.float32(2.5), object()])
def test_nothing_else_is_a_whole_number(value: object) -> None:
    assert not is_whole(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.int64(300), "300"),
        (np.float32(2.5), "2.5"),
        (b"abc", "a value of the type bytes"),
        (object(), "a value of the type object"),
        (np.array([1, 2]), "a value of the type ndarray"),
        (type("x" * 100, (), {})(), "a value of the type " + "x" * 40),
    ],
)
def test_a_sentence_names_the_value_or_its_type(value: object, words: str) -> None:
    assert shown(value) == words


def no_model(kind: str) -> str:
    return f"The model has to be one that decoding.load() or decoding.connect() gave, not a value of the type {kind}."


def no_run(kind: str) -> str:
    return f"The run has to be a Trace, as decoding.trace() gives it, not a value of the type {kind}."


NO_DRAW = "There is nothing to draw from: say how, with a temperature."
NO_NAME = "The model has to be named by a text or a path, not "
NO_LINES = "A run has to be JSON Lines in one text, not "
NO_ADDRESS = "That is not a server's address: write it as http://127.0.0.1:8000."
NO_STEPS = "The number of steps is empty or not a number. It has to be a whole number from 1 to 256."
NO_IDS = "Token ids have to be a list, not "
NO_NAMES = "The texts' names have to be a pair, as ('The first text', 'The second text')."
NO_DEVICE = """There is no device "['cpu']": choose one of auto, cuda, mps, cpu."""
NO_ENGINE = 'There is no engine "None": choose one of auto, torch. For a vLLM server, call decoding.connect(address).'
HOW = decoding.Sampling()
SIZES: Any = {"max_new_tokens": 1, "top_k": 1}
d: Any = decoding  # its types would refuse these calls
CALLS: list[tuple[Callable[[Any, Any], object], str]] = [
    (lambda model, run: d.trace("starter", "a", **SIZES), no_model("str")),
    (lambda model, run: d.greedy_search(None, "a", **SIZES), no_model("NoneType")),
    (lambda model, run: d.beam_search(None, "a", num_beams=2, **SIZES), no_model("NoneType")),
    (lambda model, run: d.score(None, "a", "b", top_k=1), no_model("NoneType")),
    (lambda model, run: d.agreement(None, run), no_model("NoneType")),
    (lambda model, run: d.branch(None, run, 0, 0, max_new_tokens=1), no_model("NoneType")),
    (lambda model, run: d.branch(model, None, 0, 0, max_new_tokens=1), no_run("NoneType")),
    (lambda model, run: d.lens(model, "a", 0), no_run("str")),
    (lambda model, run: d.leave_one_out(model, None, 0), no_run("NoneType")),
    (lambda model, run: d.score_prompt(model, None), no_run("NoneType")),
    (lambda model, run: d.probability(model, None, 0, "a"), no_run("NoneType")),
    (lambda model, run: d.closest_calls(None), no_run("NoneType")),
    (lambda model, run: d.compare_totals(run, None), no_run("NoneType")),
    (lambda model, run: d.sample(model, "a", sampling=None, **SIZES), NO_DRAW),
    (lambda model, run: d.draws(model, "a", sampling=None, count=2, **SIZES), NO_DRAW),
    (lambda model, run: d.sample(model, "a", sampling=HOW, max_new_tokens=None, top_k=1), NO_STEPS),
    (lambda model, run: d.draws(model, "a", sampling=HOW, max_new_tokens=None, top_k=1), NO_STEPS),
    (lambda model, run: d.lens(model, run, 0, follow=3), NO_IDS + "a number."),
    (lambda model, run: d.find_loops(None), NO_IDS + "nothing."),
    (lambda model, run: d.compare_totals(run, run, names=("A",)), NO_NAMES),
    (lambda model, run: d.compare_totals(run, run, names=3), NO_NAMES),
    (lambda model, run: d.load("starter", device=["cpu"]), NO_DEVICE),
    (lambda model, run: d.load("starter", engine=None), NO_ENGINE),
    (lambda model, run: d.load(None), NO_NAME + "nothing."),
    (lambda model, run: d.load(7), NO_NAME + "a number."),
    (lambda model, run: d.connect(None), NO_ADDRESS),
    (lambda model, run: d.connect("http://127.0.0.1:1", model=7), NO_NAME + "a number."),
    (lambda model, run: d.Trace.from_jsonl(None), NO_LINES + "nothing."),
    (lambda model, run: d.Trace.from_jsonl(b"{}"), NO_LINES + "a value of the type bytes."),
]


@pytest.mark.parametrize(("call", "sentence"), CALLS)
def test_a_public_function_says_what_it_was_not_given(
    scripted: ScriptedEngine, call: Callable[[Any, Any], object], sentence: str
) -> None:
    run = decoding.trace(scripted, "a", max_new_tokens=1, top_k=2)
    with pytest.raises(GreedyscopeError) as caught:
        call(scripted, run)
    assert str(caught.value) == sentence
    assert isinstance(caught.value, FormatError if sentence.startswith(NO_LINES) else RequestError)
