"""One step as one function over tensors that never move: it reads the id that the step before it picked, and picks.

Owns what a step computes, in the words of `decoding.engines.torch.softmax`, and how it is recorded as a CUDA
graph. Nothing in it may ask the host anything: no number of a tensor may become one of Python's. Knows no run.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from decoding.engines.torch.names import cache_name
from decoding.engines.torch.softmax import as_float32, log_sums, normalise, of_logits, rank
from decoding.engines.torch.static_cache import Fixed
from decoding.errors import ModelError
from decoding.record.step import ScoredToken, StepScores
from decoding.softmax import INVERSE_TEMPERATURES as POWERS

TOP = 50
"""Candidates that a step ranks, whatever its reader wants: as many as a run may ask for."""
TOLERANCE, COARSE_TOLERANCE = 1e-4, 5e-2
"""How far the logits of the proof may be off, as a share of the largest, in float32 and in 16 bits: 1e-6 and 1e-2 are
usual, and a wrong mask or position is off by 1.
"""
_WARM_UP = 3
_NO_PICK = -1


class RecordedStep:
    """A step of a text of at most `size` ids.

    After it, `numbers` holds what it says (see `readout_of`), and the tensors that it reads are those of the next one.
    """

    def __init__(self, network: PreTrainedModel, like: DynamicCache, *, size: int) -> None:
        device = network.device
        self.fixed = Fixed(network, like, size=size)
        self._network = network
        self._options: dict[str, Any] = {"use_cache": True, str(cache_name(network)): self.fixed.cache}
        if "logits_to_keep" in inspect.signature(network.forward).parameters:
            self._options["logits_to_keep"] = 1
        vocabulary = network.config.get_text_config(decoder=True).vocab_size
        self._top = min(TOP, vocabulary)
        self._ids = torch.arange(vocabulary, device=device)
        self._token = torch.zeros(1, 1, dtype=torch.long, device=device)
        self._picks = torch.full((size + 1,), _NO_PICK, device=device)  # by position; −1 is argmax's
        self._logits = torch.zeros(vocabulary, device=device)
        self.numbers = torch.zeros(2 * self._top + len(POWERS) + 5, dtype=torch.float64, device=device)

    def load(self, cache: DynamicCache, token_id: int, picks: Mapping[int, int]) -> None:
        """Go on from what a cache has read, with this id; at the positions of `picks`, with their ids."""
        self.fixed.load(cache)
        self._token.fill_(token_id)
        self._picks.fill_(_NO_PICK)
        if picks:
            places, ids = torch.tensor([[*picks], [*picks.values()]], device=self._picks.device)
            self._picks[places] = ids

    def __call__(self) -> None:
        place = self.fixed.place
        output = self._network(
            input_ids=self._token,
            attention_mask=self.fixed.mask(),
            position_ids=place[None],  # (1, 1)
            **self._options,
        )
        self._logits.copy_(as_float32(output.logits[0, -1]))  # (vocabulary,)
        place.add_(1)
        self._say(self._picks.index_select(0, place))

    def _say(self, wanted: torch.Tensor) -> None:
        """What `decoding.engines.torch.softmax.read_on_device` says of the logits, into `numbers`."""
        logits, ids = self._logits, rank(self._logits, self._top)  # (vocabulary,), (k,)
        shifted, weights, total = normalise(logits)
        mean = torch.dot(weights, shifted.clamp(min=-1e4)) / total  # clamped: 0 · −inf would be NaN
        picked = torch.where(wanted == _NO_PICK, ids[:1], wanted)  # (1,)
        mine = logits.index_select(0, picked)  # (1,)
        ahead = (logits > mine).sum() + ((logits == mine) & (self._ids < picked)).sum()
        of_largest = [logits.index_select(0, ids[:1]).double(), (total.log() - mean)[None]]
        of_picked = [picked.double(), shifted.index_select(0, picked) - total.log(), ahead.double()[None]]
        logprobs = shifted.index_select(0, ids) - total.log()  # (k,)
        self.numbers.copy_(torch.cat([ids.double(), logprobs, log_sums(weights, total), *of_largest, *of_picked]))
        self._token.copy_(picked[None])

    def check(self, expected: torch.Tensor) -> None:
        """Raises ModelError where the last step's logits are not the expected ones, shape (vocabulary,)."""
        tolerance = TOLERANCE if expected.dtype == torch.float32 else COARSE_TOLERANCE
        difference = (self._logits - expected.float()).abs().max()
        if not difference <= tolerance * expected.float().abs().max():
            raise ModelError(f"a recorded step was off by {difference:.2g}")


def readout_of(numbers: list[float], *, top_k: int, is_forced: bool) -> tuple[StepScores, int]:
    """The readout that a step's numbers are, and the id that it went on with."""
    *numbers, largest, entropy, token_id, logprob, ahead = numbers
    if not entropy == entropy:
        raise ModelError("The model's output is not a number (NaN or infinite), so there is no probability to show.")
    k = (len(numbers) - len(POWERS)) // 2
    readout = StepScores(
        tuple(int(i) for i in numbers[: min(top_k, k)]),
        tuple(numbers[k : k + min(top_k, k)]),
        max(entropy, 0.0),
        picked=ScoredToken(int(token_id), logprob, int(ahead)) if is_forced else None,
        log_sums=of_logits(numbers[2 * k :], largest),
    )
    return readout, int(token_id)


def capture(step: RecordedStep) -> Callable[[], None]:
    """Record a step as a CUDA graph. Each call of what is returned makes one step, without waiting for it.

    Warm-up steps go before, on a stream beside, because libraries set themselves up in their first calls. The step's
    tensors then hold anything: load it.
    """
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # Only this thread is held to what may be recorded: another may be reading a prompt meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay
