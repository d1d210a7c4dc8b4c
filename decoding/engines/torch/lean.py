"""A pass over one id, on a CPU, without the modules: a decoder's arithmetic and nothing around it, in NumPy.

Where one row's products run near the memory's speed, a third of a step is the way to them: modules and small
operations, some 2,000 calls, of which one row needs a quarter. Here they are written out, for the families of
`decoding.engines.torch.families`, over the products of `decoding.engines.torch.direct` and the cache that transformers
has. Whatever else a network is asked (a prompt, a batch, a search), it answers itself, before and after.

Nothing is taken on trust: a network that says something else by this way keeps its own.
"""

import functools
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from decoding.engines.prefix_cache import can_crop, copy_cropped
from decoding.engines.torch.families import Array, Decoder, decoder_of
from decoding.engines.torch.names import cache_name

NAME = "lean steps"
"""What a run's `model.engine` says of it."""
TOLERANCE = 1e-4
"""How far the logits of the proof may be off, as a share of the largest: 1e-6 is usual."""
SPARE = 32
"""Positions there is room for, whenever what was read is laid out again."""
_PROOF_LENGTH = 4


def lighten(network: PreTrainedModel) -> bool:
    """Have a network's passes over one id go this way. False, and the network as it was, where its family is not known,
    or where it would say something else.
    """
    decoder = decoder_of(network)
    name = cache_name(network)
    if decoder is None or name is None or not _agrees(network, decoder, name):
        return False
    forward, known = network.forward, {"input_ids", "use_cache", "logits_to_keep", name}

    @functools.wraps(forward)  # transformers reads its signature
    def one_pass(*args: Any, **options: Any) -> Any:
        ids: Any = options.get("input_ids")
        cache: Any = options.get(name)
        # Who asks for more (a mask, positions, hidden states) asks the network.
        if args or not options.keys() <= known or cache is None or ids.numel() != 1 or not _can_read(decoder, cache):
            return forward(*args, **options)
        logits = torch.from_numpy(read_one(decoder, int(ids), cache))
        return CausalLMOutputWithPast(logits=logits.view(1, 1, -1), **{name: cache})

    network.forward = one_pass
    return True


def read_one(decoder: Decoder, token_id: int, cache: DynamicCache) -> Array:
    """The logits after one id more, shape (vocabulary,); the cache then holds it."""
    heads, groups, width = decoder.heads, decoder.groups, decoder.head_width
    room = _room(cache)
    position = room.length
    seen = position + 1
    x = decoder.embed(token_id, position)
    for block, keys, values in zip(decoder.blocks, room.keys, room.values, strict=True):
        rows = block.read(x).reshape(heads + 2 * groups, width)
        turned = block.turn(rows[: heads + groups], position)
        keys[:, position], values[:, position] = turned[heads:], rows[heads + groups :]
        queries = (turned[:heads] * block.scale).reshape(groups, heads // groups, width)
        scores = np.matmul(queries, keys[:, :seen].swapaxes(1, 2))  # (groups, queries of each, seen)
        scores -= np.maximum.reduce(scores, -1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= np.add.reduce(scores, -1, keepdims=True)
        x = x + block.write(np.matmul(scores, values[:, :seen]).reshape(heads * width))
        x = x + block.think(x)
    room.give(cache, seen)
    return decoder.say(x)


class _Room:
    """What a cache holds, with room to spare: keys and values of shape (layers, groups, positions, head width). The
    cache's own tensors are views of it, so that a position more copies nothing.
    """

    def __init__(self, cache: DynamicCache) -> None:
        layers: list[Any] = list(cache.layers)
        self.length = layers[0].keys.shape[-2]
        made = []
        for tensors in ([layer.keys for layer in layers], [layer.values for layer in layers]):
            _, groups, length, width = tensors[0].shape
            room = torch.empty(len(tensors), groups, length + SPARE, width)
            for mine, tensor in zip(room, tensors, strict=True):
                mine[:, :length] = tensor[0]
            made.append(room)
        self._tensors = made
        self.keys: Array = made[0].numpy()
        self.values: Array = made[1].numpy()
        self.given: Any = None
        self.give(cache, self.length)

    @property
    def is_full(self) -> bool:
        return bool(self.length == self._tensors[0].size(2))

    def give(self, cache: DynamicCache, length: int) -> None:
        """Let the cache see so many positions."""
        keys, values = (tensor[:, None, :, :length].unbind() for tensor in self._tensors)
        layers: list[Any] = list(cache.layers)
        for layer, key, value in zip(layers, keys, values, strict=True):
            layer.keys, layer.values = key, value
        self.length, self.given = length, keys[0]


def _room(cache: Any) -> _Room:
    """The cache's room; a new one where it has none, where it is full, or where somebody else has written since."""
    room: _Room | None = getattr(cache, "lean_room", None)
    if room is None or room.given is not cache.layers[0].keys or room.is_full:
        cache.lean_room = room = _Room(cache)
    return room


def _can_read(decoder: Decoder, cache: Any) -> bool:
    """Whether it holds one text, all of it, of this network."""
    return can_crop(cache) and len(cache.layers) == len(decoder.blocks) and bool(cache.layers[0].keys.size(0) == 1)


@torch.inference_mode()
def _agrees(network: Any, decoder: Decoder, name: str) -> bool:
    """Whether the last of a few ids, read this way, is answered as the network answers."""
    ids = [n % network.config.get_text_config(decoder=True).vocab_size for n in range(_PROOF_LENGTH)]
    cache = DynamicCache(config=network.config)
    expected = network(input_ids=torch.tensor([ids]), use_cache=True, **{name: cache}).logits[0, -1].numpy()
    if not _can_read(decoder, cache):
        return False
    difference = np.abs(read_one(decoder, ids[-1], copy_cropped(cache, len(ids) - 1)) - expected).max()
    return bool(difference <= TOLERANCE * np.abs(expected).max())
