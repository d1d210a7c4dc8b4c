"""A disk that is full, and one that cannot be written: to whoever asks for a model that has to be fetched first.

On a small disk of our own, through the library and through the real page.
"""

import errno
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

import pytest
from huggingface_hub import constants
from playwright.sync_api import Page, expect

import app as application
from decoding.engines import Engine
from decoding.engines.torch.engine import load as load_engine
from decoding.errors import ModelError
from decoding.models import download, hub, starter
from decoding.models.catalogue import Entry
from decoding.record.trace import Trace
from decoding.serving.model_registry import ModelRegistry, Report
from tests import local_hub
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine
from tests.local_hub import COMMIT, Hub
from tests.models.test_starter import ensured

FULL = "The disk is too full for the starter model: free 0.4 GB for …/disk, or set GREEDYSCOPE_CACHE to another folder."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 kB of disk of our own, where this user may mount one; else the writing is made to fail as it would."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    with pytest.MonkeyPatch.context() as patch:
        if not mounted:
            patch.setattr(Path, "write_text", refusing(errno.ENOSPC))
        yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def refusing(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        for _ in range(64):
            file.write(b"x" * 1024)


def forbid(disk: Path) -> None:
    """Have it be read only."""
    read_only = ["mount", "-o", "remount,ro", str(disk)]
    if not os.path.ismount(disk) or subprocess.run(read_only, capture_output=True, check=False).returncode:
        disk.chmod(0o555)


def prepared_in(folder: Path) -> Callable[[str, Report], Engine]:
    package = {"BYTES_NEEDED": 0}  # so that a full disk is found out only in writing

    def load(name: str, report: Report) -> Engine:
        starters = ensured(folder, package, report)
        return load_engine(str(starters / starter.MODEL_FILE), device="cpu")

    return load


def said_of(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What a visitor reads of a starter that cannot be prepared there. The operator's log has the whole path."""
    registry = ModelRegistry(prepared_in(folder), ["starter"])
    with caplog.at_level(logging.WARNING), pytest.raises(ModelError) as refused:
        registry.engine("starter")
    assert str(folder) in caplog.text
    assert str(folder.parent) not in str(refused.value)
    return str(refused.value)


def test_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(small_disk)
    assert said_of(small_disk, caplog) == FULL


def test_a_cache_that_is_read_only(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    forbid(small_disk)
    assert said_of(small_disk, caplog).startswith("The starter model cannot be kept in …/disk (")


# ---- a model of the Hub


@pytest.fixture
def net(
    drives_server: None, tiny_folder: Callable[[str], Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A Hub that is there, and a cache on the small disk."""
    with local_hub.serving() as there:
        there.repositories["org/tiny"] = tiny_folder("gpt2")
        local_hub.take_for_the_hub(there, small_disk / "hub", monkeypatch)
        yield there


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk is full: tiny needs more room in {cache}. Free some, or set HF_HOME to a folder "),
        (errno.EDQUOT, "The disk is full: tiny needs more room in {cache}. Free some, or set HF_HOME to a folder "),
        (errno.EROFS, "tiny cannot be kept in {cache} (Read-only file system): set HF_HOME to a writable folder, or "),
        (errno.EACCES, "tiny cannot be kept in {cache} (Permission denied): set HF_HOME to a writable folder, or "),
        (errno.ECONNRESET, "The download of tiny broke off: the connection was cut. What has arrived is kept; "),
        (errno.EIO, "The download of tiny broke off: [Errno 5] Input/output error. What has arrived is kept; "),
    ],
)
def test_an_error_in_the_middle_of_a_download_is_named(number: int, sentence: str) -> None:
    error = download.download_error("tiny", OSError(number, os.strerror(number)))
    assert str(error).startswith(sentence.format(cache=constants.HF_HUB_CACHE))


def test_what_the_disk_refuses_in_the_middle_of_a_download_is_named(
    net: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_hub.take_for_the_hub(net, tmp_path / "hub", monkeypatch)  # where there is room
    blobs = hub.blobs_folder("org/tiny")
    (blobs / f"{local_hub.digest(net.repositories['org/tiny'] / 'model.safetensors')}.incomplete").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"^The download of tiny broke off: \[Errno 21\] Is a directory"):
        download.download_model("tiny", "org/tiny", COMMIT, lambda: None)


# ---- on the page


def run(page: Page, model: str) -> None:
    page.click("#model input")
    page.get_by_role("listbox").get_by_role("option", name=re.compile(f"^{model}")).click()
    expect(page.locator("#model input")).to_have_value(re.compile(f"^{model}"))
    page.click("#run")


def saved(page: Page) -> Trace:
    page.click("#gs-tab-keep")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON Lines", exact=True).click()
    return Trace.from_jsonl(Path(download.value.path()).read_text("utf-8"))


@pytest.fixture
def url(net: Hub, small_disk: Path) -> Iterator[str]:
    entry = Entry("tiny", "org/tiny", COMMIT)

    def loader(name: str, report: Report) -> Engine:
        if name == "tiny":
            return load_engine(entry, device="cpu", report=report)
        return ScriptedEngine() if name == "scripted" else prepared_in(small_disk)(name, report)

    with served(application.build_app(loader, ["scripted", "starter", "tiny"])) as address:
        yield address


def test_a_visitor_sees_the_error_and_keeps_the_last_run(url: str, small_disk: Path, visit: Visit) -> None:
    page = visit(url)

    def is_told(model: str, sentence: str) -> None:
        run(page, model)
        expect(page.locator("#problem-model")).to_contain_text(sentence)
        expect(page.locator("#run")).to_be_enabled()
        assert gettempdir() not in page.inner_text("body")
        kept = saved(page)
        assert (kept.prompt, len(kept.steps), kept.stop_reason) == ("a visitor's own words", 5, "steps")
        expect(page.locator(".gs-chip")).to_have_count(5)

    page.fill("#prompt textarea", "a visitor's own words")
    page.fill("#steps input", "5")
    run(page, "scripted")
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
    fill(small_disk)
    is_told("starter", FULL)
    if os.path.ismount(small_disk):
        is_told("tiny", "tiny needs 100 MB on the disk of …/hub, where 0 MB is free. Free some, or set HF_HOME")
    forbid(small_disk)
    is_told("starter", "The starter model cannot be kept in …/disk (")
    run(page, "scripted")
    expect(page.locator("#problem-model")).to_be_hidden()
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
