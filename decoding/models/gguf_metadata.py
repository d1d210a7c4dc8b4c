"""The metadata of a GGUF file's architecture, whose keys begin with the name of its family.

Owns how a value is validated, and the refusal of a key that may change the computation and is not known. Knows no
family's shape; `spec_gguf` does.
"""

import math
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile, shown
from decoding.models.spec import LEAST_FACT, MOST_FACT

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
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_ext_factor": 0.0,
}
"""Metadata that would change the computation, with the value that leaves it unchanged."""
_IGNORED = frozenset(
    [
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
        "pooling_type",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_log_multiplier",
        "tensor_data_layout",
        "vocab_size",
    ]
)
"""Metadata that does not affect the logits: an epsilon of the other kind of norm, and details of ways of stretching a
context that are refused by their name.
"""


class ArchitectureMetadata:
    """Records which keys were read. Its methods raise ModelError for a value that makes no sense."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        family = file.metadata.get("general.architecture")
        self.family: str = family if isinstance(family, str) else "?"
        self._known = set(_IGNORED)

    def __contains__(self, name: str) -> bool:
        return f"{self.family}.{name}" in self.file.metadata

    def wrong(self, name: str) -> ModelError:
        return ModelError(Message("gguf.fact", file=self.file.path.name, name=name))

    def get(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        return self.file.metadata.get(f"{self.family}.{name}", default)

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number in a plausible range, or a list that repeats one for each layer."""
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
        if not LEAST_FACT <= found <= MOST_FACT:
            file, least, most = self.file.path.name, f"{LEAST_FACT:g}", f"{MOST_FACT:g}"
            raise ModelError(Message("gguf.range", file=file, name=name, value=f"{found:g}", least=least, most=most))
        return float(found)

    def norm_epsilon(self) -> float:
        name = "attention.layer_norm_rms_epsilon"
        return self.positive(name if name in self else "attention.layer_norm_epsilon")

    def check_computed(self) -> None:
        """Raises ModelError for metadata that would need a computation which is not implemented."""
        for name, known in _COMPUTED_AS.items():
            found = self.get(name, known)
            if found != known and (found != 0 or known is True):  # some files write 0 for the default
                raise self.not_computed(name, found)

    def check_no_unknown(self) -> None:
        """Raises ModelError for a key that was not read and says something, once all that are known were read."""
        for key, value in self.file.metadata.items():
            family, _, name = key.partition(".")
            if family != self.family or not value or name in self._known:
                continue
            if family != "gpt2" or not name.startswith("rope."):  # GPT-2 learns its positions
                raise self.not_computed(name, value)

    def not_computed(self, name: str, value: object) -> ModelError:
        file = self.file.path.name
        return ModelError(Message("gguf.other", file=file, name=shown(name), value=shown(value)))
