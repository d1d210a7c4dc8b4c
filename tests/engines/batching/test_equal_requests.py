"""Runs that ask for the same: each is computed once, and ends for its readers."""

from decoding.engines.batching.engine import BatchedEngine
from tests.engines.batching.manual_worker import Folder, ManualWorker, Passes, join_all, load, new_reader


def test_equal_requests_are_computed_once(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    first = new_reader(1, 6).join(worker)
    for _ in range(3):
        worker.run_round()
    longer, shorter = join_all(worker, new_reader(1, 9, top_k=2), new_reader(1, 3))  # while it is being written
    passes = Passes(engine)
    worker.run_to_end()
    assert passes.shapes == [(1, 1)] * 6  # two of nine were there, one of them was being read
    again, longest = join_all(worker, new_reader(1, 9), new_reader(1, 11))  # after it has ended
    worker.run_to_end()
    assert passes.shapes == [(1, 1)] * 8
    assert worker.reused == 4
    for each in (first, longer, shorter, again, longest):
        each.read(worker)
        assert len(each.got) == each.steps
        each.check(load(tiny_folder("llama")))


def test_a_request_for_more_candidates_is_another_sequence(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    few, many = join_all(worker, new_reader(1, top_k=2), new_reader(1, top_k=5))
    worker.run_to_end()
    for each in (few, many):
        each.read(worker)
        assert len(each.got[0].token_ids) == each.top_k
        each.check(load(tiny_folder("llama")))


def test_a_run_ends_with_its_readers_when_the_longest_one_leaves(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine)
    worker = ManualWorker(engine)
    patient, hasty = join_all(worker, new_reader(1, 40), new_reader(1, 4))
    worker.run_round()
    patient.leave(worker)
    worker.run_to_end()
    hasty.read(worker)
    assert len(hasty.got) == 4
    assert len(passes.shapes) == 4


def test_a_text_that_ends_by_itself_ends_for_all(tiny_folder: Folder) -> None:
    engine, alone = load(tiny_folder("llama")), load(tiny_folder("llama"))
    written = [r.token_ids[0] for r in alone.steps(list(range(1, 6)), max_new_tokens=20, top_k=1)]
    end = next(i for n, i in enumerate(written) if n >= 3 and i not in written[:n])
    engine.end_ids = frozenset({end})
    shared = BatchedEngine(engine)
    for _ in range(2):  # written, and then remembered
        got = list(shared.steps(list(range(1, 6)), max_new_tokens=20, top_k=1))
        assert [r.token_ids[0] for r in got] == written[: written.index(end) + 1]
