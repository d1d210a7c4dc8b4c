"""What goes from the cache of graphs when another is made, and what stays."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decoding.engines.onnx import graph_cache
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.onnx.session import Threads
from decoding.engines.onnx.stale_graphs import record_source
from decoding.models.cache import acquire_lock
from decoding.models.spec import NoGraphError
from tests import gguf_files
from tests.engines.onnx import test_gguf
from tests.graphs import graph_without_proof, proven_graph

Make = Callable[[str], Path]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "graphs"


@pytest.fixture
def make(tmp_path: Path, cache: Path) -> Make:
    """Writes a model of that name, if it is not there, and makes its graph."""

    def made(name: str) -> Path:
        if not (path := tmp_path / name).exists():
            path.parent.mkdir(exist_ok=True)
            gguf_files.write(path, test_gguf.network("llama"), ["Q8_0"])
        return graph_without_proof(path, tmp_path).folder

    return made


def age(work: Path) -> None:
    os.utime(work, (1, 1))


def names(cache: Path) -> set[str]:
    """The graphs of which anything is there."""
    left = (path.name.removeprefix("making-") for path in cache.iterdir() if path.name != "lock")
    return {re.sub(r"-[0-9a-f]{16}.*", "", name) for name in left}


def test_the_graph_of_a_deleted_model_goes_and_of_another_stays(make: Make, tmp_path: Path, cache: Path) -> None:
    make("gone.gguf")
    make("here.gguf")
    (tmp_path / "gone.gguf").unlink()
    assert names(cache) == {"gone", "here"}
    make("other.gguf")
    assert names(cache) == {"here", "other"}


def test_the_graph_of_a_changed_model_goes(make: Make, tmp_path: Path, cache: Path) -> None:
    first = make("m.gguf")
    os.utime(tmp_path / "m.gguf", (1, 1))
    second = make("m.gguf")
    assert second != first
    assert {path.name for path in cache.iterdir()} - {"lock"} == {second.name}


def test_a_process_that_has_the_graph_open_goes_on(make: Make, tmp_path: Path) -> None:
    make("m.gguf")
    network = OnnxNetwork(graph_without_proof(tmp_path / "m.gguf", tmp_path), threads=Threads(1))
    before, _ = network.read([1, 2, 3], None)
    (tmp_path / "m.gguf").unlink()
    make("other.gguf")
    after, _ = network.read([1, 2, 3], None)
    assert (after == before).all()


def test_a_disk_that_is_away(make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, is_mount = tmp_path / "disk", os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == disk if disk.exists() else is_mount(path))
    make("disk/m.gguf")
    (tmp_path / "link.gguf").symlink_to(disk / "m.gguf")
    make("link.gguf")
    shutil.move(disk, tmp_path / "away")
    make("other.gguf")
    assert names(cache) == {"m", "link", "other"}
    shutil.move(tmp_path / "away", disk)
    (disk / "m.gguf").unlink()
    make("another.gguf")
    assert names(cache) == {"other", "another", "link"}  # the link is there, and may lead to a file again


def test_what_another_machine_recorded_stays(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(platform, "node", lambda: "another")
        make("m.gguf")
        (work := cache / "making-ab12_cd3").mkdir()
        record_source(work, tmp_path / "m.gguf")
    (tmp_path / "m.gguf").unlink()
    make("other.gguf")
    assert names(cache) == {"m", "other", "ab12_cd3"}  # locks may not reach from machine to machine
    age(work)
    make("another.gguf")
    assert names(cache) == {"m", "other", "another"}


def test_killed_builds_go_though_the_host_name_changes(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, whose name is another at each start."""

    def kill(files: GraphFiles) -> bool:
        shutil.copytree(files.folder.parent, left / files.folder.parent.name)  # for nobody tidies up
        raise ZeroDivisionError

    gguf_files.write(tmp_path / "m.gguf", test_gguf.network("llama"), ["Q8_0"])
    (left := tmp_path / "left").mkdir()
    for node in ("first", "second"):
        with monkeypatch.context() as there:
            there.setattr(platform, "node", lambda node=node: node)
            there.setattr(graph_cache, "prove", kill)
            with pytest.raises(ZeroDivisionError):
                proven_graph(tmp_path / "m.gguf", tmp_path)
        shutil.copytree(left, cache, dirs_exist_ok=True)
    assert len(list(left.iterdir())) == len(list(cache.glob("making-*"))) == 2
    ready = make("m.gguf")
    assert {path.name for path in cache.iterdir()} == {"lock", ready.name}


def test_a_source_that_may_not_be_read_and_a_drive_that_is_away(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, stat, lexists = tmp_path / "closed", Path.stat, os.path.lexists

    def refuse(path: Path, **options: Any) -> os.stat_result:
        if path.is_relative_to(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    make("closed/m.gguf")
    make("drive/n.gguf")
    shutil.rmtree(tmp_path / "drive")
    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(os.path, "lexists", lambda path: not Path(path).is_relative_to(closed) and lexists(path))
    monkeypatch.setattr(os.path, "ismount", lambda path: True)  # as on Windows, of a drive that is not there
    record = next(cache.glob("n-*/source"))
    record.write_text(json.dumps([*json.loads(record.read_text())[:2], [str(tmp_path / "drive")]]))
    make("other.gguf")
    assert names(cache) == {"m", "n", "other"}


def test_what_killed_processes_and_refused_files_left_goes(make: Make, tmp_path: Path, cache: Path) -> None:
    make("m.gguf")
    (unknown := cache / "making-ab12_cd3").mkdir()
    (ours := cache / "making-ab12_cd4").mkdir()
    record_source(ours, tmp_path / "m.gguf")
    (cache / "notes").write_text("nobody's")
    (cache / "folder").mkdir()
    make("other.gguf")
    assert names(cache) == {"m", "other", "notes", "folder", "ab12_cd3"}  # which an earlier version may be making
    age(unknown)
    make("another.gguf")
    assert names(cache) == {"m", "other", "another", "notes", "folder"}


def test_a_deletion_that_was_killed_stops_no_other(make: Make, tmp_path: Path, cache: Path) -> None:
    graph = make("c.gguf")
    shutil.copytree(graph, cache / f"making-{graph.name}")
    (tmp_path / "c.gguf").unlink()
    make("other.gguf")
    assert names(cache) == {"other"}


def test_a_refusal_stays_as_long_as_its_model(make: Make, tmp_path: Path, cache: Path) -> None:
    def refuse(_: GraphFiles) -> bool:
        raise NoGraphError("its graph differs")

    gguf_files.write(path := tmp_path / "m.gguf", test_gguf.network("llama"), ["Q8_0"])
    with pytest.MonkeyPatch.context() as wrong:
        wrong.setattr(graph_cache, "prove", refuse)
        with pytest.raises(NoGraphError):
            proven_graph(path, tmp_path)
    make("other.gguf")
    with pytest.raises(NoGraphError, match="its graph differs"):
        graph_without_proof(path, tmp_path)
    assert names(cache) == {"m", "other"}
    path.unlink()
    make("another.gguf")
    assert names(cache) == {"other", "another"}


def test_what_an_earlier_version_left_beside_a_graph_goes_with_it(make: Make, tmp_path: Path, cache: Path) -> None:
    """It locked each graph with a file of its own, and a file that it refused left two."""
    with pytest.MonkeyPatch.context() as there:
        there.setattr(platform, "node", lambda: "another")
        theirs = make("theirs.gguf")
    for name in ("gone-0123456789abcdef", theirs.name):
        for ending in (".lock", ".source", ".refused"):
            (cache / f"{name}{ending}").write_bytes((theirs / "source").read_bytes())
    (theirs / "source").unlink()
    make("other.gguf")
    assert names(cache) == {"theirs", "other"}
    assert len(list(cache.glob("*.lock"))) == 1


def test_another_model_waits_and_says_so_and_a_killed_process_frees_it(make: Make, tmp_path: Path, cache: Path) -> None:
    make("m.gguf")
    path = gguf_files.write(tmp_path / "other.gguf", test_gguf.network("llama"), ["Q8_0"])
    code = "import sys, time; from pathlib import Path; from decoding.models.cache import acquire_lock; "
    code += "held = acquire_lock(Path(sys.argv[1]), int); print(flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(cache / "lock")], stdout=subprocess.PIPE)
    said: list[str] = []

    def report(message: str, _: float | None) -> None:
        said.append(message)
        other.kill()

    assert other.stdout
    other.stdout.readline()
    with pytest.MonkeyPatch.context() as here:
        here.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
        here.setattr(graph_cache, "prove", lambda _: True)
        graph_cache.ensure_graph(path, report=report)
    other.communicate()
    assert said[0] == "Another process is preparing a model; other.gguf is next …"
    assert names(cache) == {"m", "other"}


def test_a_graph_that_is_not_proven_yet_waits_for_nobody(
    make: Make, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make("m.gguf")
    (graph / "proven").unlink()
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    with acquire_lock(cache / "lock", int):
        found = graph_cache.ensure_graph(tmp_path / "m.gguf", report=lambda *said: pytest.fail(str(said)))
    assert (found.folder, found.is_proven) == (graph, False)
    make("m.gguf")
    assert (graph / "proven").exists()


def test_a_graph_without_a_record_gets_one_when_it_is_opened(make: Make, tmp_path: Path, cache: Path) -> None:
    graph = make("m.gguf")
    (record := graph / "source").unlink()
    make("other.gguf")
    assert names(cache) == {"m", "other"}
    make("m.gguf")
    assert record.exists()
