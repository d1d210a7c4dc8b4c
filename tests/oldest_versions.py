"""The main tests of engines and page once more, at the lowest versions that requirements.txt allows.

    python -m tests.oldest_versions

A floor is a version that was run. Makes a virtual environment of its own, with each package at its floor and whatever
those need, and ends with pytest's exit code.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/engines/torch/test_engine.py",
    "tests/engines/onnx/test_network.py",
    "tests/engines/batching",
    "tests/models/test_loading.py",
    "tests/record/test_trace.py",
    "tests/export/test_tables.py",
    "tests/page/test_api.py",
)
TOOLS = ("pytest", "pytest-xdist", "pytest-rerunfailures", "hypothesis", "playwright", "axe-playwright-python", "mcp")
"""What those tests need beside the product, at whatever version there is."""


def floors(requirements: str) -> list[str]:
    """The lowest version of each package, as pip's constraints. Raises ValueError for a package without one."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    found = []
    for line in filter(None, lines):
        if not (floor := re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?", line)):
            raise ValueError(f"requirements.txt has no floor in {line!r}")
        found.append(f"{floor[1]}=={floor[2]}")
    return found


def main() -> int:
    constraints = floors((ROOT / "requirements.txt").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True, upgrade_deps=True)  # the newest pip is much faster
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        fixed = Path(folder) / "floors.txt"
        fixed.write_text("\n".join(constraints), "utf-8")
        print("floors:", *constraints, flush=True)
        install = [python, "-m", "pip", "install", "-q", "-c", fixed, "-r", "requirements.txt", *TOOLS]
        subprocess.run(install, cwd=ROOT, check=True)
        # Three at a time, as everywhere; the cache is the suite's own.
        run = [python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *TESTS]
        return subprocess.run(run, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
