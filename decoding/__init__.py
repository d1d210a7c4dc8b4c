"""Greedy decoding of causal language models, step by step, with the model's own probabilities.

Owns the public names. Importing it loads no model and no torch; `load` does.
"""

from typing import TYPE_CHECKING

from decoding.errors import FormatError, GreedyscopeError, ModelError, RequestError, RoomError
from decoding.loops import Loop, find_loops
from decoding.trace import Candidate, ModelInfo, Step, Trace

# After the line above, which makes `decoding.trace` the module: from here on it is the function.
from decoding.run import greedy_search, trace  # isort: skip
from decoding.whatif import Agreement, agreement, beam_search, branch, closest_calls, compare_totals, score  # isort: skip

if TYPE_CHECKING:
    from decoding.engines.local import LocalEngine

__all__ = [
    "Agreement",
    "Candidate",
    "FormatError",
    "GreedyscopeError",
    "Loop",
    "ModelError",
    "ModelInfo",
    "RequestError",
    "RoomError",
    "Step",
    "Trace",
    "agreement",
    "beam_search",
    "branch",
    "closest_calls",
    "compare_totals",
    "find_loops",
    "greedy_search",
    "load",
    "score",
    "trace",
]


def load(model: str, *, device: str = "auto", dtype: str = "auto") -> "LocalEngine":
    """Load a model and make it ready to decode.

    `model` is "starter", another name of the catalogue, or a local folder; `device` is "auto", "cuda", "mps" or "cpu";
    `dtype` is "auto" (float32 where it fits comfortably, else bfloat16), "float32", "bfloat16" or "float16". Raises
    RequestError for a name, device or dtype that does not exist, ModelError for a model that cannot be had, RoomError
    for one that does not fit.
    """
    from decoding.engines import local  # here: torch and transformers take seconds to import

    return local.load(model, device=device, dtype=dtype)
