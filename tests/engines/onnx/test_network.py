"""ONNX Runtime behind the protocol of a network: every way says what the references say."""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.onnx.graph_cache import build_unpacked, ensure_graph
from decoding.engines.onnx.kv_cache import padded_width
from decoding.engines.onnx.network import OnnxNetwork, with_shared_beginnings
from decoding.engines.onnx.running_batch import OnnxBatch
from decoding.engines.onnx.session import Threads
from decoding.record.step import StepScores

Reference = dict[str, Any]
REFERENCES: list[Reference] = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parents[2] / "reference" / "starter").glob("*.json"))
]
NOISE = 2e-5
TOP = 10


@pytest.fixture(scope="module")
def network(starter: LocalEngine) -> OnnxNetwork:
    assert isinstance(starter.network, OnnxNetwork)
    return starter.network


@pytest.fixture(scope="module")
def unpacked(starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> OnnxNetwork:
    folder = tmp_path_factory.mktemp("unpacked")
    return OnnxNetwork(build_unpacked(ensure_graph(starter_gguf), folder), threads=Threads(1))


def check(steps: Sequence[StepScores], reference: Reference, *, first: int = 0) -> None:
    wanted = reference["steps"][first:]
    assert [step.token_ids[0] for step in steps] == [step["token_id"] for step in wanted]
    for step, said in zip(steps, wanted, strict=True):
        found = dict(zip(step.token_ids, map(math.exp, step.logprobs), strict=True))
        assert all(abs(found[choice["token_id"]] - choice["prob"]) < NOISE for choice in said["choices"])


def picks(reference: Reference) -> list[int]:
    return [step["token_id"] for step in reference["steps"]]


def alone(network: OnnxNetwork, reference: Reference) -> list[StepScores]:
    unread, cache, steps = reference["prompt_token_ids"], None, []
    for token_id in picks(reference):
        logits, cache = network.read(unread, cache)
        steps.append(network.scores(logits[-1], TOP))
        unread = [token_id]
    return steps


def in_pieces(network: OnnxNetwork, reference: Reference) -> list[StepScores]:
    """The prompt three ids at a time, so that the buffers grow; what follows in one pass."""
    prompt, cache = reference["prompt_token_ids"], None
    for begin in range(0, len(prompt) - 1, 3):
        _, cache = network.read(prompt[:-1][begin : begin + 3], cache)
    said = [prompt[-1], *picks(reference)[:-1]]
    logits, _ = network.read(said, cache, last=len(said))
    return [network.scores(row, TOP) for row in logits]


def from_a_kept_prefix(network: OnnxNetwork, reference: Reference) -> list[StepScores]:
    """Another text was read after the same prompt; a copy is cut back to the prompt."""
    prompt = reference["prompt_token_ids"]
    logits, cache = network.read(prompt, None)
    first = network.scores(logits[-1], TOP)
    _, cache = network.read([7] * 100, cache)
    said = picks(reference)[:-1]
    copy = network.copy(cache, len(prompt))
    rest, _ = network.read(said, copy, last=len(said))
    return [first, *(network.scores(row, TOP) for row in rest)]


WAYS: dict[str, Callable[[OnnxNetwork, Reference], list[StepScores]]] = {
    "alone": alone, "in pieces": in_pieces, "from a kept prefix": from_a_kept_prefix
}  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda one: one["prompt"][:12])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_says_the_reference(
    network: OnnxNetwork, way: Callable[[OnnxNetwork, Reference], list[StepScores]], reference: Reference
) -> None:
    check(way(network, reference), reference)


def together(network: OnnxNetwork, batch: OnnxBatch, references: Sequence[Reference]) -> None:
    """Rows that join one after the other, so that each has a length of its own, and leave when they have ended."""
    waiting, here = list(references), dict[int, tuple[Reference, list[StepScores]]]()
    while waiting or here:
        if waiting:
            reference = waiting.pop()
            logits, cache = network.read(reference["prompt_token_ids"], None)
            here[batch.insert(cache)] = reference, [network.scores(logits[-1], TOP)]
        said = batch.step({row: steps[-1].token_ids[0] for row, (_, steps) in here.items()})
        for row, logits in said.items():
            here[row][1].append(network.scores(logits, TOP))
        for row, (reference, steps) in list(here.items()):
            if len(steps) == len(reference["steps"]):
                check(steps, reference)
                batch.remove(row)
                del here[row]


def test_rows_that_share_passes_say_it(network: OnnxNetwork) -> None:
    together(network, network.new_batch(8), REFERENCES)


def test_rows_over_unpacked_weights_say_it(unpacked: OnnxNetwork) -> None:
    together(unpacked, unpacked.new_batch(8), REFERENCES)


def test_prompts_that_share_a_pass_say_it(network: OnnxNetwork) -> None:
    """Prompts of different lengths; then two of them go on together, and the others alone."""
    logits, caches = network.read_texts([one["prompt_token_ids"] for one in REFERENCES])
    firsts = [network.scores(row, TOP) for row in logits]
    batch = network.new_batch(2)
    rows = {batch.insert(cache): n for n, cache in enumerate(caches[:2])}
    shared: list[list[StepScores]] = [[first] for first in firsts[:2]]
    for index in range(min(len(one["steps"]) for one in REFERENCES[:2]) - 1):
        said = batch.step({row: picks(REFERENCES[n])[index] for row, n in rows.items()})
        for row, n in rows.items():
            shared[n].append(network.scores(said[row], TOP))
    for steps, reference in zip(shared, REFERENCES[:2], strict=True):
        check(steps, reference | {"steps": reference["steps"][: len(steps)]})
    for first, cache, reference in zip(firsts[2:], caches[2:], REFERENCES[2:], strict=True):
        steps = [first]
        for token_id in picks(reference)[:-1]:
            row, cache = network.read([token_id], cache)
            steps.append(network.scores(row[-1], TOP))
        check(steps, reference)


def test_what_texts_begin_with_is_read_once() -> None:
    ids, texts, lasts = with_shared_beginnings([[7, 8, 9], [7, 8], [8, 9, 9], [7, 8, 9, 7]])
    assert ids.tolist() == [7, 8, 9, 8, 9, 9, 7]
    assert lasts == [2, 1, 5, 6]
    assert texts.at.tolist() == [[0, 1, 2, 0], [0, 1, 0, 0], [3, 4, 5, 0], [0, 1, 2, 6]]  # filled up with 0
    assert texts.ids_at.tolist() == [[0, 0], [0, 1], [0, 2], [2, 0], [2, 1], [2, 2], [3, 3]]


def test_a_removed_row_goes_on_alone(network: OnnxNetwork) -> None:
    reference, other = REFERENCES[-1], REFERENCES[0]
    steps, rows = [], {}
    batch = network.new_batch(2)
    for one in (other, reference):
        logits, cache = network.read(one["prompt_token_ids"], None)
        rows[batch.insert(cache)] = one
    steps.append(network.scores(logits[-1], TOP))
    for index in range(3):
        said = batch.step({row: picks(one)[index] for row, one in rows.items()})
        steps.append(network.scores(said[max(rows)], TOP))
    cache = batch.remove(max(rows))
    for token_id in picks(reference)[3:-1]:
        logits, cache = network.read([token_id], cache)
        steps.append(network.scores(logits[-1], TOP))
    check(steps, reference)


def test_all_references_at_once_through_the_pages_engine(starter: LocalEngine, network: OnnxNetwork) -> None:
    engine = BatchedEngine(LocalEngine(_facts(starter), network))

    def run(reference: Reference) -> None:
        steps = list(engine.steps(reference["prompt_token_ids"], max_new_tokens=len(reference["steps"]), top_k=TOP))
        check(steps, reference)

    with ThreadPoolExecutor(len(REFERENCES)) as pool:
        list(pool.map(run, REFERENCES))


def _facts(engine: LocalEngine) -> Any:
    return engine  # it has all that `ModelFacts` has


def test_buffers_have_room_to_spare_and_are_copied_seldom(network: OnnxNetwork) -> None:
    _, cache = network.read([5] * 10, None)
    first = cache.buffers
    for _ in range(30):
        _, cache = network.read([5], cache)
    assert cache.buffers is first
    _, cache = network.read([5] * 200, cache)
    assert cache.buffers is not first
    assert (cache.length, cache.buffers.shape[3]) == (240, padded_width(240))
    assert all(padded_width(length) >= length + max(64, length // 4) for length in (1, 63, 64, 1000))


def test_buffers_take_memory_only_where_they_are_written(network: OnnxNetwork) -> None:
    before = psutil.Process().memory_info().rss
    buffers = network.session.new_buffers(32, 128)
    buffers[..., :8, :] = 1
    assert not buffers[..., 8:9, :].any()
    assert buffers.nbytes > 180e6
    assert psutil.Process().memory_info().rss - before < 60e6


def test_a_batch_reports_the_bytes_it_needs_and_releases_them(network: OnnxNetwork) -> None:
    batch = network.new_batch(32)
    a_token = network.cache_bytes_per_token
    assert a_token == 2 * 30 * 3 * 64 * 4
    assert batch.bytes_to_insert([10]) == padded_width(11) * a_token
    assert batch.bytes_to_insert([10] * 5) == 8 * padded_width(11) * a_token
    rows = [batch.insert(network.read([5] * 10, None)[1]) for _ in range(5)]
    assert batch.bytes_to_insert([10] * 3) == 0  # there is room for eight
    assert batch.bytes_to_insert([500]) == 8 * padded_width(501) * a_token
    assert len(set(rows)) == 5
    for row in rows[:3]:
        batch.remove(row)
    assert batch.bytes_to_insert([10] * 6) > 0  # the memory of eight is not held for two
    said = batch.step(dict.fromkeys(rows[3:], 7))
    assert set(said) == set(rows[3:])


def test_a_prompt_is_read_in_pieces_of_half_a_second(network: OnnxNetwork, starter_gguf: Path) -> None:
    spec = ensure_graph(starter_gguf).spec
    assert spec.layer_parameters == 106_168_320
    assert network.max_read == 54_000_000_000 // 106_168_320
    assert network.fewest_rows == 4


def test_running_out_of_memory_raises_memory_error(network: OnnxNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(network.session.runtime, name)

        def run_with_iobinding(self, _: object) -> None:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 12345")

    _, cache = network.read([5], None)
    monkeypatch.setattr(network.session, "runtime", Failing())
    with pytest.raises(MemoryError, match="12345"):
        network.read([5], cache)
