"""Computes the figures of a proof with transformers' network; a program of its own, because it imports torch.

python -m decoding.engines.onnx.graph_proof_figures SOURCE FILE: the file has the texts' ids, and gets the figures.
"""

import json
import sys
from pathlib import Path

import torch

from decoding.engines.onnx.graph_proof import LAST, tops_of
from decoding.engines.torch.float32_network import load_float32_network
from decoding.errors import ModelError, RoomError
from decoding.messages import to_json
from decoding.models.catalogue import Entry


@torch.inference_mode()
def main(source: Path, file: Path) -> None:
    texts, figures = json.loads(file.read_text("utf-8")), []
    try:
        network = load_float32_network(Entry(source.name), source)
    except RoomError:
        raise
    except ModelError as error:
        file.write_text(json.dumps({"refused": to_json(error.message)}), "utf-8")
        return
    for ids in texts:
        logits = network(torch.tensor([ids]), use_cache=False).logits[0, -LAST:].double()
        figures.append({"ids": ids, "following": [tops_of(row) for row in logits.softmax(-1).numpy()]})
    file.write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
