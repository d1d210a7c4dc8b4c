"""Builds a tokenizer from the metadata of a GGUF file.

Owns the way from the metadata to the `tokenizers` library: vocabulary, merges, special tokens, spaces and beginnings.
Unknown rules are refused and never guessed, because with another rule a tokenizer makes other ids and nothing shows it.
Knows no file and no network of a model; `metadata` holds the file's keys and values.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf_text import named_id
from decoding.models.panics import panics_as_errors
from decoding.models.pre_tokenizers import RULES

Metadata = Mapping[str, Any]


_KINDS: Mapping[type, str] = {str: "texts", int: "whole numbers", float: "numbers"}

_SPECIAL_TOKENS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""What tokenizer_config.json and a GGUF file call the same special token."""

MAX_TOKEN_CHARACTERS = 2_000
"""The longest tokens of vocabularies are lines of some hundred spaces. Each place where a token may be parted is looked
at, which takes its length squared.
"""

SPACE = "▁"
"""The character that SentencePiece writes for a space."""


class Kind(IntEnum):
    """The type of a token, with the numbers of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def tokenizer_from_gguf(metadata: Metadata) -> Tokenizer:
    """The tokenizer that a GGUF file describes. Raises ModelError if it is of an unknown kind or damaged."""
    makers = {"gpt2": _byte_level, "llama": _sentencepiece, "gemma4": _sentencepiece_merges}
    kind = _text(metadata, "model")
    if kind not in makers:
        raise ModelError(Message("tokenizer.kind", kind=kind[:40]))
    try:
        with panics_as_errors():
            made = makers[kind](metadata)
            _add_tokens(made, metadata)
            _add_ends(made, metadata)
    except ModelError:
        raise
    except Exception as error:  # the library raises plain Exceptions
        raise ModelError(Message("tokenizer.damaged", reason=str(error)[:200])) from error
    return made


def save_tokenizer(metadata: Metadata, folder: Path) -> Tokenizer:
    """Write the tokenizer as tokenizer.json and tokenizer_config.json, as a repository stores it, and return it."""
    made = tokenizer_from_gguf(metadata)
    names: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    names |= special_tokens(metadata)
    if template := metadata.get("tokenizer.chat_template"):
        names["chat_template"] = template
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(names, indent=2, ensure_ascii=False), "utf-8")
    return made


def tokens_of(metadata: Metadata) -> list[str]:
    """The tokens by id, each spelled in one way of its own. Raises ModelError where two are spelled alike."""
    words = [word or f"[EMPTY_{token_id}]" for token_id, word in enumerate(_list(metadata, "tokens", str))]
    if len(longest := max(words, key=len, default="")) > MAX_TOKEN_CHARACTERS:
        count, most = f"{len(longest):,}", f"{MAX_TOKEN_CHARACTERS:,}"
        raise ModelError(Message("tokenizer.long", id=words.index(longest), count=count, most=most))
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ModelError(Message("tokenizer.twice", token=f"{twice[:40]!r}"))
    return words


def kinds_of(metadata: Metadata) -> list[int]:
    """What each token is, by id; where a file does not say, all are normal."""
    count = len(_list(metadata, "tokens", str))
    if metadata.get("tokenizer.ggml.token_type") is None:
        return [Kind.NORMAL] * count
    kinds = _list(metadata, "token_type", int)
    if len(kinds) != count:
        raise ModelError(Message("tokenizer.damaged", reason=f"{count} tokens have {len(kinds)} types"))
    return kinds


def special_id(metadata: Metadata, name: str) -> int | None:
    """`named_id`, where the rows are the tokens."""
    return named_id(metadata, name, rows=len(_list(metadata, "tokens", str)))


def special_tokens(metadata: Metadata) -> dict[str, str]:
    """The special tokens by their names in tokenizer_config.json."""
    words = tokens_of(metadata)
    ids = {f"{name}_token": special_id(metadata, key) for name, key in _SPECIAL_TOKENS.items()}
    return {name: words[token_id] for name, token_id in ids.items() if token_id is not None}


def adds_beginning(metadata: Metadata) -> bool:
    """Whether every prompt starts with the beginning-of-text token."""
    rule = RULES.get(str(metadata.get("tokenizer.ggml.pre")))
    by_default = _text(metadata, "model") == "llama" or (rule is not None and rule.adds_beginning)
    return bool(metadata.get("tokenizer.ggml.add_bos_token", by_default))


def has_space_prefix(metadata: Metadata) -> bool:
    """Whether a space is added in front of a text, as SentencePiece does."""
    return bool(metadata.get("tokenizer.ggml.add_space_prefix", True)) and _text(metadata, "model") == "llama"


def right_stripping_tokens(metadata: Metadata) -> frozenset[str]:
    """Special tokens that remove the spaces behind them. GGUF does not store this; llama.cpp knows it for Phi-3."""
    if not any(name in str(metadata.get("general.name")).lower() for name in ("phi-3", "phi3")):
        return frozenset()
    found_first = (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED)
    words = zip(tokens_of(metadata), kinds_of(metadata), strict=True)
    special = {word for word, kind in words if kind in found_first}
    return frozenset(special | {"</s>"}) - {"<unk>", "<s>", "<|endoftext|>"}


def merges_of(metadata: Metadata) -> list[tuple[str, str]]:
    """The pairs to merge, in order of rank."""
    pairs = []
    for line in _list(metadata, "merges", str):
        first, space, second = line[1:].partition(" ")  # a space may itself be what is merged
        if not space:
            raise ModelError(Message("tokenizer.damaged", reason=f"{line[:40]!r} is no merge"))
        pairs.append((line[:1] + first, second))
    return pairs


def _byte_level(metadata: Metadata) -> Tokenizer:
    """GPT-2's kind: bytes, each written as a letter, merged within the pieces of the pre-tokenizer that the file
    names.
    """
    name = str(metadata.get("tokenizer.ggml.pre") or "")
    if name not in RULES:
        raise ModelError(
            Message("tokenizer.kind", kind=name[:40]) if name else Message("tokenizer.lacks", key="tokenizer.ggml.pre")
        )
    rule = RULES[name]
    made = Tokenizer(models.BPE(_ids(metadata), merges_of(metadata), ignore_merges=rule.whole_words))
    split = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns]
    to_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*split, to_letters])
    made.decoder = decoders.ByteLevel()
    return made


def _sentencepiece(metadata: Metadata) -> Tokenizer:
    """SentencePiece with merges (Llama 2, Mistral, Gemma): the token with the best score is merged first."""
    ids, kinds = _ids(metadata), kinds_of(metadata)
    scores = _list(metadata, "scores", int, float)
    if len(scores) != len(kinds):
        raise ModelError(Message("tokenizer.damaged", reason=f"{len(kinds)} tokens have {len(scores)} scores"))
    pieces = {word: n for word, n in ids.items() if kinds[n] in (Kind.NORMAL, Kind.UNUSED)}
    merges = [pair for word in pieces for pair in _halves(word, pieces)]
    merges.sort(key=lambda pair: (-scores[ids["".join(pair)]], ids[pair[0]], ids[pair[1]]))
    return _spaced(metadata, merges)


def _sentencepiece_merges(metadata: Metadata) -> Tokenizer:
    """Gemma 4's kind: spaces as in SentencePiece, ranked merges, and newlines cut off."""
    made = _spaced(metadata, merges_of(metadata))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\n]+|[\n]+"), "isolated")
    return made


def _spaced(metadata: Metadata, merges: list[tuple[str, str]]) -> Tokenizer:
    """A tokenizer that writes a space as `SPACE`, and falls back to bytes for what is not in its vocabulary."""
    unknown = special_id(metadata, "unknown")
    word = None if unknown is None else tokens_of(metadata)[unknown]
    made = Tokenizer(models.BPE(_ids(metadata), merges, unk_token=word, fuse_unk=True, byte_fallback=True))
    has_prefix = has_space_prefix(metadata)
    first = [normalizers.Prepend(SPACE)] if has_prefix else []
    made.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)])
    last = [decoders.Strip(" ", 1, 0)] if has_prefix else []
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *last])
    return made


def _halves(word: str, pieces: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """The pairs of pieces from which a piece can be merged."""
    for place in range(1, len(word)):
        if word[:place] in pieces and word[place:] in pieces:
            yield word[:place], word[place:]


def _add_tokens(made: Tokenizer, metadata: Metadata) -> None:
    """Add the tokens that are found in a text before anything else: special and user-defined ones."""
    strips = right_stripping_tokens(metadata)

    def added(kinds: set[int]) -> list[AddedToken]:
        words = [word for word, kind in zip(tokens_of(metadata), kinds_of(metadata), strict=True) if kind in kinds]
        is_special = Kind.CONTROL in kinds
        return [AddedToken(word, special=is_special, normalized=False, rstrip=word in strips) for word in words]

    made.add_special_tokens(added({Kind.CONTROL, Kind.UNKNOWN}))
    made.add_tokens(added({Kind.USER_DEFINED}))


def _add_ends(made: Tokenizer, metadata: Metadata) -> None:
    """Add the special tokens in front of a prompt and behind it."""
    words = tokens_of(metadata)
    first = special_id(metadata, "bos") if adds_beginning(metadata) else None
    last = special_id(metadata, "eos") if metadata.get("tokenizer.ggml.add_eos_token") else None
    # Under names of our own: in a template, a token's text could be a rule.
    ends = {name: token_id for name, token_id in (("first", first), ("last", last)) if token_id is not None}
    if ends:
        template = [name for name in ("first", "$A", "last") if name == "$A" or name in ends]
        added = [{"id": name, "ids": [token_id], "tokens": [words[token_id]]} for name, token_id in ends.items()]
        made.post_processor = processors.TemplateProcessing(single=template, special_tokens=added)


def _ids(metadata: Metadata) -> dict[str, int]:
    return {word: token_id for token_id, word in enumerate(tokens_of(metadata))}


def _text(metadata: Metadata, name: str) -> str:
    value = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(value, str):
        raise ModelError(Message("tokenizer.lacks", key=f"tokenizer.ggml.{name}"))
    return value


def _list(metadata: Metadata, name: str, *kinds: type) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    if value is None:
        raise ModelError(Message("tokenizer.lacks", key=f"tokenizer.ggml.{name}"))
    if not isinstance(value, list) or not all(isinstance(one, kinds) for one in value):
        raise ModelError(Message("tokenizer.damaged", reason=f"its {name} are no list of {_KINDS[kinds[-1]]}"))
    return value
