"""How many threads a forward pass takes.

One row is a matter of the memory, which few cores fill nearly as well as all; and threads that meet after every product
wait where the browser, the server or another library's threads want their core. On two cores, 64 steps in a browser
took 77 ms a step with two threads, 72 with two that do not spin while they wait, and 64 with one. Rows that share a
pass, and prompts, are a matter of the cores, and take all of them. Knows no loop.
"""

import functools
import os
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

MOST_FOR_ONE_ROW = 4
"""Threads that read the weights: one fills 70 % of what two cores have here, and a memory that many more are needed for
has one on a desk seldom.
"""


def spare_the_cores(network: Any) -> None:
    """From here on NumPy's BLAS, which one row goes through, takes few threads for it; and what it had, otherwise."""
    blas: Any = ThreadpoolController().select(user_api="blas")
    few, forward = min(MOST_FOR_ONE_ROW, _few()), network.forward

    @functools.wraps(forward)  # transformers reads its signature
    def one_pass(*args: Any, **options: Any) -> Any:
        if not _is_one(options):
            return forward(*args, **options)
        with blas.limit(limits=few):  # for the whole process, so that it is given back
            return forward(*args, **options)

    network.forward = one_pass


def leave_a_core(network: Any) -> None:
    """From here on a pass over one row leaves the page a core, where torch's threads would take all."""
    everything = torch.get_num_threads()
    few, forward = min(everything, _few()), network.forward

    @functools.wraps(forward)
    def one_pass(*args: Any, **options: Any) -> Any:
        threads = few if _is_one(options) else everything
        if torch.get_num_threads() != threads:  # each thread that computes has a number of its own
            torch.set_num_threads(threads)
        return forward(*args, **options)

    if few < everything:
        network.forward = one_pass


def _is_one(options: dict[str, Any]) -> bool:
    ids = options.get("input_ids")
    return ids is not None and ids.numel() == 1


def _few() -> int:
    return max(1, _cores() - 1)


def _cores() -> int:
    """The processors that this process may run on; a laptop's are often twice its cores, which torch counts."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
