"""The context length: how many positions a network has, by its configuration and its position tables.

Owns the names of that length in configurations, the values that mean "no limit", the reserved rows of tables, and the
length at which rotary embeddings change their speed. Knows no loop and no page. `engines.torch.cache_mode_proof`
tries out lengths that no configuration states.
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
"""Names in configurations, the most common one first."""
LARGEST = 10**9
"""A larger value, such as 1e30, means no limit."""

_POSITION_TABLES = ("wpe", "pos_emb", "position", "positions_embed")
"""Parts of the names of position tables."""
_NOT_OF_PLACES = ("relative", "rel_", "token_type", "rotary")


def context_of_config(config: Any) -> int | None:
    """The length that a configuration states, the smallest if its names disagree; None if it states none."""
    known = [length for name in NAMES if (length := _length(getattr(config, name, None)))]
    return min(known, default=None)


def context_of_network(network: nn.Module, config: Any) -> int | None:
    """The number of positions of a network: what its configuration states, at most the rows of its tables; None: no
    limit.
    """
    known = [context_of_config(config), *_rows_of_tables(network)]
    return min((length for length in known if length is not None), default=None)


def rope_switch(config: Any) -> int | None:
    """The length from which on a configuration's rotary embeddings change their speed; None if they never do."""
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


def _length(value: object) -> int | None:
    """A length, or None for values that mean no limit: nothing, −1, 1e30."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 < value <= LARGEST else None


def _rows_of_tables(network: nn.Module) -> Iterator[int]:
    """The number of positions of each learned table, without its reserved rows."""
    for name, module in network.named_modules():
        called = name.rpartition(".")[2].lower()
        is_table = any(word in called for word in _POSITION_TABLES) and not any(w in called for w in _NOT_OF_PLACES)
        weight = getattr(module, "weight", None)
        if not is_table or not isinstance(module, nn.Embedding) or weight is None or weight.ndim != 2:
            continue
        if not weight.requires_grad and getattr(module, "make_weights", None):
            continue  # sinusoidal positions, which the network extends when needed
        rows = weight.shape[0] - _reserved(module)
        if rows > 1:
            yield rows


def _reserved(table: nn.Embedding) -> int:
    """The number of reserved rows: OPT and BART state it in `offset`, RoBERTa starts behind the padding row."""
    offset = getattr(table, "offset", None)
    if isinstance(offset, int):
        return offset
    return 0 if table.padding_idx is None else table.padding_idx + 1
