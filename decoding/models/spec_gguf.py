"""Reads a model's spec from the metadata of its GGUF file.

Owns GGUF's names for the facts, and which families are supported. Knows no weights beyond their names and shapes.
"""

import math
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile
from decoding.models.gguf_blocks import floats
from decoding.models.gguf_text import EMBEDDING, end_ids, named_id, tensor_of, vocabulary_size
from decoding.models.spec import MAX_CONTEXT, MAX_HEAD_WIDTH, Activation, ModelSpec, Rope

FAMILIES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "llama",
    "qwen3": "llama",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
    "gemma3": "gemma3",
}
"""GGUF's name of an architecture, and the module that writes its graph."""
_GEMMA_PATTERN, _GEMMA_LOCAL_BASE = 6, 10_000.0  # which a Gemma 3 file does not say
_GEMMA_27B_LAYERS = 62  # the one size whose scores are scaled by its width, which its file does not say either
_COMPUTED_AS = {
    "attention.causal": True,  # False: an encoder
    "expert_count": 0,
    "logit_scale": 1.0,
    "residual_scale": 1.0,
    "embedding_scale": 1.0,
    "final_logit_softcapping": 0.0,
    "attn_logit_softcapping": 0.0,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "rope.scaling.attn_factor": 1.0,
}
"""Metadata that would change the computation, with the value that leaves it unchanged."""
_WORDS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "Q4": "four-bit", "Q5": "five-bit", "Q6": "six-bit"}


def spec_of_gguf(file: GgufFile) -> ModelSpec:
    """The spec of a GGUF file's model. Raises ModelError for a family that is not supported, and for facts that are
    missing or make no sense.
    """
    metadata = _ArchitectureMetadata(file)
    architecture = metadata.family
    if architecture not in FAMILIES:
        families = ", ".join(FAMILIES)
        raise ModelError(Message("gguf.family", file=file.path.name, family=architecture, families=families))
    layers, width, heads = (
        metadata.count(name) for name in ("block_count", "embedding_length", "attention.head_count")
    )
    embedding = tensor_of(file, EMBEDDING)
    if layers > len(file.tensors):  # before anything is made for each
        raise metadata.wrong("block_count")
    metadata.check_computed()
    if width % heads and "attention.key_length" not in metadata:
        raise metadata.wrong("attention.head_count")
    head_width = metadata.count("attention.key_length", width // heads)
    if head_width > MAX_HEAD_WIDTH:
        raise metadata.wrong("attention.key_length")
    if metadata.count("attention.value_length", head_width) != head_width:
        raise metadata.wrong("attention.value_length")
    if len(embedding.shape) != 2 or embedding.shape[1] != width:
        raise metadata.wrong(EMBEDDING)
    kv_heads, rows = metadata.count("attention.head_count_kv", heads), vocabulary_size(file)
    if heads % kv_heads:
        raise metadata.wrong("attention.head_count_kv")
    is_gemma = architecture == "gemma3"
    scaled_by = width // heads if is_gemma and layers == _GEMMA_27B_LAYERS else head_width
    ropes, rope_of_layer, windows = _positions(metadata, architecture, layers, head_width)
    activation: Activation = (
        "gelu_tanh" if is_gemma or architecture == "gpt2" else "gelu" if architecture == "gptneox" else "silu"
    )
    has = file.tensors.__contains__
    return ModelSpec(
        family=FAMILIES[architecture],
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        mlp_width=metadata.count("feed_forward_length"),
        vocabulary_size=rows,
        context_length=min(metadata.count("context_length"), MAX_CONTEXT),
        norm_epsilon=metadata.norm_epsilon(),
        activation=activation,
        attention_scale=metadata.positive("attention.scale", scaled_by**-0.5),
        tied_head=not has("output.weight"),
        end_ids=end_ids(file, rows),
        beginning_id=named_id(file.metadata, "bos", rows),
        stored=_stored(file),
        description=_description(file),
        ropes=ropes,
        rope_of_layer=rope_of_layer,
        windows=windows,
        qkv_bias=has("blk.0.attn_q.bias") or has("blk.0.attn_qkv.bias"),
        output_bias=has("blk.0.attn_output.bias"),
        mlp_bias=has("blk.0.ffn_up.bias"),
        head_norms=has("blk.0.attn_q_norm.weight"),
        parallel_residual=bool(file.metadata.get("gptneox.use_parallel_residual", True)),
        embedding_scale=float(math.sqrt(width)) if is_gemma else 1.0,
    )


class _ArchitectureMetadata:
    """The metadata of an architecture, whose keys begin with the name of its family."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        family = file.metadata.get("general.architecture")
        self.family: str = family if isinstance(family, str) else "?"

    def __contains__(self, name: str) -> bool:
        return f"{self.family}.{name}" in self.file.metadata

    def wrong(self, name: str) -> ModelError:
        return ModelError(Message("gguf.fact", file=self.file.path.name, name=name))

    def get(self, name: str, default: Any = None) -> Any:
        return self.file.metadata.get(f"{self.family}.{name}", default)

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number in a plausible range, or a list that repeats one for each layer. Raises ModelError for
        anything else.
        """
        found = self.get(name, default)
        if isinstance(found, list) and found and all(one == found[0] for one in found):
            found = found[0]
        if type(found) is not int or not 1 <= found < 2**31:
            raise self.wrong(name)
        return found

    def positive(self, name: str, default: float | None = None) -> float:
        found = self.get(name, default)
        if type(found) not in (int, float) or not math.isfinite(found) or found <= 0:
            raise self.wrong(name)
        return float(found)

    def check_computed(self) -> None:
        """Raises ModelError for metadata that would need a computation which is not implemented."""
        for name, known in _COMPUTED_AS.items():
            found = self.get(name, known)
            if found != known and (found != 0 or known is True):  # some files write 0 for the default
                shown = str(found)[:30]
                raise ModelError(Message("gguf.other", file=self.file.path.name, name=name, value=shown))

    def norm_epsilon(self) -> float:
        name = "attention.layer_norm_rms_epsilon"
        return self.positive(name if name in self else "attention.layer_norm_epsilon")


def _positions(
    metadata: _ArchitectureMetadata, architecture: str, layers: int, head_width: int
) -> tuple[tuple[Rope, ...], tuple[int, ...], tuple[int, ...]]:
    """The rotary embeddings, which of them each layer uses, and the window of each layer."""
    if architecture == "gpt2":
        return (), (), ()
    turned = metadata.count("rope.dimension_count", head_width)
    if turned > head_width or turned % 2:
        raise metadata.wrong("rope.dimension_count")
    kind = metadata.get("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ModelError(Message("gguf.rope", file=metadata.file.path.name, kind=str(kind)[:30]))
    factor = metadata.positive("rope.scaling.factor", 1.0) if kind == "linear" else 1.0
    base = metadata.positive("rope.freq_base", 10_000.0)
    window = metadata.count("attention.sliding_window") if metadata.get("attention.sliding_window") else 0
    if architecture != "gemma3":
        rope = Rope(base, turned, factor, divisors=_divisors(metadata, turned))
        return (rope,), (0,) * layers, (window,) * layers if window else ()
    is_global = [(layer + 1) % _GEMMA_PATTERN == 0 for layer in range(layers)]
    local = Rope(metadata.positive("rope.freq_base_swa", _GEMMA_LOCAL_BASE), turned)
    return (
        (Rope(base, turned, factor), local),
        tuple(0 if whole else 1 for whole in is_global),
        tuple(0 if whole else window for whole in is_global),
    )


def _divisors(metadata: _ArchitectureMetadata, turned: int) -> tuple[float, ...]:
    """Llama 3's context scaling, which GGUF stores as a tensor of divisors of the frequencies; () if there is none."""
    tensor = metadata.file.tensors.get("rope_freqs.weight")
    if tensor is None or FAMILIES[metadata.family] != "llama":
        return ()
    if tensor.shape != (turned // 2,):
        raise metadata.wrong(tensor.name)
    found = floats(tensor.kind, metadata.file.read(tensor)).tolist()
    if not all(math.isfinite(one) and one > 0 for one in found):
        raise metadata.wrong(tensor.name)
    return tuple(found)


def _sizes(file: GgufFile) -> dict[str, int]:
    """The bytes of all matrices by type, the largest first."""
    found: dict[str, int] = {}
    for tensor in file.tensors.values():
        if len(tensor.shape) > 1:
            found[tensor.kind.name] = found.get(tensor.kind.name, 0) + tensor.size
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _stored(file: GgufFile) -> str:
    return ", ".join(_sizes(file))


def _description(file: GgufFile) -> str:
    most = next(iter(_sizes(file)), "F32")
    word = _WORDS.get(most) or _WORDS.get(most[:2], "eight-bit")
    return f"{word} weights, computed in float32" if word != "float32" else "float32"
