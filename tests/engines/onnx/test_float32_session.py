"""The second session of a crowd: when it is made, when it is given back, and that no failure of it is felt."""

import logging
import os
import subprocess
import sys
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from decoding.engines.local_engine import LocalEngine
from decoding.engines.onnx import float32_session
from decoding.engines.onnx.float32_session import CROWD_ROWS, SHARED_ROWS, Float32Session
from decoding.engines.onnx.network import FEWEST_FOUR_BIT_ROWS, OnnxNetwork
from decoding.engines.onnx.session import Session, Threads
from decoding.models.model_paths import entry_of
from decoding.models.spec import NoGraphError
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_setup import EngineOptions, make_loader
from tests.machines import give_memory, refused_threads
from tests.waiting import until


class Made:
    """Sessions that were made instead of real ones, and the folders that their graphs lay in. `fails` is what making
    one raises, `differs` what proving one does.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(float32_session, "Session", lambda *made: ("session", *made))
        monkeypatch.setattr(float32_session, "build_unpacked", self.make)
        monkeypatch.setattr(float32_session, "prove_same", self.prove_same)
        self.folders: list[Path] = []
        self.proved: list[Any] = []
        self.fails: Exception | None = None
        self.differs: Exception | None = None

    def session_over(self, *, size: int = 1000, keep: float = 60.0) -> Float32Session:
        self.monkeypatch.setattr(float32_session, "KEEP_SECONDS", keep)
        files: Any = SimpleNamespace(spec=SimpleNamespace(parameters=size // 4))
        return Float32Session(files, cast("Session", "packed"), Threads(2))

    def make(self, _: Any, folder: Path) -> Any:
        assert folder.is_dir()
        self.folders.append(folder)
        if self.fails:
            raise self.fails
        return "graph"

    def prove_same(self, made: Any, packed: Any) -> None:
        self.proved.append((made, packed))
        if self.differs:
            raise self.differs


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    give_memory(monkeypatch, 10_000)
    return Made(monkeypatch)


def test_the_session_is_made_for_many_rows_and_also_serves_fewer(made: Made) -> None:
    second = made.session_over()
    assert [second.session(rows) for rows in (1, SHARED_ROWS, CROWD_ROWS - 1)] == [None, None, None]
    assert not made.folders
    second.session(CROWD_ROWS)
    until(lambda: second.session(CROWD_ROWS))
    assert second.session(SHARED_ROWS) == ("session", "graph", Threads(2))
    assert second.session(SHARED_ROWS - 1) is None
    assert made.proved == [(("session", "graph", Threads(2)), "packed")]
    assert len(made.folders) == 1
    assert not made.folders[0].exists()


def test_fewer_runs_share_a_pass_once_there_are_float32_weights(made: Made, starter: LocalEngine) -> None:
    network = copy(starter.network)
    assert isinstance(network, OnnxNetwork)
    network.float32_session = made.session_over()
    assert network.fewest_rows == FEWEST_FOUR_BIT_ROWS
    network.float32_session.session(CROWD_ROWS)
    until(lambda: network.fewest_rows == SHARED_ROWS < FEWEST_FOUR_BIT_ROWS)


def test_a_session_with_other_numbers_is_not_used(made: Made) -> None:
    made.differs = NoGraphError("its graph differs by 1.0e-01 from the network, on 7 ids")
    second = made.session_over()
    second.session(CROWD_ROWS)
    until(lambda: second._has_failed)
    assert second.session(CROWD_ROWS) is None
    assert not made.folders[0].exists()


def test_the_session_is_released_when_idle_and_made_again(made: Made) -> None:
    second = made.session_over(keep=0.05)
    second.session(CROWD_ROWS)
    until(lambda: second._session is None and second._keeper is None)
    assert made.proved
    second.session(CROWD_ROWS)
    until(lambda: len(made.folders) == 2)
    until(lambda: second._session is None and second._keeper is None)


def test_no_session_is_made_without_memory(made: Made) -> None:
    second = made.session_over(size=9_000)
    assert second.session(CROWD_ROWS) is None
    assert second._keeper is None
    assert not made.folders


def test_its_memory_is_reserved_while_it_is_there(made: Made) -> None:
    budget, second = MemoryBudget(2_000, process=100), made.session_over()
    second.reserve = budget.reserve_for_model
    second.session(CROWD_ROWS)
    assert budget.reserved in (1_600, 1_100)  # making it takes one and a half times the weights
    until(lambda: second.session(SHARED_ROWS))
    assert budget.reserved == 1_100


def test_its_memory_is_released_with_it(made: Made) -> None:
    budget, second = MemoryBudget(2_000, process=100), made.session_over(keep=0.05)
    second.reserve = budget.reserve_for_model
    second.session(CROWD_ROWS)
    until(lambda: made.proved and budget.reserved == 100)
    with budget.reserve(500) or pytest.fail("it was released"):
        assert second.session(CROWD_ROWS) is None, "requests have reserved what it would need"
    assert len(made.folders) == 1


def test_no_memory_stays_reserved_after_a_failure(made: Made) -> None:
    made.fails = ZeroDivisionError()
    budget, second = MemoryBudget(2_000), made.session_over()
    second.reserve = budget.reserve_for_model
    second.session(CROWD_ROWS)
    until(lambda: second._has_failed)
    assert budget.reserved == 0


@pytest.mark.parametrize("started", [0, 1])
def test_no_memory_stays_reserved_if_a_thread_cannot_be_started(made: Made, started: int) -> None:
    """Of the thread that makes the session, and of the one that releases it."""
    budget, second = MemoryBudget(2_000), made.session_over()
    second.reserve = budget.reserve_for_model
    with refused_threads("float32 weights", after=started):
        assert second.session(CROWD_ROWS) is None
        until(lambda: second._keeper is None)
    assert budget.reserved == 0
    assert second.session(SHARED_ROWS) is None


def test_a_server_reserves_it_from_its_budget() -> None:
    budget = MemoryBudget(10**9)
    load = make_loader({"starter": entry_of("starter")}, EngineOptions("auto", "cpu", "auto"), budget)
    network: Any = load("starter", lambda *_: None).network
    with network.float32_session.reserve(540_000_000):
        assert budget.reserved == 540_000_000


def test_a_failure_is_logged_once_and_decoding_goes_on(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    made.fails = OSError("no space left")
    second = made.session_over()
    with caplog.at_level(logging.WARNING):
        second.session(CROWD_ROWS)
        until(lambda: second._has_failed)
    assert "no float32 weights for a crowd" in caplog.text
    assert second.session(CROWD_ROWS) is None
    assert len(made.folders) == 1
    assert not made.folders[0].exists()


def test_a_process_that_ends_meanwhile_leaves_nothing(starter_gguf: Path, tmp_path: Path) -> None:
    code = """import decoding; decoding.load("starter").network.float32_session.session(8)"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=120, env=os.environ | {"TMPDIR": f"{tmp_path}"}
    )
    assert done.returncode == 0
    assert [*tmp_path.glob("greedyscope-*")] == []
