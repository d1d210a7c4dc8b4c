"""Each example on the page makes a point; here the starter model still makes it."""

import json
from pathlib import Path

import pytest

import decoding
from decoding.engines.local import LocalEngine

EXAMPLES = json.loads((Path(__file__).resolve().parents[1] / "assets" / "examples.json").read_text("utf-8"))


def run(starter: LocalEngine, words: str) -> decoding.Trace:
    (example,) = [e for e in EXAMPLES if words in e["label"]]
    return decoding.trace(starter, example["prompt"], max_new_tokens=example["steps"], top_k=example["choices"])


def test_the_first_is_the_notebooks_own() -> None:
    first = EXAMPLES[0]
    assert (first["prompt"], first["steps"], first["choices"]) == ("Transformers are the", 8, 5)


def test_the_story_is_asked_for_to_128_tokens_and_ends_early(starter: LocalEngine) -> None:
    trace = run(starter, "Unicorns")
    assert len(trace.prompt_token_ids) + trace.max_new_tokens == 128
    assert trace.stop_reason == "end_of_text"


def test_korean_characters_span_tokens(starter: LocalEngine) -> None:
    trace = run(starter, "한국어")
    assert len(trace.prompt_token_ids) > len(trace.prompt)
    assert any(step.picked.bytes for step in trace.steps)


def test_code_is_where_the_model_is_sure(starter: LocalEngine) -> None:
    trace = run(starter, "Code")
    assert trace.perplexity < 1.5
    assert "\n" in trace.generated_text


def test_an_emoji_spans_tokens(starter: LocalEngine) -> None:
    trace = run(starter, "Emoji")
    assert "💪" in trace.generated_text
    assert any(step.picked.bytes for step in trace.steps)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["label"])
def test_every_example_can_be_run(starter: LocalEngine, example: dict[str, str | int]) -> None:
    assert example.keys() == {"label", "prompt", "steps", "choices"}
    decoding.run.check_request(example["prompt"], example["steps"], example["choices"])
