"""The tokenizer that a GGUF file describes. Knows no weights and no engine."""

from pathlib import Path

from decoding.models.catalogue import Entry
from decoding.models.chat_template import ChatTemplate, make_chat_template
from decoding.models.gguf import GgufFile, read_gguf
from decoding.models.gguf_tokenizer_builder import SPECIAL_TOKENS, Metadata, special_id, tokenizer_from_gguf, tokens_of
from decoding.models.spec_gguf import check_is_model
from decoding.models.starter import STARTER_ID
from decoding.models.tokenizer import FileTokenizer, read_tokenizer


def gguf_tokenizer(entry: Entry, path: Path) -> FileTokenizer:
    """The tokenizer that a GGUF file describes; the starter's was made when it was fetched. Raises ModelError for one
    that is not supported.
    """
    if entry.name == STARTER_ID:
        return read_tokenizer(path.parent)
    return tokenizer_of_file(read_gguf(path))


def tokenizer_of_file(file: GgufFile) -> FileTokenizer:
    """The same, of a file whose head was read."""
    check_is_model(file)
    metadata = file.metadata
    return FileTokenizer(
        tokenizer_from_gguf(metadata), special_id(metadata, "bos"), message_template=_template_of(metadata)
    )


def _template_of(metadata: Metadata) -> ChatTemplate | None:
    words = tokens_of(metadata)
    ids = {f"{name}_token": special_id(metadata, key) for name, key in SPECIAL_TOKENS.items()}
    special = {name: words[token_id] for name, token_id in ids.items() if token_id is not None}
    return make_chat_template(metadata.get("tokenizer.chat_template"), special)
