"""Tokenizers read from their files as they stand: the starter's is the one that transformers makes of the same files,
and where transformers would make another one, the file counts.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from decoding.models.slow_tokenizer import tokenizer_in
from decoding.models.starter import ensure_starter
from decoding.models.tokenizer import FileTokenizer, read_tokenizer
from decoding.record.tokens import Token, Vocabulary
from tests import tiny_models
from tests.fakes import NASTY
from tests.models.tokenizer_rules import rule_of

ROOT = Path(__file__).resolve().parents[2]
PLAIN: dict[str, bool] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}


@pytest.fixture(scope="module")
def theirs() -> Any:
    return AutoTokenizer.from_pretrained(ensure_starter())


@pytest.fixture(scope="module")
def ours() -> FileTokenizer:
    return read_tokenizer(ensure_starter())


def same(ours: FileTokenizer, theirs: Any, text: str) -> None:
    for specials in (True, False):
        ids = ours(text, add_special_tokens=specials)["input_ids"]
        assert ids == theirs(text, add_special_tokens=specials)["input_ids"]
        assert ours.decode(ids, **PLAIN) == theirs.decode(ids, **PLAIN)
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]  # by default


@pytest.mark.parametrize("text", [*NASTY.values(), ""], ids=[*NASTY, "empty"])
def test_nasty_texts_become_the_same_ids(ours: FileTokenizer, theirs: Any, text: str) -> None:
    same(ours, theirs, text)
    same(ours, theirs, f" {text}\n{text}  " * 40)


def test_specials_that_are_typed_become_the_same_ids(ours: FileTokenizer, theirs: Any) -> None:
    for special in theirs.all_special_tokens + list(theirs.get_added_vocab()):
        same(ours, theirs, f"a {special} b{special}{special}")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_becomes_the_same_ids(ours: FileTokenizer, theirs: Any, text: str) -> None:
    same(ours, theirs, text)


def test_every_id_is_the_same_token(ours: FileTokenizer, theirs: Any) -> None:
    ids = range(len(theirs) + 3)  # beyond the last, there is none
    assert [ours.convert_ids_to_tokens(n) for n in ids] == [theirs.convert_ids_to_tokens(n) for n in ids]
    ids = ids[:-3]
    assert [ours.decode([n], **PLAIN) for n in ids] == [theirs.decode([n], **PLAIN) for n in ids]
    assert ours.bos_token_id == theirs.bos_token_id == 1


def test_it_is_read_once_and_without_transformers() -> None:
    code = (
        "import sys; from decoding.models.starter import ensure_starter\n"
        "from decoding.models.tokenizer import read_tokenizer\n"
        "folder = ensure_starter(); assert read_tokenizer(folder) is read_tokenizer(folder)\n"
        "print(read_tokenizer(folder)('Transformers are the'), {'torch', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{'input_ids': [31806, 366, 359, 260]} set()\n", "")


# ---- other models' files, as they stand


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        *((said, True) for said in (True, "true", "True", 1)),
        *((said, False) for said in (False, "false", "False", 0, "", "no", None)),
    ],
    ids=repr,
)
def test_a_flag_that_is_written_as_text(tmp_path: Path, said: object, begins: bool) -> None:
    tiny_models.tokenizer(bos_token="<|begin|>").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"add_bos_token": said}), "utf-8")
    ours = tokenizer_in("model", tmp_path)
    assert ours.bos_token_id == 257
    assert ours("Hi")["input_ids"] == [257, 39, 72][not begins :]


@pytest.mark.parametrize("token_id", [-1, 2**32, 10**30])
def test_an_id_that_no_tokenizer_has(ours: FileTokenizer, token_id: int) -> None:
    assert ours.convert_ids_to_tokens(token_id) is None
    assert Vocabulary(ours).token(token_id) == Token(token_id, "")


def small_bpe() -> Tokenizer:
    """A byte-level tokenizer with merges that cuts digits one by one."""
    made = Tokenizer(models.BPE())
    cut = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    made.pre_tokenizer, made.decoder = pre_tokenizers.Sequence(cut), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|s|>", "<|e|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["in 2023, 650841823 people in the town 1234 12 23"] * 3, trainer)
    return made


def write(folder: Path, tokenizer: Tokenizer, **names: Any) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(names), "utf-8")
    return folder


TEXT = "In 2023, 650841823 people:\n\n1. x  2"


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3", "gpt_neox"])
@pytest.mark.parametrize(
    "name", ["GPT2Tokenizer", "GPT2TokenizerFast", "LlamaTokenizerFast", "Qwen2Tokenizer", "GPTNeoXTokenizer", None]
)
def test_the_file_counts_and_not_the_class(tmp_path: Path, name: str | None, model_type: str) -> None:
    file = small_bpe()
    write(tmp_path, file, tokenizer_class=name, bos_token="<|s|>", eos_token="<|e|>")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    ours = tokenizer_in("model", tmp_path)
    assert isinstance(ours, FileTokenizer)
    assert ours(TEXT)["input_ids"] == file.encode(TEXT).ids
    assert ours.decode(file.encode(TEXT).ids, **PLAIN) == TEXT
    assert ours.bos_token_id == 0


def test_a_space_that_the_file_keeps_is_kept(tmp_path: Path) -> None:
    """Llama 2's file is rebuilt with another space in front."""
    file = Tokenizer(models.BPE({"a": 0, "▁": 1, "▁a": 2, "<s>": 3}, [("▁", "a")]))
    file.normalizer = normalizers.Replace(" ", "▁")
    file.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    ours = read_tokenizer(write(tmp_path, file, tokenizer_class="LlamaTokenizer", bos_token="<s>"))
    assert ours("a a")["input_ids"] == [0, 2]
    assert ours.decode([2, 2], **PLAIN) == " a a"


def test_declared_tokens_are_added_as_transformers_adds_them(tmp_path: Path) -> None:
    file = small_bpe()
    size = file.get_vocab_size()
    said = {str(size): {"content": "<tool>", "special": False}, str(size + 1): {"content": "<x>", "special": True}}
    folder = write(tmp_path, file, added_tokens_decoder=said, pad_token="[PAD]", additional_special_tokens=["<img>"])
    ours, theirs = read_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    for text in ("a <tool>b<x>", "[PAD]<img>", "<|e|> 12"):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours("<tool><x>[PAD]")["input_ids"] == [size, size + 1, size + 2]  # beyond the file's own


def test_a_token_that_would_get_another_id_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, small_bpe(), added_tokens_decoder={"9999": {"content": "<far>", "special": True}})
    assert len(read_tokenizer(folder)("<far>")["input_ids"]) > 1


@pytest.mark.parametrize("legacy", ["special_tokens_map.json", "added_tokens.json"])
def test_older_files_are_read(tmp_path: Path, legacy: str) -> None:
    file = small_bpe()
    folder = write(tmp_path, file)
    words = {"special_tokens_map.json": {"bos_token": {"content": "<|s|>"}}}
    words["added_tokens.json"] = {"<new>": file.get_vocab_size()}  # type: ignore[dict-item]
    (folder / legacy).write_text(json.dumps(words[legacy]), "utf-8")
    ours = read_tokenizer(folder)
    if legacy == "added_tokens.json":
        assert ours("<new>")["input_ids"] == [file.get_vocab_size()]
    else:
        assert ours.bos_token_id == 0


@pytest.mark.parametrize(("said", "ids"), [(True, [0]), (False, []), (None, [])])
def test_add_bos_token_is_kept_where_the_file_adds_none(tmp_path: Path, said: bool | None, ids: list[int]) -> None:
    """DeepSeek's files leave it to the class that transformers 4 had."""
    file = small_bpe()
    ours = read_tokenizer(write(tmp_path, file, bos_token="<|s|>", add_bos_token=said))
    assert ours("in")["input_ids"] == [*ids, *file.encode("in").ids]
    assert ours("in", add_special_tokens=False)["input_ids"] == file.encode("in").ids


def test_add_bos_token_adds_no_second_one(tmp_path: Path) -> None:
    file = small_bpe()
    file.post_processor = processors.TemplateProcessing(single="<|s|> $A", special_tokens=[("<|s|>", 0)])
    for said in (True, False):
        ours = read_tokenizer(write(tmp_path, file, bos_token="<|s|>", add_bos_token=said))
        assert ours("in")["input_ids"] == file.encode("in").ids
        assert ours("in")["input_ids"].count(0) == 1


def test_a_file_that_cuts_or_fills_texts_does_neither_here(tmp_path: Path) -> None:
    file = small_bpe()
    plain = file.encode(TEXT).ids
    file.enable_truncation(4)
    file.enable_padding(length=64)
    assert read_tokenizer(write(tmp_path, file))(TEXT)["input_ids"] == plain


def test_a_folder_without_more_than_the_file(tmp_path: Path) -> None:
    small_bpe().save(str(tmp_path / "tokenizer.json"))
    ours = read_tokenizer(tmp_path)
    assert (ours.bos_token_id, ours("in 12")["input_ids"]) == (None, small_bpe().encode("in 12").ids)


def test_without_a_file_transformers_makes_one_that_reads_by_the_rule(tmp_path: Path) -> None:
    """A vocabulary and merges alone, as GPT-2 was published; held against the rule in plain Python."""
    said = json.loads(small_bpe().to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(said["vocab"]), "utf-8")
    merges = [" ".join(pair) for pair in said["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), "utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}), "utf-8")
    words = sorted(said["vocab"], key=said["vocab"].get)
    metadata = {f"tokenizer.ggml.{k}": v for k, v in {"model": "gpt2", "pre": "gpt-2", "tokens": words}.items()}
    rule, ours = rule_of(metadata | {"tokenizer.ggml.merges": merges}), tokenizer_in("model", tmp_path)
    assert isinstance(ours, FileTokenizer)
    for text in (TEXT, *NASTY.values()):
        if "<|" not in text:  # the class has an end token of its own
            assert ours(text)["input_ids"] == rule(text)


def test_letters_of_the_byte_alphabet_stay_letters_in_an_added_token() -> None:
    file = small_bpe()
    words = ["ilÖveyou", "đem", "café", "한국어", " tab\u0120x", "naïve Ġ"]
    file.add_tokens(words)
    ours = FileTokenizer(file)
    for word in words:
        ids = ours(f"in {word}12é{word}")["input_ids"]
        assert ours.decode(ids, **PLAIN) == f"in {word}12é{word}"
        assert Vocabulary(ours).token(file.token_to_id(word)) == Token(file.token_to_id(word), word)


# ---- a text that goes on from another


@pytest.mark.parametrize("kind", ["metaspace", "normalizer", "byte level"])
def test_nothing_is_put_in_front_of_a_text_that_goes_on(kind: str) -> None:
    if kind == "byte level":
        file = small_bpe()
        file.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        file = Tokenizer(models.BPE({"a": 0, "▁": 1, "▁a": 2, "<s>": 3}, [("▁", "a")]))
        file.add_special_tokens(["<s>"])
        if kind == "metaspace":
            file.pre_tokenizer = pre_tokenizers.Metaspace()
        else:
            file.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    file.add_tokens(["<new>"])
    ours = FileTokenizer(file)
    ids, without = ours("a", add_special_tokens=False)["input_ids"], ours.encode_within("a")
    assert ids != without
    assert [file.id_to_token(n) for n in without] == ["a"]
    assert ours.encode_within("<new>a")[0] == file.token_to_id("<new>")
    assert ours("a", add_special_tokens=False)["input_ids"] == ids  # as it was
