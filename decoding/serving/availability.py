"""Which models are available now: in memory, on disk, to be downloaded, or unavailable, with the reason.

Owns the labels of the model list. Knows the catalogue, the disk, the network and the memory; does not know torch, so a
model that is too large for the GPU is refused only when it is loaded.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import constants

from decoding.messages import Message
from decoding.models import hub, starter
from decoding.models.catalogue import Entry, format_bytes, format_count
from decoding.models.chat_listing import has_chat_template
from decoding.models.resources import free_disk, total_memory
from decoding.serving.model_registry import ModelOffer, OfferLister

ASK_AGAIN_SECONDS = 20.0
"""The Hub is asked at most three times a minute, however many pages are opened."""


def local_offers(entries: Sequence[Entry], *, dtype: str) -> OfferLister:
    """Lists the operator's models, computed in this process with `dtype`. Thread-safe.

    Only one thread at a time asks whether the Hub can be reached; the others use the previous answer.
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
                    answer = hub.is_reachable()
            finally:
                lock.release()
        return bool(answer)

    return lambda ready: [_offer(hub.with_known_size(entry), entry.name in ready, dtype, online) for entry in entries]


def remote_offers(entries: Sequence[Entry]) -> OfferLister:
    """Lists models that a vLLM server computes: they need no disk and no memory here."""
    return lambda ready: [_remote(entry) for entry in entries]


def _remote(entry: Entry) -> ModelOffer:
    return ModelOffer(entry.name, _label(entry, Message("offer.elsewhere")), has_chat_template=has_chat_template(entry))


def _offer(entry: Entry, ready: bool, dtype: str, online: Callable[[], bool]) -> ModelOffer:
    state, why_not = (Message("offer.ready"), "") if ready else _state_of(entry, dtype, online)
    if why_not:
        return ModelOffer(entry.name, Message("offer.why_not", model=entry.name, why=why_not), why_not)
    return ModelOffer(entry.name, _label(entry, state), has_chat_template=has_chat_template(entry))


def _label(entry: Entry, state: str) -> str:
    size = f" · {format_count(entry.parameters)}" if entry.parameters else ""
    return Message("offer.label", model=f"{entry.name}{size}", state=state)


def _state_of(entry: Entry, dtype: str, online: Callable[[], bool]) -> tuple[str, str]:
    """Where a model is and "", or "" and why it is unavailable."""
    # "auto" falls back to bfloat16, so that is the least it needs.
    needed = entry.memory_needed("bfloat16" if dtype == "auto" else dtype)
    if needed > (there := total_memory()):
        return "", Message("offer.memory", needed=format_bytes(needed), there=format_bytes(there))
    if _is_here(entry):
        return Message("offer.on_disk"), ""
    if entry.repository and not online():
        return "", Message("offer.offline")
    folder = Path(constants.HF_HUB_CACHE) if entry.repository else starter.cache_folder()
    if entry.download_bytes > (free := free_disk(folder)):
        return "", Message("offer.disk", needed=format_bytes(entry.download_bytes), free=format_bytes(free))
    size = format_bytes(entry.download_bytes)
    return Message("offer.fetch", size=size) if entry.download_bytes else Message("offer.to_fetch"), ""


def _is_here(entry: Entry) -> bool:
    if entry.name == starter.STARTER_ID:
        return starter.is_cached()
    return not entry.repository or hub.cached(entry) is not None
