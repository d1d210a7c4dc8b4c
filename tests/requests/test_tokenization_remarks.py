"""What a tokenizer made of a text: ids that a network has no row for, texts that are read in another way, tokens in
front and behind. Each is refused or said in a sentence, by every way in.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

import decoding
from decoding.__main__ import main
from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.export import to_table
from decoding.models.loading import describe_model
from decoding.models.tokenizer import tokenizer_of
from decoding.page.panel_actions import branch, score
from decoding.questions import text_scores
from decoding.questions.beam_search import beam_search
from decoding.questions.verify import recompute
from decoding.record.tokens import Vocabulary
from decoding.requests.tokenization_remarks import prompt_remarks
from decoding.run import Run, check_request, trace
from decoding.serving.memory_budget import MemoryBudget
from tests import tiny_models
from tests.fakes import ScriptedEngine


class ModelRegistry:
    """A model registry of one model."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.memory = MemoryBudget(2**40)

    def wait(self, _name: object) -> list[str]:
        return []

    def engine(self, _name: object) -> Engine:
        return self._engine


def engine_of(speaks: PreTrainedTokenizerFast, *, rows: int = 0, **options: Any) -> ScriptedEngine:
    """A scripted engine over a real tokenizer; `rows` ids fit into its network, all by default."""
    made = tokenizer_of(speaks)
    words = [f"w{n}" for n in range(64)]  # enough for the ids of any tokenizer here
    engine = ScriptedEngine([{n: 0.5 - 0.01 * n for n in range(5, 10)}], words=words, end_ids=(), **options)
    engine.vocabulary = Vocabulary(made)
    engine.vocabulary_size = rows or engine.size
    return engine


# ---- ids that a network has no row for


def with_a_pad_beyond(rows: int) -> PreTrainedTokenizerFast:
    speaks = tiny_models.tokenizer()
    speaks.add_special_tokens({"pad_token": "[PAD]"})
    assert speaks.convert_tokens_to_ids("[PAD]") == rows
    return speaks


@pytest.fixture
def padded() -> ScriptedEngine:
    return engine_of(with_a_pad_beyond(258), rows=258, beginning_id=258)


ASKED: dict[str, Callable[[Engine], Any]] = {
    "trace": lambda m: trace(m, "Hi [PAD] there", max_new_tokens=3, top_k=2),
    "score": lambda m: text_scores.score(m, "Hi", " [PAD]", top_k=2),
    "score, in the middle": lambda m: text_scores.score(m, "Hi", "[PAD] x", top_k=2),
    "score, the prompt": lambda m: text_scores.score(m, "[PAD]", "x", top_k=2),
    "beams": lambda m: beam_search(m, "[PAD]", max_new_tokens=3, num_beams=2, top_k=2),
    "an empty prompt": lambda m: trace(m, "", max_new_tokens=3, top_k=2),
    "forced": lambda m: Run(m, check_request("Hi", 3, 2, [(0, 258)])),
    "page: score": lambda m: list(
        score(ModelRegistry(m), {"prompt": "Hi", "steps": 3, "choices": 2, "text": "[PAD]", "model": "x"})  # type: ignore[arg-type]
    ),
    "page: a word of one's own": lambda m: list(
        branch(ModelRegistry(m), {"prompt": "Hi", "steps": 3, "choices": 2, "forced": [], "text": "[PAD]", "at": 0})  # type: ignore[arg-type]
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_an_id_without_a_row_never_reaches_the_network(padded: ScriptedEngine, asked: str) -> None:
    with pytest.raises(RequestError) as caught:
        ASKED[asked](padded)
    assert "258" in str(caught.value)
    assert "0 to 257" in str(caught.value)
    assert caught.value.field in ("prompt", "text", "forced")
    assert padded.begun == 0


def test_the_sentence_names_the_token(padded: ScriptedEngine) -> None:
    with pytest.raises(RequestError) as caught:
        trace(padded, "Hi [PAD] there", max_new_tokens=3, top_k=2)
    assert str(caught.value) == (
        'The prompt holds the token "[PAD]" with the id 258, which scripted cannot read: it has the ids 0 to 257. '
        "Leave that token out."
    )


def test_an_id_that_no_word_stands_for_is_named_by_its_number() -> None:
    speaks = tiny_models.tokenizer()
    speaks.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 999_999)]
    )
    with pytest.raises(RequestError) as caught:
        trace(engine_of(speaks, rows=258), "Hi", max_new_tokens=3, top_k=2)
    assert str(caught.value) == (
        "The tokenizer of scripted makes the id 999999 of what was typed, which scripted cannot read: it has the ids 0 "
        "to 257. Choose another model."
    )


def test_a_real_folder_loads_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny_models.network("llama", vocab_size=258)
    folder = tiny_models.save(tmp_path, network, with_a_pad_beyond(258))
    model = decoding.load(str(folder), device="cpu")
    assert model.vocabulary_size == 258
    assert model.vocabulary.encode("[PAD]") == [258]
    assert len(trace(model, "Hi", max_new_tokens=2, top_k=2).steps) == 2
    assert main(["[PAD]", "--model", str(folder), "--device", "cpu"]) == 2
    assert 'holds the token "[PAD]" with the id 258' in capsys.readouterr().err


# ---- texts that are read in another way


def normalising(normalizer: Any) -> PreTrainedTokenizerFast:
    speaks = tiny_models.tokenizer()
    speaks.backend_tokenizer.normalizer = normalizer
    return speaks


DECOMPOSED = unicodedata.normalize("NFD", "한국어")


def test_a_rewritten_prompt_has_a_remark() -> None:
    engine = engine_of(normalising(normalizers.NFC()))
    run = trace(engine, DECOMPOSED, max_new_tokens=2, top_k=2)
    assert run.remarks == (
        "The tokenizer of scripted changes the prompt before the model reads it: "
        'it turns 8 characters into 3, "한국어".',
    )
    assert to_table(run).endswith(f"\n{run.remarks[0]}\n")
    assert decoding.Trace.from_jsonl(run.to_jsonl()) == run
    assert trace(engine, "한국어", max_new_tokens=2, top_k=2).remarks == ()


@pytest.mark.parametrize(
    ("normalizer", "text", "read"),
    [
        (normalizers.NFC(), DECOMPOSED, "한국어"),
        (normalizers.Lowercase(), "Cat SAT", "cat sat"),
        (normalizers.NFKC(), "ﬁne", "fine"),
        (normalizers.StripAccents(), "e\u0301", "e"),
        (normalizers.Replace("  ", " "), "a  b", "a b"),
    ],
)
def test_a_rewritten_pasted_text_has_a_remark(normalizer: Any, text: str, read: str) -> None:
    engine = engine_of(normalising(normalizer))
    run = text_scores.score(engine, "x", text, top_k=2)
    assert run.generated_text == read
    assert len(run.remarks) == 1
    assert f'it turns {len(text)} characters into {len(read)}, "{read}".' in run.remarks[0]
    assert "given text" in run.remarks[0]


def test_a_long_text_is_shown_where_it_differs() -> None:
    engine = engine_of(normalising(normalizers.Lowercase()))
    [said] = prompt_remarks(engine, "a" * 500 + "B" + "c" * 500, engine.vocabulary.encode("a" * 500 + "b" + "c" * 500))
    assert "ab" + "c" * 20 in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("speaks", "prompt", "text"),
    [
        (tiny_models.sentencepiece, "Trans", "formers"),
        (tiny_models.sentencepiece, "Transform", "er"),
        (tiny_models.sentencepiece, "트", "랜스"),
        (tiny_models.sentencepiece, "Transformers", " are the"),
        (tiny_models.wordpiece, "the cat", " sat on the mat"),
        (tiny_models.word_ends, "the", " cat"),
    ],
)
def test_scores_belong_to_the_prompt_and_the_pasted_text(
    speaks: Callable[[], PreTrainedTokenizerFast], prompt: str, text: str
) -> None:
    run = text_scores.score(engine_of(speaks()), prompt, text, top_k=2)
    assert run.text == prompt + text
    assert not any("given text" in said for said in run.remarks)


def test_a_text_that_cannot_continue_the_prompt_has_a_remark() -> None:
    run = text_scores.score(engine_of(tiny_models.wordpiece()), "the cat", "sat", top_k=2)
    assert run.generated_text == " sat"
    assert any('changes the given text before the model reads it: it turns 3 characters into 4, " sat"' in said
               for said in run.remarks)  # fmt: skip


def test_a_word_of_ones_own_brings_no_space() -> None:
    engine = engine_of(tiny_models.sentencepiece())
    asked = {"prompt": "Trans", "steps": 4, "choices": 2, "forced": [], "text": "formers", "at": 0}
    *_, last = branch(ModelRegistry(engine), asked)  # type: ignore[arg-type]
    run = decoding.Trace.from_jsonl(last["panel"])
    assert "".join(step.picked.text for step in run.steps[:2]) == "formers"
    assert run.remarks == ()


# ---- a run's text


@pytest.mark.parametrize("speaks", [tiny_models.wordpiece, tiny_models.word_ends], ids=["WordPiece", "ends of words"])
def test_a_runs_text_is_what_the_tokenizer_decodes(speaks: Callable[[], PreTrainedTokenizerFast]) -> None:
    made = speaks()
    engine = engine_of(made, rows=len(made))
    engine.script = [{n: 0.9} for n in (7, 10, 11, 8, 5, 9)]
    run = trace(engine, "the cat", max_new_tokens=6, top_k=3)
    ids = [*run.prompt_token_ids, *run.generated_token_ids]
    whole, start = made.decode(ids), made.decode(ids[: len(run.prompt_token_ids)])
    assert run.generated_text == whole.removeprefix(start)
    assert run.text == "the cat" + whole.removeprefix(start)
    assert "##" not in run.text
    assert decoding.Trace.from_jsonl(run.to_jsonl()).text == run.text
    assert run.text.splitlines()[0] in to_table(run)


def test_a_run_of_before_is_still_the_models_own() -> None:
    """Files of earlier versions hold tokens as they look alone."""
    engine = engine_of(tiny_models.wordpiece(), rows=20)
    run = trace(engine, "the cat", max_new_tokens=3, top_k=2)
    alone = engine.vocabulary.token

    def older(candidate: decoding.Candidate) -> decoding.Candidate:
        return replace(candidate, text=alone(candidate.token_id).text)

    steps = tuple(replace(s, picked=older(s.picked), candidates=tuple(map(older, s.candidates))) for s in run.steps)
    before = replace(run, steps=steps, prompt_tokens=tuple(alone(n) for n in run.prompt_token_ids), remarks=())
    assert before.generated_text != run.generated_text
    assert recompute(engine, decoding.Trace.from_jsonl(before.to_jsonl())) == 0
    forged = replace(before, prompt_tokens=(*before.prompt_tokens[:-1], replace(before.prompt_tokens[-1], text="dog")))
    with pytest.raises(decoding.FormatError):
        recompute(engine, forged)


# ---- tokens in front and behind


def test_an_end_token_behind_the_prompt_has_a_remark() -> None:
    speaks = tiny_models.tokenizer(eos_token="<|end|>")
    speaks.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 256)]
    )
    engine = engine_of(speaks)
    [said] = trace(engine, "Hello", max_new_tokens=2, top_k=2).remarks
    assert said.startswith('The tokenizer of scripted puts "<|end|>" after every prompt')
    plain = engine_of(tiny_models.tokenizer())
    assert trace(plain, "Hello<|end|>", max_new_tokens=2, top_k=2).remarks == ()  # typed


def test_two_beginning_tokens_have_a_remark() -> None:
    engine = engine_of(tiny_models.sentencepiece(), beginning_id=1)
    run = trace(engine, "<s>the", max_new_tokens=2, top_k=1)
    assert [token.text for token in run.prompt_tokens[:2]] == ["<s>", "<s>"]
    assert run.remarks[0].startswith('The prompt begins with "<s>" twice')
    assert trace(engine, "the", max_new_tokens=2, top_k=1).remarks == ()


def test_a_config_that_names_no_beginning_has_none() -> None:
    network = tiny_models.network("llama")
    bare = SimpleNamespace(vocab_size=320)  # as those of models that see and hear besides
    network.config.get_text_config = lambda decoder: bare
    network.generation_config = None
    loaded = describe_model(network, tiny_models.tokenizer(), model="tiny")
    assert (loaded.beginning_id, loaded.end_ids) == (None, frozenset())
