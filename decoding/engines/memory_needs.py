"""Memory needs: the peak memory of a request, estimated before it begins.

Owns the description of a request (`Work`) and the estimate from a model's facts: the KV cache, the pass over most ids,
the logits, and the record. An engine with a method `bytes_needed(work)` makes its own estimate. Knows no budget and no
visitor.
"""

from dataclasses import dataclass
from typing import Any, Literal

from decoding.engines.leave_one_out_passes import PLACES
from decoding.engines.local_engine import SCORED_NUMBERS

Kind = Literal["run", "score", "beam", "proof", "lens", "leave_one_out"]

FLOAT = 4
PIECE = 256
"""Ids of a prompt that one pass reads, see `decoding.engines.batching.scheduler`."""
RECORD_BYTES = 1_000
"""Bytes of a candidate of the record: in Python, in the growing text, and in the messages to the page."""
ELSEWHERE_BYTES = 8 * 2**20
"""Bytes of a request to a server, beside the record."""
UNKNOWN_PASS_BYTES = 64 * 2**10
"""Bytes per id of a pass, for a network without a configuration."""
_SPARE = 1.25  # allocators round up and release late


@dataclass(frozen=True, slots=True)
class Work:
    """A request: `rows` sequences at once (beams), each of `prompt_tokens` and then `steps` tokens. A lens has a row
    for each layer.
    """

    kind: Kind
    prompt_tokens: int
    steps: int
    choices: int
    rows: int = 1


def bytes_needed(engine: Any, work: Work) -> int:
    """The peak memory of the work, in bytes."""
    if own := getattr(engine, "bytes_needed", None):
        return int(own(work))
    nodes = work.rows * work.steps if work.kind == "beam" else 0
    record = (work.prompt_tokens + work.steps * (work.choices + 1) + nodes) * RECORD_BYTES
    network = getattr(engine, "network", None)
    if network is None:
        logits = 2 * work.rows * engine.vocabulary_size * FLOAT if work.kind == "lens" else 0  # they come here
        return record + ELSEWHERE_BYTES + logits
    tokens = work.prompt_tokens + work.steps
    sequences = 1 if work.kind == "lens" else work.rows
    piece = min(tokens, getattr(network, "max_read", None) or tokens)
    at_once = {"proof": work.prompt_tokens, "score": tokens, "lens": piece, "leave_one_out": piece}
    in_one_pass = at_once.get(work.kind, min(PIECE, work.prompt_tokens))
    shares = work.kind == "leave_one_out" and getattr(network, "max_reread", 0) > 0
    texts = min(tokens, PLACES * network.max_read // tokens) if shares else 0  # in one pass, each with a cache
    in_one_pass = max(in_one_pass, texts * tokens)
    scored = min(work.steps, max(1, SCORED_NUMBERS // engine.vocabulary_size))  # at once
    rows_of_logits = {"run": 4, "beam": 4 * work.rows, "score": 3 * scored, "proof": work.steps + 4}
    rows_of_logits |= {"lens": 3 * work.rows, "leave_one_out": 4 + texts}
    cache = (2 * sequences * tokens + texts * tokens) * _cache_of_a_token(network)  # and its copy
    logits = rows_of_logits[work.kind] * engine.vocabulary_size * FLOAT
    return record + int(_SPARE * (cache + in_one_pass * _pass_of_a_token(network) + logits))


def _cache_of_a_token(network: Any) -> int:
    """The bytes of keys and values per id, from the network or its transformers configuration."""
    if (known := getattr(network, "cache_bytes_per_token", None)) is not None:
        return int(known)
    config = network.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * kept_heads * width * network.dtype.itemsize)


def _pass_of_a_token(network: Any) -> int:
    """The bytes of activations per id of a pass, with its part of the attention scores."""
    if not hasattr(network, "config"):
        return UNKNOWN_PASS_BYTES
    config = network.config.get_text_config(decoder=True)
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    heads = getattr(config, "num_attention_heads", None) or 1
    return int(4 * config.hidden_size + 3 * inner + heads * PIECE) * FLOAT
