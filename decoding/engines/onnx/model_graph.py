"""Writes the graph of a model's files into a folder.

Owns which module writes which family, the check that no weight is left unused, and a graph's metadata. Knows no cache
of graphs.
"""

import re
from pathlib import Path

from decoding.engines.onnx.architecture import gemma3, gpt2, gpt_neox, llama
from decoding.engines.onnx.architecture.layers import LayerWriter
from decoding.engines.onnx.graph_builder import GraphBuilder
from decoding.engines.onnx.graph_files import WEIGHTS_FILE
from decoding.engines.onnx.matmul_nodes import Products, UnpackedProducts
from decoding.engines.onnx.weight_files import GgufWeights, SafetensorsWeights
from decoding.engines.onnx.weights import Weights
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile
from decoding.models.safetensors import StoredTensor
from decoding.models.spec import ModelSpec, NoGraphError

ARCHITECTURES = {"llama": llama, "gpt2": gpt2, "gpt_neox": gpt_neox, "gemma3": gemma3}
_NO_WEIGHTS = re.compile(r"(.*\.)?(rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias|rope_freqs\.weight)")
"""Tensors that some files hold and no network reads: masks and tables that follow from the configuration."""
_HEADS_OF = 16  # GroupQueryAttention needs multiples of it as the head width and as the rotated width


def build_gguf(file: GgufFile, spec: ModelSpec, folder: Path, *, unpacked: bool = False) -> None:
    """Write the graph of a GGUF file into `folder`; if `unpacked`, over its matrices as float32. Raises ModelError for
    a damaged file, NoGraphError for a model that cannot be a graph.
    """
    _check_attention(spec)
    weights = GgufWeights(file, spec)
    _write(spec, weights, folder, UnpackedProducts if unpacked else Products, is_gguf=True)
    check_all_read(weights, spec, file.path.name)


def check_all_read(weights: Weights, spec: ModelSpec, file: str) -> None:
    """Raises ModelError if a GGUF file has tensors that were not read: it then holds another model than is computed."""
    if left := _unread(weights, spec):
        raise ModelError(Message("gguf.unread", file=file, name=left[:60]))


def _unread(weights: Weights, spec: ModelSpec) -> str | None:
    """The name of a stored tensor that was not read; None if there is none."""
    ignored = {"lm_head.weight", "embed_out.weight", "output.weight"} if spec.tied_head else set()
    left = (name for name in weights.unused() if name not in ignored and not _NO_WEIGHTS.fullmatch(name))
    return next(left, None)


def build_safetensors(source: Path, tensors: dict[str, StoredTensor], spec: ModelSpec, folder: Path) -> None:
    """Write the graph of the safetensors of the folder `source` into `folder`. Raises NoGraphError for a model that
    cannot be a graph.
    """
    _check_attention(spec)
    weights = SafetensorsWeights(source, tensors, spec, ARCHITECTURES[spec.family])
    _write(spec, weights, folder, Products, is_gguf=False)
    if left := _unread(weights, spec):
        raise NoGraphError(f"its files have {left[:60]}, which is not known here")


def _check_attention(spec: ModelSpec) -> None:
    """Raises NoGraphError for a model whose attention ONNX Runtime does not compute, or nothing could prove."""
    for width in (spec.head_width, *(rope.width for rope in spec.ropes)):
        if width % _HEADS_OF:
            raise NoGraphError(f"its heads are {width} wide, which ONNX Runtime's attention does not take")
    if 1 in spec.windows:  # with its cache, transformers' `generate` gives other numbers there
        raise NoGraphError("its windows are one position long")


def _write(spec: ModelSpec, weights: Weights, folder: Path, products: type[Products], *, is_gguf: bool) -> None:
    with (folder / WEIGHTS_FILE).open("wb") as file:
        graph = GraphBuilder(file)
        ARCHITECTURES[spec.family].write(LayerWriter(graph, products(graph), weights, spec, is_gguf))
    graph.save(folder, spec.family)
