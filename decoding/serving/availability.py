"""Which models are available now: in memory, on disk, to be downloaded, or unavailable, with the reason.

Owns the labels of the model list. Knows the catalogue, the disk, the network and the memory; does not know torch, so a
model that is too large for the GPU is refused only when it is loaded.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from decoding.messages import Message
from decoding.models import hub, starter
from decoding.models.cache import cache_folder
from decoding.models.catalogue import Entry, format_bytes, format_count
from decoding.models.chat_listing import has_chat_template
from decoding.models.known_sizes import with_known_size
from decoding.models.resources import free_disk, total_memory
from decoding.serving.model_registry import ModelOffer, OfferLister

ASK_AGAIN_SECONDS = 20.0
"""The Hub is asked at most three times a minute, however many pages are opened."""


def is_on_disk(entry: Entry) -> bool:
    """Whether a model's files are complete on this machine. Uses no network."""
    if entry.name == starter.STARTER_ID:
        return starter.is_cached()
    return not entry.repository or hub.cached(entry) is not None


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the machine that computes, as far as the list of models needs it."""

    total_memory: Callable[[], int] = total_memory
    free_disk: Callable[[Path], int] = free_disk
    is_on_disk: Callable[[Entry], bool] = is_on_disk
    is_hub_reachable: Callable[[], bool] = hub.is_reachable
    clock: Callable[[], float] = time.monotonic


def local_offers(entries: Sequence[Entry], *, dtype: str, machine: Machine = Machine()) -> OfferLister:
    """Lists the operator's models, computed on this `machine` with `dtype`. Thread-safe.

    Only one thread at a time asks whether the Hub can be reached; the others use the previous answer.
    """
    lock = threading.Lock()
    asked = -math.inf
    answer: bool | None = None

    def online() -> bool:
        nonlocal asked, answer
        if lock.acquire(blocking=answer is None):
            try:
                if machine.clock() - asked >= ASK_AGAIN_SECONDS:
                    asked = machine.clock()
                    answer = machine.is_hub_reachable()
            finally:
                lock.release()
        return bool(answer)

    def offer(entry: Entry, ready: bool) -> ModelOffer:
        state, why_not = (Message("offer.ready"), "") if ready else _state_of(entry, dtype, machine, online)
        if why_not:
            return ModelOffer(entry.name, Message("offer.why_not", model=entry.name, why=why_not), why_not)
        return ModelOffer(entry.name, _label(entry, state), has_chat_template=has_chat_template(entry))

    return lambda ready: [offer(with_known_size(entry), entry.name in ready) for entry in entries]


def remote_offers(entries: Sequence[Entry]) -> OfferLister:
    """Lists models that a vLLM server computes: they need no disk and no memory here."""
    return lambda ready: [_remote(entry) for entry in entries]


def _remote(entry: Entry) -> ModelOffer:
    return ModelOffer(entry.name, _label(entry, Message("offer.elsewhere")), has_chat_template=has_chat_template(entry))


def _label(entry: Entry, state: str) -> str:
    size = f" · {format_count(entry.parameters)}" if entry.parameters else ""
    return Message("offer.label", model=f"{entry.name}{size}", state=state)


def _state_of(entry: Entry, dtype: str, machine: Machine, online: Callable[[], bool]) -> tuple[str, str]:
    """Where a model is and "", or "" and why it is unavailable."""
    # "auto" falls back to bfloat16, so that is the least it needs.
    needed = entry.memory_needed("bfloat16" if dtype == "auto" else dtype)
    if needed > (there := machine.total_memory()):
        return "", Message("offer.memory", needed=format_bytes(needed), there=format_bytes(there))
    if machine.is_on_disk(entry):
        return Message("offer.on_disk"), ""
    if entry.repository and not online():
        return "", Message("offer.offline")
    folder = Path(constants.HF_HUB_CACHE) if entry.repository else cache_folder()
    if entry.download_bytes > (free := machine.free_disk(folder)):
        return "", Message("offer.disk", needed=format_bytes(entry.download_bytes), free=format_bytes(free))
    size = format_bytes(entry.download_bytes)
    return Message("offer.fetch", size=size) if entry.download_bytes else Message("offer.to_fetch"), ""
