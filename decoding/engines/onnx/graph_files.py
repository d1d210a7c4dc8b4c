"""A graph on disk, and how it is opened.

Owns the file names, and what a session gets besides the graph: weights in the model's own files, mapped and not copied.
Knows no cache of graphs and no use of a session.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from decoding.models.spec import ModelSpec

WEIGHTS_FILE, GRAPH_FILE, OUTSIDE_FILE, PROVEN_FILE = "weights.bin", "model.onnx", "outside.json", "proven"


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """A graph's folder, the facts of its model, and the model's own file or folder."""

    folder: Path
    spec: ModelSpec
    source: Path
    """The model's own file, or the folder of its files."""

    @property
    def is_proven(self) -> bool:
        """Whether another implementation gave the same numbers; see `graph_proof`."""
        return (self.folder / PROVEN_FILE).exists()

    def open(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session over the graph, on the CPU. Adds to `options` what the graph needs.

        ONNX Runtime repacks four-bit weights, which makes them fast. Float32 weights are not repacked: that would copy
        the whole model and save no time.
        """
        outside = json.loads((self.folder / OUTSIDE_FILE).read_text("utf-8"))
        if outside:
            values = [
                onnxruntime.OrtValue.ortvalue_from_numpy(
                    np.memmap(self.source / file, np.float32, "r", offset=offset, shape=tuple(shape))
                )
                for file, offset, shape in outside.values()
            ]
            options.add_external_initializers(list(outside), values)
            options.add_session_config_entry("session.disable_prepacking", "1")
        return onnxruntime.InferenceSession(self.folder / GRAPH_FILE, options, providers=["CPUExecutionProvider"])
