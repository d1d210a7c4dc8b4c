"""Whether a network can be read, and in which cache mode; tried on the network with a few ids.

Owns the trials and the sentences that refuse. Knows no run and no text. A configuration may state anything, and only a
family's code knows what it needs beside ids and a cache, so everything is tried: a later id must not change earlier
logits; a text read step by step must give the logits of the whole text; and so must transformers' own `generate`. The
first mode that passes is used; a network that passes in none is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines.torch.cached_network import CachedNetwork, CacheMode
from decoding.engines.torch.generate import generate, prepares_own_inputs
from decoding.errors import ModelError, RoomError
from decoding.messages import Message
from decoding.models.context_length import context_of_network, rope_switch
from decoding.models.resources import is_out_of_memory

TOLERANCE, COARSE_TOLERANCE = 1e-3, 5e-2
"""The largest difference of logits of the same text, as a share of the largest logit, in float32 and in 16 bits."""
FEW_IDS, MANY_IDS = 8, 24
"""Ids of the proof, for large and for small networks, which read enough of them to pass a short window."""
SMALL_NETWORK = 20_000_000  # parameters
AFFORDABLE_WORK = 300_000_000  # parameters times ids that are read at load to try out a length
DEFAULT_LENGTH = 512  # ids that are tried if nothing states the context length

_NOTES = {
    CacheMode.POSITIONS: Message("why.positions"),
    CacheMode.WHOLE: Message("why.whole"),
}


@dataclass(frozen=True, slots=True)
class ProofResult:
    """A network in its cache mode, its context length, and notes about both for the page's header."""

    cached: CachedNetwork
    context_length: int | None
    notes: tuple[str, ...] = ()


def unproved(network: PreTrainedModel) -> ProofResult:
    """The result by configuration alone, for a network that cannot be tried yet."""
    return ProofResult(CachedNetwork(network), context_of_network(network, _text_config(network)))


@torch.inference_mode()
def prove(network: PreTrainedModel, *, model: str) -> ProofResult:
    """Try a network. Raises ModelError if it is not causal or passes in no mode, RoomError if memory runs out."""
    proof = _Trials(network, model)
    try:
        length = proof.context_length()
        if length is not None and length < 2:
            return ProofResult(CachedNetwork(network), length)
        network_in_mode, notes = proof.with_right_mode(length)
        return proof.handle_switch(network_in_mode, length, notes)
    except ModelError:
        raise
    except Exception as error:  # the message of the network says what it needs
        if is_out_of_memory(error):
            raise RoomError(Message("memory.load", model=model)) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(Message("model.needs_more", model=model, kind=proof.kind, quote=reason)) from error


class _Trials:
    """The trials of one network."""

    def __init__(self, network: PreTrainedModel, model: str) -> None:
        self.network, self.model = network, model
        self.config = _text_config(network)
        self.kind = network.config.model_type
        self.parameters = sum(weights.numel() for weights in network.parameters())
        self.whole = CachedNetwork(network, CacheMode.WHOLE)
        self.tolerance = TOLERANCE if network.dtype == torch.float32 else COARSE_TOLERANCE

    # ---- its length

    def context_length(self) -> int | None:
        """The length that the configuration and tables state, tried out if that is cheap."""
        stated = context_of_network(self.network, self.config)
        wanted = stated or DEFAULT_LENGTH
        if self.parameters * wanted > AFFORDABLE_WORK or wanted > DEFAULT_LENGTH or self._reads(wanted):
            return stated
        fits, too_long = 1, wanted
        if not self._reads(fits):
            return stated  # the length is not the problem
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            fits, too_long = (middle, too_long) if self._reads(middle) else (fits, middle)
        return fits

    def _reads(self, length: int) -> bool:
        try:
            self.whole.read(self.ids(length))
        except (IndexError, RuntimeError, ValueError):
            return False
        return True

    def ids(self, count: int) -> list[int]:
        """`count` ids without a special role (padding, end, placeholders of images)."""
        played = {value for part in (self.network.config, self.config) for value in _token_ids(part)}
        usual = [token_id for token_id in range(1, self.config.vocab_size) if token_id not in played][:4096] or [0]
        return [usual[(5 + 7 * n) % len(usual)] for n in range(count)]

    # ---- its mode

    def with_right_mode(self, length: int | None) -> tuple[CachedNetwork, tuple[str, ...]]:
        count = MANY_IDS if self.parameters <= SMALL_NETWORK else FEW_IDS
        ids = self.ids(count if length is None else min(count, length))
        rows = self._check_causal(ids)  # (ids, vocabulary)
        if not rows.isfinite().all():
            return CachedNetwork(self.network), ()  # the first step reports it
        first = max(1, len(ids) // 2 if len(ids) > FEW_IDS else len(ids) - 3)
        tried = self._first_right_mode(ids, first, rows)
        if tried.mode is not CacheMode.CACHE or prepares_own_inputs(self.network):
            self._check_generate(tried, ids[:first])
        return tried, (_NOTES[tried.mode],) if tried.mode in _NOTES and tried.cache_argument else ()

    def _first_right_mode(self, ids: Sequence[int], first: int, rows: torch.Tensor) -> CachedNetwork:
        """The network in the first cache mode whose steps give the logits of the whole text. Raises ModelError if no
        mode does.
        """
        for mode in CacheMode:
            tried = CachedNetwork(self.network, mode)
            if tried.mode is mode and self._is_right_stepwise(tried, ids, first, rows):
                tried.can_read_several = tried.can_read_several and self._reads_several(tried, ids, first, rows)
                return tried
        raise ModelError(Message("model.moves", model=self.model, kind=self.kind))

    def _check_causal(self, ids: Sequence[int]) -> torch.Tensor:
        """The logits of a text, shape (ids, vocabulary). Raises ModelError if a later id changes earlier ones."""
        other = self.ids(len(ids) + 1)[-1]
        places = sorted({len(ids) - 1, len(ids) // 2, min(2, len(ids) - 1)} - {0})
        texts = [list(ids), *([*ids[:place], other, *ids[place + 1 :]] for place in places)]
        rows = [self.whole.read(text, last=len(ids))[0].float() for text in texts]
        if (broken := next((row for row in rows if not row.isfinite().all()), None)) is not None:
            return broken  # NaN is not equal to itself, so nothing can be compared
        for place, changed in zip(places, rows[1:], strict=True):
            if not self._same(changed[:place], rows[0][:place]):
                raise ModelError(Message("model.sees", model=self.model, kind=self.kind))
        return rows[0]

    def _is_right_stepwise(self, tried: CachedNetwork, ids: Sequence[int], first: int, rows: torch.Tensor) -> bool:
        """Whether a text read step by step gives the logits of the whole text, `rows`."""
        try:
            cache, unread = None, list(ids[:first])
            for place in range(first, len(ids) + 1):
                logits, cache = tried.read(unread, cache)
                if tried.mode is not CacheMode.WHOLE and getattr(cache, "cache", cache) is None:
                    return False  # it takes a cache and returns none
                if not self._same(logits[-1], rows[place - 1]):
                    return False
                unread = list(ids[place : place + 1])
        except Exception as error:  # any complaint about a cache, masks or positions
            if is_out_of_memory(error):
                raise
            return False
        return True

    def _reads_several(self, tried: CachedNetwork, ids: Sequence[int], first: int, rows: torch.Tensor) -> bool:
        _, cache = tried.read(ids[:first])
        try:
            logits, _ = tried.read(ids[first:], cache, last=len(ids) - first)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            return False
        return self._same(logits, rows[first:])

    # ---- beside generate

    def _check_generate(self, tried: CachedNetwork, ids: Sequence[int]) -> None:
        """Raises ModelError if `generate` gives other logits than the network that reads the same text."""
        if tried.mode is not CacheMode.WHOLE and self._agrees_with_generate(tried, ids, use_cache=True):
            return
        tried.generates_with_cache = False
        if not self._agrees_with_generate(tried, ids, use_cache=False):
            raise ModelError(Message("model.not_proved", model=self.model, kind=self.kind))

    def _agrees_with_generate(
        self, tried: CachedNetwork, ids: Sequence[int], *, use_cache: bool, steps: int = 4
    ) -> bool:
        room = context_of_network(self.network, self.config)
        steps = steps if room is None else min(steps, room - len(ids))
        try:
            output = generate(
                self.network, ids, end_ids=(), max_new_tokens=steps, output_logits=True, use_cache=use_cache
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False
        picked, cache, unread = output.sequences[0, len(ids) :].tolist(), None, list(ids)
        for theirs, token_id in zip(output.logits, picked, strict=True):
            ours, cache = tried.read(unread, cache)
            if not self._same(theirs[0], ours[-1]):
                return False
            unread = [token_id]
        return True

    # ---- where rotary embeddings change

    def handle_switch(self, tried: CachedNetwork, length: int | None, notes: tuple[str, ...]) -> ProofResult:
        """Handle rotary embeddings that change at a length, where the cache of a shorter text is stale.

        If `generate` reads the text again there, so do we; else the context ends there.
        """
        switch = rope_switch(self.config)
        if switch is None or tried.mode is CacheMode.WHOLE or (length is not None and length <= switch):
            return ProofResult(tried, length, notes)
        anew = CachedNetwork(self.network, tried.mode, switch=switch)
        anew.generates_with_cache, anew.can_read_several = tried.generates_with_cache, tried.can_read_several
        if self.parameters * switch <= AFFORDABLE_WORK:
            does = self._agrees_with_generate(anew, self.ids(max(1, switch - 2)), use_cache=True, steps=6)
        else:  # judged by its code: a family that drops the cache does it there
            does = prepares_own_inputs(self.network) and hasattr(self.config, "original_max_position_embeddings")
        if does:
            return ProofResult(anew, length, (*notes, Message("why.anew", switch=f"{switch:,}")))
        return ProofResult(tried, switch, (*notes, Message("why.cut", switch=f"{switch:,}")))

    def _same(self, ours: torch.Tensor, theirs: torch.Tensor) -> bool:
        ours, theirs = ours.float(), theirs.float()
        return bool((ours - theirs).abs().max() <= self.tolerance * theirs.abs().max())


def _text_config(network: PreTrainedModel) -> Any:
    return network.config.get_text_config(decoder=True)


def _token_ids(config: Any) -> list[int]:
    """The ids to which a configuration gives a special role."""
    named = [value for name, value in config.to_dict().items() if "token_id" in name or name.endswith("_index")]
    return [
        each for value in named for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)
    ]
