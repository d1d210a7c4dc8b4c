"""The starter's tokenizer, read without transformers, is the one that transformers makes of the same files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from decoding.models.starter import ensure_starter
from decoding.models.tokenizer import FileTokenizer, read_tokenizer
from tests.fakes import NASTY

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
