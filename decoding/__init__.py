"""Greedy decoding of causal language models, step by step, with the model's own probabilities.

Owns the public names. Knows no page. Importing it loads no model and no torch; `load` does. In the examples, `model` is
the starter.
"""

from os import PathLike, fspath
from typing import TYPE_CHECKING

from decoding.errors import FormatError, GreedyscopeError, ModelError, RequestError, RoomError
from decoding.messages import Message
from decoding.models.progress import Report, no_report
from decoding.record.json_types import json_type_of
from decoding.record.pick_rule import Draw, Sampling
from decoding.record.repetition import Loop, find_loops
from decoding.record.trace import Candidate, ModelInfo, Step, Trace

# After the line above, which makes `decoding.record.trace` the module: from here on it is the function.
from decoding.run import greedy_search, trace  # isort: skip
from decoding.questions.agreement import Agreement, agreement  # isort: skip
from decoding.questions.beam_search import beam_search  # isort: skip
from decoding.questions.branches import branch  # isort: skip
from decoding.questions.closest_calls import closest_calls  # isort: skip
from decoding.questions.text_scores import score  # isort: skip
from decoding.questions.comparison import compare_totals  # isort: skip
from decoding.questions.leave_one_out import leave_one_out  # isort: skip
from decoding.questions.logit_lens import lens  # isort: skip
from decoding.record.why import LeaveOneOut, LeftOut, Lens, LensLayer  # isort: skip
from decoding.questions.prompt_scores import score_prompt  # isort: skip
from decoding.questions.sampled_runs import Draws, draws, sample  # isort: skip
from decoding.questions.continuation_probability import TextProbability, probability  # isort: skip

if TYPE_CHECKING:
    from decoding.engines.local_engine import LocalEngine
    from decoding.engines.vllm.engine import ServerEngine

__all__ = [
    "Agreement",
    "Candidate",
    "Draw",
    "Draws",
    "FormatError",
    "GreedyscopeError",
    "LeaveOneOut",
    "LeftOut",
    "Lens",
    "LensLayer",
    "Loop",
    "ModelError",
    "ModelInfo",
    "RequestError",
    "RoomError",
    "Sampling",
    "Step",
    "TextProbability",
    "Trace",
    "agreement",
    "beam_search",
    "branch",
    "closest_calls",
    "compare_totals",
    "connect",
    "draws",
    "find_loops",
    "greedy_search",
    "leave_one_out",
    "lens",
    "load",
    "probability",
    "sample",
    "score",
    "score_prompt",
    "trace",
]


def load(
    model: str | PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    engine: str = "auto",
    report: Report = no_report,
) -> "LocalEngine":
    """Load a model and make it ready to decode. The first call may download and convert it.

    `model` is "starter", another name of the catalogue, a GGUF file, a local folder, or "hub:owner/name"; `device` is
    "auto", "cuda", "mps" or "cpu"; `dtype` is "auto" (float32 if it fits comfortably, else bfloat16), "float32",
    "bfloat16" or "float16"; `engine` is "auto" (ONNX Runtime on a CPU, torch on a GPU) or "torch"; `report` is called
    with a sentence about each stage, such as "Fetching …", and the fraction of it that is done (None: unknown). Raises
    RequestError for a name, device, dtype or engine that does not exist, ModelError for a model that cannot be fetched
    or loaded, RoomError for one that does not fit.

    The engine serves one run at a time: it is not thread-safe.

    >>> model = load("starter", device="cpu")
    >>> model.info.dtype, model.vocabulary_size
    ('float32', 49152)
    """
    from decoding.engines.loading import load as load_engine  # here: the libraries of models take a while to import

    return load_engine(_name(model), device=device, dtype=dtype, engine=engine, report=report)


def connect(
    url: str, *, model: str | PathLike[str] = "", dtype: str = "auto", report: Report = no_report
) -> "ServerEngine":
    """A model on a vLLM server, ready to decode; its tokenizer is read on this machine.

    `url` is the server's, as "http://127.0.0.1:8000"; its key, if it needs one, is in the environment variable
    GREEDYSCOPE_ENGINE_KEY. `model` is a name of the catalogue or a local folder, and may be omitted if the server uses
    that name; `dtype` is what the server was started with, because it does not report it; `report` is that of `load`.
    Raises RequestError for an invalid URL, name or dtype, ModelError for a server that does not answer or has another
    model.

    The engine is thread-safe. Its steps have no entropy (NaN), because a server reports only the top candidates.

    >>> server = connect("http://127.0.0.1:8000")
    >>> trace(server, "Transformers are the", max_new_tokens=8, top_k=5).generated_text
    ' most efficient way to create a new object'
    """
    from decoding.engines.vllm.engine import connect  # here: transformers takes seconds to import

    return connect(url, model=_name(model), dtype=dtype, report=report)


def _name(model: object) -> str:
    """The name or path of a model. Raises RequestError for anything else."""
    if isinstance(model, str | PathLike):
        return fspath(model)
    raise RequestError(Message("given.name", type=json_type_of(model)), field="model")
