"""llama.cpp's own greedy loop, for whoever has its Python package: measured beside ours on request, never needed.

Owns the way to that package and the file of weights. The starter's are as they were published (Q4_1, four bits a
weight), so the text may become another one.
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decoding.bench.loops import CHOICES, Contender, Decoded, decoded_from
from decoding.errors import ModelError, RequestError
from decoding.models.progress import Report
from decoding.models.starter import MODEL_FILE, STARTER_ID, ensure_starter
from decoding.ranking import Logits
from decoding.softmax import read_scores

NAME = "llama.cpp"
_MISSING = (
    "llama.cpp cannot be measured: its Python package is not installed. Run `pip install llama-cpp-python` "
    "(it needs a C++ compiler), or leave out --llama-cpp."
)


def load_llama(file: str, *, tokens: int, vocabulary_size: int, report: Report) -> Contender:
    """A contender with room for so many tokens. `file` is a GGUF file, or "starter", which is fetched once.

    Raises RequestError where the package or the file is missing, or the file is of a model with another vocabulary;
    ModelError where llama.cpp cannot read it.
    """
    try:
        import llama_cpp
    except ImportError as error:
        raise RequestError(_MISSING, field="model") from error
    path = ensure_starter(report) / MODEL_FILE if file == STARTER_ID else Path(os.path.expanduser(file))
    if not path.is_file():
        raise RequestError(f"There is no GGUF file {path} for llama.cpp.", field="model")
    try:
        threads = os.cpu_count()
        model = llama_cpp.Llama(
            str(path), n_ctx=tokens, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"llama.cpp could not load {path.name}. It said: {str(error)[:300]}") from error
    if model.n_vocab() != vocabulary_size:
        raise RequestError(
            f"{path.name} is another model: it has {model.n_vocab():,} tokens, and the one that is measured has "
            f"{vocabulary_size:,}. Name its own GGUF file: --llama-cpp FILE.",
            field="model",
        )

    def contend(token_ids: Sequence[int], steps: int) -> Decoded:
        model.reset()
        unread, readouts = list(token_ids), []
        for _ in range(steps):
            model.eval(unread)
            readouts.append(read_scores(_last_logits(llama_cpp, model), CHOICES))
            unread = [readouts[-1].token_ids[0]]
        return decoded_from(readouts)

    return contend


def _last_logits(llama_cpp: Any, model: Any) -> Logits:
    """The logits after the last id that was read, shape (vocabulary,); they are llama.cpp's own memory."""
    pointer = llama_cpp.llama_get_logits_ith(model.ctx, -1)
    logits = (ctypes.c_float * model.n_vocab()).from_address(ctypes.addressof(pointer.contents))
    return np.frombuffer(logits, np.float32)
