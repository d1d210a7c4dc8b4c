"""Decoders whose arithmetic for one id is written out here, in NumPy, over a network's own weights.

Owns what differs between the families: how a network embeds, normalises, turns and projects. What all have in common,
attention over what was read before and the way from block to block, is `decoding.engines.torch.lean`'s. Everything is
one row: vectors of shape (width,), and heads of shape (heads, head width). Knows no cache and no loop.

After "Attention Is All You Need" (2017), GPT-2 (2019) and LLaMA (2023), as transformers computes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from decoding.engines.torch.direct import DirectLinear
from decoding.engines.torch.joined import Part

Array = NDArray[np.float32]
Map = Callable[[Array], Array]
"""(width,) → (width,), another width perhaps."""
_POSITIONS = 256
"""For so many positions more are the angles of a rotary embedding worked out at once."""
# Rotary embeddings whose frequencies depend on how long a text is.
_ROPES_OF_THE_LENGTH = ("dynamic", "longrope")


@dataclass(frozen=True, slots=True)
class Block:
    """One layer: x += write(attention(turn(read(x)))), x += think(x)."""

    read: Map
    """To queries, keys and values, one after the other."""
    turn: Callable[[Array, int], Array]
    """Queries and keys, shape (heads, head width), to what they are at a position."""
    scale: float
    write: Map
    think: Map


@dataclass(frozen=True, slots=True)
class Decoder:
    embed: Callable[[int, int], Array]
    """(id, position) → (width,)."""
    blocks: tuple[Block, ...]
    say: Map
    """To the logits, shape (vocabulary,)."""
    heads: int
    groups: int
    """The heads of keys and of values; as many queries share each."""
    head_width: int


class _UnknownError(Exception):
    """A network that is not built as its family usually is."""


def decoder_of(network: PreTrainedModel) -> Decoder | None:
    """The arithmetic of a network whose layers go direct, or None where it is not known here."""
    build = _FAMILIES.get(type(network).__name__)
    try:
        return build(network) if build else None
    except (_UnknownError, AttributeError):
        return None


def _llama(network: Any) -> Decoder:
    model, config = network.model, network.config
    if any(rope in str(getattr(config, "rope_parameters", None)) for rope in _ROPES_OF_THE_LENGTH):
        raise _UnknownError
    words, angles = _array(model.embed_tokens), _Angles(model.rotary_emb)
    last, head = _rms(model.norm), _product(network.lm_head)
    return Decoder(
        lambda token_id, _: words[token_id],
        tuple(_llama_block(layer, angles, config.num_attention_heads) for layer in model.layers),
        lambda x: head(last(x)),
        config.num_attention_heads,
        config.num_key_value_heads,
        model.layers[0].self_attn.head_dim,
    )


def _llama_block(layer: Any, angles: "_Angles", heads: int) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    before, project = _rms(layer.input_layernorm), _product(attention.q_proj, attention.k_proj, attention.v_proj)
    between, widen = _rms(layer.post_attention_layernorm), _product(mlp.gate_proj, mlp.up_proj)
    narrow, activation = _product(mlp.down_proj), mlp.act_fn

    def think(x: Array) -> Array:
        gate, up = widen(between(x)).reshape(2, -1)
        return narrow(_act(activation, gate) * up)

    turn = angles.turn
    if hasattr(attention, "q_norm"):  # Qwen3's
        of_queries, of_keys = _rms_of_heads(attention.q_norm), _rms_of_heads(attention.k_norm)

        def turn(both: Array, position: int) -> Array:
            return angles.turn(np.concatenate([of_queries(both[:heads]), of_keys(both[heads:])]), position)

    return Block(lambda x: project(before(x)), turn, attention.scaling, _product(attention.o_proj), think)


def _gpt2(network: Any) -> Decoder:
    model, config = network.transformer, network.config
    words, places = _array(model.wte), _array(model.wpe)

    def block(layer: Any) -> Block:
        attention, mlp = layer.attn, layer.mlp
        before, between = _layer_norm(layer.ln_1), _layer_norm(layer.ln_2)
        project, widen, narrow = _product(attention.c_attn), _product(mlp.c_fc), _product(mlp.c_proj)
        return Block(
            lambda x: project(before(x)),
            lambda both, _: both,
            attention.scaling,
            _product(attention.c_proj),
            lambda x: narrow(_act(mlp.act, widen(between(x)))),
        )

    last, head = _layer_norm(model.ln_f), _product(network.lm_head)
    return Decoder(
        lambda token_id, position: words[token_id] + places[position],
        tuple(map(block, model.h)),
        lambda x: head(last(x)),
        config.n_head,
        config.n_head,
        config.n_embd // config.n_head,
    )


_FAMILIES: dict[str, Callable[[Any], Decoder]] = {
    "GPT2LMHeadModel": _gpt2,
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _llama,
    "Qwen2ForCausalLM": _llama,
    "Qwen3ForCausalLM": _llama,
}


class _Angles:
    """A network's own rotary embedding, its cosines and sines worked out for many positions at once."""

    def __init__(self, rotary: Any) -> None:
        self._rotary = rotary
        self._cos: Array
        self._sin: Array
        self._count = 0

    def turn(self, both: Array, position: int) -> Array:
        """x · cos + (−second half, first half) · sin."""
        if position >= self._count:
            self._work_out(position + _POSITIONS)
        half = both.shape[1] // 2
        turned = both * self._cos[position]
        sin = self._sin[position]
        turned[:, :half] -= both[:, half:] * sin[:half]
        turned[:, half:] += both[:, :half] * sin[half:]
        return cast("Array", turned)

    @torch.inference_mode()
    def _work_out(self, count: int) -> None:
        cos, sin = self._rotary(torch.empty(0), torch.arange(count)[None])  # (1, count, head width) each
        self._cos, self._sin, self._count = cos[0].numpy(), sin[0].numpy(), count


def _product(*layers: Any) -> Map:
    """What several layers that read the same say, one after the other; or what one says."""
    first = layers[0]
    if isinstance(first, Part):
        parts = [(layer.together, layer.index) for layer in layers]
        if parts != [(first.together, index) for index in range(len(first.together.sizes))]:
            raise _UnknownError
        first, layers = first.together.product, layers[:1]
    if len(layers) > 1 or not isinstance(first, DirectLinear):
        raise _UnknownError
    weights = first.columns
    if first.bias is None:
        return lambda x: np.dot(x, weights)
    bias = first.bias.detach().numpy()
    return lambda x: np.dot(x, weights) + bias


def _rms(norm: Any) -> Map:
    weight, eps = _array(norm), norm.variance_epsilon
    width = len(weight)
    return lambda x: x * (1 / sqrt(float(np.dot(x, x)) / width + eps)) * weight


def _rms_of_heads(norm: Any) -> Map:
    weight, eps = _array(norm), norm.variance_epsilon
    width = len(weight)
    return lambda heads: heads / np.sqrt(np.add.reduce(heads * heads, -1, keepdims=True) / width + eps) * weight


def _layer_norm(norm: Any) -> Map:
    weight, bias, eps = _array(norm), norm.bias.detach().numpy(), norm.eps
    width = len(weight)

    def normed(x: Array) -> Array:
        centred = x - np.add.reduce(x) / width
        return cast("Array", centred * (1 / sqrt(float(np.dot(centred, centred)) / width + eps)) * weight + bias)

    return normed


def _act(function: Callable[[torch.Tensor], torch.Tensor], x: Array) -> Array:
    """The network's own activation, which configurations name freely."""
    return function(torch.from_numpy(x)).numpy()


def _array(layer: Any) -> Array:
    return cast("Array", layer.weight.detach().numpy())
