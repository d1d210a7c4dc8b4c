"""Many runs, one forward pass a step: the batch of one network in this process, which runs join and leave at any step.

A run is a reader of a `Text` here. A thread of the batch's own writes the texts while there are any, in rounds; readers
wait for readouts, and never touch the network.

- **Joining.** A text's prompt is read alone, in a batch of one, as the classroom loop reads it; a long one in pieces
  of `PIECE` ids where others would wait meanwhile, and short ones that wait together in one pass, which is
  `decoding.engines.batching.prefill`. Then its cache becomes a row of `decoding.engines.batching.batched_cache`: it
sits.
- **A round** reads prompts that came, about `READ_A_ROUND` ids of them, makes one shared pass for all rows, and one
  pass for each text that is apart: one that has no room among the rows, or whose network cannot share.
- **Alone.** While one text is being written no row is made, and one that is left over is taken out again: it goes
  through the plain engine's own forward pass, so its numbers are those of a run alone, bit for bit.
- **Equal requests** are one text: whoever asks for what is being written reads along from its beginning, and whoever
  wants more steps prolongs it. What was written stays in the engine's memory, within its bounds.
- **Leaving.** A text without a reader is dropped before the next pass. A run out of context ends as a run alone does:
  `decoding.engines.batching.engine` asks for no more steps than there is room for.
- **Short memory.** Rows are laid out only where twice their size is free; a text that finds no room stays apart. A
  shared pass that fails, for memory or anything else, is not tried again: its texts are read anew alone and go on
  apart, and what fails there as well ends that text only. When all have ended, the batch shares again.
- **Proof.** The first pass over rows of different lengths is made alone as well. Where the two differ, this network
  never shares again, whatever its configuration promised.

Only the worker touches caches and rows. All else is guarded by `_lock`.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

import torch

from decoding.cancellation import check_left
from decoding.engines.batching.prefill import Prompts
from decoding.engines.batching.running_batch import Seats
from decoding.engines.batching.sequence import Text
from decoding.engines.torch.engine import LocalEngine
from decoding.engines.torch.softmax import read_scores
from decoding.errors import ModelError
from decoding.models.malloc import give_back
from decoding.models.resources import OUT_OF_MEMORY, is_out_of_memory
from decoding.record.step import StepScores

MAX_ROWS = 32
PIECE = 256
READ_A_ROUND = 256
SHORT_PROMPT = 32
"""The ids that a shorter prompt counts for: so many cost little more than one."""
_LOOK_SECONDS = 0.2
"""How often a reader that waits looks whether it has been left."""


class Batch:
    """See above. `engine` is the plain engine, whose network, end of text and memory these are."""

    def __init__(self, engine: LocalEngine, *, max_rows: int = MAX_ROWS) -> None:
        self._engine, self._max_rows = engine, max_rows
        self._lock = threading.Lock()
        self._texts: list[Text] = []  # in order of arrival
        self._worker: threading.Thread | None = None
        self._seats = self._make_seats()
        self._prompts = Prompts(engine.network, engine.forward, is_plain=engine.reader.is_plain)
        self.reused = 0
        """Readers that were served, in whole or in part, from what another run wrote."""

    # ---- readers

    def join(self, token_ids: Sequence[int], *, steps: int, top_k: int, forced: Mapping[int, int]) -> Text:
        """A text to read from its beginning, at least `steps` long unless it ends by itself; `leave` it in the end."""
        ids = tuple(token_ids)
        if text := self._read_along(ids, steps, top_k, forced):
            return text
        recalled = self._engine.memory.recall(ids, forced, max_new_tokens=steps, top_k=top_k)  # copies, so not locked
        if text := self._read_along(ids, steps, top_k, forced):  # somebody else was faster
            return text
        text = Text(ids, dict(forced), top_k, threading.Condition(self._lock), [steps])
        if recalled:
            text.go_on_after(list(recalled.readouts), recalled.cache)
        with self._lock:
            self.reused += recalled is not None
            text.ended = text.is_done(self._engine.end_ids)
            if not text.ended:
                self._texts.append(text)
                self._start()
        return text

    def readout(self, text: Text, index: int) -> StepScores | None:
        """What a text says at a step, waited for; None where it ends before. Raises what ended it, LeftError for a
        reader who has left.
        """
        with self._lock:
            while len(text.readouts) <= index and not text.ended:
                check_left()
                text.news.wait(_LOOK_SECONDS)
            if index < len(text.readouts):
                return text.readouts[index]
            if text.error:
                raise text.error
            return None

    def leave(self, text: Text, *, steps: int) -> None:
        """One reader less, who wanted so many steps."""
        with self._lock:
            text.wanted.remove(steps)

    def _make_seats(self) -> Seats:
        plain = self._engine.reader.is_plain
        return Seats(self._engine.network, self._engine.forward, most=self._max_rows, is_plain=plain)

    def _read_along(self, ids: tuple[int, ...], steps: int, top_k: int, forced: Mapping[int, int]) -> Text | None:
        with self._lock:
            text = next((text for text in self._texts if text.is_like(ids, forced, top_k)), None)
            if text:
                text.wanted.append(steps)
                self.reused += 1
            return text

    def _start(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="batch", daemon=True)
            self._worker.start()

    # ---- the worker

    def _work(self) -> None:
        try:
            while self.round():
                pass
            give_back()  # nobody waits, and rows of many sizes were laid out and dropped
        except BaseException as error:  # a bug; nobody may wait for ever
            logging.getLogger(__name__).exception("the batch failed")
            with self._lock:
                self._worker = None
                self._seats = self._make_seats()
                for text in self._texts:
                    text.error, text.ended = RuntimeError(f"the batch failed: {error!r:.200}"), True
                    text.news.notify_all()
                self._texts.clear()

    @torch.inference_mode()
    def round(self) -> bool:
        """One round, or False where there is nobody."""
        texts = self._here()
        if not texts:
            return False  # and touch nothing: another worker may be at work already
        self._read_prompts([text for text in texts if not text.is_writing], others=len(texts) > 1)
        writing = [text for text in texts if text.is_writing and not text.ended]
        if len(writing) < 2:
            self._seats.clear()
        else:
            self._seats.seat([text for text in writing if text not in self._seats])
        apart = [text for text in writing if text not in self._seats]
        if len(self._seats):
            for text, logits in self._seats.step():
                self._say(text, logits)
        for text in apart:
            self._pass_alone(text, len(text.unread))
        return True

    def _here(self) -> list[Text]:
        """The texts that somebody reads, in order of arrival; where there is none, the worker is dismissed."""
        with self._lock:
            for text in [text for text in self._texts if text.is_done(self._engine.end_ids)]:
                self._end(text)
            if not self._texts:
                self._worker = None
                self._seats.clear()
                self._seats.forgive()
                self._prompts.forgive()
            return list(self._texts)

    def _read_prompts(self, texts: list[Text], *, others: bool) -> None:
        """Those of which least is read first, so that a long prompt does not keep a short one waiting."""
        together = self._prompts.choose([text for text in texts if text.wanted])
        for text, logits in self._prompts.read(together):
            self._say(text, logits)
        # The other short ones have their turn in the next rounds; the long ones shall not wait for all of these.
        alone = [text for text in texts if not (together and (text.is_writing or self._prompts.is_short(text)))]
        budget = READ_A_ROUND
        for text in sorted(alone, key=lambda text: len(text.token_ids) - len(text.unread)):
            if budget > 0 and text.wanted:  # whoever wanted it may have left in this round
                piece = min(len(text.unread), PIECE) if others and self._seats.may_share else len(text.unread)
                budget -= max(piece, SHORT_PROMPT)
                self._pass_alone(text, piece)

    def _pass_alone(self, text: Text, count: int) -> None:
        """Read the next `count` unread ids of a text that is no row."""
        now, text.unread = text.unread[:count], text.unread[count:]
        try:
            logits, text.cache = self._engine.forward(now, text.cache)  # (vocabulary,)
        except Exception as error:
            self._fail(text, error)
            return
        if not text.unread:
            self._say(text, logits)

    def _say(self, text: Text, logits: torch.Tensor) -> None:
        try:
            readout = read_scores(logits, text.top_k, text.forced.get(len(text.readouts)))
        except Exception as error:
            self._fail(text, error)
            return
        with self._lock:
            text.say(readout)
            if text.is_done(self._engine.end_ids):
                self._end(text)
            text.news.notify_all()

    def _fail(self, text: Text, error: Exception) -> None:
        if is_out_of_memory(error):
            error = ModelError(OUT_OF_MEMORY, field="prompt")
        with self._lock:
            text.error = error
            self._end(text)

    def _end(self, text: Text) -> None:
        """Under the lock, so that a run that is like this one reads along, or else finds it in the memory."""
        if text in self._seats:
            self._seats.leave(text)
        if text.error is None:
            self._engine.memory.keep(text.token_ids, text.readouts, text.cache, top_k=text.top_k)
        text.cache, text.ended = None, True
        self._texts.remove(text)
        text.news.notify_all()
