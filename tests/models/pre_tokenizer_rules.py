"""The rules of GPT-2, SmolLM, Llama 3 and Qwen 2 by which a text is cut into words: letter by letter, in plain Python,
without a regular expression.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import partial


def _is_letter(c: str) -> bool:
    return unicodedata.category(c)[0] == "L"


def _is_digit(c: str) -> bool:
    return unicodedata.category(c)[0] == "N"


def _is_space(c: str) -> bool:
    return c.isspace() and c not in "\x1c\x1d\x1e\x1f"  # only Python counts those four as spaces


def _is_sign(c: str) -> bool:
    return not (_is_letter(c) or _is_digit(c) or _is_space(c))


def _end(text: str, start: int, kind: Callable[[str], bool]) -> int:
    while start < len(text) and kind(text[start]):
        start += 1
    return start


def _gpt2_end(text: str, start: int) -> int:
    """The end of the word that begins at `start`: a contraction, a run of one kind with a space in front, or spaces, of
    which the last one belongs to the next word.
    """
    for short in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
        if text.startswith(short, start):
            return start + len(short)
    first = start + (text[start] == " ")
    if first < len(text) and not _is_space(text[first]):
        kind = next(kind for kind in (_is_letter, _is_digit, _is_sign) if kind(text[first]))
        return _end(text, first, kind)
    return _spaces_end(text, start)


def _spaces_end(text: str, start: int) -> int:
    end = _end(text, start, _is_space)
    return end if end == len(text) or end == start + 1 else end - 1


def _llama3_end(text: str, start: int, *, digits: int) -> int:
    """The same by Llama 3's rule: a word takes one sign in front, signs take the line ends behind them, line ends take
    the spaces in front, and at most `digits` digits stay together.
    """
    for short in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
        if text[start : start + len(short)].translate(_SMALL) == short:
            return start + len(short)
    here = text[start]
    first = start + (not _is_letter(here) and not _is_digit(here) and here not in "\r\n")
    if first < len(text) and _is_letter(text[first]):
        return _end(text, first, _is_letter)
    if _is_digit(here):
        return min(_end(text, start, _is_digit), start + digits)
    first = start + (here == " ")
    if first < len(text) and _is_sign(text[first]):
        return _end(text, _end(text, first, _is_sign), lambda c: c in "\r\n")
    end = _end(text, start, _is_space)
    last = max(text.rfind("\n", start, end), text.rfind("\r", start, end))
    return last + 1 if last >= 0 else _spaces_end(text, start)


_SMALL = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _cut(end_of: Callable[[str, int], int], text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = end_of(text, start)
        yield text[start:end]
        start = end


def _digits_alone(text: str) -> Iterator[str]:
    """SmolLM's rule: each digit is a word, and what is between is cut as GPT-2 does."""
    start = 0
    for place, c in enumerate(text):
        if _is_digit(c):
            yield from _cut(_gpt2_end, text[start:place])
            yield c
            start = place + 1
    yield from _cut(_gpt2_end, text[start:])


_llama3 = partial(_cut, partial(_llama3_end, digits=3))
_qwen2 = partial(_cut, partial(_llama3_end, digits=1))
CUTS: Mapping[str, Callable[[str], Iterator[str]]] = {
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mpt", "exaone4"), partial(_cut, _gpt2_end)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _digits_alone),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "dbrx", "smaug-bpe", "glm4"), _llama3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan"), _qwen2),
}
WHOLE_WORDS = frozenset({"llama3", "llama-v3", "llama-bpe", "falcon3", "glm4"})
