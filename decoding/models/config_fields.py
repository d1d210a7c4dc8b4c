"""The fields of a config.json: what each must be, and that none is overlooked.

Owns how a field is read, and the refusal of one that is not known and says anything. Knows no family: `spec_config`
does.
"""

import math
from typing import Any

from decoding.models.spec import Activation, Llama3Scaling, NoGraphError, Rope

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
"""Fields that say nothing about the numbers of a model that writes text."""
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


class Config:
    """A configuration, and which of its fields were asked for."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said, self._known = said, set(_IGNORED)

    def get(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        found = self._said.get(name)
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

    def needs(self, **values: Any) -> None:
        """Refuse fields that say anything else than these."""
        for name, value in values.items():
            if (found := self.get(name, value)) != value:
                raise NoGraphError(f"its {name} is {str(found)[:40]}, and graphs are written for {value} alone")

    def activation(self, name: str, default: str) -> Activation:
        found = self.get(name, default)
        if found not in _ACTIVATIONS:
            raise NoGraphError(f"its {name} is {str(found)[:40]}")
        return _ACTIVATIONS[found]

    def check_all_known(self) -> None:
        for name, value in self._said.items():
            if name not in self._known and value:
                raise NoGraphError(f"its config.json says {name[:40]}, which is not known here")


def positive(name: str, found: Any) -> float:
    if type(found) not in (int, float) or not math.isfinite(found) or found <= 0:
        raise NoGraphError(f"its {name} is {str(found)[:40]}")
    return float(found)


def rope(said: Any, base: float | None, width: int) -> Rope:
    """What rope_parameters say (rope_scaling, in older files)."""
    said = dict(said or {})
    kind = said.pop("rope_type", said.pop("type", "default"))
    said.pop("type", None)
    base = positive("rope_theta", said.pop("rope_theta", base))
    partial = positive("partial_rotary_factor", said.pop("partial_rotary_factor", 1.0))
    width = int(width * partial)
    if width % 2 or not width or partial > 1:
        raise NoGraphError(f"it turns {width} values of a head")
    factor, llama3 = 1.0, None
    if kind == "linear":
        factor = positive("factor", said.pop("factor", None))
    elif kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        values = [positive(name, said.pop(name, None)) for name in names]
        llama3 = Llama3Scaling(values[0], values[1], values[2], int(values[3]))
    elif kind != "default":
        raise NoGraphError(f"its rotary embedding is stretched by {str(kind)[:20]}")
    if said := {name: value for name, value in said.items() if value is not None}:
        raise NoGraphError(f"its rotary embedding has {next(iter(said))[:40]}")
    return Rope(base, width, factor, llama3)


def rope_of(config: Config, width: int, base: float | None) -> Rope:
    base = config.get("rope_theta", base)
    old, new = config.get("rope_scaling"), config.get("rope_parameters")
    return rope(new or old, base, width)
