"""Whether captured steps say what the plain loop says, and both what the weights say in float64."""

import copy
import gc
from collections.abc import Sequence
from math import exp
from typing import Any

import torch

from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.cuda_graph_decoder import CapturedBatch
from decoding.errors import ModelError
from decoding.record.step import StepScores
from decoding.softmax import INVERSE_TEMPERATURES
from tests.gpu.check import TOLERANCE, Check, Found, all_ok, compare, decoder_of, engines, steps

FAMILIES = ("llama", "gpt2", "gemma3_text", "mistral", "qwen3", "gpt_neox", "gemma2", "phi3", "cohere", "opt")
IDS = list(b"Transformers are the")


@torch.inference_mode()
def oracle(network: Any, ids: Sequence[int], run: Sequence[StepScores]) -> Found:
    """Against the same weights in float64: the whole text in one pass, no cache, softmax in float64."""
    text = [*ids, *(step.picked_id for step in run[:-1])]
    wide = copy.deepcopy(network).double()
    wide.config._attn_implementation = "eager"
    input_ids = torch.tensor([text], device=network.device)
    rows = wide(input_ids=input_ids, use_cache=False).logits[0, len(ids) - 1 :].double()
    found: Found = {"dp": 0.0, "d_entropy": 0.0, "d_log_sum": 0.0, "other_first": 0, "smallest_margin": 1.0}
    for row, step in zip(rows, run, strict=True):
        logp = row.log_softmax(-1)
        mine = logp[list(step.token_ids)].exp().tolist()
        found["dp"] = max([found["dp"], *(abs(exp(p) - q) for p, q in zip(step.logprobs, mine, strict=True))])
        top = row.topk(2)
        margin = float(logp[top.indices[0]].exp() - logp[top.indices[1]].exp())
        found["smallest_margin"] = min(found["smallest_margin"], margin)
        found["other_first"] += step.token_ids[0] != int(top.indices[0]) and margin > 1e-6
        entropy = float(-(logp.exp() * logp.clamp(min=-1e4)).sum())
        found["d_entropy"] = max(found["d_entropy"], abs(entropy - step.entropy))
        sums = [float((row * power).logsumexp(-1)) for power in INVERSE_TEMPERATURES]
        pairs = zip(sums, step.log_sums, strict=True)
        found["d_log_sum"] = max([found["d_log_sum"], *(abs(mine - theirs) for mine, (_, theirs) in pairs)])
    return found | {"ok": found["dp"] <= TOLERANCE and not found["other_first"]}


def together(ours: LocalEngine, prompts: Sequence[Sequence[int]], count: int, top_k: int = 5) -> list[list[StepScores]]:
    """So many runs in one batch, each with a prompt of its own."""
    decoder = decoder_of(ours)
    batch = decoder.new_batch(len(prompts))
    assert isinstance(batch, CapturedBatch), "the steps of this network are not shared"
    written, rows = [], []
    for ids in prompts:
        logits, cache = decoder.read(ids, None)
        written.append([decoder.scores(logits[-1], top_k)])
        rows.append(batch.insert(cache))
    for _ in range(count - 1):
        said = batch.step({row: mine[-1].picked_id for row, mine in zip(rows, written, strict=True)})
        for row, mine in zip(rows, written, strict=True):
            mine.append(decoder.scores(said[row], top_k))
    return written


def families(check: Check) -> Found:
    """Ten families: alone, with forced picks, again, many at once; beside the plain loop and beside float64."""
    found: Found = {}
    count = 12 if check.small else 24
    for name in FAMILIES:
        network = check.tiny(name)
        plain, ours = engines(network)
        why = decoder_of(ours).verify()
        mine = steps(ours, IDS, count)
        said = compare(mine, steps(plain, IDS, count)) | {"why_not": why}
        said["captured"] = decoder_of(ours).steps.sizes
        said["oracle"] = oracle(network, IDS, mine)
        forced = {0: 7, 5: 9, 6: 11, count - 1: 3}
        said["forced"] = compare(steps(ours, IDS, count, forced=forced), steps(plain, IDS, count, forced=forced))
        said["again"] = compare(steps(ours, IDS[:3], 8), steps(plain, IDS[:3], 8))
        prompts = [IDS, IDS[:3], IDS[5:], IDS[2:14], IDS[:7]]
        shared = together(ours, prompts, 8)
        rows = [compare(a, steps(plain, ids, 8)) for a, ids in zip(shared, prompts, strict=True)]
        said["rows"] = max(rows, key=lambda row: float(row["dp"])) | {"ok": all(row["ok"] for row in rows)}
        found[name] = said | {"ok": not why and said["ok"] and all_ok(said)["ok"]}
        network = plain = ours = None  # type: ignore[assignment]
        gc.collect()
    return all_ok(found)


def plain_families(check: Check) -> Found:
    """What cannot be captured says why not, and decodes by the plain loop."""
    found: Found = {}
    for name in ("falcon", "mamba"):
        plain, ours = engines(check.tiny(name))
        why = decoder_of(ours).verify()
        found[name] = compare(steps(ours, IDS, 8), steps(plain, IDS, 8)) | {"why_not": why}
        found[name]["ok"] = found[name]["ok"] and why.startswith("the plain loop, because")
    return all_ok(found)


def edges(check: Check) -> Found:
    """Ties, numbers that are none, ends, branches, growth of the cache, two runs at once, 1, 50 and 51 candidates."""
    found: Found = {}
    network = check.tiny("llama")
    with torch.no_grad():
        network.lm_head.weight[100:200] = network.lm_head.weight[40]
    plain, ours = engines(network)
    found["ties"] = compare(steps(ours, IDS, 8, 50), steps(plain, IDS, 8, 50))
    forced = dict.fromkeys(range(6), 150)
    found["ties_forced"] = compare(steps(ours, IDS, 8, forced=forced), steps(plain, IDS, 8, forced=forced))

    network = check.tiny("llama")
    plain, ours = engines(network)
    for k in (1, 50, 51):
        found[f"top_{k}"] = compare(steps(ours, IDS, 4, k), steps(plain, IDS, 4, k))
    run = steps(ours, IDS, 24)
    fork = {12: run[12].token_ids[1]}
    found["branch"] = compare(steps(ours, IDS, 24, forced=fork), steps(plain, IDS, 24, forced=fork))
    loop = ours.steps(IDS, max_new_tokens=24, top_k=5)
    found["left"] = compare([next(loop) for _ in range(7)], run[:7])
    loop.close()  # type: ignore[attr-defined]
    found["after_leaving"] = compare(steps(ours, IDS, 24), run)
    both = [ours.steps(ids, max_new_tokens=8, top_k=5) for ids in (IDS, IDS[4:])]
    for ids, mine in zip((IDS, IDS[4:]), zip(*zip(*both, strict=True), strict=True), strict=True):
        found[f"two_at_once_{len(ids)}"] = compare(mine, steps(plain, ids, 8))
    written = [step.picked_id for step in run]
    place = next(n for n, token in enumerate(written) if n >= 3 and token not in written[:n])
    plain, ours = engines(network, ends=frozenset([written[place]]))
    found["end"] = compare(steps(ours, IDS, 24), steps(plain, IDS, 24)) | {"at": place}

    with torch.no_grad():
        network.model.embed_tokens.weight[200] = float("nan")
    plain, ours = engines(network)
    try:
        steps(ours, IDS, 24, forced={5: 200})
        found["nan"] = {"ok": False}
    except ModelError as error:
        found["nan"] = {"ok": "not a number" in str(error)}
    found["after_nan"] = compare(steps(ours, IDS[:4], 6), steps(plain, IDS[:4], 6))

    network = check.tiny("gpt2", n_positions=1024)
    plain, ours = engines(network)
    count = 40 if check.small else 620  # over 512 columns
    found["grows"] = compare(steps(ours, IDS, count), steps(plain, IDS, count))
    found["grows"]["captured"] = decoder_of(ours).steps.sizes
    return all_ok(found)
