"""Fakes at the seam: a tokenizer of a few words, and an engine whose every step is written by hand.

Both are real enough for everything above them: the engine's numbers come through the project's own `greedy_loop`.
"""

import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoding.beam import BeamStep, beam_loop
from decoding.engines import NO_PICKS
from decoding.greedy import greedy_loop, score_rows
from decoding.models.chat_template import ChatTemplate
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import StepScores
from decoding.record.tokens import Vocabulary, piece_bytes
from decoding.record.trace import ModelInfo
from decoding.sampling import reader
from decoding.softmax import read_scores

END, BEGIN = 0, 1
"""The ids of `SPECIALS`; the 256 bytes and then the words come after them."""

SPECIALS = ("<|end|>", "<|begin|>")
WORDS = (
    " most",
    " only",
    " best",
    " popular",
    " toy",
    " line",
    "<b>bold</b>",
    " 한국",
    " 👩‍👩‍👧",
    "\n",
    " ",
    "e\u0301",
    "=1+1",
)

NASTY = {
    "one word": "a",
    "leading space": "  two spaces",
    "trailing space": "end ",
    "newlines": "a\n\nb\r\nc\td",
    "emoji": "party 🎉",
    "joined emoji": "👩‍👩‍👧‍👦 and 🏳️‍🌈",
    "combining marks": "e\u0301 a\u0308\u0323 Z͑ͫ̓ͪ̂ͫ̽",
    "composed and not": "\u00e9 e\u0301 \ufb01 \u212b",
    "Chinese": "变形金刚是",
    "Hangul": "트랜스포머는",
    "Hangul letters": "\u1112\u1161\u11ab",
    "right to left": "שלום \u202eabc\u202c مرحبا",
    "zero width": "a\u200bb\u200dc\ufeffd\u00ade",
    "specials typed": "<|im_end|> <|endoftext|></s><s>[INST]<|end|>",
    "markup": "<script>alert('x')</script><img src=x onerror=alert(1)>&amp;",
    "formula": '=HYPERLINK("http://x","y")',
    "template": "{{value}} ${value} {0} %s",
    "controls": "\x01\x1b[31m\x7f\x85",
    "line separators": "a\u2028b\u2029c",
    "replacement": "\ufffd\ufffd",
    "noncharacter": "\uffff\U0010ffff",
}


class FakeTokenizer:
    """Specials, bytes in GPT-2's alphabet, and words, longest first; nothing is added to a prompt."""

    is_byte_level = True

    def __init__(self, words: Sequence[str] = WORDS, chat_template: str = "") -> None:
        self.message_template = ChatTemplate(chat_template) if chat_template else None
        self.pieces = [*SPECIALS, *(_written(bytes([byte])) for byte in range(256))]
        self.pieces += [_written(word.encode()) for word in words]
        longest_first = sorted((re.escape(piece) for piece in self.pieces[len(SPECIALS) :]), key=len, reverse=True)
        self._any = re.compile("|".join([*map(re.escape, SPECIALS), *longest_first]))

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        parts = re.split(f"({'|'.join(map(re.escape, SPECIALS))})", text)
        written = "".join(part if part in SPECIALS else _written(part.encode()) for part in parts)
        return {"input_ids": [self.pieces.index(piece) for piece in self._any.findall(written)]}

    def decode(self, token_ids: list[int], **_: Any) -> str:
        pieces = [self.pieces[token_id] for token_id in token_ids]
        return b"".join(p.encode() if p in SPECIALS else piece_bytes(p) or b"" for p in pieces).decode(
            "utf-8", "replace"
        )

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        return self.pieces[ids] if ids < len(self.pieces) else None


def _written(data: bytes) -> str:
    return "".join(_alphabet()[bytes([byte])] for byte in data)


@cache
def _alphabet() -> dict[bytes | None, str]:
    return {piece_bytes(chr(code)): chr(code) for code in range(0x21, 0x144) if piece_bytes(chr(code))}


Line = Mapping[str | int, float]
"""Probabilities by token text or id; what is left of 1 is shared evenly among all other tokens."""

NOTEBOOK: tuple[Line, ...] = (
    {" most": 0.5, " only": 0.25, " best": 0.125},
    {" popular": 0.75, " most": 0.125},
    {" toy": 0.4, " line": 0.3, "<b>bold</b>": 0.2},
)


class _Scorer:
    def scores(self, logits: NDArray[np.float32], top_k: int, picked_id: int | None = None) -> StepScores:
        return read_scores(logits, top_k, picked_id)

    def to_numpy(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits


class ScriptedEngine:
    """Keeps `decoding.engines.Engine`. Step n answers with `script[n]`, from the start again after the last.

    A script's line is probabilities by text (or id), or logits as a tensor. `begun` counts forward passes, `read` keeps
    the ids that each was given, `closed` counts the runs that were closed before their end. With `delay`, each pass
    takes so many seconds, or until `let_go` is set.
    """

    is_outdated = False

    def __init__(
        self,
        script: Sequence[Line | NDArray[np.float32]] = NOTEBOOK,
        *,
        words: Sequence[str] = WORDS,
        delay: float = 0.0,
        end_ids: Sequence[int] = (END,),
        beginning_id: int | None = BEGIN,
        context_length: int | None = 1024,
        max_top_k: int | None = None,
        name: str = "scripted",
        chat_template: str = "",
    ) -> None:
        self.info = ModelInfo(name, "by hand", "float32", "cpu", "tests.fakes")
        self.vocabulary = Vocabulary(FakeTokenizer(words, chat_template))
        self.vocabulary_size = self.size = len(SPECIALS) + 256 + len(words)
        self.end_ids, self.beginning_id, self.context_length = frozenset(end_ids), beginning_id, context_length
        self.max_top_k = max_top_k
        self.script, self.delay = script, delay
        self.begun, self.closed = 0, 0
        self.read: list[list[int]] = []
        self.began, self.let_go = threading.Event(), threading.Event()

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        room = max_new_tokens if self.context_length is None else self.context_length - len(token_ids)
        room = min(room, max_new_tokens)
        read = reader(_Scorer(), rule)
        loop = greedy_loop(
            self._forward, token_ids, forced=forced, max_new_tokens=room, top_k=top_k, end_ids=self.end_ids, read=read
        )
        try:
            yield from loop
        except GeneratorExit:
            self.closed += 1
            raise

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        self.begun += 1
        self.read.append([*token_ids, *continuation_ids[:-1]])
        rows = [self._line(step) for step in range(len(continuation_ids))]
        return score_rows(rows, continuation_ids, top_k=top_k)

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        return beam_loop(
            ScriptedRows(self, token_ids),
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            top_k=top_k,
            end_ids=self.end_ids,
        )

    def _forward(self, unread: Sequence[int], step: int | None) -> tuple[NDArray[np.float32], int]:
        step = step or 0
        self.begun += 1
        self.read.append(list(unread))
        self.began.set()
        if self.delay:
            self.let_go.wait(self.delay)
        return self._line(step), step + 1

    def _line(self, step: int) -> NDArray[np.float32]:
        line = self.script[step % len(self.script)]
        return line if isinstance(line, np.ndarray) else self._logits(line)

    def _logits(self, line: Line) -> NDArray[np.float32]:
        ids = {self._id(token): share for token, share in line.items()}
        left = (1 - math.fsum(ids.values())) / (self.size - len(ids))
        logits = np.full((self.size,), math.log(left) if left > 0 else -math.inf, np.float32)
        for token_id, share in ids.items():
            logits[token_id] = math.log(share)
        return logits

    def _id(self, token: str | int) -> int:
        return token if isinstance(token, int) else self.vocabulary.encode(token)[0]


class ScriptedRows:
    """The beams of a scripted engine: each is asked what a run with its tokens would be."""

    def __init__(self, engine: ScriptedEngine, token_ids: Sequence[int]) -> None:
        self._engine, self._prompt = engine, token_ids
        self._caches: list[Any] = [None]

    def begin(self, top_k: int) -> StepScores:
        return self._read([(0, self._prompt)], top_k)[0]

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> list[StepScores]:
        return self._read([(row, [token_id]) for row, token_id in picks], top_k)

    def _read(self, rows: Sequence[tuple[int, Sequence[int]]], top_k: int) -> list[StepScores]:
        read = [self._engine._forward(unread, self._caches[row]) for row, unread in rows]
        self._caches = [cache for _, cache in read]
        return [read_scores(logits, top_k) for logits, _ in read]


def endless_engine(delay: float = 0.0) -> ScriptedEngine:
    """An engine whose text never ends, with seventeen different steps over all of its tokens."""
    lines = [(np.random.default_rng(seed).standard_normal(271) * 3).astype(np.float32) for seed in range(17)]
    return ScriptedEngine(lines, context_length=None, end_ids=(), delay=delay)
