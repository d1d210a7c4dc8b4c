"""How much memory a request takes at its longest, told before it begins.

Owns what a request is for this (`Work`) and an estimate from a model's facts: its cache, the pass that reads most at
once, its logits, and the record. An engine that knows better has a method `bytes_needed(work)`, which is asked instead.
Knows no budget and nobody who waits.
"""

from dataclasses import dataclass
from typing import Any, Literal

from decoding.engines.local import SCORED_NUMBERS

Kind = Literal["run", "score", "beam", "proof"]

FLOAT = 4
PIECE = 256
"""Ids of a run's prompt that are read in one pass, see `decoding.engines.batching.scheduler`."""
RECORD_BYTES = 1_000
"""A candidate of the record: in Python, in the text that grows, and in the messages to the page."""
ELSEWHERE_BYTES = 8 * 2**20
"""Beside the record, a request to a model that a server computes."""
UNKNOWN_PASS_BYTES = 64 * 2**10
"""For an id of a pass of a network that has no configuration to look at."""
_SPARE = 1.25  # allocators round up, and give back later


@dataclass(frozen=True, slots=True)
class Work:
    """A request for the model: `rows` texts at once (beams), each of `prompt_tokens` and then `steps` tokens."""

    kind: Kind
    prompt_tokens: int
    steps: int
    choices: int
    rows: int = 1


def bytes_needed(engine: Any, work: Work) -> int:
    """Bytes of memory that the work takes at its longest."""
    if own := getattr(engine, "bytes_needed", None):
        return int(own(work))
    record = (work.prompt_tokens + work.steps * (work.choices + 1)) * RECORD_BYTES
    network = getattr(engine, "network", None)
    if network is None:
        return record + ELSEWHERE_BYTES
    tokens = work.prompt_tokens + work.steps
    at_once = {"run": min(PIECE, work.prompt_tokens), "score": tokens}
    in_one_pass = at_once.get(work.kind, work.prompt_tokens * work.rows)
    scored = min(work.steps, max(1, SCORED_NUMBERS // engine.vocabulary_size))  # at once
    rows_of_logits = {"run": 4, "beam": 4 * work.rows + work.steps, "score": 3 * scored, "proof": work.steps + 4}
    cache = 2 * work.rows * tokens * _cache_of_a_token(network)  # and its copy
    logits = rows_of_logits[work.kind] * engine.vocabulary_size * FLOAT
    return record + int(_SPARE * (cache + in_one_pass * _pass_of_a_token(network) + logits))


def _cache_of_a_token(network: Any) -> int:
    """See `decoding.engines.network`; of a network of transformers, what its configuration says of keys and values."""
    if (known := getattr(network, "cache_bytes_per_token", None)) is not None:
        return int(known)
    config = network.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * kept_heads * width * network.dtype.itemsize)


def _pass_of_a_token(network: Any) -> int:
    """What is between a network's layers for one id of a pass, and its part of the attention."""
    if not hasattr(network, "config"):
        return UNKNOWN_PASS_BYTES
    config = network.config.get_text_config(decoder=True)
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    heads = getattr(config, "num_attention_heads", None) or 1
    return int(4 * config.hidden_size + 3 * inner + heads * PIECE) * FLOAT
