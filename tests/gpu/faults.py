"""What a capture may spoil: each scenario runs in a process of its own, at the same time as the others."""

import functools
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch

from decoding.bench.clock import NetworkClock
from decoding.engines.torch import cuda_graph
from decoding.engines.torch.captured_step import CapturedSteps
from decoding.models.devices import free_bytes_on
from tests.gpu.check import Check, Found, all_ok, compare, decoder_of, engines, prompt, steps

IDS = list(b"Transformers are the")


def _after_a_failure(check: Check, ask: Callable[[Any], Any]) -> Found:
    """A network that does what no capture takes, and what is left of torch then."""
    network = check.tiny("llama")
    real = network.forward

    @functools.wraps(real)
    def asking(*args: Any, **options: Any) -> Any:
        output = real(*args, **options)
        if options.get("position_ids") is not None:
            ask(output.logits)
        return output

    network.forward = asking
    before = torch.cuda.current_stream() if check.is_cuda else None
    _, ours = engines(network)
    found: Found = {"why_not": decoder_of(ours).verify(), "spoiled": cuda_graph._is_broken}
    network.forward = real
    if check.is_cuda:
        found["stream_restored"] = torch.cuda.current_stream() == before
        torch.cuda.empty_cache()
    found["random"] = float(torch.rand(1, device=check.device)) >= 0
    found["plain_run"] = len(steps(engines(network)[0], IDS, 5))
    plain, other = engines(check.tiny("gpt2"))
    found["next"] = compare(steps(other, IDS, 8), steps(plain, IDS, 8))
    found["next_captured"] = decoder_of(other).steps.sizes
    found["ok"] = bool(found["next"]["ok"] and found["next_captured"] and found.get("stream_restored", True))
    return found


def asks_the_host(check: Check) -> Found:
    found = _after_a_failure(check, lambda logits: float(logits.sum()))
    return found | {"ok": found["ok"] and bool(found["why_not"])}


def fails_in_cuda(check: Check) -> Found:
    """A failure that no rehearsal sees: the host waits for the device in the middle of the capture."""

    def wait(_: Any) -> None:
        if check.is_cuda and torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()

    found = _after_a_failure(check, wait)
    return found | {"ok": found["ok"] and bool(found["why_not"]) == check.is_cuda}


def meet(check: Check) -> Found:
    """Two models captured in the same moment, as a run that outgrows its cache and a model that is being loaded."""
    pairs = [engines(check.tiny(name, num_hidden_layers=4 if check.small else 24)) for name in ("llama", "mistral")]
    expected = [steps(plain, IDS, 20) for plain, _ in pairs]
    found: Found = {}
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        barrier.wait()
        try:
            runs = [steps(pairs[number][1], IDS, 20) for _ in range(3)]
            found[str(number)] = compare(runs[-1], expected[number])
            found[str(number)]["captured"] = decoder_of(pairs[number][1]).steps.sizes
        except Exception as error:
            found[str(number)] = {"ok": False, "error": str(error)[:200]}

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return all_ok(found) | {"both": len(found) == 2}


def beside_traffic(check: Check) -> Found:
    """Captures while another thread reads prompts on the default stream."""
    other, _ = engines(check.tiny("gpt2"))
    network = check.tiny("llama", num_hidden_layers=4 if check.small else 24)
    stop, errors, passes = threading.Event(), [], [0]

    def traffic() -> None:
        while not stop.is_set():
            try:
                steps(other, IDS, 3)
                passes[0] += 1
            except Exception as error:
                errors.append(str(error)[:200])
                return

    thread = threading.Thread(target=traffic)
    thread.start()
    refused = [decoder_of(engines(network)[1]).verify() for _ in range(3 if check.small else 8)]
    stop.set()
    thread.join(30)
    return {"passes": passes[0], "errors": errors, "refused": refused, "ok": not errors and not any(refused)}


def dropped(check: Check) -> Found:
    """One model's graphs go; another's say bit for bit what they said before, though the memory is used again."""
    wide: dict[str, Any] = {"n_embd": 64} if check.small else {"n_embd": 1600, "n_head": 25, "n_positions": 2048}
    network = check.tiny("gpt2", **wide)
    plain, ours = engines(network)
    others = [engines(check.tiny("gpt2", **wide))[1] for _ in range(2)]
    ids, count = prompt(network, 40), 50 if check.small else 200
    first = steps(ours, ids, count)
    for other in others:
        steps(other, ids, 5)
    others.clear()
    del other
    gc.collect()
    decoder_of(ours).steps._graphs.capture(lambda: None)  # empties the allocator's cache
    junk = [torch.full((2**20,), float("nan"), device=check.device) for _ in range(64 if check.is_cuda else 2)]
    second = steps(ours, ids, count)
    check.sync()
    del junk
    found = compare(second, first) | {"bit_for_bit": [s.logprobs for s in first] == [s.logprobs for s in second]}
    found["plain"] = compare(second[:20], steps(plain, ids, 20))
    return found | {"ok": found["ok"] and found["plain"]["ok"] and found["bit_for_bit"]}


def clock(check: Check) -> Found:
    """The benchmark's clock around a run whose size is not captured yet."""
    network = check.tiny("llama")
    plain, ours = engines(network)
    with NetworkClock(ours):
        run = steps(ours, IDS, 6)
    found = compare(run, steps(plain, IDS, 6)) | {"captured": decoder_of(ours).steps.sizes}
    return found | {"ok": found["ok"] and bool(found["captured"])}


def memory(check: Check) -> Found:
    """Twenty models loaded and let go: the memory comes back, and so do the streams."""

    def use() -> None:
        network = check.tiny("llama", num_hidden_layers=2 if check.small else 8)
        _, ours = engines(network)
        steps(ours, IDS, 8)
        decoder_of(ours).verify(CapturedSteps(network, most=4), rows=4)

    def held() -> tuple[int, int]:
        gc.collect()
        if not check.is_cuda:
            return 0, 0
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

    use()  # what a library keeps for ever it has by now
    before = held()
    for _ in range(3 if check.small else 20):
        use()
    after = held()
    mb = [round((b - a) / 2**20, 1) for a, b in zip(before, after, strict=True)]
    streams = len(cuda_graph._our_streams), len(cuda_graph._free_streams)
    found: Found = {"mb_allocated": mb[0], "mb_reserved": mb[1], "streams": streams[0], "streams_free": streams[1]}
    return found | {"ok": mb[0] <= 1 and mb[1] <= 64 and streams[0] == streams[1] <= 4}


def no_memory(check: Check) -> Found:
    """Where the cache finds no room the plain loop goes on, and the graph is back when there is some."""
    plain, ours = engines(check.tiny("llama"))
    expected, decoder, is_short = steps(plain, IDS, 8), decoder_of(ours), [True]
    decoder.steps = CapturedSteps(
        decoder._network, most=1, free_bytes=lambda kind: 0 if is_short else free_bytes_on(kind)
    )
    found = {"without": compare(steps(ours, IDS, 8), expected) | {"captured": decoder_of(ours).steps.sizes}}
    is_short.clear()
    found["with"] = compare(steps(ours, IDS, 8), expected) | {"captured": decoder_of(ours).steps.sizes}
    return all_ok(found) | {"ok": not found["without"]["captured"] and bool(found["with"]["captured"])}


SCENARIOS: dict[str, Callable[[Check], Found]] = {
    scenario.__name__: scenario
    for scenario in (asks_the_host, fails_in_cuda, meet, beside_traffic, dropped, clock, memory, no_memory)
}


def scenario(names: str, check: Check) -> None:
    """What a child process does: these, one after another, a line each."""
    for name in names.split(","):
        try:
            found = SCENARIOS[name](check)
        except Exception as error:
            found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps({name: found}, default=str), flush=True)
    os._exit(0)


def start(check: Check) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.gpu", f"--device={check.device}"]
    command += ["--rehearse"] if check.small else []
    # A rehearsal spoils nothing, and its machine has few cores.
    groups = [",".join(SCENARIOS)] if check.small else [*SCENARIOS]
    return [
        subprocess.Popen([*command, f"--scenario={group}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for group in groups
    ]


def faults(check: Check) -> Found:
    found: Found = {}
    for process in start(check):
        try:
            out, error = process.communicate(
                timeout=max(5.0, min(100.0 if check.is_cuda else check.left, check.left - 5))
            )
        except subprocess.TimeoutExpired:
            process.kill()
            out, error = process.communicate()
        for line in out.splitlines():
            found |= json.loads(line)
        if process.returncode:
            found[f"process {process.pid}"] = {"ok": False, "error": error[-400:]}
    missing = SCENARIOS.keys() - found.keys()
    return all_ok(found | {name: {"ok": False, "error": "said nothing"} for name in missing})
