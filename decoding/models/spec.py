"""The model spec: the facts of a model's shape, in one record that all engines share.

Owns the record and its JSON. Knows no file format (`spec_config` and `spec_gguf` read theirs), no weights and no
engine.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Activation = Literal["silu", "gelu", "gelu_tanh"]
MAX_CONTEXT = 2**18
"""No more positions are prepared, whatever a file says: the longest prompt and a run's steps need fewer."""
MAX_HEAD_WIDTH = 1024
LEAST_FACT, MOST_FACT = 1e-12, 1e12
"""No number that a file states of its model, such as the base of a rotary embedding, lies beyond: float32 would
overflow.
"""


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotary embedding: its base, and the number of values of a head that it rotates."""

    base: float
    width: int
    divisors: tuple[float, ...] = ()
    """What each frequency is divided by, for a longer context than the model was first trained on; () if by nothing."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    family: str
    """The name of the architecture: a module of `decoding.engines.onnx.architecture`."""
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocabulary_size: int
    context_length: int
    norm_epsilon: float
    activation: Activation
    attention_scale: float
    """Attention scores are multiplied by this before the softmax."""
    tied_head: bool
    """Whether the output head shares the weights of the embedding."""
    end_ids: frozenset[int]
    beginning_id: int | None
    stored: str
    """The types of the stored weights: "float32", "bfloat16", "Q4_K, Q6_K"."""
    description: str
    """For the page's header: "four-bit weights, computed in float32"."""
    ropes: tuple[Rope, ...] = ()
    """One for each kind of layer; empty if positions are learned."""
    rope_of_layer: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    """For each layer, the number of positions it attends to, including its own; 0 for all."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Whether the attention's output projection has a bias."""
    mlp_bias: bool = False
    head_norms: bool = False
    """Whether each head of queries and keys has a norm."""
    parallel_residual: bool = False
    embedding_scale: float = 1.0

    def window(self, layer: int) -> int:
        return self.windows[layer] if self.windows else 0

    def has_bias(self, product: str) -> bool:
        """Whether a product of the layers has a bias, by its name in `decoding.engines.onnx.weight_files`."""
        of_qkv = dict.fromkeys(("query", "key", "value", "qkv"), self.qkv_bias)
        of_mlp = dict.fromkeys(("gate", "up", "down"), self.mlp_bias)
        return (of_qkv | of_mlp | {"output": self.output_bias})[product]

    @property
    def is_quantized(self) -> bool:
        """Whether some matrix has fewer bits a weight than 16."""
        return any(kind.startswith("Q") for kind in self.stored.split(", "))

    @property
    def layer_parameters(self) -> int:
        """The number of parameters of the layers, and of multiplications in them for one id, without norms and
        biases.
        """
        attention = self.head_width * (2 * self.heads + 2 * self.kv_heads)
        mlp = self.mlp_width * (2 if self.family in ("gpt2", "gpt_neox") else 3)
        return self.layers * self.width * (attention + mlp)

    @property
    def parameters(self) -> int:
        """The number of parameters, without norms and biases."""
        return self.layer_parameters + self.vocabulary_size * self.width * (1 if self.tied_head else 2)

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"end_ids": sorted(self.end_ids)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Parse `to_json`'s text. Raises ValueError, KeyError or TypeError for any other text."""
        parsed: dict[str, Any] = json.loads(text)
        if parsed.keys() != {field.name for field in fields(cls)}:
            raise ValueError("another version's record")
        tuples = {name: tuple(parsed[name]) for name in ("rope_of_layer", "windows")}
        ropes = tuple(Rope(**rope | {"divisors": tuple(rope["divisors"])}) for rope in parsed["ropes"])
        return cls(**parsed | tuples | {"end_ids": frozenset(parsed["end_ids"]), "ropes": ropes})


def row_of(*ids: object, rows: int) -> int | None:
    """The first of several ids that files name for a purpose; None where none is an id that the network has a row for:
    some files say -1 or 2**32 - 1 where they mean none.
    """
    return next((one for one in ids if type(one) is int and 0 <= one < rows), None)


class NoGraphError(Exception):
    """A model for which this program writes no graph, so transformers computes it. The message completes "because …"
    for the log.
    """
