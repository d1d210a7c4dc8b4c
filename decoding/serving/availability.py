"""The list that people choose a model from, as it is at this moment: what is here, what would have to be fetched, and
what cannot be had, with the reason.

Owns the labels. Knows the catalogue, the disk, the network and the memory, and no torch: what a GPU has room for is
said when it is asked.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import constants

from decoding.models import hub, starter
from decoding.models.catalogue import Entry, millions, size
from decoding.models.resources import free_disk, total_memory
from decoding.serving.model_registry import Look, Offer

ASK_AGAIN_SECONDS = 20.0
"""So the Hub is asked three times a minute at most, however many pages are opened."""


def looking(entries: Sequence[Entry], *, dtype: str) -> Look:
    """A look at the operator's list; whether the Hub answers is asked seldom, and by one at a time: meanwhile the
    others are told what it said before.
    """
    lock = threading.Lock()
    asked = -math.inf
    answer: bool | None = None

    def online() -> bool:
        nonlocal asked, answer
        if lock.acquire(blocking=answer is None):
            try:
                if time.monotonic() - asked >= ASK_AGAIN_SECONDS:
                    asked = time.monotonic()
                    answer = hub.reachable()
            finally:
                lock.release()
        return bool(answer)

    return lambda ready: [_offer(hub.learned(entry), entry.name in ready, dtype, online) for entry in entries]


def elsewhere(entries: Sequence[Entry]) -> Look:
    """A look at models that a server computes: nothing of this machine is in their way."""
    return lambda ready: [Offer(entry.name, _label(entry, "on a server")) for entry in entries]


def _offer(entry: Entry, ready: bool, dtype: str, online: Callable[[], bool]) -> Offer:
    state, why_not = ("ready", "") if ready else _standing(entry, dtype, online)
    if why_not:
        return Offer(entry.name, f"{entry.name} — {why_not}", why_not)
    return Offer(entry.name, _label(entry, state))


def _label(entry: Entry, state: str) -> str:
    parts = [entry.name, millions(entry.parameters) if entry.parameters else "", state]
    return " · ".join(filter(None, parts))


def _standing(entry: Entry, dtype: str, online: Callable[[], bool]) -> tuple[str, str]:
    """Where a model is, or why it cannot be had."""
    # At the least: "auto" takes bfloat16 before it gives up.
    needed = entry.memory_needed("bfloat16" if dtype == "auto" else dtype)
    if needed > (there := total_memory()):
        return "", f"needs {size(needed)} of memory, there is {size(there)}"
    if _is_here(entry):
        return "on disk", ""
    if entry.repository and not online():
        return "", "not on disk, and no network"
    folder = Path(constants.HF_HUB_CACHE) if entry.repository else starter.cache_folder()
    if entry.download_bytes > (free := free_disk(folder)):
        return "", f"needs {size(entry.download_bytes)} of disk, {size(free)} is free"
    return f"{size(entry.download_bytes)} to fetch" if entry.download_bytes else "to be fetched", ""


def _is_here(entry: Entry) -> bool:
    if entry.name == starter.STARTER_ID:
        return starter.is_cached()
    return not entry.repository or hub.cached(entry) is not None
