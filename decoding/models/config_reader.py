"""Reads the fields of a config.json, and refuses unknown ones.

Owns how a field is validated, and the refusal of a field that is unknown and not empty. Knows no family; `spec_config`
does.
"""

import math
from typing import Any

from decoding.models.spec import LEAST_FACT, MOST_FACT, Activation, NoGraphError, Rope

_IGNORED = frozenset(
    [
        "_name_or_path",
        "architectures",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "attn_pdrop",
        "auto_map",
        "bos_token_id",
        "cache_implementation",
        "classifier_dropout",
        "dtype",
        "embd_pdrop",
        "eos_token_id",
        "hidden_dropout",
        "id2label",
        "initializer_range",
        "is_llama_config",
        "label2id",
        "language_model",
        "max_length",
        "model_type",
        "n_ctx",
        "output_past",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "resid_pdrop",
        "return_dict",
        "rope_interleaved",
        "rope_ratio",
        "scale_attn_weights",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "task_specific_params",
        "tokenizer_class",
        "torch_dtype",
        "transformers.js_config",
        "transformers_version",
        "unk_token_id",
        "unsloth_fixed",
        "unsloth_version",
        "use_cache",
    ]
)
"""Fields that do not affect the numbers of a causal language model."""
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


class Config:
    """A configuration that records which of its fields were read. Its methods raise NoGraphError for an invalid
    value.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields, self._known = fields, set(_IGNORED)

    def get(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        found = self._fields.get(name)
        return default if found is None else found

    def count(self, name: str, default: int | None = None) -> int:
        found = self.get(name, default)
        if type(found) is not int or not 1 <= found < 2**31:
            raise NoGraphError(f"its {name} is {str(found)[:40]}")
        return found

    def positive(self, name: str, default: float | None = None) -> float:
        return positive(name, self.get(name, default))

    def flag(self, name: str, default: bool) -> bool:
        found = self.get(name, default)
        if type(found) is not bool:
            raise NoGraphError(f"its {name} is {str(found)[:40]}")
        return found

    def require(self, **values: Any) -> None:
        """Refuse fields with any other values than these."""
        for name, value in values.items():
            if (found := self.get(name, value)) != value:
                raise NoGraphError(f"its {name} is {str(found)[:40]}, and graphs are written for {value} alone")

    def activation(self, name: str, default: str) -> Activation:
        found = self.get(name, default)
        if found not in _ACTIVATIONS:
            raise NoGraphError(f"its {name} is {str(found)[:40]}")
        return _ACTIVATIONS[found]

    def check_no_unknown_fields(self) -> None:
        for name, value in self._fields.items():
            if name not in self._known and value:
                raise NoGraphError(f"its config.json says {name[:40]}, which is not known here")


def positive(name: str, found: Any) -> float:
    if type(found) not in (int, float) or not LEAST_FACT <= found <= MOST_FACT:
        raise NoGraphError(f"its {name} is {str(found)[:40]}")
    return float(found)


def rope(fields: Any, base: float | None, width: int) -> Rope:
    """The rotary embedding of rope_parameters (rope_scaling in older files), over heads of `width` values."""
    fields = dict(fields or {})
    kind = fields.pop("rope_type", fields.pop("type", "default"))
    fields.pop("type", None)
    base = positive("rope_theta", fields.pop("rope_theta", base))
    partial = positive("partial_rotary_factor", fields.pop("partial_rotary_factor", 1.0))
    width = int(width * partial)
    if width % 2 or not width or partial > 1:
        raise NoGraphError(f"it turns {width} values of a head")
    divisors: tuple[float, ...] = ()
    if kind == "linear":
        divisors = (positive("factor", fields.pop("factor", None)),) * (width // 2)
    elif kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        divisors = _llama3_divisors(base, width, *(positive(name, fields.pop(name, None)) for name in names))
    elif kind != "default":
        raise NoGraphError(f"its rotary embedding is stretched by {str(kind)[:20]}")
    if fields := {name: value for name, value in fields.items() if value is not None}:
        raise NoGraphError(f"its rotary embedding has {next(iter(fields))[:40]}")
    return Rope(base, width, divisors)


def _llama3_divisors(
    base: float, width: int, factor: float, low: float, high: float, original_context: float
) -> tuple[float, ...]:
    """Llama 3's scaling: low frequencies are divided by the factor, high ones stay, those between are blended."""
    if not low < high:
        raise NoGraphError("its low_freq_factor is not below its high_freq_factor")
    found = []
    for pair in range(0, width, 2):
        turns = original_context / (2 * math.pi * base ** (pair / width))  # within the original context
        kept = min(max((turns - low) / (high - low), 0), 1)
        found.append(1 / ((1 - kept) / factor + kept))
    return tuple(found)


def rope_of(config: Config, width: int, base: float | None) -> Rope:
    base = config.get("rope_theta", base)
    old, new = config.get("rope_scaling"), config.get("rope_parameters")
    return rope(new or old, base, width)
