"""The tokenizer that a GGUF file describes. Knows no weights and no engine."""

from pathlib import Path

from decoding.models.catalogue import Entry
from decoding.models.chat_template import make_chat_template
from decoding.models.gguf import GgufFile, read_gguf
from decoding.models.gguf_tokenizer_builder import special_id, special_tokens, tokenizer_from_gguf
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
    metadata, made = file.metadata, tokenizer_from_gguf(file.metadata)
    template = make_chat_template(metadata.get("tokenizer.chat_template"), special_tokens(metadata))
    return FileTokenizer(made, special_id(metadata, "bos"), message_template=template)
