"""Bad days: each a sentence for the visitor, a line for the operator, a server that goes on, and no run lost."""

import errno
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import expect

import app as application
import decoding
from decoding import cancellation
from decoding.engines import Engine
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.torch.engine import load as load_engine
from decoding.errors import ModelError, RoomError
from decoding.messages import Message
from decoding.models.resources import is_out_of_memory
from decoding.record.step import StepScores
from decoding.serving.model_registry import ModelRegistry
from decoding.serving.path_redaction import redact_paths
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine
from tests.models.test_full_disk import run, saved
from tests.watched import noting, watched

Folder = Callable[[str], Path]

NO_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")
"""What torch says on a CPU."""


def test_paths_are_the_operators() -> None:
    for said, shown in (
        ("kept in /root/.cache/x (Read-only): set", "kept in …/x (Read-only): set"),
        ("reading '/a/b/c.json': no", "reading '…/c.json': no"),
        (r"kept in C:\Users\me\x is", "kept in …/x is"),
        ("/models/mine could not be loaded", "/models/mine could not be loaded"),  # its name, as the operator gave it
        ("org/name at https://huggingface.co/org/name, and/or 1/2", None),
    ):
        assert redact_paths(said, ["/models/mine"]) == (shown or said)


# ---- memory


def test_errors_that_mean_out_of_memory() -> None:
    of_cublas = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    of_cuda = RuntimeError("CUDA error: out of memory")
    errors = (NO_MEMORY, MemoryError(), torch.OutOfMemoryError(), OSError(errno.ENOMEM, "mmap"), of_cublas, of_cuda)
    for error in errors:
        assert is_out_of_memory(error)
    for error in (RuntimeError("shape"), OSError(errno.ENOSPC, "full"), ValueError("can't allocate memory")):
        assert not is_out_of_memory(error)


def test_out_of_memory_while_loading_makes_room_and_else_says_so(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(tiny_folder("llama")), "second"]

    def loader(name: str, report: object) -> Engine:
        if name == "second" and registry.loaded():
            raise NO_MEMORY
        return load_engine(names[0], device="cpu")

    registry = ModelRegistry(loader, names)
    registry.engine(names[0])
    with pytest.raises(RoomError, match=r"^second did not fit into the free memory after all"):
        registry.engine("second")
    assert [engine.info.id for engine in registry.loaded()] == [names[0]]  # the one used last stays

    def failing(*_: object, **__: object) -> None:
        raise NO_MEMORY

    monkeypatch.setattr("decoding.models.loading.AutoModelForCausalLM.from_pretrained", failing)
    with pytest.raises(RoomError, match="did not fit into the free memory"):
        load_engine(names[0], device="cpu")


# ---- the model's thread


def steps(engine: BatchedEngine, first: int = 5) -> list[StepScores]:
    return list(engine.steps([first, first + 1], max_new_tokens=6, top_k=3))


def test_the_thread_that_computes_dies_and_the_next_run_has_another(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = str(tiny_folder("llama"))
    engine, alone = BatchedEngine(load_engine(folder, device="cpu")), load_engine(folder, device="cpu")
    died: queue.Queue[threading.Thread] = queue.Queue()
    left = threading.Event()

    def die(*_: object, **__: object) -> None:
        died.put(threading.current_thread())
        raise OSError(errno.EIO, "Input/output error")

    def read() -> list[StepScores]:
        cancellation.bind(left)
        return steps(engine)

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as reader:
        patch.setattr(engine.worker._rounds, "_read", die)
        reading = reader.submit(read)
        died.get(timeout=600).join()
        left.set()  # whoever was not told that it died would wait on; so they end here, with another error
        with pytest.raises(RuntimeError, match="the batch failed"):
            reading.result()
    assert engine.worker._thread is None, "the next run would wait for a thread that is dead"
    assert "the batch failed" in caplog.text
    assert steps(engine) == list(alone.steps([5, 6], max_new_tokens=6, top_k=3))


@pytest.mark.parametrize("error", [NO_MEMORY, MemoryError()], ids=["torch", "Python"])
def test_out_of_memory_in_mid_run_ends_that_run_with_a_sentence(tiny_folder: Folder, error: Exception) -> None:
    passes: list[object] = []

    def fail(*_: Any, **__: Any) -> None:
        if len(passes) == 3:
            passes.append("the one that fails")
            raise error

    plain = load_engine(str(tiny_folder("llama")), device="cpu")
    engine = BatchedEngine(watched(plain, read=noting(passes, fail)))
    run = engine.steps([5, 6], max_new_tokens=6, top_k=3)
    assert len([next(run) for _ in range(3)]) == 3
    with pytest.raises(ModelError) as refused:
        next(run)
    assert str(refused.value) == Message("memory.run")
    assert len(steps(engine, 50)) == 6


# ---- what a visitor sees of it


class Failing(ScriptedEngine):
    """Says two steps, and then fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def steps(self, token_ids: Sequence[int], *, max_new_tokens: int, **options: Any) -> Iterator[StepScores]:
        yield from super().steps(token_ids, max_new_tokens=2, **options)
        raise self.error


class NotANumber(ScriptedEngine):
    def _line(self, step: int) -> torch.Tensor:
        line = super()._line(step)
        return line if step < 2 else line * float("nan")


IN_MID_RUN: dict[str, tuple[Callable[[], ScriptedEngine], str]] = {
    "numbers that are none": (NotANumber, "The model's output is not a number"),
    "memory": (lambda: Failing(NO_MEMORY), Message("memory.run")),
    "a thread that died": (
        lambda: Failing(RuntimeError("the batch failed: secret")),
        "Something went wrong on the server. Press Run to try again.",
    ),
}
DAMAGED = ("missing", "cut", "garbled")


@pytest.fixture(scope="module")
def url(drives_server: None, tiny_folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bad")
    for name in DAMAGED:
        weights = Path(shutil.copytree(tiny_folder("gpt2"), folder / name)) / "model.safetensors"
        content = weights.read_bytes()
        weights.unlink()
        if name != "missing":
            weights.write_bytes(content[: len(content) // 2] if name == "cut" else b"\xff" * len(content))

    def loader(name: str, report: object) -> Engine:
        if name in IN_MID_RUN:
            return IN_MID_RUN[name][0]()
        return load_engine(str(folder / name), device="cpu") if name in DAMAGED else ScriptedEngine()

    with served(application.build_app(loader, ["scripted", *IN_MID_RUN, *DAMAGED])) as address:
        yield address


def test_the_last_run_stays_on_screen_and_can_be_exported(
    url: str, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    page = visit(url)
    page.fill("#prompt textarea", "a visitor's own words")
    page.fill("#steps input", "5")
    for model, (_, sentence) in IN_MID_RUN.items():
        run(page, model)
        expect(page.locator("body")).to_contain_text(sentence)
        expect(page.locator("#run")).to_be_enabled()
        expect(page.locator(".gs-chip")).to_have_count(2)
        kept = saved(page)
        assert [len(kept.steps), kept.stop_reason] == [2, "error"], model
        assert "secret" not in page.inner_text("body")
    run(page, "scripted")
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
    for model in DAMAGED:
        run(page, model)
        expect(page.locator("body")).to_contain_text(f"{model} could not be loaded")
        expect(page.locator("#run")).to_be_enabled()
        assert gettempdir() not in page.inner_text("body")
        assert len(saved(page).steps) == 5, model
    assert "a visitor's own words" not in caplog.text
    assert "can't allocate memory" in caplog.text


@pytest.mark.parametrize("model", [*IN_MID_RUN, *DAMAGED])
def test_an_api_caller_gets_the_message_too(url: str, model: str) -> None:
    event = httpx.post(f"{url}gradio_api/call/greedy", json={"data": ["a", 5, 2, model]}, timeout=60).json()["event_id"]
    answer = httpx.get(f"{url}gradio_api/call/greedy/{event}", timeout=60).text
    assert "Traceback" not in answer
    assert "secret" not in answer
    if model in DAMAGED:
        assert f"{model} could not be loaded" in answer or "could not be loaded. Its files" in answer
    elif model == "numbers that are none":  # the run's own last line says it
        assert "not a number" in answer
    else:
        assert (
            Message("memory.run") if model == "memory" else "Something went wrong on the server. Ask again."
        ) in answer


def test_after_all_that_the_server_answers(url: str) -> None:
    assert httpx.get(f"{url}readyz", timeout=60).text == "ready\n"
    assert decoding.trace(ScriptedEngine(), "a", max_new_tokens=2, top_k=2).stop_reason == "steps"
