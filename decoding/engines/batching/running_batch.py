"""Which texts are rows of the shared pass, and whether there may be any.

Owns the texts that sit, the memory that their rows may take, and the proof that sharing changes nothing. Knows neither
threads nor readers. A text that does not sit keeps its own cache, and is none of this file's business.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from decoding.engines.batching.batched_cache import Rows, can_share, can_share_cache
from decoding.engines.batching.sequence import Text
from decoding.errors import ModelError
from decoding.models.devices import free_on
from decoding.models.resources import left_to_us

TOLERANCE = 1e-4
"""The difference in a probability that sharing may make; README promises it."""

PassAlone = Callable[[Sequence[int], Any], tuple[torch.Tensor, Any]]


class Seats:
    """At most `most` texts of one network. `pass_alone` is a pass for one of them, see `decoding.greedy.Forward`."""

    def __init__(self, network: PreTrainedModel, pass_alone: PassAlone, *, most: int) -> None:
        self._network, self._pass_alone, self._most = network, pass_alone, most
        self.may_share = can_share(network)
        self._proved, self._failed = False, False
        self._texts: list[Text] = []  # in the order of the rows
        self._rows = Rows(network)

    def __contains__(self, text: Text) -> bool:
        return text in self._texts

    def __len__(self) -> int:
        return len(self._texts)

    def seat(self, texts: Sequence[Text]) -> None:
        """Make rows of texts that each have one id to read, as many as can share and have room."""
        if not self.may_share or self._failed:
            return
        new = [text for text in texts if can_share_cache(text.cache)][: self._most - len(self)]
        if not new or len(self) + len(new) < 2:
            return
        caches = [text.cache for text in new]
        free = free_on(self._network.device.type)
        if free is not None and 2 * self._rows.bytes_to_join(caches) > min(free, left_to_us()):
            return
        try:
            self._rows.join(caches)
        except (MemoryError, RuntimeError):  # torch's are RuntimeErrors
            logging.getLogger(__name__).warning("no memory for a larger batch; its runs go on one by one")
            self._start_again()
            return
        for text in new:
            text.cache = None
        self._texts += new

    def step(self) -> list[tuple[Text, torch.Tensor]]:
        """One pass for all: each text with its logits, shape (vocabulary,). Where it fails there is none, and all are
        to be read again, apart.
        """
        ids = [text.unread[0] for text in self._texts]
        try:
            check = self._rows_to_prove()
            logits = self._rows.step(ids)  # (rows, vocabulary)
            for row, cache in check.items():
                prove(logits[row], self._pass_alone([ids[row]], cache)[0])
        except Exception as error:
            self.may_share = self.may_share and not isinstance(error, ModelError)
            logging.getLogger(__name__).warning("a shared pass failed; its runs go on one by one", exc_info=True)
            self._start_again()
            return []
        return list(zip(self._texts, logits, strict=True))

    def leave(self, text: Text) -> None:
        """Give a text its cache back, and its seat to the last one."""
        row = self._texts.index(text)
        text.cache = self._rows.take(row)
        self._rows.leave(row)
        self._texts[row] = self._texts[-1]
        self._texts.pop()

    def clear(self) -> None:
        """Give all texts caches of their own, and the memory back."""
        for text in list(self._texts):
            self.leave(text)
        self._rows = Rows(self._network)

    def forgive(self) -> None:
        """Nobody is here: what failed may be tried again."""
        self._failed = False

    def _start_again(self) -> None:
        for text in self._texts:
            text.start_again()
        self._failed, self._texts, self._rows = True, [], Rows(self._network)

    def _rows_to_prove(self) -> dict[int, DynamicCache]:
        """The shortest and the longest row with caches of their own, the first time that they differ in length."""
        lengths = self._rows.lengths
        if self._proved or len(set(lengths)) < 2:
            return {}
        self._proved = True
        return {row: self._rows.take(row) for row in (lengths.index(min(lengths)), lengths.index(max(lengths)))}


def prove(shared: torch.Tensor, alone: torch.Tensor) -> None:
    """Raise ModelError where the same row's logits, shape (vocabulary,), differ from those of a pass alone."""
    difference = (shared.softmax(-1) - alone.softmax(-1)).abs().max().item()
    if not difference <= TOLERANCE:
        raise ModelError(f"sharing a pass changed a probability by {difference:.2g}")
