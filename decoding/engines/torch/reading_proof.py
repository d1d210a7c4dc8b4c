"""Whether a network can be read at all, and how: tried on the network itself when it is loaded, with a few ids.

A configuration may say anything, and what a family needs beside ids and a cache is known to its code alone. So nothing
is taken on trust: a later id must not move what is said before it; a text read step by step must say what the whole
text says; and so must transformers' own `generate`. The first way that does is taken, and what none does is refused.
Knows no run and no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines.torch.library import generate, prepares_itself
from decoding.engines.torch.reading import Reader, Way
from decoding.errors import ModelError, RoomError
from decoding.models.context_length import context_of_network, rope_switch
from decoding.models.resources import DID_NOT_FIT, is_out_of_memory

TOLERANCE, COARSE_TOLERANCE = 1e-3, 5e-2
"""How far two logits of the same text may be apart, as a share of the largest, in float32 and in 16 bits."""
FEW, MANY = 8, 24
"""Ids of the proof; the small networks, for which more cost nothing, read more of them, and pass a short window."""
SMALL = 20_000_000
"""Parameters of what is a small network here."""
AFFORDABLE = 300_000_000
"""Parameters times ids that are read at load to try out a length."""
UNKNOWN = 512
"""Ids that are tried where nothing says how many there is room for."""

_NOTES = {
    Way.POSITIONS: "positions and a mask are given with each id",
    Way.WHOLE: (
        "the whole text is read again at each step, because this network keeps no cache that gives the same scores"
    ),
}
ANEW = "a text of more than {switch} tokens is read again from the start there"
CUT = "the context ends at {switch} tokens, where a cache and the whole text begin to differ"

_SEES = (
    "{model} sees the text that follows: when a later token changes, its scores before that token change too. It is "
    "an encoder, or reads its prompt in both directions ({kind}); greedy decoding needs a causal model."
)
_MOVES = (
    "{model} gives a text other scores once the text continues ({kind}), so its steps have no probabilities to show. "
    "Choose another model."
)
_NOT_BY_GENERATE = (
    "{model} cannot be proved: transformers' own greedy search gives other numbers than the network that reads the "
    "same text ({kind}). Choose another model."
)
_NEEDS_MORE = "{model} cannot be read from token ids alone ({kind}). The network said: {said}"


@dataclass(frozen=True, slots=True)
class Proved:
    """A network's way of reading, the length of its context, and what there is to say of both."""

    reader: Reader
    context_length: int | None
    notes: tuple[str, ...] = ()


def unproved(network: PreTrainedModel) -> Proved:
    """As the configuration has it, where the network cannot be tried yet."""
    return Proved(Reader(network), context_of_network(network, _text_config(network)))


@torch.inference_mode()
def prove(network: PreTrainedModel, *, model: str) -> Proved:
    """Try a network. Raises ModelError for one that does not read forward, or that no way of reading is right for."""
    proof = _Proof(network, model)
    try:
        length = proof.context_length()
        if length is not None and length < 2:
            return Proved(Reader(network), length)
        reader, notes = proof.reader(length)
        return proof.past_the_switch(reader, length, notes)
    except ModelError:
        raise
    except Exception as error:  # a network says in its own words what else it needs
        if is_out_of_memory(error):
            raise RoomError(DID_NOT_FIT.format(model=model)) from error
        said = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(_NEEDS_MORE.format(model=model, kind=proof.kind, said=said)) from error


class _Proof:
    """The trials of one network."""

    def __init__(self, network: PreTrainedModel, model: str) -> None:
        self.network, self.model = network, model
        self.config = _text_config(network)
        self.kind = network.config.model_type
        self.parameters = sum(weights.numel() for weights in network.parameters())
        self.whole = Reader(network, Way.WHOLE)
        self.tolerance = TOLERANCE if network.dtype == torch.float32 else COARSE_TOLERANCE

    # ---- its length

    def context_length(self) -> int | None:
        """What configuration and tables say, tried out where that costs little."""
        stated = context_of_network(self.network, self.config)
        wanted = stated or UNKNOWN
        if self.parameters * wanted > AFFORDABLE or wanted > UNKNOWN or self._reads(wanted):
            return stated
        fits, too_long = 1, wanted
        if not self._reads(fits):
            return stated  # it is not its length that is wrong
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
        """So many ids, none of which has a part to play: fillers and ends, and where a picture would stand."""
        played = {value for part in (self.network.config, self.config) for value in _token_ids(part)}
        usual = [token_id for token_id in range(1, self.config.vocab_size) if token_id not in played][:4096] or [0]
        return [usual[(5 + 7 * n) % len(usual)] for n in range(count)]

    # ---- its way

    def reader(self, length: int | None) -> tuple[Reader, tuple[str, ...]]:
        count = MANY if self.parameters <= SMALL else FEW
        ids = self.ids(count if length is None else min(count, length))
        rows = self._forward_only(ids)  # (ids, vocabulary)
        if not rows.isfinite().all():
            return Reader(self.network), ()  # it is said at the first step
        first = max(1, len(ids) // 2 if len(ids) > FEW else len(ids) - 3)
        reader = self._first_that_goes_on(ids, first, rows)
        if reader.way is not Way.CACHE or prepares_itself(self.network):
            self._check_generate(reader, ids[:first])
        return reader, (_NOTES[reader.way],) if reader.way in _NOTES and reader.cache_name else ()

    def _first_that_goes_on(self, ids: Sequence[int], first: int, rows: torch.Tensor) -> Reader:
        """Raises ModelError where no way of reading step by step says what the whole text says."""
        for way in Way:
            reader = Reader(self.network, way)
            if reader.way is way and self._goes_on(reader, ids, first, rows):
                reader.takes_several = reader.takes_several and self._takes_several(reader, ids, first, rows)
                return reader
        raise ModelError(_MOVES.format(model=self.model, kind=self.kind))

    def _forward_only(self, ids: Sequence[int]) -> torch.Tensor:
        """The logits of a text, shape (ids, vocabulary). Raises ModelError where a later id moves earlier ones."""
        other = self.ids(len(ids) + 1)[-1]
        places = sorted({len(ids) - 1, len(ids) // 2, min(2, len(ids) - 1)} - {0})
        texts = [list(ids), *([*ids[:place], other, *ids[place + 1 :]] for place in places)]
        rows = [self.whole.read(text, last=len(ids))[0].float() for text in texts]
        if (broken := next((row for row in rows if not row.isfinite().all()), None)) is not None:
            return broken  # what is no number is the same as nothing, itself included
        for place, changed in zip(places, rows[1:], strict=True):
            if not self._same(changed[:place], rows[0][:place]):
                raise ModelError(_SEES.format(model=self.model, kind=self.kind))
        return rows[0]

    def _goes_on(self, reader: Reader, ids: Sequence[int], first: int, rows: torch.Tensor) -> bool:
        """Whether a text that is read step by step says what the whole text says."""
        try:
            cache, unread = None, list(ids[:first])
            for place in range(first, len(ids) + 1):
                logits, cache = reader.read(unread, cache)
                if reader.way is not Way.WHOLE and getattr(cache, "cache", cache) is None:
                    return False  # it takes a cache and returns none
                if not self._same(logits[-1], rows[place - 1]):
                    return False
                unread = list(ids[place : place + 1])
        except Exception as error:  # whatever it says of a cache, of masks or of positions
            if is_out_of_memory(error):
                raise
            return False
        return True

    def _takes_several(self, reader: Reader, ids: Sequence[int], first: int, rows: torch.Tensor) -> bool:
        _, cache = reader.read(ids[:first])
        try:
            logits, _ = reader.read(ids[first:], cache, last=len(ids) - first)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            return False
        return self._same(logits, rows[first:])

    # ---- beside generate

    def _check_generate(self, reader: Reader, ids: Sequence[int]) -> None:
        """Raises ModelError where `generate` does not say what the network says of the same text."""
        if reader.way is not Way.WHOLE and self._generates(reader, ids, use_cache=True):
            return
        reader.generates_with_cache = False
        if not self._generates(reader, ids, use_cache=False):
            raise ModelError(_NOT_BY_GENERATE.format(model=self.model, kind=self.kind))

    def _generates(self, reader: Reader, ids: Sequence[int], *, use_cache: bool, steps: int = 4) -> bool:
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
            ours, cache = reader.read(unread, cache)
            if not self._same(theirs[0], ours[-1]):
                return False
            unread = [token_id]
        return True

    # ---- where the same text becomes another one

    def past_the_switch(self, reader: Reader, length: int | None, notes: tuple[str, ...]) -> Proved:
        """With rotary embeddings whose frequencies change at a length, the cache of a shorter text is stale there. Read
        anew it is right, where `generate` does so too; else the context ends there.
        """
        switch = rope_switch(self.config)
        if switch is None or reader.way is Way.WHOLE or (length is not None and length <= switch):
            return Proved(reader, length, notes)
        anew = Reader(self.network, reader.way, switch=switch)
        anew.generates_with_cache, anew.takes_several = reader.generates_with_cache, reader.takes_several
        if self.parameters * switch <= AFFORDABLE:
            does = self._generates(anew, self.ids(max(1, switch - 2)), use_cache=True, steps=6)
        else:  # by its code alone: whoever drops a cache does it there
            does = prepares_itself(self.network) and hasattr(self.config, "original_max_position_embeddings")
        if does:
            return Proved(anew, length, (*notes, ANEW.format(switch=f"{switch:,}")))
        return Proved(reader, switch, (*notes, CUT.format(switch=f"{switch:,}")))

    def _same(self, ours: torch.Tensor, theirs: torch.Tensor) -> bool:
        ours, theirs = ours.float(), theirs.float()
        return bool((ours - theirs).abs().max() <= self.tolerance * theirs.abs().max())


def _text_config(network: PreTrainedModel) -> Any:
    return network.config.get_text_config(decoder=True)


def _token_ids(config: Any) -> list[int]:
    """The ids that a configuration gives a part to play."""
    named = [value for name, value in config.to_dict().items() if "token_id" in name or name.endswith("_index")]
    return [
        each for value in named for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)
    ]
