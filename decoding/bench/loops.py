"""The loops that the benchmark compares. Owns what each of them does; knows no clock, no table and no page."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import torch

from decoding.engines import Engine
from decoding.engines.torch.softmax import read_scores
from decoding.record.step import StepScores

CHOICES = 5


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a contender wrote: an id a step, and each step's CHOICES largest probabilities, largest first."""

    token_ids: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]

    def at(self, places: Sequence[int]) -> "Decoded":
        """The same at some of the steps."""
        return Decoded(
            tuple(self.token_ids[place] for place in places), tuple(self.probabilities[place] for place in places)
        )


Contender = Callable[[Sequence[int], int], Decoded]
"""(the prompt's ids, steps) → exactly so many steps, whatever the model says of ending."""


@torch.inference_mode()
def notebook(network: Any, token_ids: Sequence[int], written: Sequence[int], places: Sequence[int]) -> Decoded:
    """The notebook's way: read the whole text again at every step, remember nothing, sort the whole vocabulary.

    Here at some places only of a text that is already `written`: a step costs the same there, and a thousand tokens
    take seconds.
    """
    options = {"use_cache": False} if "use_cache" in inspect.signature(network.forward).parameters else {}
    picked, probabilities = [], []
    for place in places:
        input_ids = torch.tensor([[*token_ids, *written[:place]]], device=network.device)  # (1, tokens)
        logits = network(input_ids=input_ids, **options).logits[0, -1]  # (vocabulary,)
        ordered, order = logits.float().softmax(-1).sort(descending=True, stable=True)  # (vocabulary,) each
        picked.append(int(order[0]))
        probabilities.append(tuple(ordered[:CHOICES].tolist()))
    return Decoded(tuple(picked), tuple(probabilities))


def generate(network: Any, token_ids: Sequence[int], steps: int) -> Decoded:
    """transformers' own greedy search, its logits read as ours are."""
    input_ids = torch.tensor([list(token_ids)], device=network.device)  # (1, tokens)
    output = network.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        do_sample=False,
        max_new_tokens=steps,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    decoded = decoded_from([read_scores(logits[0], CHOICES) for logits in output.logits])
    return Decoded(tuple(output.sequences[0, len(token_ids) :].tolist()), decoded.probabilities)


def loop(engine: Engine, token_ids: Sequence[int], steps: int) -> Decoded:
    """An engine's own loop: over the plain one, the classroom's."""
    return decoded_from(list(engine.steps(token_ids, max_new_tokens=steps, top_k=CHOICES)))


def decoded_from(readouts: Sequence[StepScores]) -> Decoded:
    return Decoded(
        tuple(readout.token_ids[0] for readout in readouts),
        tuple(tuple(map(exp, readout.logprobs)) for readout in readouts),
    )


def max_difference(ours: Decoded, theirs: Decoded) -> float:
    """The largest difference between probabilities of the same rank, up to the first step that picks differently:
    beyond it the texts differ, and so may all else.
    """
    largest, until = 0.0, first_other_pick(ours, theirs)
    pairs = zip(ours.probabilities, theirs.probabilities, strict=True)
    for p, q in list(pairs)[: None if until is None else until + 1]:
        largest = max(largest, *(abs(x - y) for x, y in zip(p, q, strict=True)))
    return largest


def first_other_pick(ours: Decoded, theirs: Decoded) -> int | None:
    """The first step at which the picks differ."""
    pairs = enumerate(zip(ours.token_ids, theirs.token_ids, strict=True))
    return next((index for index, (a, b) in pairs if a != b), None)
