"""The limit: how long this device takes to read all weights of a model once, which every step of one token has to.

Owns a piece of memory as large as the weights, and its reading with all threads. It is one piece, so that neither the
number of layers nor their layout costs anything here, and no way of decoding can be measured against a slow reader.
"""

import threading
from time import perf_counter

import torch
from transformers import PreTrainedModel

from decoding.models.devices import free_bytes_on

READS = 5
"""Of so many, the fastest counts: whatever else the machine does only makes a read slower."""


class Weights:
    """A stand-in for a network's weights on its device: as many bytes, or as many as half of what is free."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.bytes = weight_bytes(network)
        free = free_bytes_on(network.device.type)
        here = self.bytes if free is None else min(self.bytes, free // 2)
        count = max(here // 4, 1)
        # Written to, because pages that never were are all one and the same.
        if network.device.type == "cpu":
            self._memory = torch.ones(count)
        else:
            self._memory = torch.ones(count, device=network.device)

    def seconds_to_read(self) -> float:
        """The seconds of one read of all the weights: the best of `READS`."""
        fastest = min(self.read() for _ in range(READS))
        return fastest * self.bytes / (4 * len(self._memory))

    @torch.inference_mode()
    def read(self) -> float:
        """Read the memory once. Returns the seconds that it took."""
        if self._memory.device.type == "cpu":
            return self._read_with_threads()
        torch.accelerator.synchronize()
        started = perf_counter()
        self._memory.sum()
        torch.accelerator.synchronize()
        return perf_counter() - started

    def _read_with_threads(self) -> float:
        """A dot product a thread: it reads at the full width, and torch's own takes one thread for it."""
        parts = self._memory.chunk(torch.get_num_threads())
        threads = [threading.Thread(target=torch.dot, args=(part, part)) for part in parts]
        started = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return perf_counter() - started


def weight_bytes(network: PreTrainedModel) -> int:
    """The bytes of a network's parameters; one that stands at both ends is counted once."""
    return sum(weights.numel() * weights.element_size() for weights in network.parameters())
