"""The loops that `bench` compares, and the order in which they take turns. Owns the contenders and the clock inside the
model; knows no table and no page.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp
from operator import truediv
from statistics import median
from time import perf_counter
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines.local import LocalEngine, best
from decoding.errors import RequestError
from decoding.greedy import read
from decoding.models import Loaded, load_model
from decoding.run import Request, Run

CHOICES = 5
WARM_UP_STEPS = 8

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a contender wrote: an id a step, and each step's CHOICES largest probabilities, largest first."""

    token_ids: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's result. The time is the median of its turns; a ratio, how many times as fast it is, the median of
    the ratios in each turn, because a machine's speed drifts. The difference is to the notebook's probabilities, over
    the steps that both reached by the same ids.
    """

    name: str
    steps: int
    prompt_tokens: int
    ms_per_step: float
    ratio_to_generate: float
    ratio_to_notebook: float
    max_probability_difference: float
    same_ids: bool


Contender = Callable[[LocalEngine, Sequence[int], int], Decoded]
"""(engine, the prompt's ids, steps) → exactly so many steps, whatever the model says of ending."""


def load_endless(model: str, *, device: str, dtype: str) -> LocalEngine:
    """A model that no token ends, so that every contender takes the same number of steps."""
    return LocalEngine(_endless(model, device=device, dtype=dtype))


def load_best(model: str, *, device: str, dtype: str) -> LocalEngine:
    """The same, as the page has it: the fastest way of this device."""
    return best(_endless(model, device=device, dtype=dtype))


def _endless(model: str, *, device: str, dtype: str) -> Loaded:
    return replace(load_model(model, device=device, dtype=dtype), end_ids=frozenset())


@torch.inference_mode()
def notebook(engine: LocalEngine, token_ids: Sequence[int], steps: int) -> Decoded:
    """The notebook's way: read the whole text again at every step, remember nothing, sort the whole vocabulary."""
    network = engine.network
    options = {"use_cache": False} if "use_cache" in inspect.signature(network.forward).parameters else {}
    input_ids = torch.tensor([list(token_ids)], device=network.device)  # (1, tokens)
    picked, probabilities = [], []
    for _ in range(steps):
        logits = network(input_ids=input_ids, **options).logits[0, -1]  # (vocabulary,)
        ordered, order = logits.float().softmax(-1).sort(descending=True, stable=True)  # (vocabulary,) each
        picked.append(int(order[0]))
        probabilities.append(tuple(ordered[:CHOICES].tolist()))
        input_ids = torch.cat([input_ids, order[None, :1]], dim=1)
    return Decoded(tuple(picked), tuple(probabilities))


def generate(engine: LocalEngine, token_ids: Sequence[int], steps: int) -> Decoded:
    """transformers' own greedy search, its logits read as ours are."""
    network: Any = engine.network
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
    readouts = [read(logits[0], CHOICES) for logits in output.logits]
    picked = output.sequences[0, len(token_ids) :].tolist()
    return Decoded(tuple(picked), tuple(tuple(map(exp, readout.logprobs)) for readout in readouts))


def loop(engine: LocalEngine, token_ids: Sequence[int], steps: int) -> Decoded:
    """Our classroom loop."""
    readouts = list(engine.steps(token_ids, max_new_tokens=steps, top_k=CHOICES))
    picked = tuple(readout.token_ids[0] for readout in readouts)
    return Decoded(picked, tuple(tuple(map(exp, readout.logprobs)) for readout in readouts))


CONTENDERS: dict[str, Contender] = {"notebook": notebook, "generate": generate, "loop": loop, "best": loop}
"""All over the plain engine, but for "best", which is the same loop over the engine that the page has."""


def measure_loops(
    plain: LocalEngine, fastest: LocalEngine, token_ids: Sequence[int], *, steps: int, repeats: int, say: Say
) -> list[Row]:
    """Let the contenders take turns, after a warm-up. Raises RequestError for more steps than the context holds."""
    if plain.context_length is not None and len(token_ids) + steps > plain.context_length:
        room = plain.context_length - len(token_ids)
        raise RequestError(f"{steps} steps do not fit: {plain.info.id} has room for {room}.", field="steps")
    engines = dict.fromkeys(CONTENDERS, plain) | {"best": fastest}
    decoded = {name: run(engines[name], token_ids, min(steps, WARM_UP_STEPS)) for name, run in CONTENDERS.items()}
    turns: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(repeats):
        say(f"{steps} steps, turn {turn + 1} of {repeats}")
        for name, run in CONTENDERS.items():
            started = perf_counter()
            decoded[name] = run(engines[name], token_ids, steps)
            turns[name].append(perf_counter() - started)
    return [
        Row(
            name=name,
            steps=steps,
            prompt_tokens=len(token_ids),
            ms_per_step=median(turns[name]) / steps * 1000,
            ratio_to_generate=median(map(truediv, turns["generate"], turns[name])),
            ratio_to_notebook=median(map(truediv, turns["notebook"], turns[name])),
            max_probability_difference=max_difference(decoded[name], decoded["notebook"]),
            same_ids=decoded[name].token_ids == decoded["notebook"].token_ids,
        )
        for name in CONTENDERS
    ]


def max_difference(ours: Decoded, theirs: Decoded) -> float:
    """The largest difference between probabilities of the same rank, up to the first step that picks differently:
    beyond it the texts differ, and so may all else.
    """
    largest = 0.0
    ids = zip(ours.token_ids, theirs.token_ids, strict=True)
    for (a, b), p, q in zip(ids, ours.probabilities, theirs.probabilities, strict=True):
        largest = max(largest, *(abs(x - y) for x, y in zip(p, q, strict=True)))
        if a != b:
            break
    return largest


class ForwardClock:
    """While it is open, notes the seconds of each forward pass of a network, on its device to the end."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.seconds: list[float] = []
        self._network = network

    def __enter__(self) -> "ForwardClock":
        self._hooks = [
            self._network.register_forward_pre_hook(self._begin),
            self._network.register_forward_hook(self._end),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, *_: object) -> None:
        self._started = perf_counter()

    def _end(self, *_: object) -> None:
        if self._network.device.type != "cpu":
            torch.accelerator.synchronize()
        self.seconds.append(perf_counter() - self._started)


def measure_outside(engine: LocalEngine, prompt: str, *, steps: int, repeats: int) -> float:
    """The share of a run, from request to JSON Lines, that is not spent in the model's forward passes: a median."""
    shares = []
    for _ in range(repeats):
        run = Run(engine, Request(prompt, steps, CHOICES))
        with ForwardClock(engine.network) as clock:
            started = perf_counter()
            for _line in run.lines():
                pass
            shares.append(1 - sum(clock.seconds) / (perf_counter() - started))
    return median(shares)


def bare_loop(engine: LocalEngine, token_ids: Sequence[int], steps: int) -> tuple[float, float]:
    """The seconds that our loop takes with no page around it, and those of its first forward pass."""
    with ForwardClock(engine.network) as clock:
        started = perf_counter()
        loop(engine, token_ids, steps)
        return perf_counter() - started, clock.seconds[0]
