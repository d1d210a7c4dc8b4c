"""A graph on the disk, and how it is opened.

Owns what a session is given besides the graph: weights that lie in the model's own files, mapped and not copied. Knows
no cache of graphs and no way of using a session.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from decoding.models.spec import ModelSpec

WEIGHTS_FILE, GRAPH_FILE, OUTSIDE_FILE = "weights.bin", "model.onnx", "outside.json"


@dataclass(frozen=True, slots=True)
class GraphFiles:
    folder: Path
    spec: ModelSpec
    source: Path
    """The model's own file, or the folder of its files."""

    def open(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session over the graph, on the CPU. `options` are completed with what the graph needs.

        A session keeps its own layout of four-bit numbers, which is what makes them fast. Float32 weights it reads as
        they lie: another layout of them would be a copy of the whole model, for a step that takes no less.
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
