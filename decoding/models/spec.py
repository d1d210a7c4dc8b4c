"""The facts of a model's shape, in one record that every engine shares.

Owns the record and how it is kept as JSON. Knows no file format (`spec_config` and `spec_gguf` make it from theirs), no
weights and no engine.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Activation = Literal["silu", "gelu", "gelu_tanh"]
MAX_CONTEXT = 2**18
"""No more positions are prepared, whatever a file says: the longest prompt and a run's steps need fewer."""
MAX_HEAD_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """How Llama 3 stretches its rotary embedding over a longer context: slow frequencies are divided by `factor`."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotary embedding: its base, and how many values of a head it turns."""

    base: float
    width: int
    linear_factor: float = 1.0
    """Positions are divided by it."""
    llama3: Llama3Scaling | None = None
    divisors: tuple[float, ...] = ()
    """Each frequency is divided by its own, where a file has them."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    family: str
    """The name of its architecture: a module of `decoding.engines.onnx.architecture`."""
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
    """Scores are multiplied by it before the softmax."""
    tied_head: bool
    """Whether the head is the embedding again."""
    end_ids: frozenset[int]
    beginning_id: int | None
    stored: str
    """How the weights lie in their files: "float32", "bfloat16", "Q4_K, Q6_K"."""
    description: str
    """For the page's header: "four-bit weights, computed in float32"."""
    ropes: tuple[Rope, ...] = ()
    """One for each kind of layer; none where positions are learned."""
    rope_of_layer: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    """Of each layer: how many positions it attends to, its own included; 0 for all of them."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Of the attention's last product."""
    mlp_bias: bool = False
    head_norms: bool = False
    """Whether queries and keys are normed, each head by itself."""
    parallel_residual: bool = False
    embedding_scale: float = 1.0

    def window(self, layer: int) -> int:
        return self.windows[layer] if self.windows else 0

    @property
    def parameters(self) -> int:
        """How many there are, but for norms and biases."""
        attention = self.head_width * (2 * self.heads + 2 * self.kv_heads)
        layer = self.width * (attention + self.mlp_width * (2 if self.family in ("gpt2", "gpt_neox") else 3))
        return self.layers * layer + self.vocabulary_size * self.width * (1 if self.tied_head else 2)

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"end_ids": sorted(self.end_ids)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Raises ValueError, KeyError or TypeError for what is no such record."""
        said: dict[str, Any] = json.loads(text)
        if said.keys() != {field.name for field in fields(cls)}:
            raise ValueError("another version's record")
        tuples = {name: tuple(said[name]) for name in ("rope_of_layer", "windows")}
        ropes = tuple(_rope(rope) for rope in said["ropes"])
        return cls(**said | tuples | {"end_ids": frozenset(said["end_ids"]), "ropes": ropes})


def _rope(said: dict[str, Any]) -> Rope:
    return Rope(**said | {"llama3": _llama3(said["llama3"]), "divisors": tuple(said.get("divisors", ()))})


def _llama3(said: dict[str, Any] | None) -> Llama3Scaling | None:
    return Llama3Scaling(**said) if said else None


def row_of(*said: object, rows: int) -> int | None:
    """The first of several ids that files name for a purpose; None where none is an id that the network has a row for:
    some files say -1 or 2**32 - 1 where they mean none.
    """
    return next((one for one in said if type(one) is int and 0 <= one < rows), None)


class NoGraphError(Exception):
    """A model that this program writes no graph of, and why: it is computed by transformers. For the log, and for the
    page's header in few words.
    """
