"""CUDA graphs: a function over tensors that do not move, captured once and replayed.

Owns the rules that keep a capture from harming others. There is one capture at a time in the process, after two warm-up
calls on the same stream and a third one that refuses operations which read on the host. The graphs of one model share a
memory pool and a stream that no other model's graphs use, and are dropped together: from torch 2.12 on, resetting a
graph frees the cuBLAS workspace of its stream, to which other graphs of that stream still write. Without CUDA, a
captured function is the function itself, so everything but the capture runs on a CPU too. Knows no model.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decoding.models.resources import is_out_of_memory

_HOST_READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "lift_fresh")
"""Operations that wait for the device, or copy a number from the host to it."""
_POOL_OF_STREAMS = 32
"""torch hands out its streams in turn; after this many, the same one comes again."""

_one_capture = threading.Lock()
_our_streams: set[int] = set()
_free_streams: list[Any] = []
_dropped: list["_Captured"] = []
_is_broken = False


class NotCapturedError(Exception):
    """A function was not captured. `passes` says that the reason may be temporary."""

    def __init__(self, reason: str, *, passes: bool) -> None:
        super().__init__(reason)
        self.passes = passes


class RefuseHostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises NotCapturedError for operations that need the host; changes nothing else."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        by_mask = name == "index" and any(index is not None and index.dtype is torch.bool for index in args[1])
        if by_mask or name in _HOST_READS:
            raise NotCapturedError(f"{name} asks the host for a number", passes=False)
        return operation(*args, **(kwargs or {}))


class _Captured:
    """The graphs and the stream of a `Graphs` object, which outlive it until they can be dropped."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.stream: Any = None


class Graphs:
    """The captured functions of one model, to be replayed by one thread at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begin()

    def _begin(self) -> None:
        self._mine = _Captured()
        self._pool: Any = None
        self._finalizer = weakref.finalize(self, _drop, self._mine)
        self._finalizer.atexit = False

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Capture a function and return its replay. The function is called several times, so it must write the same
        each time.

        Raises NotCapturedError, and then nothing has changed.
        """
        try:
            with _one_capture:
                _reset_what_was_dropped()  # where captures follow each other closely, nobody else finds the time
                if torch.get_default_dtype() is not torch.float32:
                    raise NotCapturedError("a model that is being loaded has changed the default dtype", passes=True)
                return self.record(function)
        except NotCapturedError:
            raise
        except Exception as error:
            raise NotCapturedError(f"{type(error).__name__}: {error}"[:300], passes=is_out_of_memory(error)) from error
        finally:
            _reset_dropped()

    def drop(self) -> None:
        """Drop all graphs. None may be replayed any more."""
        self._finalizer()
        self._begin()

    def __len__(self) -> int:
        return len(self._mine.graphs)

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record a function's operations, which `capture` does in the right moment, and return what replays them."""
        if self._device.type != "cuda":
            with RefuseHostReads():  # type: ignore[no-untyped-call]
                function()
            self._mine.graphs.append(None)
            return function
        if _is_broken:
            raise NotCapturedError("an earlier capture has spoiled this process", passes=False)
        if self._mine.stream is None:
            self._mine.stream, self._pool = _reserve_stream(), torch.cuda.graph_pool_handle()
        stream, now, made = self._mine.stream, torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(now)
        with torch.cuda.stream(stream):  # restores this thread's stream; torch.cuda.graph does not if it fails
            function()
            function()
            with RefuseHostReads():  # type: ignore[no-untyped-call]
                function()
            try:
                # Other threads may read prompts meanwhile, so only this thread's operations are restricted.
                with torch.cuda.graph(made, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                    function()
            except Exception:
                _check_device()
                raise
        now.wait_stream(stream)
        self._mine.graphs.append(made)
        return made.replay


def _reserve_stream() -> Any:
    """A stream that no other captured function uses. Raises NotCapturedError if there is none."""
    if _free_streams:
        return _free_streams.pop()
    for _ in range(_POOL_OF_STREAMS):
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        if stream.cuda_stream not in _our_streams:
            _our_streams.add(stream.cuda_stream)
            return stream
    raise NotCapturedError(f"{len(_our_streams)} models have captured graphs already", passes=True)


def _check_device() -> None:
    """Find out whether the process can still use the device, after a capture that failed in CUDA. (torch 2.11 and 2.12
    would keep allocating from the graph's pool as well; requirements.txt allows neither where graphs are captured.)
    """
    global _is_broken
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception:
        _is_broken = True
        logging.getLogger(__name__).exception("a failed capture has spoiled this process; nothing more is captured")


def _drop(captured: _Captured) -> None:
    _dropped.append(captured)
    _reset_dropped()


def _reset_dropped() -> None:
    """Reset dropped graphs, all those of a stream together. Graphs are dropped in any thread at any time, even during a
    capture; then they wait for its end.
    """
    if not _dropped or not _one_capture.acquire(blocking=False):
        return
    try:
        _reset_what_was_dropped()
    finally:
        _one_capture.release()


def _reset_what_was_dropped() -> None:
    """For who holds `_one_capture`."""
    while _dropped:
        captured = _dropped.pop()
        if any(captured.graphs) and not _is_broken:
            torch.cuda.synchronize()
        for graph in filter(None, captured.graphs):
            graph.reset()
        captured.graphs.clear()
        if captured.stream is not None:
            _free_streams.append(captured.stream)
            captured.stream = None
