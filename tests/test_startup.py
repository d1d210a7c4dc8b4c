"""A start: the page answers before torch is imported, and what makes it quick leaves nothing behind."""

import gc
import inspect
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from decoding import startup
from decoding.bench import startup as bench
from decoding.bench.page import READY
from decoding.errors import ModelError
from decoding.models.starter import FOLDER_NAME, cache_folder, ensure_starter
from decoding.startup import quick_imports, read_ahead, without_stubs

ROOT = Path(__file__).resolve().parents[1]

# Python runs a file of this name at every start. Here it holds torch at a gate when it is to be run: it says who asks
# for it first by making the folder "asked", and waits until there is one that is named "open". Not while torch is
# looked for: Python then lets nobody else import anything, and the page needs a codec or a module of its own.
GATE = """
import os, sys, time
from importlib.machinery import PathFinder

class Gate:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def held(module):
            os.mkdir(os.path.join({folder!r}, "asked"))
            until = time.monotonic() + 600
            while not os.path.exists(os.path.join({folder!r}, "open")):
                if time.monotonic() > until:
                    raise ImportError("the gate was never opened")
                time.sleep(0.05)
            run(module)

        spec.loader.exec_module = held
        return spec

sys.meta_path.insert(0, Gate())
"""


def test_the_page_answers_with_its_recorded_run_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GATE.format(folder=str(tmp_path)), "utf-8")
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
            lines = bench._lines(url, "starter")  # asks for a run while torch is still held
            (tmp_path / "open").mkdir()
            assert any('"index"' in line for line in lines)
            assert (tmp_path / "asked").is_dir()
        finally:
            process.terminate()


def printed(code: str) -> tuple[str, str]:
    """What code prints in a Python of its own, and its errors."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


def unescaped(page: str) -> str:
    """The page holds the run as JSON within JSON."""
    return page.replace('\\"', '"').replace('\\"', '"')


def test_reading_ahead_needs_no_torch_and_tells_no_failure() -> None:
    code = (
        "import sys; from decoding.startup import read_ahead; from decoding import tokenizer_file\n"
        "for model in ('nope', '', 'starter'): read_ahead(model).join()\n"
        "print(tokenizer_file._read.cache_info().currsize, {'torch', 'transformers'} & sys.modules.keys())"
    )
    assert printed(code) == ("1 set()\n", "")


def test_memory_is_taken_ahead_where_nobody_could_miss_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_starter()
    size = (cache_folder() / FOLDER_NAME / "model.safetensors").stat().st_size
    for free, taken in ((startup.PLENTY * size, []), (startup.PLENTY * size + 1, [size // 4])):
        asked: list[int] = []
        monkeypatch.setattr(startup, "free_memory", lambda free=free: free)
        monkeypatch.setattr(startup, "take_ahead", asked.append)
        read_ahead("starter").join()
        assert asked == taken


def test_torch_is_linked_and_not_imported() -> None:
    code = (
        "import sys, threading; from decoding.startup import link_torch\n"
        "link_torch(); [thread.join() for thread in threading.enumerate() if thread.name == 'link torch']\n"
        "linked = sys.platform != 'linux' or 'libtorch_cpu' in open('/proc/self/maps').read()\n"
        "print(linked, 'torch' in sys.modules); import torch; print(torch.ones(2).sum().item())"
    )
    assert printed(code) == ("True False\n2.0\n", "")


def test_reading_ahead_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    read_ahead("starter").join()
    assert list(tmp_path.iterdir()) == []


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


def test_a_bare_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"(?s)before its first step: .*config\.json"):
        bench._bare(str(tmp_path), "cpu", "float32")
