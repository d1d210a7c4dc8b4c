"""Fixtures that more than one test module uses. Nothing here, and nothing that tests load, may go online."""

import os
from collections.abc import Callable
from pathlib import Path

# Before any Hugging Face library is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# As app.py has it, and before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import HealthCheck, settings

import decoding
from decoding.engines.local import LocalEngine
from tests import tiny_models
from tests.browser import browser, visit
from tests.fakes import ScriptedEngine

__all__ = ["browser", "visit"]

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def starter() -> LocalEngine:
    """The real starter model on the CPU; fetched and converted the first time on a machine."""
    return decoding.load("starter", device="cpu")


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
