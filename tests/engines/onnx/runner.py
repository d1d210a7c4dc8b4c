"""A graph run plainly, one pass after another, as the contract says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from decoding.engines.onnx.graph_cache import GraphFiles

Cache = dict[str, Any]


def probabilities(logits: Any) -> Any:
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class Runner:
    def __init__(self, files: GraphFiles, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.spec = files.spec
        self.session = files.open(options)
        self.names = [f"{kind}{layer}" for layer in range(self.spec.layers) for kind in "kv"]

    def empty(self, rows: int, width: int = 0) -> Cache:
        shape = (rows, self.spec.kv_heads, width, self.spec.head_width)
        return {name: np.zeros(shape, np.float32) for name in self.names}

    def read(
        self,
        ids: Sequence[int],
        cache: Cache | None = None,
        positions: Sequence[int] | None = None,
        layers_at: Sequence[int] = (),
    ) -> tuple[Any, Cache]:
        """Logits of the positions of these ids (the last by default) and of every layer at `layers_at`, and the cache
        with all ids in it.
        """
        past = cache or self.empty(1)
        total = past["k0"].shape[2] + len(ids)
        logits, *new = self.session.run(
            None,
            {f"past_{name}": past[name] for name in self.names}
            | {
                "input_ids": np.array(ids, np.int64),
                "seqlens_k": np.array([total - 1], np.int32),
                "total_length": np.array(total, np.int32),
                "positions": np.array([len(ids) - 1] if positions is None else positions, np.int64),
                "layers_at": np.array(layers_at, np.int64),
            }
            | self._texts_in_turn(1, len(ids)),
        )
        return logits, dict(zip(self.names, new, strict=True))

    def read_rows(
        self,
        ids: Sequence[Sequence[int]],
        buffers: Cache,
        before: Any,
        *,
        lengths: Any = None,
        positions: Sequence[int] = (0,),
    ) -> Any:
        """Read ids of several rows, of one width, into buffers that are input and output at once. `before` are the ids
        that each row has read; `lengths`, how many of these ids are its own, where the rest is padding.

        Returns the logits after the ids at `positions` of each row.  (rows, positions, vocabulary)
        """
        ends = before + np.int32(len(ids[0])) if lengths is None else before + lengths
        binding = self.session.io_binding()
        binding.bind_output("logits", "cpu")
        binding.bind_cpu_input("input_ids", np.ravel(np.array(ids, np.int64)))
        binding.bind_cpu_input("seqlens_k", ends - np.int32(1))
        binding.bind_cpu_input("total_length", np.array(ends.max(), np.int32))
        places = np.array([[row * len(ids[0]) + place for place in positions] for row in range(len(ids))], np.int64)
        binding.bind_cpu_input("positions", places.ravel())
        binding.bind_cpu_input("layers_at", np.zeros(0, np.int64))
        for name, where in self._texts_in_turn(len(ids), len(ids[0])).items():
            binding.bind_cpu_input(name, where)
        for name in self.names:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(buffers[name])
            binding.bind_ortvalue_input(f"past_{name}", value)
            binding.bind_ortvalue_output(f"new_{name}", value)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy().reshape(*places.shape, -1)

    def _texts_in_turn(self, rows: int, ids: int) -> dict[str, Any]:
        """Each row is a text; a browser's graph knows one text alone, and has no such inputs."""
        places = np.array([[row * ids + column for column in range(ids)] for row in range(rows)], np.int64)
        ids_at = np.array([(row, column) for row in range(rows) for column in range(ids)], np.int64)
        inputs = {one.name for one in self.session.get_inputs()}
        return {name: where for name, where in (("texts_at", places), ("ids_at", ids_at)) if name in inputs}
