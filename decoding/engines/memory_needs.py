"""Memory needs: the peak memory of a request, estimated before it begins.

Owns the description of a request (`Work`) and the estimate from a model's facts: the KV cache, the pass over most ids,
the logits, and the record. Knows no budget and no visitor. The network that a proof loads is not counted: it outlives
the request, and its loader checks the free memory.
"""

from dataclasses import dataclass
from typing import Any, Literal

from decoding.engines.leave_one_out_passes import PLACES
from decoding.engines.local_engine import SCORED_NUMBERS

Kind = Literal["run", "score", "beam", "proof", "lens", "leave_one_out"]

FLOAT = 4
RECORD_BYTES = 1_000
"""Bytes of a candidate of the record: in Python, in the growing text, and in the messages to the page."""
ELSEWHERE_BYTES = 8 * 2**20
"""Bytes of a request to a server, beside the record."""
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
    nodes = work.rows * work.steps if work.kind == "beam" else 0
    record = (work.prompt_tokens + work.steps * (work.choices + 1) + nodes) * RECORD_BYTES
    network = getattr(engine, "network", None)
    if network is None:
        logits = 2 * work.rows * engine.vocabulary_size * FLOAT if work.kind == "lens" else 0  # they come here
        return record + ELSEWHERE_BYTES + logits
    tokens = work.prompt_tokens + work.steps
    sequences = 1 if work.kind == "lens" else work.rows
    prompt_first = work.kind in ("run", "beam") and network.max_read is not None  # then one id a pass
    read = work.prompt_tokens if prompt_first else tokens
    in_one_pass = work.prompt_tokens if work.kind == "proof" else min(read, network.max_read or read)
    shares = work.kind == "leave_one_out" and network.max_reread > 0
    texts = min(tokens, PLACES * network.max_read // tokens) if shares else 0  # in one pass, each with a cache
    in_one_pass = max(in_one_pass, texts * tokens)
    scored = min(work.steps, max(1, SCORED_NUMBERS // engine.vocabulary_size))  # at once
    rows_of_logits = {"run": 4, "beam": 4 * work.rows, "score": 3 * scored, "proof": work.steps + 4}
    rows_of_logits |= {"lens": 3 * work.rows, "leave_one_out": 4 + texts}
    cache = (2 * sequences * tokens + texts * tokens) * network.cache_bytes_per_token  # and its copy
    logits = rows_of_logits[work.kind] * engine.vocabulary_size * FLOAT
    return record + int(_SPARE * (cache + in_one_pass * network.pass_bytes_per_token + logits))
