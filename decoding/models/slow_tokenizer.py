"""The tokenizer of a folder: its tokenizer.json as it stands, or what transformers makes of older files, tried first.

Owns what is said of a tokenizer that there is no tokenizer.json of: its ids cannot be held against anything, and files
that do not fit its class make one that reads every text as nothing. Knows no network.
"""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.tokenizer import TOKENIZER_FILE, read_tokenizer, tokenizer_of

_OLDER = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_TRIED = ("the", "The cat sat on the mat.", "x = 1")
_READ: dict[str, bool] = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


def tokenizer_in(model: str, folder: Path) -> Any:
    """The repository's own tokenizer.json as it stands; where there is none, what transformers makes of other files.
    Raises ModelError where that is none.
    """
    if (folder / TOKENIZER_FILE).exists():
        return read_tokenizer(folder)
    try:
        made = tokenizer_of(AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True))
        lost = _lost(made)
    except Exception as error:  # whatever four libraries say
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(Message("tokenizer.not_made", model=model, files=_files(folder), quote=reason)) from error
    if lost:
        raise ModelError(Message("tokenizer.loses", model=model, files=_files(folder), text=lost[0], read=lost[1]))
    return made


def made_note(folder: Path) -> str:
    """What there is to say of the tokenizer of a folder without a tokenizer.json; "" where there is one."""
    return "" if (folder / TOKENIZER_FILE).exists() else Message("why.made", files=_files(folder))


def _files(folder: Path) -> str:
    return ", ".join(name for name in _OLDER if (folder / name).exists()) or "its other files"


def _lost(made: Any) -> tuple[str, str] | None:
    """A text of which too little is left to be one that the tokenizer was made for, and what is left of it."""
    read = [str(made.decode(list(made(text, add_special_tokens=False)["input_ids"]), **_READ)) for text in _TRIED]
    if any(part.strip() for part in read):
        return None
    return f'"{_TRIED[1]}"', f'"{read[1]}"'
