"""A network that ONNX Runtime computes: see `decoding.engines.network_protocol.Network`.

Owns how many ids one pass reads, and from how many rows on a shared pass is faster. The KV cache is in `kv_cache`, rows
that share passes in `running_batch`, float32 weights for many rows in `float32_session`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoding.engines.network_protocol import pass_bytes
from decoding.engines.onnx.float32_session import CROWD_ROWS, SHARED_ROWS, Float32Session
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.kv_cache import OnnxCache, padded_width, resized
from decoding.engines.onnx.running_batch import OnnxBatch
from decoding.engines.onnx.session import BoundPass, Floats, Session, Texts, Threads, default_threads
from decoding.models.spec import ModelSpec
from decoding.record.step import StepScores
from decoding.softmax import read_scores

_READ_MULTIPLICATIONS = 54_000_000_000
"""Multiplications in a chunk of a prompt: half a second on two cores, 512 ids of the starter."""
_MIN_READ = 16
FEWEST_FOUR_BIT_ROWS = 4
"""The four-bit kernel is made for one row: on two cores, one row takes 6.5 ms, two in a batch 20 ms, four 21 ms."""
FEWEST_FLOAT32_ROWS = 2
"""Over float32 weights, one row takes 13.8 ms, and two in a batch 14.4 ms."""


MAX_REREAD = 32
"""A pass over a few ids spends as long on unpacking the weights as on 16 to 40 ids more, from machine to machine."""


class OnnxNetwork:
    """See `decoding.engines.network_protocol.Network`."""

    def __init__(self, files: GraphFiles, *, threads: Threads | None = None, unpacks: bool = False) -> None:
        """With `unpacks`, a crowd is computed over the same weights as float32."""
        threads = threads or default_threads()
        self.session = Session(files, threads)
        self.float32_session = Float32Session(files, self.session, threads) if unpacks else None
        self.cache_bytes_per_token = self.session.bytes_per_token
        self.pass_bytes_per_token = pass_bytes(files.spec.width, files.spec.mlp_width, np.dtype(np.float32).itemsize)
        self.layers, self.max_reread = files.spec.layers, MAX_REREAD
        self.max_read = max_read(files.spec)

    @property
    def fewest_rows(self) -> int:
        if self.float32_session is None:
            return FEWEST_FLOAT32_ROWS
        return SHARED_ROWS if self.float32_session.is_ready else FEWEST_FOUR_BIT_ROWS

    def read(self, token_ids: Sequence[int], cache: OnnxCache | None, *, last: int = 1) -> tuple[Floats, OnnxCache]:
        return self._pass(token_ids, cache, range(len(token_ids) - last, len(token_ids)))  # (last, vocabulary)

    def read_texts(self, texts: Sequence[Sequence[int]]) -> tuple[Floats, list[OnnxCache]]:
        ids, shared, lasts = with_shared_beginnings(texts)
        buffers = self.session.new_buffers(*shared.at.shape)
        rows = min(len(texts), CROWD_ROWS - 1)  # float32 weights that are there are used; one question is no crowd
        session = self.float32_session.session(rows) if self.float32_session else None
        bound = BoundPass(session or self.session, buffers)
        logits = bound.run(ids, [0] * len(texts), lasts, texts=shared)  # (texts, vocabulary)
        # Views as wide as they are long: a pass over one of them copies it first.
        views = [(buffers[:, row : row + 1, :, : len(text)], len(text)) for row, text in enumerate(texts)]
        return logits, [OnnxCache(self.session, view, length) for view, length in views]

    def read_layers(self, token_ids: Sequence[int], cache: OnnxCache | None) -> Floats:
        last = len(token_ids) - 1
        logits, _ = self._pass(token_ids, cache, [last], layers_at=[last])
        return np.concatenate([logits[1:], logits[:1]])  # (layers + 1, vocabulary)

    def _pass(
        self, token_ids: Sequence[int], cache: OnnxCache | None, positions: Sequence[int], layers_at: Sequence[int] = ()
    ) -> tuple[Floats, OnnxCache]:
        count = len(token_ids)
        cache = cache or OnnxCache(self.session, self.session.new_buffers(1, padded_width(count)))
        cache.reserve(cache.length + count)
        ids = np.asarray(token_ids, np.int64)  # (ids,)
        logits = cache.bound().run(ids, [cache.length], positions, layers_at=layers_at)  # (rows, vocabulary)
        cache.length += count
        return logits, cache

    def can_crop(self, cache: OnnxCache) -> bool:
        return True  # sliding windows are masks here, so the cache keeps every position

    def copy(self, cache: OnnxCache, length: int) -> OnnxCache:
        return OnnxCache(self.session, resized(self.session, cache.buffers, length, padded_width(length)), length)

    def fork(self, cache: OnnxCache) -> OnnxCache:
        return self.copy(cache, cache.length)

    def scores(self, logits: Floats, top_k: int, picked_id: int | None = None) -> StepScores:
        return read_scores(logits, top_k, picked_id)

    def to_numpy(self, logits: Floats) -> Floats:
        return logits

    def new_batch(self, max_rows: int) -> OnnxBatch:
        return OnnxBatch(self.session, self.float32_session)


def max_read(spec: ModelSpec) -> int:
    """The most ids of a prompt in one pass."""
    return max(_MIN_READ, _READ_MULTIPLICATIONS // spec.layer_parameters)


def with_shared_beginnings(texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Texts, list[int]]:
    """The ids of all texts, each beginning that texts have in common once; where the texts are among them; and where
    each text's last id is.
    """
    numbers: dict[tuple[int, int], int] = {}  # of an id among them, by the number before it in a text, and the id
    texts_at = np.zeros((len(texts), max(map(len, texts))), np.int64)  # shorter texts are filled up on the right,
    ids_at, lasts = list[tuple[int, int]](), []  # where causal attention does not look
    for row, text in enumerate(texts):
        number = -1
        for place, token_id in enumerate(text):
            number = numbers.setdefault((number, token_id), len(numbers))
            texts_at[row, place] = number
            if number == len(ids_at):
                ids_at.append((row, place))
        lasts.append(number)
    ids = np.array([token_id for _, token_id in numbers], np.int64)
    return ids, Texts(texts_at, np.array(ids_at, np.int64)), lasts
