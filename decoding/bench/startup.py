"""How long a start takes: `app.py` in a process of its own, beside a bare one that only imports, loads and steps once.

`python -m decoding.bench.startup [--model ID] [--device …] [--dtype …] [--repeats 5]`, or `measure_startup`. Owns the
bare process and the stopwatch. A warm start is measured: one start of each goes before, so that the disk has been read.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import truediv
from statistics import median
from time import perf_counter
from urllib.request import Request, urlopen

from decoding.bench.page import served_app
from decoding.errors import ModelError
from decoding.models.starter import STARTER_ID, ensure_starter

PROMPT = "Transformers are the"
AIM = 1.3

# What nobody can do without: the two libraries, the weights, one step. The tokenizer is not among it.
_BARE = """
import sys, torch
from transformers import AutoModelForCausalLM
source, device, dtype = sys.argv[1:]
if device == "auto":
    device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.float32 if dtype == "auto" else getattr(torch, dtype)
model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True).eval().to(device)
with torch.inference_mode():
    print("ids", int(model(torch.tensor([[1, 2, 3]], device=device)).logits[0, -1].argmax()), flush=True)
"""


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """Medians, in seconds from the start of a process: until the page answers, until the first step of a run that was
    asked for at once is there, and until a bare process has made its step. `ratio` is the median of the turns'.
    """

    page_seconds: float
    first_step_seconds: float
    bare_seconds: float
    ratio: float
    repeats: int


def measure_startup(
    model: str, *, device: str = "auto", dtype: str = "auto", repeats: int = 5, say: Callable[[str], None] = print
) -> StartupTimes:
    """Start both, turn by turn. Raises ModelError where one of them does not come up."""
    source = str(ensure_starter()) if model == STARTER_ID else model
    options = [f"--model={model}", f"--device={device}", f"--dtype={dtype}"]
    turns: list[tuple[float, float, float]] = []
    for turn in range(repeats + 1):
        say(f"start-up, turn {turn} of {repeats}" if turn else "start-up, once for warmth")
        turns.append((_bare(source, device, dtype), *_page(model, options)))
    bare, page, first = zip(*turns[1:], strict=True)
    return StartupTimes(median(page), median(first), median(bare), median(map(truediv, first, bare)), repeats)


def _bare(source: str, device: str, dtype: str) -> float:
    """Seconds until a bare process has made its first step."""
    started = perf_counter()
    command = [sys.executable, "-c", _BARE, source, device, dtype]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        seconds = perf_counter() - started
        _, errors = process.communicate()
    if not line.startswith("ids"):
        raise ModelError(f"The bare loop ended (code {process.returncode}) before its first step: {errors[-300:]}")
    return seconds


def _page(model: str, options: Sequence[str]) -> tuple[float, float]:
    """Seconds until the page has answered, and until the first step is there."""
    started = perf_counter()
    with served_app(options) as url:
        with urlopen(url) as answer:
            answer.read()
        page = perf_counter() - started
        next(line for line in _lines(url, model) if '"index"' in line)
        return page, perf_counter() - started


def _lines(url: str, model: str) -> Iterator[str]:
    """A run's answer as it comes, over bare HTTP: importing the API's client takes a second."""
    body = json.dumps({"data": [PROMPT, 1, 5, model]}).encode()
    call = f"{url}gradio_api/call/greedy"
    with urlopen(Request(call, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}") as answer:
        for line in answer:
            yield line.decode().replace('\\"', '"')
    raise ModelError("The page answered with no step.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m decoding.bench.startup", description=__doc__)
    parser.add_argument("--model", default=STARTER_ID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    options = vars(parser.parse_args(arguments))
    times = measure_startup(**options, say=lambda what: print(f"… {what}", file=sys.stderr, flush=True))
    print(json.dumps(asdict(times) | {"aim": AIM}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
