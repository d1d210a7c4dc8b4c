"""How much memory a request takes at its longest, told before it begins.

Owns what a request is for this (`Work`) and an estimate from a model's facts: its cache, the pass that reads most at
once, its logits, and the record. An engine that knows better has a method `bytes_needed(work)`, which is asked instead.
Knows no budget and nobody who waits.
"""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["run", "score", "beam", "proof"]

FLOAT = 4
PIECE = 256
"""Ids of a run's prompt that are read in one pass, see `decoding.engines.batching.scheduler`."""
RECORD_BYTES = 1_000
"""A candidate of the record: in Python, in the text that grows, and in the messages to the page."""
ELSEWHERE_BYTES = 8 * 2**20
"""Beside the record, a request to a model that a server computes."""
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
    return record + int(_SPARE * _computing(network, work))


def _computing(network: Any, work: Work) -> int:
    """What the passes take, by the shapes that the model's configuration names."""
    config = network.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept_heads = getattr(config, "num_key_value_heads", None) or heads
    element = network.dtype.itemsize
    tokens = work.prompt_tokens + work.steps
    cache = 2 * work.rows * tokens * 2 * config.num_hidden_layers * kept_heads * width * element  # and its copy
    in_one_pass = {"run": min(PIECE, work.prompt_tokens), "score": tokens}.get(
        work.kind, work.prompt_tokens * work.rows
    )
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = in_one_pass * (4 * config.hidden_size + 3 * inner + heads * PIECE) * FLOAT
    rows_of_logits = {"run": 4, "beam": 4 * work.rows + work.steps, "score": 3 * work.steps, "proof": work.steps + 4}
    return int(cache + activations + rows_of_logits[work.kind] * config.vocab_size * FLOAT)
