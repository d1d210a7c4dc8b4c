"""The scores of a given text: its numbers are those of decoding, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import decoding
from decoding.errors import RequestError
from decoding.record.trace import Trace
from decoding.requests.run_request import continuation_ids
from tests import tiny_models
from tests.fakes import NASTY, ScriptedEngine
from tests.watched import noting, watched

Folder = Callable[[str], Path]
PROMPT = "Transformers are the"


def test_a_given_text(scripted: ScriptedEngine) -> None:
    trace = decoding.score(scripted, "a", " most only toy", top_k=2)
    assert scripted.begun == 1
    assert scripted.read == [[*scripted.vocabulary.encode("a most only")]]
    assert [step.forced for step in trace.steps] == [False, True, False]
    assert [step.picked.rank for step in trace.steps] == [0, 260, 0]
    assert trace.steps[1].picked.probability == pytest.approx(0.125 / 269)
    assert (trace.stop_reason, trace.max_new_tokens, trace.top_k) == ("steps", 3, 2)
    assert trace.model.engine == "a given text, tests.fakes"
    assert trace.text == "a most only toy"
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


@pytest.mark.parametrize("text", [text for text in NASTY.values() if "<|end|>" not in text])
def test_nasty_texts_are_read_as_they_are(scripted: ScriptedEngine, text: str) -> None:
    trace = decoding.score(scripted, "a", text, top_k=1)
    assert trace.generated_text == text
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_a_text_that_ends(scripted: ScriptedEngine) -> None:
    assert decoding.score(scripted, "a", " most<|end|>", top_k=2).stop_reason == "end_of_text"
    trace = decoding.score(scripted, "a", "<|end|> most", top_k=2)
    assert (trace.stop_reason, len(trace.steps)) == ("steps", 2)


TOO_LONG = "The given text is 1,001 tokens long; at most 1,000 are read. Shorten it."
TEXTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "empty": ("", {}, "The text is empty, so there is nothing to read. Write or paste one."),
    "None": (None, {}, "The given text has to be text, not nothing."),
    "NUL": ("ab\0", {}, "Character 3 of the given text is a NUL (U+0000): that is not text. Delete it."),
    "characters": ("x" * 50_001, {}, "The given text has 50,001 characters; at most 50,000 are read. Shorten it."),
    "tokens": ("x" * 1_001, {"context_length": None}, TOO_LONG),
    "context": (
        "x" * 9,
        {"context_length": 10},
        "The given text is 9 tokens long; at most 8 have room after the prompt's 2 in scripted. Shorten it.",
    ),
    "full": (
        "x",
        {"context_length": 1},
        "The given text is 1 tokens long; at most 0 have room after the prompt's 2 in scripted. Shorten it.",
    ),
}


@pytest.mark.parametrize(("text", "options", "sentence"), TEXTS.values(), ids=TEXTS)
def test_texts_that_are_refused(text: Any, options: dict[str, Any], sentence: str) -> None:
    engine = ScriptedEngine(**options)
    with pytest.raises(RequestError) as refused:
        decoding.score(engine, "ab", text, top_k=2)
    assert (refused.value.field, str(refused.value), engine.begun) == ("text", sentence, 0)


def test_the_longest_text(scripted: ScriptedEngine) -> None:
    assert len(continuation_ids(scripted, [5] * 24, "x" * 1_000)) == 1_000  # all of the context


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_scoring_a_run_gives_its_own_numbers(tiny_folder: Folder, architecture: str) -> None:
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu")
    written = decoding.trace(engine, PROMPT, max_new_tokens=12, top_k=3)
    passes: list[object] = []
    readouts = list(
        watched(engine, read=noting(passes)).score(written.prompt_token_ids, written.generated_token_ids, top_k=3)
    )
    assert len(passes) <= 2  # the prompt, and what is scored
    for step, readout in zip(written.steps, readouts, strict=True):
        assert readout.picked is not None
        assert (readout.picked.token_id, readout.picked.rank) == (step.picked.token_id, 0)
        assert [math.exp(x) for x in readout.logprobs] == pytest.approx(
            [c.probability for c in step.candidates], abs=1e-5
        )


def test_five_hundred_tokens_are_a_pass_of_their_own(tmp_path: Path) -> None:
    folder = tiny_models.save(tmp_path, tiny_models.network("llama", max_position_embeddings=512))
    passes: list[object] = []
    engine = watched(decoding.load(str(folder), device="cpu"), read=noting(passes))
    assert len(decoding.score(engine, "a" * 12, "b" * 500, top_k=5).steps) == 500
    assert len(passes) == 2  # the prompt, and what is scored


def test_nothing_is_added_to_a_continuation(tmp_path: Path) -> None:
    network = tiny_models.network("llama")
    folder = tiny_models.save(tmp_path, network, bos_token="<|begin|>")
    engine = decoding.load(str(folder), device="cpu")
    tokenizer: Any = engine.vocabulary._tokenizer
    tokenizer.add_bos_token = True
    trace = decoding.score(engine, "ab", "cd", top_k=2)
    assert trace.generated_text == "cd"
    assert len(trace.steps) == 2
