"""A model's tokenizer: its repository's own tokenizer.json, read by the library that wrote it.

Owns the ids of a prompt and the text of ids. transformers rebuilds a tokenizer from its class and loses what only the
file says, so it is used only if there is no such file. Nothing here needs torch.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoding.models.chat_template import TEMPLATE_FILE, ChatTemplate, make_chat_template, read_chat_template
from decoding.models.json_files import read_json
from decoding.models.panics import panics_as_errors

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

TOKENIZER_FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"


class FileTokenizer:
    """A `decoding.record.tokens.Tokenizer` over the `tokenizers` library. Thread-safe.

    `bos_token_id` is the repository's beginning-of-text token, None if it names none. With `adds_beginning` every
    prompt starts with that token, although the file itself adds none. `is_byte_level` says that each token stands for
    fixed bytes. `message_template` is the chat template, if the model has one.
    """

    def __init__(
        self,
        tokenizer: "Tokenizer",
        bos_token_id: int | None = None,
        *,
        adds_beginning: bool = False,
        message_template: ChatTemplate | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.bos_token_id = bos_token_id
        self.message_template = message_template
        self.first_ids = [bos_token_id] if adds_beginning and bos_token_id is not None else []
        """Put in front of every prompt."""
        self._added = {token_id: token.content for token_id, token in tokenizer.get_added_tokens_decoder().items()}
        self.is_byte_level = _is_byte_level(tokenizer)

    @panics_as_errors()
    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return {"input_ids": [*self.first_ids, *ids] if add_special_tokens else ids}

    @panics_as_errors()
    def encode_within(self, text: str) -> list[int]:
        """Ids of a text that continues another one: nothing is added in front of it, not even a space."""
        ids: list[int] = self._within.encode(text, add_special_tokens=False).ids
        return ids

    @panics_as_errors()
    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        """The text of ids. `clean_up_tokenization_spaces` must be False: no spaces are removed here."""
        assert not clean_up_tokenization_spaces
        if not self.is_byte_level or skip_special_tokens:
            return str(self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens))
        # The library would decode the letters of an added token as bytes, and turn "café" into a broken character.
        parts = []
        for is_added, run in groupby(token_ids, self._added.__contains__):
            ids = list(run)
            parts += [self._added[n] for n in ids] if is_added else [self._tokenizer.decode(ids, False)]
        return "".join(parts)

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        piece: str | None = self._tokenizer.id_to_token(ids) if 0 <= ids < 2**32 else None  # the library's own width
        return piece

    def to_json(self) -> str:
        """The tokenizer as a tokenizer.json, for a program in another language."""
        return str(self._tokenizer.to_str())

    @cached_property
    def _within(self) -> "Tokenizer":
        """The same tokenizer, but it adds no space in front of a text. Both share one vocabulary."""
        from tokenizers import Tokenizer, normalizers, pre_tokenizers

        theirs = self._tokenizer
        normalizer, pre_tokenizer = _state(theirs.normalizer), _state(theirs.pre_tokenizer)
        plain = _without_prefix(normalizer), _without_prefix(pre_tokenizer)
        if plain == (normalizer, pre_tokenizer):
            return theirs
        ours = Tokenizer(theirs.model)
        if plain[0]:
            ours.normalizer = _from_state(normalizers.Sequence([]), plain[0])
        if plain[1]:
            ours.pre_tokenizer = _from_state(pre_tokenizers.Sequence([]), plain[1])
        ours.encode_special_tokens = theirs.encode_special_tokens
        added = sorted(theirs.get_added_tokens_decoder().items())
        ours.add_special_tokens([token for _, token in added if token.special])
        ours.add_tokens([token for _, token in added if not token.special])
        return ours if ours.get_added_tokens_decoder().keys() == self._added.keys() else theirs


def read_tokenizer(folder: Path) -> FileTokenizer:
    """The tokenizer of a folder with a tokenizer.json, cached until the files change. Raises what the library
    raises.
    """
    read = [folder / name for name in (TOKENIZER_FILE, CONFIG, TEMPLATE_FILE)]
    return _read(folder, tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in read))


def tokenizer_of(made: Any) -> Any:
    """A tokenizer of transformers, as a `FileTokenizer` if it wraps the same library."""
    template = make_chat_template(made.chat_template, made.special_tokens_map)
    if (wrapped := getattr(made, "backend_tokenizer", None)) is not None:
        return FileTokenizer(wrapped, made.bos_token_id, message_template=template)
    made.message_template = template
    return made


@cache
@panics_as_errors()
def _read(folder: Path, _written: tuple[int, ...]) -> FileTokenizer:
    from tokenizers import Tokenizer  # imported here: most users of this module make no ids

    made = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    names = _read_object(folder / CONFIG)
    if "added_tokens_decoder" not in names:  # the format of files until 2023
        names = names | _read_object(folder / "special_tokens_map.json")
    _add_tokens(made, _declared_tokens(folder, names), names)
    first = _token_text(names.get("bos_token"))
    beginning = None if first is None else made.token_to_id(first)
    # Some repositories say it here alone, and the tokenizers of their time added it when they were loaded.
    adds_beginning = _is_on(names.get("add_bos_token")) and beginning not in made.encode("").ids
    template = read_chat_template(folder, names)
    return FileTokenizer(made, beginning, adds_beginning=adds_beginning, message_template=template)


def _declared_tokens(folder: Path, names: Mapping[str, Any]) -> "dict[int, AddedToken]":
    """Tokens and their ids that are declared in other files than tokenizer.json."""
    from tokenizers import AddedToken

    if "added_tokens_decoder" in names:
        listed = names["added_tokens_decoder"].items()
        return {int(n): AddedToken(**{k: v for k, v in token.items() if k != "__type"}) for n, token in listed}
    special = {_token_text(value) for value in names.values() if isinstance(value, str | dict)}
    legacy = _read_object(folder / "added_tokens.json").items()
    return {n: AddedToken(word, special=word in special, normalized=word not in special) for word, n in legacy}


def _add_tokens(made: "Tokenizer", tokens: "Mapping[int, AddedToken]", names: Mapping[str, Any]) -> None:
    """Add what transformers would add: declared tokens that get their declared id, and all special tokens."""
    from tokenizers import AddedToken

    known = {token.content for token in made.get_added_tokens_decoder().values()}
    for token_id, token in sorted(tokens.items()):
        here = made.token_to_id(token.content)
        if token.content not in known and (here == token_id or (here is None and token_id == made.get_vocab_size())):
            (made.add_special_tokens if token.special else made.add_tokens)([token])
            known.add(token.content)
    special = dict.fromkeys(word for word in _special_words(names) if word not in known)
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in special])


def _special_words(names: Mapping[str, Any]) -> Iterator[str]:
    for name, value in names.items():
        values: Iterable[Any] = [value] if name.endswith("_token") else []
        if name in ("additional_special_tokens", "extra_special_tokens"):
            values = value.values() if isinstance(value, dict) else value or []
        yield from filter(None, map(_token_text, values))


def _token_text(token: Any) -> str | None:
    """The text of a token, which is stored as a string or as an object with options."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _is_on(value: object) -> bool:
    """Whether a flag is on: some files write it as a number or as text, and then "false" is off."""
    return value.strip().lower() == "true" if isinstance(value, str) else value is True or value == 1


def _read_object(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _is_byte_level(tokenizer: "Tokenizer") -> bool:
    """Whether each token stands for fixed bytes, wherever it is in a text."""
    state = _state(tokenizer.decoder)
    kinds = {part["type"] for part in state.get("decoders", [state])} if state else set()
    return "ByteLevel" in kinds and kinds <= {"ByteLevel", "Fuse"}


def _state(part: Any) -> dict[str, Any]:
    return json.loads(part.__getstate__()) if part is not None else {}


def _from_state(part: Any, state: dict[str, Any]) -> Any:
    part.__setstate__(json.dumps(state).encode())
    return part


def _without_prefix(state: dict[str, Any]) -> dict[str, Any]:
    """A normalizer or pre-tokenizer without the part that adds something in front of a text; {} if nothing is left."""
    kind = state.get("type")
    if kind == "Prepend":
        return {}
    if kind == "Metaspace":
        return state | {"prepend_scheme": "never"}
    if kind == "ByteLevel":
        return state | {"add_prefix_space": False}
    for parts in ("normalizers", "pretokenizers"):
        if parts in state:
            return state | {parts: [left for part in state[parts] if (left := _without_prefix(part))]}
    return state
