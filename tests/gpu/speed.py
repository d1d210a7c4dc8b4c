"""How fast it is, and why: beside the notebook's loop, `generate`, the plain loop and the memory's limit."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from decoding.bench.loops import generate, notebook
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch import softmax
from decoding.engines.torch.captured_step import MAX_TOP_K, CapturedSteps
from decoding.record.step import StepScores
from tests.gpu.check import Check, Found, all_ok, compare, decoder_of, engines, prompt, steps
from tests.gpu.correctness import oracle, together


def bandwidth(check: Check) -> Found:
    """What the memory gives, and what a kernel costs alone, eager and in a graph."""
    source = torch.empty(2 ** (28 if check.is_cuda else 22), device=check.device).normal_()
    target = torch.empty_like(source)
    size, small = source.numel() * source.element_size(), torch.zeros(64, device=check.device)
    copy_ms = check.ms(lambda: target.copy_(source), repeats=20, warm=3)
    read_ms = check.ms(lambda: source.sum(), repeats=20, warm=3)

    def thousand() -> None:
        for _ in range(1000):
            small.add_(1)

    found: Found = {"copy_tb_s": round(2 * size / copy_ms / 1e9, 4), "read_tb_s": round(size / read_ms / 1e9, 4)}
    found["us_a_kernel_eager"] = check.ms(thousand, repeats=3)
    graphs = CapturedSteps(check.tiny("gpt2"), most=1)._graphs
    found["us_a_kernel_in_a_graph"] = check.ms(graphs.capture(thousand), repeats=5, warm=2)
    return found


def limit_ms(check: Check, network: Any) -> float:
    """Reading all weights once."""
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return round(weights / check.parts.get("bandwidth", {}).get("read_tb_s", 3.0) / 1e9, 4)


def kernels_of(check: Check, call: Callable[[], Any]) -> Found:
    """The kernels of one call: how many, how long, and which take longest."""
    if not check.is_cuda:
        return {}
    from torch.profiler import ProfilerActivity, profile

    call()
    check.sync()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        call()
        check.sync()
    table = [(e.key, e.count, e.device_time_total) for e in profiled.key_averages() if e.device_time_total > 0]
    table.sort(key=lambda row: -row[2])
    found: Found = {"kernels": sum(count for _, count, _ in table), "us": round(sum(us for *_, us in table))}
    return found | {"longest": [[key[:70], count, round(us)] for key, count, us in table[:9]]}


def one_text(check: Check, network: Any, context: int) -> tuple[CapturedSteps, tuple[int, int]]:
    """Captured steps with one text that has read so many ids; and the size of its step."""
    plain, _ = engines(network)
    captured = CapturedSteps(network, most=1)
    captured.insert(plain.network.read(prompt(network, context), None)[1])
    captured.step([3])
    return captured, captured.sizes[-1]


def anatomy(check: Check, network: Any, context: int) -> Found:
    """One captured step alone, its kernels, and the same step as Python asks for it."""
    captured, size = one_text(check, network, context)
    with torch.inference_mode():
        replay = captured._replays[size]
        found: Found = {"replay_ms": check.ms(lambda: [replay() for _ in range(8)]) / 8}
        found["eager_ms"] = check.ms(lambda: captured._decode(*size), repeats=3)
        logits = captured._logits
        readout = captured._graphs.capture(lambda: captured._numbers.copy_(softmax.pack_scores(logits, MAX_TOP_K)))
        found["readout_ms"] = check.ms(lambda: [readout() for _ in range(8)]) / 8
        found["step_and_readback_ms"] = check.ms(lambda: captured.step([3]))
        found["profile"] = kernels_of(check, lambda: captured._decode(*size))
        found["profile_readout"] = kernels_of(check, lambda: softmax.pack_scores(logits, MAX_TOP_K))
        found["profile_readout"].pop("longest", None)
    return found


def loops(check: Check, name: str, dtype: str) -> Found:
    """Notebook, `generate`, the plain loop, ours, the limit, the step's anatomy; and whether ours is right."""
    network, count = check.shape(name, dtype), 8 if check.small else 64
    plain, ours = engines(network)
    ids = prompt(network, 10)
    found: Found = {"limit_ms": limit_ms(check, network)}
    begun = time.perf_counter()
    found["why_not"] = decoder_of(ours).verify()
    found["capture_s"] = round(time.perf_counter() - begun, 3)
    mine, theirs = steps(ours, ids, count), steps(plain, ids, count)
    found["as_the_plain_loop"] = compare(mine, theirs)
    if dtype == "float32" and check.left > 100:
        found["oracle"] = oracle(network, ids, mine)
    ours_ms = check.ms(lambda: steps(ours, ids, count), repeats=3) / count
    found["ours_ms"] = round(ours_ms, 4)
    found["generate_ms"] = round(check.ms(lambda: generate(network, ids, count), repeats=2) / count, 4)
    found["plain_ms"] = round(check.ms(lambda: steps(plain, ids, count), repeats=2) / count, 4)
    written, places = [step.picked_id for step in theirs], [0, count // 2, count - 1]
    found["notebook_ms"] = round(check.ms(lambda: notebook(network, ids, written, places), repeats=2) / 3, 4)
    found["x_generate"] = round(found["generate_ms"] / ours_ms, 2)
    found["share_of_limit"] = round(found["limit_ms"] / ours_ms, 3)
    found["anatomy"] = anatomy(check, network, 10)
    right = dtype != "float32" or (found["as_the_plain_loop"]["ok"] and found.get("oracle", {}).get("ok", True))
    return found | {"ok": not found["why_not"] and right}


def long_prompt(check: Check) -> Found:
    """900 ids before the steps: does attention over 1,024 masked columns cost more than its share?"""
    found: Found = {}
    for name in ("gpt2-xl", "starter"):
        network, count = check.shape(name), 6 if check.small else 64
        ids = prompt(network, 60 if check.small else 900)
        plain, ours = engines(network)
        found[name] = compare(steps(ours, ids, count), steps(plain, ids, count))
        found[name]["ours_ms"] = round(check.ms(lambda: steps(ours, ids, count), repeats=2) / count, 4)  # noqa: B023
        found[name]["replay_ms"] = anatomy(check, network, len(ids))["replay_ms"]
    return all_ok(found)


def compiled(check: Check) -> Found:
    """The same step with its network compiled by inductor before it is captured: what fusing brings, and costs."""
    found: Found = {}
    if not check.is_cuda:
        return {"said": "a rehearsal compiles nothing"}
    for name, layers in (("starter", {}), ("gpt2-xl", {"n_layer": 8})):  # 8 layers, so that compiling fits the time
        network = check.shape(name, **layers)
        found[name] = {"limit_ms": limit_ms(check, network), "as_it_is_ms": anatomy(check, network, 10)["replay_ms"]}
        captured, size = one_text(check, network, 10)
        begun = time.perf_counter()
        try:
            captured.network = torch.compile(network, dynamic=False)  # type: ignore[assignment]
            captured._replays.clear()
            captured.step([3])
            found[name]["captured"] = captured.sizes
            with torch.inference_mode():
                replay = captured._replays[size]
                found[name]["compiled_ms"] = check.ms(lambda: [replay() for _ in range(8)]) / 8  # noqa: B023
        except Exception as error:
            found[name]["error"] = f"{type(error).__name__}: {error}"[:300]
        found[name]["s_to_compile"] = round(time.perf_counter() - begun, 1)
        if check.left < 40:
            break
    return found


def crowd(check: Check) -> Found:
    """30 runs in one batch equal each alone; tokens a second of the batch, and of the page's engine."""
    found: Found = {}
    for name in ("starter", "gpt2-xl"):
        network = check.shape(name)
        plain, ours = engines(network)
        rows, count = (6, 6) if check.small else (30, 24)
        prompts = [[*prompt(network, 6 + n % 9)[:-1], n] for n in range(rows)]
        runs = together(ours, prompts, count)
        some = prompts if name == "starter" else prompts[:4]
        alone = [compare(runs[n], steps(plain, ids, count)) for n, ids in enumerate(some)]
        said: Found = {"dp": max(each["dp"] for each in alone), "ok": all(each["ok"] for each in alone)}
        for many in (1, 3) if check.small else (1, 2, 4, 8, 16, 32):
            if check.left > 20:
                said[f"tokens_s_{many}"] = _throughput(check, network, many, count)
        said["page_tokens_s"] = _page(check, ours, prompts, count)
        found[name] = said
    return all_ok(found)


def _throughput(check: Check, network: Any, rows: int, count: int) -> float:
    """Of steps and readouts alone."""
    plain, _ = engines(network)
    captured = CapturedSteps(network, most=rows)
    for n in range(rows):
        captured.insert(plain.network.read(prompt(network, 6 + n % 9), None)[1])
    ids = [3] * rows
    return round(rows * count / check.ms(lambda: [captured.step(ids) for _ in range(count)], repeats=3) * 1000, 1)


def _page(check: Check, ours: LocalEngine, prompts: Sequence[Sequence[int]], count: int) -> float:
    """Of as many visitors in threads, through the engine that the page uses."""
    shared = BatchedEngine(ours)
    written: list[list[StepScores]] = [[] for _ in prompts]

    def visit(number: int) -> None:
        written[number] = list(shared.steps(prompts[number], max_new_tokens=count, top_k=5))

    def go() -> None:
        threads = [threading.Thread(target=visit, args=(number,)) for number in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return round(len(prompts) * count / check.ms(go, repeats=2) * 1000, 1)


def readouts(check: Check) -> Found:
    """What ranking in blocks brings over one long row, for one text and for 32."""
    found: Found = {}
    for rows in (1, 32):
        logits = torch.randn(rows, 2000 if check.small else 50_257, device=check.device)
        captured = CapturedSteps(check.tiny("gpt2"), most=1)
        for name, block in (("in_blocks_ms", softmax.BLOCK), ("whole_ms", logits.shape[-1])):
            before, softmax.BLOCK = softmax.BLOCK, block
            with torch.inference_mode():
                replay = captured._graphs.capture(lambda: _none(softmax.pack_scores(logits, MAX_TOP_K)))  # noqa: B023
                found[f"{rows}_{name}"] = check.ms(replay)
            softmax.BLOCK = before
    return found


def _none(_: Any) -> None:
    """A captured function returns nothing."""
