"""A file that was altered by hand is refused: what it says twice has to agree, and its numbers have to have room."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding.errors import FormatError
from decoding.record.prompt_text import tokens_spell
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from tests.fakes import NASTY, ScriptedEngine
from tests.record.test_trace_strict import changed


@pytest.fixture(scope="module")
def run() -> Trace:
    return decoding.trace(ScriptedEngine(), "Transformers are the", max_new_tokens=3, top_k=3)


def picked(run: Trace, **values: Any) -> dict[str, Any]:
    """The second step's pick as JSON, from beyond the candidates."""
    third = json.loads(run.to_jsonl().splitlines()[2])["candidates"][2]
    return third | {"rank": 3, "token_id": 200, "text": "x"} | values


ALTERED: dict[str, tuple[int, dict[str, Any], str]] = {
    "entropy of 1,000 nats": (1, {"entropy": 1000.0}, "its entropy is not one that its probabilities can have"),
    "entropy above the vocabulary's": (1, {"entropy": 9.0}, "its entropy is not one that its probabilities can have"),
    "entropy of a sure step": (1, {"entropy": 0.0}, "its entropy is not one that its probabilities can have"),
    "an id twice": (1, {"candidates__1__token_id": 258}, "a token id occurs twice among its candidates"),
    "a prompt unlike its tokens": (0, {"prompt": "Transformers are no"}, "its prompt is not the text of its"),
    "a longer prompt": (0, {"prompt": "Transformers are the best"}, "its prompt is not the text of its"),
    "no prompt": (0, {"prompt": ""}, "its prompt is not the text of its"),
    "no prompt tokens": (0, {"prompt_tokens": [], "prompt_token_ids": []}, "its tokens have ids, and the prompt has"),
    "a candidate's text": (2, {"candidates__1__text": " least"}, "token id 258 has two texts in this run"),
    "bytes that say another text": (1, {"candidates__2__bytes": "ff"}, "the text of token id 260 is not what its"),
    "an id taken away": (1, {"candidates__1__token_id": -1}, "some tokens of the run have ids, and others have none"),
    "fewer candidates": (0, {"top_k": 4}, "it has fewer candidates than were asked for, and yet a rest"),
    "a rest of nothing": (
        1,
        {"candidates__2__probability": 0.0, "candidates__2__logprob": None, "rest": 0.25},
        "its rest is more than tokens less probable than the last candidate can have",
    ),
    "a sum at another temperature": (1, {"log_sums__5__1": 4.0}, "its log_sums"),
    "a sum that no vocabulary has": (1, {"log_sums__0__1": 40.0}, "its log_sums are more than any vocabulary has"),
    "temperatures of another run": (2, {"log_sums": [[1, 0.0]]}, "its log_sums are of other temperatures"),
    "no sums": (3, {"log_sums": []}, "its log_sums are of other temperatures"),
    "a message without an error": (-1, {"message": "All is well."}, "it has an error's message and no error"),
    "a full context with every step": (-1, {"stop_reason": "context_full"}, "its context was full, and it has every"),
    "fewer steps than it says": (0, {"max_new_tokens": 4}, "of 4 steps it has 3"),
    "a loop that is none": (-1, {"loops": [{"start": 0, "period": 1, "repeats": 3}]}, "its loops are not those"),
}


@pytest.mark.parametrize(("line", "values", "sentence"), ALTERED.values(), ids=ALTERED)
def test_altered_runs_are_refused(run: Trace, line: int, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl(changed(run, line, **values))
    assert " of the run cannot be right: " + sentence in str(refused.value).replace("The run", "Line 0 of the run")


def test_a_pick_from_beyond_has_room_for_those_before_it(run: Trace) -> None:
    far = {"forced": True, "picked": picked(run, rank=5_000)}
    with pytest.raises(FormatError, match="its pick contradicts its candidates"):
        Trace.from_jsonl(changed(run, 2, **far))
    with pytest.raises(FormatError, match="it is not forced and did not pick the first candidate"):
        Trace.from_jsonl(changed(run, 2, picked=picked(run)))


def test_the_margin_of_one_candidate_leaves_room_for_a_second() -> None:
    one = decoding.trace(ScriptedEngine(), "a", max_new_tokens=1, top_k=1)
    assert Trace.from_jsonl(one.to_jsonl()) == one
    sure = decoding.trace(ScriptedEngine([{" most": 0.9}]), "a", max_new_tokens=1, top_k=1)
    for trace, margin in ((one, 0.6), (sure, 0.5)):  # a second of less than nothing, and of more than the rest
        with pytest.raises(FormatError, match="its margin is not the first probability minus the second"):
            Trace.from_jsonl(changed(trace, 1, margin=margin))


ENGINE = ScriptedEngine()


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(st.floats(-40, 40, width=32), min_size=3, max_size=271), min_size=1, max_size=3),
    scale=st.sampled_from([0.01, 1.0, 3.0]),
    top_k=st.integers(1, 50),
)
def test_runs_of_any_logits_are_consistent(rows: list[list[float]], scale: float, top_k: int) -> None:
    ENGINE.script = [np.array(row + [-60.0] * (271 - len(row)), np.float32) * np.float32(scale) for row in rows]
    trace = decoding.trace(ENGINE, "a", max_new_tokens=4, top_k=top_k)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


@pytest.mark.parametrize("prompt", NASTY.values(), ids=NASTY)
def test_a_prompt_is_the_text_of_its_tokens(prompt: str) -> None:
    vocabulary = ENGINE.vocabulary
    tokens = vocabulary.tokens(vocabulary.encode(prompt))
    assert tokens_spell(prompt, tokens)
    assert not tokens_spell(prompt + "x", tokens)
    assert not tokens_spell("x" + prompt, tokens)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("", ["<|begin|>"]),
        ("Hello you", ["<s>", " Hello", " you", "</s>"]),
        ("<s>Hello", ["<s>", "<s>", "Hello"]),
        ("Ünïcode ﬁne", ["unicode", " fine"]),
        ("a 漢字 b", ["a", "<unk>", "b"]),
        ("漢字", ["[UNK]"]),
        ("a漢b字c", ["a", "<unk>", "b", "<unk>", "c"]),
        ("한국", ["한국"]),
    ],
)
def test_normalized_prompts_are_accepted(prompt: str, tokens: list[str]) -> None:
    assert tokens_spell(prompt, [Token(n, text) for n, text in enumerate(tokens)])


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("Hello", ["<s>", "Help"]),
        ("Hello", ["<s>"]),
        ("a 漢字 c", ["a", "<unk>", "b"]),
        ("x漢字 b", ["a", "<unk>", "b"]),
        ("aba", ["a", "<unk>", "b"]),
    ],
)
def test_another_prompt_is_not_spelled_by_the_tokens(prompt: str, tokens: list[str]) -> None:
    assert not tokens_spell(prompt, [Token(n, text) for n, text in enumerate(tokens)])


def test_entropy_of_every_distribution_is_within_its_bounds(run: Trace) -> None:
    step = run.steps[0]
    shares = [c.probability for c in step.candidates]
    rest = step.rest / (ENGINE.size - 3)
    exact = -math.fsum(p * math.log(p) for p in shares) - step.rest * math.log(rest)
    assert step.entropy == pytest.approx(exact, abs=1e-6)
    for wrong in (exact - 1.0, exact + 4.0):
        with pytest.raises(FormatError, match="its entropy"):
            Trace.from_jsonl(changed(run, 1, entropy=wrong))
