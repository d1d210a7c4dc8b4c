"""The scripts of assets/: types, lint, and the unit tests beside this file (*.test.mjs) of what needs no element."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from decoding import assets
from decoding.assets import ASSETS
from decoding.site.npm_packages import ONNX_RUNTIME, TOKENIZERS
from tests import node

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def packages() -> Path:
    return node.packages()


def checked(command: list[str], **variables: str) -> None:
    environment = node.environment() | variables
    done = subprocess.run(command, cwd=ASSETS, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_types(packages: Path) -> None:
    checked(node.type_checker(packages, "tsconfig.json"))


def test_the_libraries_types_are_those_of_the_versions_that_the_site_fetches() -> None:
    locked = json.loads((ASSETS / "package-lock.json").read_text("utf-8"))["packages"]
    assert locked[f"node_modules/{TOKENIZERS.name}"]["integrity"] == f"sha512-{TOKENIZERS.sha512}"
    assert locked["node_modules/onnxruntime-common"]["version"] == ONNX_RUNTIME.version


def test_lint(packages: Path) -> None:
    checked(
        [node.program("node"), str(packages / "@biomejs" / "biome" / "bin" / "biome"), "lint", "--error-on-warnings"]
    )


def test_units(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text(assets.page_data(), "utf-8")
    files = sorted(map(str, HERE.glob("*.test.mjs")))
    assert len(files) > 5
    checked([node.program("node"), "--test", "--test-isolation=none", *files], PANEL_DATA=os.fspath(data))
