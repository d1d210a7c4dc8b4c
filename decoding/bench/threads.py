"""What a step takes with so many threads, spinning for so long: alone, in a class, and beside other work.

`python -m decoding.bench.threads [--model FILE] [--steps 64]`. Owns the combinations and the other work; the figures
stand in `decoding/engines/onnx/README.md`, and what was chosen of them in `decoding.engines.onnx.session`.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.onnx.session import Threads
from decoding.models.model_paths import entry_of, find_source

SPINS = (0, 20, 100, 1000)
"""Microseconds."""
ROWS = (1, 8, 32)
_BUSY = "while True: pass"
_PROMPT = [2, 10, 100, 1000, 200, 20]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m decoding.bench.threads", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", default="starter")
    parser.add_argument("--steps", type=int, default=64)
    options = parser.parse_args(arguments)
    source = find_source(entry_of(options.model))
    print("| threads | spin | " + " | ".join(f"{rows} rows" for rows in ROWS) + " | 1 row beside other work |")
    print("|---|---|" + "---|" * (len(ROWS) + 1))
    for threads in _counts():
        for spin in SPINS if threads > 1 else SPINS[:1]:
            cells = _measure(source, Threads(threads, spin), options.steps)
            print(
                f"| {threads} | {spin} µs | " + " | ".join(f"{1000 * cell:.1f} ms" for cell in cells) + " |", flush=True
            )
    return 0


def _measure(source: Path, threads: Threads, steps: int) -> list[float]:
    network = OnnxNetwork(ensure_graph(source), threads=threads)
    cells = [seconds_of(network, rows, steps) for rows in ROWS]
    with busy_cores():
        return [*cells, seconds_of(network, 1, steps)]


def seconds_of(network: OnnxNetwork, rows: int, steps: int) -> float:
    """Of a step of so many rows, in the median."""
    batch, turns = network.new_batch(rows), []
    ids = {batch.insert(network.read(_PROMPT, None)[1]): 100 for _ in range(rows)}
    for _ in range(steps):
        started = perf_counter()
        logits = batch.step(ids)
        turns.append(perf_counter() - started)
        ids = {row: int(found.argmax()) for row, found in logits.items()}
    return median(turns)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Something else computes on every core."""
    others = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _counts() -> Iterator[int]:
    count, most = 1, os.cpu_count() or 1
    while count < most:
        yield count
        count *= 2
    yield most


if __name__ == "__main__":
    sys.exit(main())
