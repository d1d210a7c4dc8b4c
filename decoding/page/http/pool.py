"""Threads of its own for what takes long without the model, so that nothing else waits for them.

Owns how much goes on at once and how much may wait, of one address and in all. Knows nothing of what is done.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter, create_task_group, to_thread

from decoding.models.malloc import trim_memory
from decoding.page.http.bodies import RefusedError

Done = TypeVar("Done")

AT_ONCE = 2
MAX_WAITING = 32
"""Those that go on among them."""
OF_AN_ADDRESS = 8


class Pool:
    """Of one page; all of it happens in its event loop, but for the work."""

    def __init__(self) -> None:
        self._threads: CapacityLimiter | None = None
        self._here: Counter[str | None] = Counter()

    async def do(self, work: Callable[[], Done], address: str | None, gone: Callable[[], Awaitable[object]]) -> Done:
        """The work's result, once its turn has come; it has none where whoever asked has `gone` before. Raises
        RefusedError where too many wait.
        """
        is_much = address is not None and self._here[address] >= OF_AN_ADDRESS
        if is_much or self._here.total() >= MAX_WAITING:
            raise RefusedError(503, "Too many files are being written at once. Nothing of yours is lost; ask again.")
        self._threads = self._threads or CapacityLimiter(AT_ONCE)
        self._here[address] += 1
        try:
            return await self._in_turn(work, self._threads, gone)
        finally:
            self._here[address] -= 1
            self._here += Counter()  # forget who has none any more
            if not self._here:
                trim_memory()  # a run in Python's objects is many times as large as its bytes

    @staticmethod
    async def _in_turn(
        work: Callable[[], Done], threads: CapacityLimiter, gone: Callable[[], Awaitable[object]]
    ) -> Done:
        done: list[Done] = []
        failed: Exception | None = None
        async with create_task_group() as group:

            async def look() -> None:
                await gone()
                group.cancel_scope.cancel()  # of those who wait; a thread that works is done first

            group.start_soon(look)
            try:
                done.append(await to_thread.run_sync(work, limiter=threads))
            except Exception as error:  # a group would wrap it
                failed = error
            group.cancel_scope.cancel()
        if failed:
            raise failed
        if not done:
            raise RefusedError(400, "The request broke off.")
        return done[0]
