"""What a run takes inside the model and outside it. Owns the clock in the forward pass; knows our loop alone."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import torch
from transformers import PreTrainedModel

from decoding.bench.loops import CHOICES, loop
from decoding.engines.torch.engine import LocalEngine
from decoding.run import Request, Run


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
        is_cuda = self._network.device.type == "cuda"
        if is_cuda and torch.cuda.is_current_stream_capturing():
            return  # a pass that is captured does not run yet, and to wait for it would end the capture
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


def measure_first_step(engine: LocalEngine, token_ids: Sequence[int], *, repeats: int) -> float:
    """The seconds from the request until the first step is there: a median."""
    turns = []
    for _ in range(repeats):
        started = perf_counter()
        next(iter(engine.steps(token_ids, max_new_tokens=1, top_k=CHOICES)))
        turns.append(perf_counter() - started)
    return median(turns)
