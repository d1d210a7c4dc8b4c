"""Reads a model's spec from the metadata of its GGUF file.

Owns GGUF's names for the facts, and which families are supported. Knows no weights beyond their names and shapes.
"""

import math
from collections import Counter

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile, shown
from decoding.models.gguf_blocks import floats
from decoding.models.gguf_metadata import ArchitectureMetadata
from decoding.models.gguf_text import EMBEDDING, end_ids, named_id, tensor_of, vocabulary_size
from decoding.models.spec import LEAST_FACT, MAX_CONTEXT, MAX_HEAD_WIDTH, MOST_FACT, Activation, ModelSpec, Rope

FAMILIES = {
    "llama": "llama",
    "qwen2": "llama",
    "qwen3": "llama",
    "gpt2": "gpt2",
    "gptneox": "gpt_neox",
    "gemma3": "gemma3",
}
"""GGUF's name of an architecture, and the module that writes its graph."""
_ACTIVATIONS: dict[str, Activation] = {"gpt2": "gelu_tanh", "gemma3": "gelu_tanh", "gptneox": "gelu"}
_NO_MODELS = ("adapter", "imatrix", "mmproj")
DIVISORS = "rope_freqs.weight"
"""The one tensor whose values are facts: of Llama 3's scaling, one divisor for each frequency."""
_GEMMA_PATTERN, _GEMMA_LOCAL_BASE = 6, 10_000.0  # which a Gemma 3 file need not say
_GEMMA_27B_LAYERS = 62  # the one size whose scores are scaled by its width, which its file does not say either
_WORDS = {"Q4": "four-bit", "Q5": "five-bit", "Q6": "six-bit", "Q8": "eight-bit"}
_WORDS |= {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_NOTABLE = 1 / 4  # of the weights: a smaller share is not named, such as the starter's embedding


def check_is_model(file: GgufFile) -> None:
    """Raises ModelError for a file that goes with a model: an adapter, a projector of images, an importance matrix."""
    if (kind := file.metadata.get("general.type")) in _NO_MODELS:
        raise ModelError(Message("gguf.no_model", file=file.path.name, kind=kind))


def spec_of_gguf(file: GgufFile) -> ModelSpec:
    """The spec of a GGUF file's model. Raises ModelError for a family that is not supported, and for facts that are
    missing or make no sense.
    """
    check_is_model(file)
    metadata = ArchitectureMetadata(file)
    architecture = metadata.family
    if architecture not in FAMILIES:
        families = ", ".join(FAMILIES)
        raise ModelError(Message("gguf.family", file=file.path.name, family=shown(architecture), families=families))
    layers, width, heads = (
        metadata.count(name) for name in ("block_count", "embedding_length", "attention.head_count")
    )
    embedding = tensor_of(file, EMBEDDING)
    if layers > len(file.tensors):  # before anything is made for each
        raise metadata.wrong("block_count")
    metadata.check_computed()
    head_width = _head_width(metadata, width, heads)
    if len(embedding.shape) != 2 or embedding.shape[1] != width:
        raise metadata.wrong(EMBEDDING)
    kv_heads, rows = metadata.count("attention.head_count_kv", heads), vocabulary_size(file)
    if heads % kv_heads:
        raise metadata.wrong("attention.head_count_kv")
    is_gemma = architecture == "gemma3"
    scaled_by = width // heads if is_gemma and layers == _GEMMA_27B_LAYERS else head_width
    kinds = _counts(file)
    ropes, rope_of_layer, windows = _positions(metadata, architecture, layers, head_width)
    has = file.tensors.__contains__
    spec = ModelSpec(
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
        activation=_ACTIVATIONS.get(architecture, "silu"),
        attention_scale=metadata.positive("attention.scale", scaled_by**-0.5),
        tied_head=not has("output.weight"),
        end_ids=end_ids(file, rows),
        beginning_id=named_id(file.metadata, "bos", rows),
        stored=", ".join(kinds),
        description=_description(kinds),
        ropes=ropes,
        rope_of_layer=rope_of_layer,
        windows=windows,
        qkv_bias=has("blk.0.attn_q.bias") or has("blk.0.attn_qkv.bias"),
        output_bias=has("blk.0.attn_output.bias"),
        mlp_bias=has("blk.0.ffn_up.bias"),
        head_norms=has("blk.0.attn_q_norm.weight"),
        parallel_residual=architecture != "gptneox" or bool(metadata.get("use_parallel_residual", True)),
        embedding_scale=float(math.sqrt(width)) if is_gemma else 1.0,
    )
    metadata.check_no_unknown()
    return spec


def _head_width(metadata: ArchitectureMetadata, width: int, heads: int) -> int:
    if width % heads and "attention.key_length" not in metadata:
        raise metadata.wrong("attention.head_count")
    found = metadata.count("attention.key_length", width // heads)
    if found > MAX_HEAD_WIDTH:
        raise metadata.wrong("attention.key_length")
    if metadata.count("attention.value_length", found) != found:
        raise metadata.wrong("attention.value_length")
    return found


def _positions(
    metadata: ArchitectureMetadata, architecture: str, layers: int, head_width: int
) -> tuple[tuple[Rope, ...], tuple[int, ...], tuple[int, ...]]:
    """The rotary embeddings, which of them each layer uses, and the window of each layer."""
    if architecture == "gpt2":
        return (), (), ()
    turned = metadata.count("rope.dimension_count", head_width)
    if turned > head_width or turned % 2:
        raise metadata.wrong("rope.dimension_count")
    if turned < head_width and architecture != "gptneox":  # transformers turns whole heads, and llama.cpp refuses some
        raise metadata.not_computed("rope.dimension_count", turned)
    base, divisors = metadata.positive("rope.freq_base", 10_000.0), _divisors(metadata, turned)
    if architecture != "gemma3":
        window = metadata.count("attention.sliding_window") if metadata.get("attention.sliding_window") else 0
        return (Rope(base, turned, divisors),), (0,) * layers, (window,) * layers if window else ()
    window, pattern = metadata.count("attention.sliding_window"), "attention.sliding_window_pattern"
    if isinstance(metadata.get(pattern), list):  # one for each layer, in other families
        raise metadata.wrong(pattern)
    every = metadata.count(pattern, _GEMMA_PATTERN)
    is_global = [(layer + 1) % every == 0 for layer in range(layers)]
    local = Rope(metadata.positive("rope.freq_base_swa", _GEMMA_LOCAL_BASE), turned)
    return (
        (Rope(base, turned, divisors), local),
        tuple(0 if whole else 1 for whole in is_global),
        tuple(0 if whole else window for whole in is_global),
    )


def _divisors(metadata: ArchitectureMetadata, turned: int) -> tuple[float, ...]:
    """What the frequencies are divided by: all by one factor, and as the tensor of Llama 3's scaling says. llama.cpp
    takes a factor without a type for a linear one, and a factor of 0 for no scaling; so does this.
    """
    kind = metadata.get("rope.scaling.type", "linear")
    if kind not in ("none", "linear"):
        raise ModelError(Message("gguf.rope", file=metadata.file.path.name, kind=shown(kind)))
    older, newer = "rope.scale_linear", "rope.scaling.factor"
    name = newer if newer in metadata else older
    factor = metadata.positive(name) if metadata.get(name) and kind == "linear" else 1.0
    tensor = metadata.file.tensors.get(DIVISORS)
    if tensor is None or FAMILIES[metadata.family] != "llama":
        return (factor,) * (turned // 2) if factor != 1 else ()
    if tensor.shape != (turned // 2,):
        raise metadata.wrong(tensor.name)
    found = floats(tensor.kind, metadata.file.read(tensor)).tolist()
    if not all(LEAST_FACT <= one <= MOST_FACT for one in found):
        raise metadata.wrong(tensor.name)
    return tuple(factor * one for one in found)


def _counts(file: GgufFile) -> dict[str, int]:
    """The weights of all matrices by type, the most common first."""
    found: Counter[str] = Counter()
    for tensor in file.tensors.values():
        if len(tensor.shape) > 1:
            found[tensor.kind.name] += math.prod(tensor.shape)
    return dict(found.most_common())


def _description(kinds: dict[str, int]) -> str:
    """How most weights are stored, or the two ways that say it; what is quantized is never left out."""
    counts: Counter[str] = Counter()
    for kind, count in kinds.items():
        counts[_WORDS.get(kind) or _WORDS[kind[:2]]] += count
    most, *others = (word for word, _ in counts.most_common())
    quantized = [word for word in others if word.endswith("bit")]
    second = [word for word in others if counts[word] >= _NOTABLE * counts.total()]
    if not most.endswith("bit"):
        second = quantized or second
    named = sorted([most, *second[:1]], key=list(_WORDS.values()).index)
    return most if named == ["float32"] else f"{' and '.join(named)} weights, computed in float32"
