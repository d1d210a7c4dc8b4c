"""The rules by which a GGUF file's tokenizer reads a text, written a second time: in plain Python, letter by letter and
pair by pair, over the file's own tokens. It shares no code and no pattern with
`decoding.models.gguf_tokenizer_builder`, so that the two do not share errors.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from itertools import groupby, pairwise
from random import Random

from tokenizers import Tokenizer

from decoding.models.gguf_tokenizer_builder import (
    SPACE,
    Kind,
    Metadata,
    adds_beginning,
    has_space_prefix,
    kinds_of,
    merges_of,
    right_stripping_tokens,
    special_id,
    tokens_of,
)
from tests.models.pre_tokenizer_rules import CUTS, WHOLE_WORDS

TEXTS = 400

_FRAGMENTS = (
    *("the", " The", "hello", " world", "x", " naïve", "Straße", " Ünlü", "camelCaseWord", " HTTPServer", "déjà vu"),
    *("0", "7", "42", " 2024", "100,000", "3.14", "650841823", "²³", " ½", "٣", "1st", "x1", "0x1F", "2024-01-01"),
    *("don't", " I'LL", "we've", "it's", "'re", "o'clock", " 'quoted'", "'d"),
    *(" ", "  ", "    ", "\n", "\n\n", "\n\n\n\n", "\t", "\t\t ", " \n", "\r\n", "\u00a0", "\u3000", " \n \n"),
    *(
        "고양이가",
        " 탁자 위에서",
        "한",
        "\u1112\u1161\u11ab",
        "변형",
        "变形金刚是",
        "トランス",
        "ﾊﾝ",
        "שלום",
        " مرحبا",
        "Привет",
        "ไทย",
    ),
    *("🎉", " 👩‍👩‍👧‍👦", "e\u0301", "\ufb01", "Z͑ͫ̓ͪ̂ͫ̽", "\u200b", "\ufffd"),
    *(
        "def f(x):",
        "    return x+1",
        "x = [",
        "{}",
        "//",
        "!=",
        " <b>",
        "...",
        "—",
        " $5",
        "#2",
        "90%",
        "(1)",
        "a_b",
        "?!",
    ),
)


def first_difference(made: Tokenizer, metadata: Metadata) -> str | None:
    """The first of `sample_texts` that `made` reads differently from the rule that the file names, or None."""
    rule = rule_of(metadata)
    return next((text for text in sample_texts(metadata) if made.encode(text).ids != rule(text)), None)


def sample_texts(metadata: Metadata) -> Iterator[str]:
    """`TEXTS` texts of words, digits, code, spaces, scripts and special tokens; always the same ones."""
    words, kinds = tokens_of(metadata), kinds_of(metadata)
    special = [word for word, kind in zip(words, kinds, strict=True) if kind in (Kind.CONTROL, Kind.USER_DEFINED)]
    random = Random(0)
    yield from _FRAGMENTS
    for _ in range(TEXTS - len(_FRAGMENTS)):
        parts = random.choices(_FRAGMENTS, k=random.randint(2, 9))
        if special and random.random() < 0.2:
            parts.insert(random.randrange(len(parts)), random.choice(special))
        yield "".join(parts)


def rule_of(metadata: Metadata) -> Callable[[str], list[int]]:
    """A function that encodes a text by the rule that a GGUF file names."""
    words, kinds = tokens_of(metadata), kinds_of(metadata)
    ids = {word: token_id for token_id, word in enumerate(words)}
    found_first = (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED)
    special = {word for word, kind in zip(words, kinds, strict=True) if kind in found_first}
    readers = {"gpt2": _byte_level, "llama": _scored, "gemma4": _merged}
    read = readers[metadata["tokenizer.ggml.model"]](metadata, ids)
    first, strips = special_id(metadata, "bos") if adds_beginning(metadata) else None, right_stripping_tokens(metadata)

    def rule(text: str) -> list[int]:
        found = [] if first is None else [first]
        for part in _cut_at(special, strips, text):
            found += [ids[part]] if part in special else read(part)
        return found

    return rule


def _cut_at(special: Collection[str], strips: Collection[str], text: str) -> Iterator[str]:
    """Split a text into its special tokens, the longest at each place, and what is between them."""
    lengths = sorted({len(word) for word in special}, reverse=True)
    start = place = 0
    while place < len(text):
        found = next((text[place : place + n] for n in lengths if text[place : place + n] in special), "")
        if not found:
            place += 1
            continue
        if text[start:place]:
            yield text[start:place]
        yield found
        place += len(found)
        while found in strips and text[place : place + 1].isspace():
            place += 1
        start = place
    if text[start:]:
        yield text[start:]


def _byte_level(metadata: Metadata, ids: Mapping[str, int]) -> Callable[[str], list[int]]:
    name = metadata["tokenizer.ggml.pre"]
    ranks = {pair: n for n, pair in enumerate(merges_of(metadata))}
    cut, letters = CUTS[name], _letters_of_bytes()

    def read(text: str) -> list[int]:
        found = []
        for word in cut(text):
            written = "".join(letters[byte] for byte in word.encode())
            pieces = [written] if name in WHOLE_WORDS and written in ids else _merge(list(written), ranks)
            found += [ids[piece] for piece in pieces if piece in ids]
        return found

    return read


def _scored(metadata: Metadata, ids: Mapping[str, int]) -> Callable[[str], list[int]]:
    """SentencePiece: merge the neighbours whose token has the best score, until no pair is a token."""
    scores, has_prefix, kinds = metadata["tokenizer.ggml.scores"], has_space_prefix(metadata), kinds_of(metadata)
    score = {word: scores[n] for word, n in ids.items() if kinds[n] in (Kind.NORMAL, Kind.UNUSED)}

    def read(text: str) -> list[int]:
        pieces = [*((" " if has_prefix else "") + text).replace(" ", SPACE)]
        while True:
            pairs = [(-score[a + b], n) for n, (a, b) in enumerate(pairwise(pieces)) if a + b in score]
            if not pairs:
                break
            _, place = min(pairs)
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        return [token_id for piece in pieces for token_id in _or_bytes(piece, ids)]

    return read


def _merged(metadata: Metadata, ids: Mapping[str, int]) -> Callable[[str], list[int]]:
    """Gemma 4: merges over whole lines, in which a space is a letter too."""
    ranks = {pair: n for n, pair in enumerate(merges_of(metadata))}

    def read(text: str) -> list[int]:
        lines = ["".join(part) for _, part in groupby(text.replace(" ", SPACE), lambda c: c == "\n")]
        return [n for line in lines for piece in _merge([*line], ranks) for n in _or_bytes(piece, ids)]

    return read


def _or_bytes(piece: str, ids: Mapping[str, int]) -> list[int]:
    return [ids[piece]] if piece in ids else [ids[f"<0x{byte:02X}>"] for byte in piece.encode()]


def _merge(pieces: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Byte pair encoding: merge the leftmost pair of the lowest rank, until no pair has a rank."""
    while len(pieces) > 1:
        pairs = list(pairwise(pieces))
        place = min(range(len(pairs)), key=lambda n: ranks.get(pairs[n], len(ranks)))
        if pairs[place] not in ranks:
            break
        pieces[place : place + 2] = ["".join(pairs[place])]
    return pieces


@cache
def _letters_of_bytes() -> list[str]:
    """GPT-2's letter for each byte: the byte itself if it is printable in Latin-1, else one from U+0100 on."""
    spare = iter(range(0x100, 0x200))
    prints = [33 <= byte <= 126 or (161 <= byte <= 255 and byte != 173) for byte in range(256)]
    return [chr(byte) if prints[byte] else chr(next(spare)) for byte in range(256)]
