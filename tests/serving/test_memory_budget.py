"""The account of memory: what is taken, given back, waited for and refused. And what requests take of a real model."""

import argparse
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from transformers import BltConfig

import app as application
from decoding import cancellation
from decoding.cancellation import WorkCancelledError
from decoding.command_line import options
from decoding.engines.local_engine import LocalEngine
from decoding.engines.memory_needs import Kind, Work, bytes_needed
from decoding.engines.torch.cached_network import CachedNetwork
from decoding.engines.torch.network import TorchNetwork
from decoding.errors import RequestError, RoomError
from decoding.models.catalogue import CATALOGUE
from decoding.serving import memory_budget
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_registry import ModelRegistry
from decoding.serving.model_setup import EngineOptions, model_bytes
from tests import tiny_models
from tests.fakes import ScriptedEngine

MB = 10**6


@pytest.fixture(autouse=True)
def an_address_that_nobody_knows() -> None:
    memory_budget.charge_to(None)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1.5GB", 1_500_000_000),
        ("1.5 gb", 1_500_000_000),
        ("800M", 800_000_000),
        ("1234567", 1_234_567),
        ("auto", "auto"),
    ],
)
def test_a_size_as_an_operator_writes_it(written: str, size: object) -> None:
    assert options.byte_size(written) == size
    assert options.byte_size("auto") == "auto"


@pytest.mark.parametrize("written", ["", "much", "-1GB", "1e9", "1.5.2GB", "9" * 40, "\u0661GB"])
def test_an_invalid_size_is_refused(written: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"has to be a size, as 1\.5GB, or auto"):
        options.byte_size(written)


def test_a_part_of_an_operators_limit_is_for_what_nobody_reserves() -> None:
    budget = application.memory_budget(1_000 * MB, process=200 * MB)
    assert budget.total == 900 * MB
    assert budget.bytes_for_requests == 700 * MB
    application.memory_budget(223 * MB, process=200 * MB)
    with pytest.raises(SystemExit, match="has to be at least 223 MB: the process takes 200 MB already"):
        application.memory_budget(222 * MB, process=200 * MB)


def test_a_limit_has_room_for_the_first_model() -> None:
    starter = CATALOGUE["starter"]
    needed = model_bytes(starter, EngineOptions("auto", "cpu", "auto"))
    assert needed > 300 * MB
    least = (100 * MB + needed) * 10 // 9 // MB + 1
    said = (
        f"--memory has to be at least {least} MB: the process takes 100 MB already, and starter needs "
        f"{needed // MB} MB. A tenth is kept for what no run reserves."
    )
    with pytest.raises(SystemExit) as left:
        application.memory_budget(300 * MB, process=100 * MB, model="starter", needed=needed)
    assert str(left.value.code) == said
    budget = application.memory_budget(least * MB, process=100 * MB, model="starter", needed=needed)
    assert budget.reserve_for_model(needed)
    assert model_bytes(starter, EngineOptions("http://127.0.0.1:1", "cpu", "auto")) == 0


def test_a_reservation_is_released_once() -> None:
    budget = MemoryBudget(1_000, process=100)
    model = budget.reserve_for_model(500)
    assert model
    assert budget.reserve_for_model(401) is None
    assert (budget.bytes_for_requests, budget.bytes_per_request) == (400, 300)
    part = budget.reserve(300)
    assert part
    assert budget.reserve(101) is None
    assert budget.reserve(100)
    part.release()
    part.release()
    assert budget.reserved == 100 + 500 + 100
    model.resize(200)
    assert budget.bytes_for_requests == 700
    model.release()
    assert (budget.reserved, budget.is_idle) == (200, False)


def test_resident_memory_is_updated_only_while_idle() -> None:
    budget = MemoryBudget(1_000, process=100)
    assert budget.reserve_for_model(300)
    budget.update_resident(550)
    assert budget.bytes_for_requests == 450
    part = budget.reserve(200)
    assert part
    budget.update_resident(900)  # what is served is in it
    assert budget.bytes_for_requests == 450
    budget.update_resident(900)
    part.release()
    budget.update_resident(200)
    assert budget.bytes_for_requests == 700


def test_one_address_leaves_a_quarter_to_others() -> None:
    budget = MemoryBudget(1_000)
    memory_budget.charge_to("8.8.8.8")
    parts = [budget.reserve(250) for _ in range(3)]
    assert all(parts)
    assert budget.reserve(1) is None
    memory_budget.charge_to("9.9.9.9")
    assert budget.reserve(250)
    memory_budget.charge_to("8.8.8.8")
    assert parts[0]
    parts[0].release()
    assert budget.reserve(250)


def test_a_request_waits_until_memory_is_free() -> None:
    budget = MemoryBudget(1_000 * MB, poll_seconds=600.0)  # what is given back is heard of at once
    first = budget.reserve(700 * MB)
    assert first
    waiting = budget.reserve_when_free(500 * MB)
    assert next(waiting) == "Your run waits for 500 MB of memory that others use. It begins by itself."
    with ThreadPoolExecutor(1) as elsewhere:
        rest = elsewhere.submit(lambda: next(waiting))
        first.release()
        with pytest.raises(StopIteration) as end:
            rest.result(60)
    assert end.value.value.size == 500 * MB
    assert budget.reserved == 500 * MB


def test_leaving_while_waiting_reserves_nothing() -> None:
    budget, left = MemoryBudget(1_000, poll_seconds=0.01), threading.Event()
    assert budget.reserve(700)

    def work() -> None:
        cancellation.bind(left)
        waiting = budget.reserve_when_free(400)
        next(waiting)
        left.set()
        next(waiting)

    with ThreadPoolExecutor(1) as elsewhere, pytest.raises(WorkCancelledError):
        elsewhere.submit(work).result(60)
    assert budget.reserved == 700


def test_a_request_that_never_fits_is_refused_with_both_numbers() -> None:
    budget = MemoryBudget(1_000 * MB, process=200 * MB)
    with pytest.raises(RequestError, match=r"This needs 601 MB of memory at its longest, and the server gives one"):
        next(budget.reserve_when_free(601 * MB))
    with pytest.raises(StopIteration):
        next(budget.reserve_when_free(600 * MB))


# ---- models


def test_a_load_reserves_memory_first_and_evicts_other_models() -> None:
    budget, loads = MemoryBudget(1_000 * MB), []

    def load(name: str, report: object) -> ScriptedEngine:
        loads.append((name, budget.bytes_for_requests // MB))
        return ScriptedEngine(name=name)

    bytes_needed = {"small": 300, "large": 600, "huge": 1_001}
    registry = ModelRegistry(load, [*bytes_needed], memory=budget, bytes_needed=lambda name: bytes_needed[name] * MB)
    assert registry.engine("small").info.id == "small"
    assert loads == [("small", 700)]
    del load
    registry.engine("large")
    with pytest.raises(RoomError, match=r"huge needs 1\.0 GB of memory, and .* of the server's 1\.0 GB is free"):
        registry.engine("huge")
    assert [name for name, _ in loads] == ["small", "large"]


def test_a_failed_load_releases_its_reservation() -> None:
    def load(name: str, report: object) -> ScriptedEngine:
        raise RoomError("it did not fit")

    budget = MemoryBudget(1_000 * MB)
    with pytest.raises(RoomError, match="it did not fit"):
        ModelRegistry(load, ["one"], memory=budget, bytes_needed=lambda name: 900 * MB).engine("one")
    assert budget.reserved == 0


# ---- requests


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (Work("run", 10, 8, 5), Work("run", 2_600, 8, 5)),
        (Work("run", 10, 8, 5), Work("run", 10, 256, 5)),
        (Work("run", 10, 256, 5), Work("run", 10, 256, 50)),
        (Work("run", 100, 8, 5), Work("beam", 100, 8, 5, rows=2)),
        (Work("beam", 100, 8, 5, rows=2), Work("beam", 100, 8, 5, rows=8)),
        (Work("score", 10, 1, 5), Work("score", 10, 1_000, 5)),
        (Work("run", 100, 256, 5), Work("proof", 100, 256, 5)),
        (Work("lens", 100, 8, 5, rows=13), Work("lens", 100, 8, 5, rows=31)),  # its rows are logits, not sequences
        (Work("lens", 100, 8, 5, rows=31), Work("beam", 100, 8, 5, rows=31)),
        (Work("leave_one_out", 100, 8, 5), Work("leave_one_out", 7_000, 8, 5)),
    ],
)
def test_more_of_anything_needs_more(starter: LocalEngine, less: Work, more: Work) -> None:
    assert bytes_needed(starter, less) < bytes_needed(starter, more)


def test_a_run_needs_at_least_its_cache(starter: LocalEngine) -> None:
    a_token = starter.network.cache_bytes_per_token
    assert a_token > 40_000
    assert bytes_needed(starter, Work("run", 3_000, 8, 5)) > 3_008 * a_token
    assert bytes_needed(starter, Work("beam", 330, 50, 5, rows=8)) > 8 * 380 * a_token
    assert bytes_needed(starter, Work("leave_one_out", 30, 0, 5)) > (30 + 17 * 29) * a_token  # 17 texts in a pass


def test_a_request_is_counted_with_the_ids_that_its_longest_pass_reads() -> None:
    def pass_bytes(kind: Kind, prompt: int, *, max_read: int | None, **sizes: int) -> int:
        """What a pass adds: 1,000 bytes an id, and a quarter more."""
        facts = {"cache_bytes_per_token": 0, "max_reread": 0, "max_read": max_read}
        with_it, without = (
            SimpleNamespace(network=SimpleNamespace(pass_bytes_per_token=size, **facts), vocabulary_size=10)
            for size in (1_000, 0)
        )
        work = Work(kind, prompt, 100, 5, **sizes)
        return bytes_needed(with_it, work) - bytes_needed(without, work)

    assert pass_bytes("run", 7_000, max_read=512) == 512 * 1_250
    assert pass_bytes("beam", 7_000, max_read=512, rows=4) == 512 * 1_250
    assert pass_bytes("run", 30, max_read=512) == 30 * 1_250
    assert pass_bytes("run", 30, max_read=None) == 130 * 1_250  # each pass reads the whole text
    assert pass_bytes("score", 7_000, max_read=512) == 512 * 1_250
    assert pass_bytes("proof", 7_000, max_read=512) == 7_000 * 1_250  # `generate` reads a prompt in one pass


def test_a_larger_models_pass_takes_more(starter: LocalEngine) -> None:
    assert 60_000 < starter.network.pass_bytes_per_token < 80_000  # as measured
    tiny = TorchNetwork(CachedNetwork(tiny_models.network("llama")), model="tiny")
    assert tiny.pass_bytes_per_token == 8 * (32 + 64) * 4
    unstated = SimpleNamespace(config=BltConfig(), dtype=torch.float32)
    assert TorchNetwork.pass_bytes_per_token.fget(SimpleNamespace(network=unstated)) > 0  # type: ignore[attr-defined]


def test_an_engine_elsewhere_needs_little() -> None:
    assert bytes_needed(ScriptedEngine(), Work("run", 10, 8, 5)) < 20 * MB


def test_a_given_text_is_read_in_pieces_however_many_words_a_model_has() -> None:
    network = SimpleNamespace(cache_bytes_per_token=1_000, pass_bytes_per_token=64_000, max_read=512, max_reread=0)
    gemma = SimpleNamespace(network=network, vocabulary_size=262_144)
    long, longer = (bytes_needed(gemma, Work("score", 10, steps, 5)) for steps in (480, 960))
    assert longer < 400 * MB
    assert longer - long < 60 * MB
