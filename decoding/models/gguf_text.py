"""What a GGUF file says of the ids that its model reads: how many there are, which begin and end a text, and how many
have room.

Owns the names that GGUF has for them. Everything stands in the file's head, so no weights are needed. Knows no family
and no shape of a network.
"""

from collections.abc import Mapping
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile, GgufTensor
from decoding.models.spec import MAX_CONTEXT, row_of

EMBEDDING = "token_embd.weight"
_SENTENCEPIECE = {"unknown": 0, "bos": 1, "eos": 2}  # which a file of its kind need not say


def tensor_of(file: GgufFile, name: str) -> GgufTensor:
    if name not in file.tensors:
        raise ModelError(Message("gguf.missing", file=file.path.name, name=name))
    return file.tensors[name]


def vocabulary_size(file: GgufFile) -> int:
    tokens, rows = file.metadata.get("tokenizer.ggml.tokens"), tensor_of(file, EMBEDDING).shape[0]
    if isinstance(tokens, list) and len(tokens) != rows:
        raise ModelError(Message("gguf.vocabulary", file=file.path.name, tokens=len(tokens), rows=rows))
    return rows


def named_id(metadata: Mapping[str, Any], name: str, rows: int) -> int | None:
    """The id of the token for the beginning ("bos"), the end ("eos"), …; SentencePiece's own where a file of that kind
    does not say. None if the file names none of the `rows` ids: some files say 2³² − 1 for it.
    """
    found = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if found is None and metadata.get("tokenizer.ggml.model") == "llama":
        found = _SENTENCEPIECE.get(name)
    return row_of(found, rows=rows)


def end_ids(file: GgufFile, rows: int) -> frozenset[int]:
    """Where a text ends, and where a turn of a chat does."""
    found = (named_id(file.metadata, name, rows) for name in ("eos", "eot", "eom"))
    return frozenset(one for one in found if one is not None)


def context_length(file: GgufFile) -> int | None:
    """None if the file does not say it."""
    found = file.metadata.get(f"{file.metadata.get('general.architecture')}.context_length")
    return min(found, MAX_CONTEXT) if type(found) is int and found > 0 else None
