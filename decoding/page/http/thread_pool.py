"""A pool of threads for exports, so that long work without the model delays nothing else.

Owns how many jobs run at once and how many may wait, per address and in all. Knows nothing of the jobs.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter, create_task_group, to_thread

from decoding.models.allocator_settings import trim_memory
from decoding.page.http.address_budget import AddressBudget
from decoding.page.http.request_body import RefusedError

Done = TypeVar("Done")

MAX_RUNNING = 2
MAX_WAITING = 32
"""Including those that run."""
MAX_PER_ADDRESS = 8


class WorkerPool:
    """The pool of one page: at most `waiting` jobs, and `per_address` of one address. Its methods run in the event
    loop, the work in threads.
    """

    def __init__(self, *, waiting: int = MAX_WAITING, per_address: int = MAX_PER_ADDRESS) -> None:
        self._threads: CapacityLimiter | None = None
        self._jobs = AddressBudget(waiting, per_address)

    async def run(
        self, work: Callable[[], Done], address: str | None, disconnected: Callable[[], Awaitable[object]]
    ) -> Done:
        """Run `work` in a thread when one is free, and return its result. Raises RefusedError if too many wait, or if
        the sender has `disconnected` before.
        """
        if not self._jobs.reserve(address):
            raise RefusedError(503, "Too many files are being written at once. Nothing of yours is lost; ask again.")
        self._threads = self._threads or CapacityLimiter(MAX_RUNNING)
        try:
            return await self._run_when_free(work, self._threads, disconnected)
        finally:
            self._jobs.release(address)
            if not self._jobs.total:
                trim_memory()  # as Python objects, a run takes many times its bytes

    @staticmethod
    async def _run_when_free(
        work: Callable[[], Done], threads: CapacityLimiter, disconnected: Callable[[], Awaitable[object]]
    ) -> Done:
        done: list[Done] = []
        failed: Exception | None = None
        async with create_task_group() as group:

            async def watch_connection() -> None:
                await disconnected()
                group.cancel_scope.cancel()  # cancels what waits; a running thread finishes first

            group.start_soon(watch_connection)
            try:
                done.append(await to_thread.run_sync(work, limiter=threads))
            except Exception as error:  # a task group would wrap it
                failed = error
            group.cancel_scope.cancel()
        if failed:
            raise failed
        if not done:
            raise RefusedError(400, "The request broke off.")
        return done[0]
