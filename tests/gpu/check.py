"""What the parts of the GPU check share: a device, small shapes for a rehearsal, a clock, and how two runs differ."""

import gc
import json
import random
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from decoding.bench import measured_models as subject
from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.cached_network import CachedNetwork
from decoding.engines.torch.cuda_graph_decoder import CudaGraphDecoder
from decoding.engines.torch.engine import engine_of
from decoding.engines.torch.network import TorchNetwork
from decoding.models.devices import disable_tf32
from decoding.models.loading import describe_model
from decoding.record.step import StepScores
from tests import tiny_models

TOLERANCE = 1e-4
"""The difference in a probability that README promises to stay below."""
SMALL_SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "vocab_size": 2000},
    "gpt2-xl": {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 2, "vocab_size": 2000},
    "starter": subject.SHAPES["starter"] | {"num_hidden_layers": 2, "vocab_size": 2000},
}
Found = dict[str, Any]


@dataclass
class Check:
    """One run of the check. `small` is a rehearsal: every part, with small shapes and few steps."""

    device: str
    small: bool
    seconds: float
    file: Path | None
    parts: dict[str, Found] = field(default_factory=dict)
    begun: float = field(default_factory=time.perf_counter)

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.begun)

    @property
    def failed(self) -> list[str]:
        return [name for name, found in self.parts.items() if not found.get("ok", True)]

    def do(self, name: str, part: Callable[["Check"], Found], *, needs: float) -> None:
        """Run a part, if there is time for it, and write what all of them have found so far."""
        if needs and self.left < needs:
            found: Found = {"skipped": f"{self.left:.0f} s left, {needs:.0f} wanted"}
        else:
            begun = time.perf_counter()
            try:
                found = part(self)
            except Exception as error:
                found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:600]}
                found["trace"] = traceback.format_exc()[-1500:]
            found = {"s": round(time.perf_counter() - begun, 1), **found}
        self.parts[name] = found
        if self.file:
            self.file.write_text(json.dumps(self.report(), indent=1, default=str), "utf-8")
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()

    def report(self) -> Found:
        seconds = round(time.perf_counter() - self.begun, 1)
        return {"device": self.device, "rehearsal": self.small, "seconds": seconds, "failed": self.failed} | self.parts

    # ---- measuring

    def sync(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def ms(self, call: Callable[[], Any], *, repeats: int = 5, warm: int = 1) -> float:
        """The median milliseconds of a call, to the end on the device."""
        for _ in range(warm):
            call()
        times = []
        for _ in range(1 if self.small else repeats):
            self.sync()
            begun = time.perf_counter()
            call()
            self.sync()
            times.append(time.perf_counter() - begun)
        return round(statistics.median(times) * 1000, 4)

    # ---- models

    def shape(self, name: str, dtype: str = "float32", **changes: Any) -> Any:
        """A network of random weights, as `python -m decoding.bench --shape` makes them."""
        shapes = SMALL_SHAPES if self.small else subject.SHAPES
        config = AutoConfig.for_model(**(shapes[name] | changes), initializer_range=0.06)
        torch.manual_seed(0)
        with torch.device(self.device):
            network: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        disable_tf32()
        return network.eval()

    def tiny(self, name: str, **changes: Any) -> Any:
        disable_tf32()
        return tiny_models.network(name, **changes).eval().to(self.device)


def engines(network: Any, ends: frozenset[int] = frozenset()) -> tuple[LocalEngine, LocalEngine]:
    """The plain engine, and one that decodes by CUDA graphs."""
    loaded = replace(describe_model(network, tiny_models.tokenizer(), model="check"), end_ids=ends)
    plain, ours = engine_of(loaded), engine_of(loaded)
    plain.network, ours.network = [TorchNetwork(CachedNetwork(network), model="check") for _ in range(2)]
    ours.network = CudaGraphDecoder(network, ours.network)
    ours.prefix_cache = PrefixCache(ours.network)
    return plain, ours


def decoder_of(engine: LocalEngine) -> CudaGraphDecoder:
    assert isinstance(engine.network, CudaGraphDecoder)
    return engine.network


def steps(engine: LocalEngine, ids: Sequence[int], count: int, top_k: int = 5, **options: Any) -> list[StepScores]:
    return list(engine.steps(ids, max_new_tokens=count, top_k=top_k, **options))


def prompt(network: Any, length: int) -> list[int]:
    return random.Random(length).choices(range(network.config.get_text_config(decoder=True).vocab_size), k=length)


def compare(a: Sequence[StepScores], b: Sequence[StepScores]) -> Found:
    """The largest differences of two runs, up to the first step that picks differently."""
    found: Found = {"steps": len(a), "dp": 0.0, "d_entropy": 0.0, "d_log_sum": 0.0}
    found["same_picks"] = [step.picked_id for step in a] == [step.picked_id for step in b]
    same_ranks = True
    for x, y in zip(a, b, strict=False):
        found["dp"] = max([found["dp"], *(abs(exp(p) - exp(q)) for p, q in zip(x.logprobs, y.logprobs, strict=True))])
        found["d_entropy"] = max(found["d_entropy"], abs(x.entropy - y.entropy))
        sums = zip(x.log_sums, y.log_sums, strict=True)
        found["d_log_sum"] = max([found["d_log_sum"], *(abs(s - t) for (_, s), (_, t) in sums)])
        if x.picked and y.picked and x.picked.token_id == y.picked.token_id:
            same_ranks = same_ranks and x.picked.rank == y.picked.rank
        if x.picked_id != y.picked_id:
            found["first_other_step"] = a.index(x)
            found["margin_there"] = exp(x.logprobs[0]) - exp(x.logprobs[1])
            break
    found["ok"] = found["same_picks"] and same_ranks and found["dp"] <= TOLERANCE and len(a) == len(b)
    return found


def all_ok(found: Found) -> Found:
    return found | {"ok": all(each.get("ok", True) for each in found.values() if isinstance(each, dict))}
