"""One model that several processes fetch at once: real processes, over a small server that stands for the Hub."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub.file_download import repo_folder_name

from tests import local_hub, tiny_models
from tests.local_hub import COMMIT, Hub, digest
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = 1_500_000
"""Bytes of a file that is held, at least, that are on the disk: a client keeps some in its buffers."""
FETCH = f"""
import sys
from decoding.models.catalogue import Entry
from decoding.models import hub
def report(message, fraction): print(message, file=sys.stderr, flush=True)
print(hub.fetch(Entry("tiny", "org/tiny", "{COMMIT}"), report), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven megabytes: some hundred pieces of a network."""
    network = tiny_models.network("llama", hidden_size=256, intermediate_size=1024)
    return tiny_models.save(tmp_path_factory.mktemp("tiny"), network)


@pytest.fixture
def net(folder: Path) -> Iterator[Hub]:
    with local_hub.serving() as there:
        there.repositories["org/tiny"] = folder
        there.hold, there.hold_after = threading.Event(), 2_000_000
        yield there


class Fetching:
    """Some processes that fetch the model into one cache."""

    def __init__(self, net: Hub, cache: Path) -> None:
        self.net, self.cache, self.stack = net, cache, ExitStack()
        self.logs: list[Path] = []
        """What each process says of its progress, four times a second, once it may fetch the weights."""

    def __enter__(self) -> "Fetching":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.net.hold
        self.net.hold.set()
        self.stack.close()

    def start(self) -> "subprocess.Popen[str]":
        values = {"HF_ENDPOINT": self.net.url, "HF_HUB_CACHE": str(self.cache), "HF_HUB_OFFLINE": "0"}
        values |= local_hub.PATIENT
        self.logs.append(self.cache / f"process-{len(self.logs)}")
        with self.logs[-1].open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", FETCH],
                cwd=ROOT,
                env=os.environ | values,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.stack.enter_context(process)  # whose pipes are closed in the end
        self.stack.callback(process.kill)
        return process

    def until_held(self, downloads: int) -> None:
        """Until so many have begun on the weights, and the last stands still."""
        until(lambda: len(self.net.ranges) >= downloads and self.bytes_here() >= WRITTEN)

    def until_all_may_fetch(self) -> None:
        """Until each has said some times how far it is: what is not kept from fetching has begun by then."""
        until(lambda: all(log.read_text().count("Fetching tiny") > 5 for log in self.logs))

    def bytes_here(self) -> int:
        blobs = self.cache / repo_folder_name(repo_id="org/tiny", repo_type="model") / "blobs"
        return sum(part.stat().st_size for part in blobs.glob("*.incomplete"))

    def all_have_it(self, *processes: "subprocess.Popen[str]") -> None:
        """Each ends well, and what they have is the file that was sent."""
        assert self.net.hold
        self.net.hold.set()
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0, [log.read_text()[-2000:] for log in self.logs]
            weights = Path(out.strip()) / "model.safetensors"
            assert digest(weights) == digest(self.net.repositories["org/tiny"] / "model.safetensors")
            # Every blob is what its name says: none was written to after its sum was looked at.
            assert weights.resolve().name == digest(weights)


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_fetch_a_file_once(net: Hub, tmp_path: Path, count: int) -> None:
    with Fetching(net, tmp_path) as they:
        first = they.start()
        they.until_held(1)
        others = [they.start() for _ in range(count - 1)]
        they.until_all_may_fetch()
        they.all_have_it(first, *others)
    assert net.ranges == [0]


def test_a_waiting_process_resumes_a_killed_ones_download(net: Hub, tmp_path: Path) -> None:
    with Fetching(net, tmp_path) as they:
        first = they.start()
        they.until_held(1)
        second, third = they.start(), they.start()
        they.until_all_may_fetch()
        first.kill()  # its child, who fetches, ends with it
        they.until_held(2)
        they.all_have_it(second, third)
    assert net.ranges[0] == 0
    assert len(net.ranges) == 2
    assert net.ranges[1] >= WRITTEN  # in the middle, and once
    assert not they.bytes_here()


def test_the_lock_is_the_one_that_the_librarys_own_downloads_take(net: Hub, tmp_path: Path) -> None:
    with Fetching(net, tmp_path) as they:
        first = they.start()
        they.until_held(1)
        names = [lock.relative_to(tmp_path).as_posix() for lock in tmp_path.rglob("*.lock")]
        they.all_have_it(first)
    sha256 = digest(net.repositories["org/tiny"] / "model.safetensors")
    assert f".locks/{repo_folder_name(repo_id='org/tiny', repo_type='model')}/{sha256}.lock" in names, json.dumps(names)
