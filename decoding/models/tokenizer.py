"""A tokenizer read from its tokenizer.json as it stands, without transformers: a tenth of a second instead of more than
one, and before torch is there.

Owns the starter's tokenizer. Other models' come from `AutoTokenizer`, which knows what each family adds to its file; of
the starter's file the tests show that nothing is missing.
"""

import json
from functools import cache
from pathlib import Path


class FileTokenizer:
    """Keeps `decoding.record.tokens.Tokenizer`, with the library that transformers' fast tokenizers wrap."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer  # here: most of what imports this file makes no ids

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        names = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        self.bos_token_id: int | None = self._tokenizer.token_to_id(names["bos_token"])

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        """`clean_up_tokenization_spaces` has to be False: nothing here takes spaces away."""
        assert not clean_up_tokenization_spaces
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens))

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        piece: str | None = self._tokenizer.id_to_token(ids)
        return piece


def read_tokenizer(folder: Path) -> FileTokenizer:
    """The tokenizer of a folder, read once as long as its file stays the same."""
    return _read(folder, (folder / "tokenizer.json").stat().st_mtime_ns)


@cache
def _read(folder: Path, _written: int) -> FileTokenizer:
    return FileTokenizer(folder)
