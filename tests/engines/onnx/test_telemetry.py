"""ONNX Runtime, as this project imports it, keeps its telemetry off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SWITCH = "ORT_DISABLE_TELEMETRY"

ONE_STEP = """
import sys
from pathlib import Path
from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.onnx.session import Threads
print(OnnxNetwork(ensure_graph(Path(sys.argv[1])), threads=Threads(1)).read([1, 2], None)[0].shape)
"""


def test_a_step_leaves_no_file_of_the_telemetry_in_the_home_folder(starter_gguf: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != SWITCH and not name.startswith("XDG_")}
    variables |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ONE_STEP, str(starter_gguf)]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"(1, 49152)\n"
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower()] == []


@pytest.mark.parametrize(("own", "kept"), [({}, b"1\n"), ({SWITCH: "0"}, b"0\n")])
def test_the_operators_own_value_is_kept(own: dict[str, str], kept: bytes) -> None:
    variables = {name: value for name, value in os.environ.items() if name != SWITCH} | own
    command = [sys.executable, "-c", f"import os, decoding.engines.onnx; print(os.environ['{SWITCH}'])"]
    assert subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, check=True).stdout == kept
