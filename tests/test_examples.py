"""Each example on the page makes a point; here the starter model still makes it."""

import json
from pathlib import Path

import pytest

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.export.labels import label
from decoding.record.tokens import join_tokens

EXAMPLES = json.loads((Path(__file__).resolve().parents[1] / "assets" / "examples.json").read_text("utf-8"))


def run(starter: LocalEngine, name: str) -> decoding.Trace:
    (example,) = [e for e in EXAMPLES if e["name"] == name]
    return decoding.trace(starter, example["prompt"], max_new_tokens=example["steps"], top_k=example["choices"])


def test_the_first_is_the_notebooks_own() -> None:
    first = EXAMPLES[0]
    assert (first["prompt"], first["steps"], first["choices"]) == ("Transformers are the", 8, 5)


def test_two_picks_of_the_notebooks_prompt_are_safe(starter: LocalEngine) -> None:
    shares = sorted(step.picked.probability for step in run(starter, "transformers").steps)
    assert shares[-2] > 0.6
    assert shares[-3] < 0.25


def test_the_story_is_asked_for_to_128_tokens_and_ends_early(starter: LocalEngine) -> None:
    trace = run(starter, "unicorns")
    assert len(trace.prompt_token_ids) + trace.max_new_tokens == 128
    assert trace.stop_reason == "end_of_text"


def test_korean_characters_span_tokens(starter: LocalEngine) -> None:
    trace = run(starter, "korean")
    assert len(trace.prompt_token_ids) > len(trace.prompt)
    assert sum(step.picked.bytes is not None for step in trace.steps) > len(trace.steps) / 2
    assert any(label("", s.picked.bytes, b"\xec\x9e") == "자⟨+90⟩" for s in trace.steps if s.picked.bytes)


def test_code_is_where_the_model_is_sure(starter: LocalEngine) -> None:
    trace = run(starter, "code")
    assert trace.perplexity < 1.5
    assert sum(step.picked.probability > 0.7 for step in trace.steps) > len(trace.steps) * 2 / 3
    assert all(s.picked.probability < 0.5 for s in trace.steps if s.picked.text == " return")
    assert "\n" in trace.generated_text


def test_an_emoji_spans_tokens(starter: LocalEngine) -> None:
    trace = run(starter, "emoji")
    assert "💪" in trace.generated_text
    assert join_tokens([step.picked.token for step in trace.steps[:3]]) == " 💪"
    assert any(step.picked.bytes for step in trace.steps)


def test_repetition(starter: LocalEngine) -> None:
    trace = run(starter, "repeats")
    (loop,) = trace.loops
    assert loop.repeats >= 4
    first, *others = [
        sum(step.picked.probability for step in trace.steps[at : at + loop.period]) / loop.period
        for at in range(loop.start, loop.start + loop.period * loop.repeats, loop.period)
    ]
    assert all(mean > first + 0.1 for mean in others)  # what was written once is more probable


def test_a_close_call_whose_other_branch_is_the_more_probable_text(starter: LocalEngine) -> None:
    trace = run(starter, "closest")
    closest = min(trace.steps, key=lambda step: step.margin)
    assert closest.index == 0
    assert closest.margin < 0.01
    steps = trace.max_new_tokens
    other = decoding.branch(starter, trace, 0, closest.candidates[1].token_id, max_new_tokens=steps)
    assert len(other.steps) == len(trace.steps) == steps
    assert other.logprob > trace.logprob + 1


def test_a_sure_step_and_an_unsure_one(starter: LocalEngine) -> None:
    sure, _, unsure, *_ = run(starter, "sure").steps
    assert sure.picked.text == ","
    assert sure.picked.probability > 0.9
    assert unsure.picked.probability < 0.1
    assert unsure.entropy > sure.entropy + 4


@pytest.mark.parametrize(("name", "answer"), [("fact", " Au"), ("sum", " 7")])
def test_greedy_is_right_where_there_is_one_answer(starter: LocalEngine, name: str, answer: str) -> None:
    trace = run(starter, name)
    assert trace.generated_text.startswith(answer)
    assert all(step.margin > 0.4 for step in trace.steps[: 1 if name == "fact" else 2])


def test_one_sentence_in_two_languages(starter: LocalEngine) -> None:
    english, korean = (run(starter, f"cat-{language}") for language in ("english", "korean"))
    assert len(korean.prompt_tokens) > 4 * len(english.prompt_tokens)
    assert len(korean.prompt) < len(english.prompt)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_every_example_can_be_run(starter: LocalEngine, example: dict[str, str | int]) -> None:
    assert example.keys() == {"name", "prompt", "steps", "choices"}
    decoding.run.check_request(example["prompt"], example["steps"], example["choices"])
