"""Captured functions: a function over tensors that never move, recorded once as a CUDA graph and replayed.

Owns the rules that keep a capture from hurting anybody. One capture at a time in the whole process, after two warm-up
calls on the same stream and a third one that refuses whatever asks the host for a number. The graphs of one model share
a stream, that no other model's graphs have, and a memory pool, and they are dropped together: from torch 2.12 on, a
graph that is reset frees the cuBLAS workspace of its stream, which any other graph of that stream still writes to.
Where there is no CUDA a captured function is the function itself, so all but the recording runs on a CPU too. Knows no
model.
"""

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decoding.models.resources import is_out_of_memory

_ASKS_THE_HOST = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "lift_fresh")
"""Operations that wait for the device, or bring it a number of the host's."""
_POOL_OF_STREAMS = 32
"""torch gives its streams out in turn: the next but so many is the same one again."""

_one_capture = threading.Lock()
_our_streams: set[int] = set()
_free_streams: list[Any] = []
_dropped: list["_Captured"] = []
_is_spoiled = False


class NotCapturedError(Exception):
    """A function was not captured. `passes` says that the reason may be gone the next time."""

    def __init__(self, reason: str, *, passes: bool) -> None:
        super().__init__(reason)
        self.passes = passes


class RefuseHostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises where an operation could not be captured because it needs the host; changes nothing else."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        by_mask = name == "index" and any(index is not None and index.dtype is torch.bool for index in args[1])
        if by_mask or name in _ASKS_THE_HOST:
            raise NotCapturedError(f"{name} asks the host for a number", passes=False)
        return operation(*args, **(kwargs or {}))


class _Captured:
    """What outlives its `Graphs` until it can be dropped: the graphs, and their stream."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.stream: Any = None


class Graphs:
    """The captured functions of one model. They may be replayed by one thread at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begin()

    def _begin(self) -> None:
        self._mine = _Captured()
        self._pool: Any = None
        self._finalizer = weakref.finalize(self, _drop, self._mine)
        self._finalizer.atexit = False

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Raises NotCapturedError, and then all is as it was before. The function is called a few times, so it has to
        write the same again each time.
        """
        try:
            with _one_capture:
                if torch.get_default_dtype() is not torch.float32:
                    raise NotCapturedError("a model that is being loaded has changed the default dtype", passes=True)
                return self._capture(function)
        except NotCapturedError:
            raise
        except Exception as error:
            raise NotCapturedError(f"{type(error).__name__}: {error}"[:300], passes=is_out_of_memory(error)) from error
        finally:
            _sweep()

    def drop(self) -> None:
        """Forget all of them. None may be replayed any more."""
        self._finalizer()
        self._begin()

    def __len__(self) -> int:
        return len(self._mine.graphs)

    def _capture(self, function: Callable[[], None]) -> Callable[[], None]:
        if self._device.type != "cuda":
            with RefuseHostReads():  # type: ignore[no-untyped-call]
                function()
            self._mine.graphs.append(None)
            return function
        if _is_spoiled:
            raise NotCapturedError("an earlier capture has spoiled this process", passes=False)
        if self._mine.stream is None:
            self._mine.stream, self._pool = _take_stream(), torch.cuda.graph_pool_handle()
        stream, now, made = self._mine.stream, torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(now)
        with torch.cuda.stream(stream):  # restores this thread's stream, which torch.cuda.graph does not where it fails
            function()
            function()
            with RefuseHostReads():  # type: ignore[no-untyped-call]
                function()
            try:
                # Other threads may read prompts meanwhile, so only this one is held to what may be captured.
                with torch.cuda.graph(made, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                    function()
            except Exception:
                _recover(self._pool)
                raise
        now.wait_stream(stream)
        self._mine.graphs.append(made)
        return made.replay


def _take_stream() -> Any:
    """A stream that no captured function uses."""
    if _free_streams:
        return _free_streams.pop()
    for _ in range(_POOL_OF_STREAMS):
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        if stream.cuda_stream not in _our_streams:
            _our_streams.add(stream.cuda_stream)
            return stream
    raise NotCapturedError(f"{len(_our_streams)} models have captured graphs already", passes=True)


def _recover(pool: Any) -> None:
    """After a capture that failed in CUDA: torch 2.11 and 2.12 go on sending this thread's memory to the graph's pool,
    and refuse every later capture for it.
    """
    global _is_spoiled
    backend: Any = torch._C
    with contextlib.suppress(Exception):
        backend._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
        backend._cuda_releasePool(torch.cuda.current_device(), pool)  # not reached where it had ended properly
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception:
        _is_spoiled = True
        logging.getLogger(__name__).exception("a failed capture has spoiled this process; nothing more is captured")


def _drop(captured: _Captured) -> None:
    _dropped.append(captured)
    _sweep()


def _sweep() -> None:
    """Reset what was dropped, one stream's graphs all together. Graphs are let go of in any thread at any moment, in
    the middle of a capture too: then they wait for its end.
    """
    if not _dropped or not _one_capture.acquire(blocking=False):
        return
    try:
        while _dropped:
            captured = _dropped.pop()
            if any(captured.graphs) and not _is_spoiled:
                torch.cuda.synchronize()
            for graph in filter(None, captured.graphs):
                graph.reset()
            captured.graphs.clear()
            if captured.stream is not None:
                _free_streams.append(captured.stream)
                captured.stream = None
    finally:
        _one_capture.release()
