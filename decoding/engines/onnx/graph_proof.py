"""The proof of a graph, once when it is built: another implementation gives the same ids and probabilities.

Owns the texts that are compared and the tolerance. Knows no architecture.

The starter's graph is compared with figures that an independent program computed, which are stored beside this file.
Any other graph is compared with transformers' network in float32, in a child process, because this process imports no
torch. A float32 graph is compared with the packed graph of the same weights. While memory is too short for that,
the graph is used unproven, and the log and the page's header say so: the network could not serve the model either.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.session import Session
from decoding.errors import ModelError
from decoding.messages import from_json
from decoding.models.resources import free_memory
from decoding.models.spec import ModelSpec, NoGraphError
from decoding.models.starter import GGUF_BYTES, GGUF_SHA256

Numbers = NDArray[np.float64]

NOISE, STARTER_NOISE = 1e-4, 2e-5
_STARTER = Path(__file__).with_name("starter_proof.json")
_LENGTHS, _LONG = (1, 7, 24), 400
LAST = 24
"""How many of a text's last positions are compared."""
_SECONDS = 1800.0
_log = logging.getLogger(__name__)


class NotProvenError(NoGraphError):
    """The network could not be run this time. This says nothing about the graph."""


@dataclass(frozen=True, slots=True)
class Text:
    """Ids, and for each of the last `len(following)` positions the most probable next ids, best first."""

    ids: list[int]
    following: list[list[tuple[int, float]]]


def prove(files: GraphFiles) -> bool:
    """Whether the graph's numbers are right; False if memory is too short to see that. Raises NoGraphError if they are
    wrong, ModelError if the file is at fault.
    """
    if _is_starter(files.source):
        wanted, noise = starter_texts(), STARTER_NOISE
    else:
        wanted, noise = _from_network(files), NOISE
    if wanted:
        _check(_opened(files), wanted, noise)
    return bool(wanted)


def prove_same(unpacked: Session, packed: Session) -> None:
    """Raises NoGraphError if a session over float32 weights gives other numbers than the one over the same weights as
    they are stored.

    One short text suffices, in a tenth of the time: it goes through every matrix, and all else is the same graph.
    """
    reference = _Reader(packed.runtime, packed.spec)
    wanted = [Text(ids, reference.following(ids)) for ids in _random_texts(packed.spec, [LAST])]
    _check(_Reader(unpacked.runtime, unpacked.spec), wanted, NOISE)


def _check(reader: "_Reader", wanted: list[Text], noise: float) -> None:
    """Compare a graph with texts, each read in one pass and in chunks. Raises NoGraphError at `noise` or above."""
    for text in wanted:
        count = len(text.following)
        for pieces in ((len(text.ids),), _pieces(len(text.ids))):
            found = reader.probabilities(text.ids, pieces)[-count:]
            worst = max(_difference(row, tops) for row, tops in zip(found, text.following, strict=True))
            if not worst < noise:
                raise NoGraphError(f"its graph differs by {worst:.1e} from the network, on {len(text.ids)} ids")


def texts(spec: ModelSpec) -> Iterator[list[int]]:
    """Random ids: some short texts, a long one, and one past each sliding window; none exceeds the context."""
    return _random_texts(spec, (*_LENGTHS, _LONG, *(window + LAST for window in spec.windows if window)))


def _random_texts(spec: ModelSpec, lengths: Iterable[int]) -> Iterator[list[int]]:
    draw = np.random.default_rng(0)
    for length in sorted({min(length, spec.context_length) for length in lengths}):
        yield draw.integers(0, spec.vocabulary_size, length).tolist()


def starter_texts() -> list[Text]:
    """The figures of an independent program, stored beside this file."""
    return _read_texts(json.loads(_STARTER.read_text("utf-8")))


def _read_texts(parsed: Any) -> list[Text]:
    return [Text(one["ids"], [[(int(n), p) for n, p in tops] for tops in one["following"]]) for one in parsed]


def tops_of(probabilities: Any) -> list[tuple[int, float]]:
    """The eight most probable ids of one position, best first.  (vocabulary,) → [(id, probability)]"""
    order = np.argsort(-np.asarray(probabilities), kind="stable")[:8]
    return [(int(one), float(probabilities[one])) for one in order]


def _difference(found: Numbers, tops: list[tuple[int, float]]) -> float:
    """The largest difference of a probability; infinite if another id is the most probable, unless the two tie."""
    worst = max(abs(float(found[one]) - probability) for one, probability in tops)
    leads = int(found.argmax())
    if leads != tops[0][0] and dict(tops).get(leads, 0.0) < tops[0][1] - NOISE:
        return float("inf")
    return worst


def _pieces(length: int) -> tuple[int, ...]:
    """Chunk sizes: half of a text, then most of the rest, then up to 4 ids one by one."""
    alone = min(4, length - 1)
    first = (length - alone) // 2
    return tuple(one for one in (first, length - alone - first, *[1] * alone) if one)


def _opened(files: GraphFiles) -> "_Reader":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(4, os.cpu_count() or 1)
    options.log_severity_level = 3
    return _Reader(files.open(options), files.spec)


class _Reader:
    """Reads with arrays of its own, where `session` binds them: the proof shares no code with what it proves."""

    def __init__(self, runtime: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        self._session, self._spec = runtime, spec

    def following(self, ids: list[int]) -> list[list[tuple[int, float]]]:
        return [tops_of(row) for row in self.probabilities(ids, (len(ids),))]

    def probabilities(self, ids: list[int], pieces: tuple[int, ...]) -> Numbers:
        """Probabilities after each of the last positions.  (at most LAST, vocabulary), float64"""
        names = [f"{kind}{layer}" for layer in range(self._spec.layers) for kind in "kv"]
        empty = np.zeros((1, self._spec.kv_heads, 0, self._spec.head_width), np.float32)
        cache, begin, found = dict.fromkeys(names, empty), 0, []
        for length in pieces:
            end = begin + length
            feeds: dict[str, Any] = {f"past_{name}": value for name, value in cache.items()}
            feeds |= {"input_ids": np.array(ids[begin:end], np.int64), "total_length": np.array(end, np.int32)}
            first = max(0, len(ids) - LAST - begin)
            feeds |= {"seqlens_k": np.array([end - 1], np.int32), "positions": np.arange(min(first, length), length)}
            here = np.indices((1, length))  # one text: its number, and the place of each id
            feeds |= {"layers_at": np.zeros(0, np.int64), "texts_at": here[1], "ids_at": here[:, 0].T}
            logits, *new = self._session.run(None, feeds)
            cache, begin = dict(zip(names, new, strict=True)), end
            found.append(logits)
        together = np.concatenate(found).astype(np.float64)
        together = np.exp(together - together.max(-1, keepdims=True))
        probabilities: Numbers = together / together.sum(-1, keepdims=True)
        return probabilities


def _is_starter(source: Path) -> bool:
    if source.is_dir() or source.stat().st_size != GGUF_BYTES:
        return False
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == GGUF_SHA256


def _from_network(files: GraphFiles) -> list[Text]:
    """The texts with the figures of transformers' network, from a child process; [] if memory is too short for it.
    Raises ModelError for a file that is no network of its family.
    """
    needed = int(4.8 * files.spec.parameters) + 1_500_000_000
    if (free := free_memory()) < needed:
        word = "The graph of %s is used unproven: its network needs %d MB of memory, and %d are free."
        _log.warning(word, files.source.name, needed // 10**6, free // 10**6)
        return []
    root = str(Path(__file__).resolve().parents[3])
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    variables |= {"HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as work:
        file, program = Path(work, "texts.json"), "decoding.engines.onnx.graph_proof_figures"
        file.write_text(json.dumps([*texts(files.spec)]), "utf-8")
        command = [sys.executable, "-m", program, str(files.source.absolute()), str(file)]
        try:
            done = subprocess.run(command, env=variables, capture_output=True, timeout=_SECONDS, check=False, cwd=work)
            parsed = json.loads(file.read_text("utf-8")) if done.returncode == 0 else None
        except (subprocess.TimeoutExpired, OSError, ValueError):
            parsed = None
    if parsed is None:
        raise NotProvenError("its network could not be loaded to prove the graph")
    if "refused" in parsed:
        raise ModelError(from_json(parsed["refused"]))
    return _read_texts(parsed)
