"""The check of the GPU path, one command of at most six minutes: `python -m tests.gpu [--rehearse] [--out gpu.json]`.

Right first, then what a capture may spoil, then how fast. After each part the file holds what was found so far, so a
check that is cut short still tells it. `--rehearse` runs every part on a CPU, small: nothing is captured there, and no
figure means anything. The last line says what failed, and so does the exit status.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
import transformers

from decoding.bench.report import machine as hardware
from decoding.models.devices import disable_tf32
from tests.gpu import correctness as correct
from tests.gpu import faults, speed
from tests.gpu.check import Check, Found

SECONDS = 330.0
"""After so long no new part begins."""


def machine(check: Check) -> Found:
    disable_tf32()
    found: Found = {"hardware": hardware(), "torch": torch.__version__, "transformers": transformers.__version__}
    if check.is_cuda:
        properties = torch.cuda.get_device_properties(0)
        free, total = torch.cuda.mem_get_info()
        found |= {"gpu": properties.name, "capability": torch.cuda.get_device_capability(), "cuda": torch.version.cuda}
        found |= {"free_gb": round(free / 1e9, 1), "total_gb": round(total / 1e9, 1)}
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    found["tf32"] = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    return found | {"ok": not any(found["tf32"])}


def run(check: Check) -> None:
    """Every part, the ones that matter most first; `needs` are seconds on a GPU."""
    check.do("machine", machine, needs=0)
    check.do("families", correct.families, needs=20)
    check.do("plain families", correct.plain_families, needs=10)
    check.do("edges", correct.edges, needs=10)
    check.do("faults", faults.faults, needs=30)
    check.do("bandwidth", speed.bandwidth, needs=5)
    for name, dtype, needs in (("starter", "float32", 20), ("gpt2-xl", "float32", 40), ("gpt2-xl", "bfloat16", 30)):
        check.do(f"{name} {dtype}", partial(speed.loops, name=name, dtype=dtype), needs=needs)
    check.do("crowd", speed.crowd, needs=30)
    check.do("readouts", speed.readouts, needs=5)
    check.do("long prompt", speed.long_prompt, needs=20)
    check.do("compiled", speed.compiled, needs=60)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="Check the GPU path.")
    parser.add_argument("--device", default="cuda", help="cuda (cuda), or cpu with --rehearse")
    parser.add_argument("--rehearse", action="store_true", help="every part on a CPU, small")
    parser.add_argument("--out", type=Path, default=None, help="a file for what was found, as JSON")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after so long no new part begins")
    parser.add_argument("--scenario", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = "cpu" if options.rehearse else options.device
    if options.rehearse:
        torch.set_num_threads(1)  # networks this small take six times as long where two threads wait for each other
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("This machine has no CUDA GPU. `python -m tests.gpu --rehearse` runs every part on a CPU.")
    check = Check(device, options.rehearse, options.seconds, options.out)
    if options.scenario:
        faults.scenario(options.scenario, check)
    run(check)
    print(json.dumps(check.report(), indent=1, default=str))
    skipped = [name for name, found in check.parts.items() if "skipped" in found]
    print(
        f"failed: {', '.join(check.failed) or 'nothing'}; skipped: {', '.join(skipped) or 'nothing'}", file=sys.stderr
    )
    raise SystemExit(bool(check.failed))


if __name__ == "__main__":
    main()
