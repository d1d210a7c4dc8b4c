"""Greedy decoding of causal language models, step by step, with the model's own probabilities.

Owns the public names. Importing it loads no model and no torch; `load` does.
"""

from typing import TYPE_CHECKING

from decoding.errors import FormatError, GreedyscopeError, ModelError, RequestError, RoomError
from decoding.record.repetition import Loop, find_loops
from decoding.record.trace import Candidate, ModelInfo, Step, Trace

# After the line above, which makes `decoding.record.trace` the module: from here on it is the function.
from decoding.run import greedy_search, trace  # isort: skip
from decoding.analysis import Agreement, agreement, beam_search, branch, closest_calls, score  # isort: skip
from decoding.totals import compare_totals  # isort: skip

if TYPE_CHECKING:
    from decoding.engines.local import LocalEngine
    from decoding.engines.vllm.engine import ServerEngine

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
    "connect",
    "find_loops",
    "greedy_search",
    "load",
    "score",
    "trace",
]


def load(model: str, *, device: str = "auto", dtype: str = "auto", engine: str = "auto") -> "LocalEngine":
    """Load a model and make it ready to decode.

    `model` is "starter", another name of the catalogue, a GGUF file, or a local folder; `device` is "auto", "cuda",
    "mps" or "cpu"; `dtype` is "auto" (float32 where it fits comfortably, else bfloat16), "float32", "bfloat16" or
    "float16"; `engine` is "auto" (ONNX Runtime on a CPU, torch on a GPU) or "torch". Raises RequestError for a name,
    device, dtype or engine that does not exist, ModelError for a model that cannot be had, RoomError for one that does
    not fit.
    """
    from decoding.engines.loading import load as load_engine  # here: the libraries of models take a while to import

    return load_engine(model, device=device, dtype=dtype, engine=engine)


def connect(url: str, *, model: str = "", dtype: str = "auto") -> "ServerEngine":
    """A model that a vLLM server computes, ready to decode; its tokenizer is read here.

    `url` is the server's address, as "http://127.0.0.1:8000"; its key, where it wants one, is the environment variable
    GREEDYSCOPE_ENGINE_KEY. `model` is a name of the catalogue or a local folder, and may be left out where the server
    calls it so; `dtype` is what the server was started with, which it does not say. Raises RequestError for an address,
    name or dtype that is none, ModelError for a server that does not answer or has another model.
    """
    from decoding.engines.vllm.engine import connect  # here: transformers takes seconds to import

    return connect(url, model=model, dtype=dtype)
