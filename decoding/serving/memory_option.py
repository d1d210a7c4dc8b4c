"""The budget that --memory makes.

Owns how much of it stays for what no run reserves, and the refusal of one that is too small. Knows no model but by its
name and its bytes.
"""

from typing import Literal

from decoding.models.resources import free_memory
from decoding.serving.memory_budget import MemoryBudget


def memory_budget(total: int | Literal["auto"], *, process: int, model: str = "", needed: int = 0) -> MemoryBudget:
    """The memory budget for --memory `total`, of which the `process` takes some bytes already, and the first `model`
    needs some. A tenth stays out of the budget, for messages, connections and the allocator. Exits with a sentence if
    the rest is less than these take.
    """
    if total == "auto":
        return MemoryBudget(process + free_memory() * 9 // 10, process=process)
    reserved = total * 9 // 10
    if reserved <= process + needed:
        least = (process + needed) * 10 // 9 // 10**6 + 1
        taken = f"the process takes {process // 10**6:,} MB already"
        also = f", and {model} needs {needed // 10**6:,} MB" if needed else ""
        raise SystemExit(
            f"--memory has to be at least {least:,} MB: {taken}{also}. A tenth is kept for what no run reserves."
        )
    return MemoryBudget(reserved, process=process)
