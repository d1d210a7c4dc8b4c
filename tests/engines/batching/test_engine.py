"""The batched engine as the page uses it: with threads, beside other requests."""

import threading
from typing import Any

import pytest

import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from tests.engines.batching.manual_worker import Folder, Reader, load, new_reader
from tests.machines import refused_threads


def test_context_full(tiny_folder: Folder) -> None:
    shared = BatchedEngine(load(tiny_folder("gpt2")))
    for length, steps in ((90, 6), (95, 1), (96, 0), (200, 0)):
        assert len(list(shared.steps([5] * length, max_new_tokens=50, top_k=1))) == steps


def test_many_runs_at_once_and_the_thread_ends_after_the_last(tiny_folder: Folder) -> None:
    shared, alone = BatchedEngine(load(tiny_folder("qwen3"))), load(tiny_folder("qwen3"))
    readers = [new_reader(7 * n, 12, length=2 + n) for n in range(12)]

    def work(each: Reader) -> None:
        each.got = list(shared.steps(each.token_ids, max_new_tokens=12, top_k=3))

    threads = [threading.Thread(target=work, args=(each,)) for each in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for each in readers:
        assert len(each.got) == 12
        each.check(alone)
    worker = shared.worker._thread
    if worker:
        worker.join(300)
    assert shared.worker._thread is None


def test_a_run_whose_thread_cannot_be_started_is_refused_and_the_next_one_runs(
    tiny_folder: Folder,
) -> None:
    shared = BatchedEngine(load(tiny_folder("llama")))
    with refused_threads("batch"), pytest.raises(RuntimeError, match="can't start new thread"):
        list(shared.steps([1, 2, 3], max_new_tokens=4, top_k=2))
    assert shared.worker._rounds.scheduler.sequences == []
    assert len(list(shared.steps([1, 2, 3], max_new_tokens=4, top_k=2))) == 4


def test_closing_the_iterator_removes_the_reader(tiny_folder: Folder) -> None:
    shared = BatchedEngine(load(tiny_folder("llama")))
    steps: Any = shared.steps([1, 2, 3], max_new_tokens=90, top_k=2)
    next(steps)
    worker = shared.worker._thread
    steps.close()
    if worker:
        worker.join(300)
    assert shared.worker._rounds.scheduler.sequences == []


def test_beam_search_and_scored_texts_run_beside_the_batch(tiny_folder: Folder) -> None:
    shared, alone = BatchedEngine(load(tiny_folder("llama"))), load(tiny_folder("llama"))
    ids = list(range(1, 6))
    run = shared.steps(ids, max_new_tokens=60, top_k=2)
    next(run)
    options: Any = {"max_new_tokens": 6, "num_beams": 3, "top_k": 2}
    found, expected = (decoding.beam_search(engine, "abc", **options) for engine in (shared, alone))
    assert found == expected
    texts = [decoding.score(engine, "abc", "def", top_k=2) for engine in (shared, alone)]
    assert texts[0] == texts[1]
    trace = decoding.trace(shared, "abc", max_new_tokens=8, top_k=2)
    assert decoding.agreement(shared, trace).identical
    rest = list(run)
    assert len(rest) == 59


def test_sharing_an_engine_leaves_it_as_it_is(starter: LocalEngine) -> None:
    network = starter.network
    shared = BatchedEngine(starter)
    assert starter.network is network
    assert shared.network is not network
