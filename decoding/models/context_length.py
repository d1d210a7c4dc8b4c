"""How many ids a network has room for: what its configuration calls it, and what its position tables really hold.

Owns the names of that length, the values that mean "no limit", the rows of a table that are reserved, and the length
at which rotary embeddings turn at other speeds. Knows no loop
and no page; a length that had to be tried out is `decoding.engines.torch.reading`'s.
"""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

NAMES = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "max_target_positions",
    "seq_length",
    "seq_len",
    "sequence_length",
    "max_context_length",
    "context_length",
    "model_max_length",
)
"""What configurations call it, the usual name first."""
LARGEST = 10**9
"""What is larger means that there is no limit, as 1e30 does."""

_POSITION_TABLES = ("wpe", "pos_emb", "position", "positions_embed")
"""What the names of position tables hold."""
_NOT_OF_PLACES = ("relative", "rel_", "token_type", "rotary")


def context_of_config(config: Any) -> int | None:
    """The length that a configuration states, the smallest where two names say different things; None without one."""
    known = [length for name in NAMES if (length := _length(getattr(config, name, None)))]
    return min(known, default=None)


def context_of_network(network: nn.Module, config: Any) -> int | None:
    """The length that a network has positions for: what its configuration states, and no more than its tables hold."""
    known = [context_of_config(config), *_rows_of_tables(network)]
    return min((length for length in known if length is not None), default=None)


def rope_switch(config: Any) -> int | None:
    """The length beyond which a configuration's rotary embeddings turn at other speeds; None where they never do."""
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    sets = [part for part in (parameters, *parameters.values()) if isinstance(part, dict)]
    lengths = []
    for part in sets:
        kind = str(part.get("rope_type", part.get("type", "")))
        if kind not in ("longrope", "su") and "dynamic" not in kind:
            continue
        stated = part.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", None
        )
        lengths.append(stated or getattr(config, "max_position_embeddings", None))
    return min((int(length) for length in lengths if length), default=None)


def _length(said: object) -> int | None:
    """A length, or None for what means that there is none: nothing, −1, 1e30."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return None
    return int(said) if 0 < said <= LARGEST else None


def _rows_of_tables(network: nn.Module) -> Iterator[int]:
    """The positions that each learned table has for ids; the first rows of some are reserved."""
    for name, module in network.named_modules():
        called = name.rpartition(".")[2].lower()
        is_table = any(word in called for word in _POSITION_TABLES) and not any(w in called for w in _NOT_OF_PLACES)
        weight = getattr(module, "weight", None)
        if not is_table or not isinstance(module, nn.Embedding) or weight is None or weight.ndim != 2:
            continue
        if not weight.requires_grad and getattr(module, "make_weights", None):
            continue  # sines, which the network makes more of where it needs them
        rows = weight.shape[0] - _reserved(module)
        if rows > 1:
            yield rows


def _reserved(table: nn.Embedding) -> int:
    """Rows before the first id's: OPT and BART say so in `offset`, RoBERTa counts from behind the padding's row."""
    offset = getattr(table, "offset", None)
    if isinstance(offset, int):
        return offset
    return 0 if table.padding_idx is None else table.padding_idx + 1
