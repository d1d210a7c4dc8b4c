"""Computes the figures of a proof with transformers' network; a program of its own, because it imports torch.

python -m decoding.engines.onnx.graph_proof_figures SOURCE OUT
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from decoding.engines.onnx.graph_proof import LAST, texts, tops_of
from decoding.engines.onnx.transformers_network import network_of_gguf
from decoding.errors import ModelError
from decoding.messages import to_json
from decoding.models.gguf import read_gguf
from decoding.models.spec_config import spec_of_config
from decoding.models.spec_gguf import spec_of_gguf


@torch.inference_mode()
def main(source: Path, out: Path) -> None:
    if source.is_dir():
        spec = spec_of_config(source, "float32")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
        # Without it, sampling settings that greedy decoding never reads could keep a network from being loaded.
        options["generation_config"] = GenerationConfig()  # type: ignore[no-untyped-call]
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **options)
    else:
        file = read_gguf(source)
        spec = spec_of_gguf(file)
        try:
            model = network_of_gguf(file, spec)
        except ModelError as error:
            out.write_text(json.dumps({"refused": to_json(error.message)}), "utf-8")
            return
    model.eval()
    figures = []
    for ids in texts(spec):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -LAST:].double()
        figures.append({"ids": ids, "following": [tops_of(row) for row in logits.softmax(-1).numpy()]})
    out.write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
