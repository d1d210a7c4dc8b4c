"""A start: the page answers before torch is imported, and what makes it quick leaves nothing behind."""

import gc
import inspect
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from decoding.bench import startup as bench
from decoding.bench.page_times import READY, greedy_lines
from decoding.command_line.quick_imports import quick_imports, without_stubs
from decoding.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.usefixtures("drives_process")
def test_the_page_answers_with_its_recorded_run_and_computes_without_torch(tmp_path: Path) -> None:
    """Python runs a file of this name at every start; here it forbids what a CPU does not need."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'onnx')))\n", "utf-8"
    )
    variables = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "app.py", "--port=0", "--device=cpu", "--model=starter"]
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith(READY), line
            url = line.removeprefix(READY).strip()
            with urlopen(url, timeout=600) as answer:
                page = answer.read().decode()
            assert (ROOT / "assets/recorded/starter.jsonl").read_text("utf-8").splitlines()[3][:60] in unescaped(page)
            assert any('"index"' in line for line in greedy_lines(url, "starter", "Transformers are the", steps=1))
        finally:
            process.terminate()


def printed(code: str) -> tuple[str, str]:
    """What code prints in a Python of its own, and its errors."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def unescaped(page: str) -> str:
    """The page holds the run as JSON within JSON."""
    return page.replace('\\"', '"').replace('\\"', '"')


def test_gradio_is_imported_without_its_stubs() -> None:
    code = (
        "import inspect, sys; opened, real = [], inspect.getfile\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "import app; app.build_app(None, ['starter'])\n"
        # Gradio makes the class of an endpoint when the page is built.
        "stubs = {name for name in opened if name.endswith('.pyi') and 'api_component' not in name}\n"
        "print(stubs, inspect.getfile is real)"
    )
    assert printed(code) == ("set() True\n", "")


def test_only_gradios_classes_have_no_file_meanwhile() -> None:
    import gradio

    real = inspect.getfile
    with without_stubs():
        assert inspect.getfile(Path) == real(Path)
        assert inspect.getfile(gradio.utils) == real(gradio.utils)
        with pytest.raises(OSError, match="no file"):
            inspect.getfile(gradio.HTML)
    assert inspect.getfile(gradio.HTML) == real(gradio.HTML)


def test_garbage_is_collected_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError, match="off: True"), quick_imports():
        raise ModuleNotFoundError(f"with collecting off: {not gc.isenabled()}")
    assert gc.isenabled()


def test_a_terminal_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"(?s)before its first step: .*holds no config.json, so it is no model"):
        bench._terminal([f"--model={tmp_path}"])
