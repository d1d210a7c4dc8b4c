"""Folders without a tokenizer.json: what transformers makes of older files is tried, and it is said that nothing else
vouches for it.
"""

import json
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

import decoding
from decoding.errors import ModelError
from tests import tiny_models

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = {
    "vocab.json": json.dumps({letter: n for n, letter in enumerate(LETTERS)} | {"<|endoftext|>": 256}),
    "merges.txt": "#version: 0.2\n",
}
WORDS = {
    "vocab.txt": "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "##s"])
}


def folder(path: Path, kind: str, files: dict[str, str]) -> Path:
    tiny_models.network("llama").save_pretrained(path)
    for name, content in files.items():
        (path / name).write_text(content, "utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}), "utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "files", "said"),
    [("GPT2Tokenizer", BYTES, "vocab.json, merges.txt"), ("BertTokenizer", WORDS, "vocab.txt")],
)
def test_it_is_used_and_that_it_was_made_is_said(tmp_path: Path, kind: str, files: dict[str, str], said: str) -> None:
    model = decoding.load(str(folder(tmp_path, kind, files)), device="cpu")
    assert (
        f"; its tokenizer was made by transformers from {said}, because it has no tokenizer.json to be held against"
        in model.info.why
    )
    run = decoding.trace(model, "the cats", max_new_tokens=2, top_k=2)
    assert len(run.prompt_token_ids) > 2


def test_of_one_that_has_a_tokenizer_json_nothing_is_said(tmp_path: Path) -> None:
    model = decoding.load(str(tiny_models.save(tmp_path, tiny_models.network("llama"))), device="cpu")
    assert "tokenizer" not in model.info.why


def test_files_that_do_not_fit_the_class_are_refused(tmp_path: Path) -> None:
    """transformers makes one that reads every text as no ids at all."""
    there = folder(tmp_path, "LlamaTokenizer", BYTES)
    with pytest.raises(ModelError) as refused:
        decoding.load(str(there), device="cpu")
    assert str(refused.value) == (
        f"{there} has no tokenizer.json, and the tokenizer that transformers makes of vocab.json, merges.txt loses "
        'what it reads: of "The cat sat on the mat." it makes "". Choose a copy that has a tokenizer.json.'
    )


@pytest.mark.parametrize(
    ("kind", "files", "of"),
    [
        ("LlamaTokenizer", {"tokenizer.model": "a model that nothing here reads"}, "tokenizer.model"),
        ("CpmTokenizer", {}, "its other files"),
        ("PreTrainedTokenizerFast", BYTES, "vocab.json, merges.txt"),
    ],
)
def test_what_transformers_cannot_make_is_refused_in_a_sentence(
    tmp_path: Path, kind: str, files: dict[str, str], of: str
) -> None:
    there = folder(tmp_path, kind, files)
    with pytest.raises(ModelError) as refused:
        decoding.load(str(there), device="cpu")
    start = f"{there} has no tokenizer.json, and transformers can make no tokenizer of {of}. Choose a copy that has a "
    assert str(refused.value).startswith(start + "tokenizer.json. The loader said: ")
    assert "\n" not in str(refused.value)
