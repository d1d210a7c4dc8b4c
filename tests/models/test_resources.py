"""What is free: on the disk, in memory, in a container; and the sentences that refuse, with both numbers."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from decoding.errors import ModelError, RoomError
from decoding.models import resources
from tests.machines import give_memory

GIB = 2**30


class Linux:
    """A system of 32 GiB, half of them available, with control groups."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc" / "self").mkdir(parents=True)

    def add_group(self, line: str, files: dict[str, str]) -> None:
        """Add a line of /proc/self/cgroup, and files below /sys/fs/cgroup."""
        with (self.root / "proc" / "self" / "cgroup").open("a") as lines:
            lines.write(f"{line}\n")
        for name, content in files.items():
            file = self.root / "sys" / "fs" / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)

    def free_memory(self) -> int:
        return resources.free_memory(self.root)


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Linux:
    monkeypatch.setattr("sys.platform", "linux")
    give_memory(monkeypatch, free=16 * GIB, total=32 * GIB)
    return Linux(tmp_path)


def test_without_a_limit_the_systems_memory_counts(linux: Linux):
    assert linux.free_memory() == 16 * GIB
    linux.add_group("0::/user.slice", {"user.slice/memory.max": "max\n", "user.slice/memory.current": "5\n"})
    assert linux.free_memory() == 16 * GIB


def test_a_container_of_version_2(linux: Linux):
    stat = f"anon 1\ninactive_file {GIB}\nactive_file 7\n"
    linux.add_group("0::/", {"memory.max": f"{4 * GIB}\n", "memory.current": f"{3 * GIB}\n", "memory.stat": stat})
    assert linux.free_memory() == 2 * GIB  # files that were read can be read again
    assert resources.total_memory(linux.root) == 4 * GIB


def test_a_group_around_ours_may_be_tighter(linux: Linux):
    around = {"pod/memory.max": f"{2 * GIB}", "pod/memory.current": f"{GIB}", "pod/memory.stat": ""}
    ours = {"pod/a/memory.max": f"{9 * GIB}", "pod/a/memory.current": "0", "pod/a/memory.stat": ""}
    linux.add_group("0::/pod/a", around | ours)
    assert linux.free_memory() == GIB


def test_a_container_of_version_1(linux: Linux):
    files = {"limit_in_bytes": f"{3 * GIB}", "usage_in_bytes": f"{GIB}", "stat": f"total_inactive_file {GIB // 2}"}
    linux.add_group("4:memory:/docker/x", {f"memory/memory.{name}": content for name, content in files.items()})
    linux.add_group("0::/", {})
    assert linux.free_memory() == 2 * GIB + GIB // 2


def test_more_used_than_allowed_is_nothing_free(linux: Linux):
    linux.add_group("0::/", {"memory.max": "5", "memory.current": "9", "memory.stat": ""})
    assert linux.free_memory() == 0


def test_this_machine_has_some():
    assert 0 < resources.free_memory() <= resources.total_memory() <= psutil.virtual_memory().total
    assert resources.free_disk(Path("nowhere/yet").absolute()) > 0


def test_memory_refused_with_both_numbers():
    resources.check_memory("gpt2-xl", 7 * GIB, 7 * GIB, where="memory", dtype="float32")
    with pytest.raises(RoomError) as refused:
        resources.check_memory("gpt2-xl", 7_500_000_000, 3_100_000_000, where="the GPU's memory", dtype="bfloat16")
    assert str(refused.value) == (
        "gpt2-xl needs 7.5 GB of the GPU's memory in bfloat16, and 3.1 GB is free. Choose a smaller model, or free some"
        " memory."
    )
    assert refused.value.field == "model"


def test_disk_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000_000))
    resources.check_disk("gpt2", 500_000_000, tmp_path)
    with pytest.raises(ModelError) as refused:
        resources.check_disk("gpt2", 648_000_000, tmp_path / "not" / "yet")
    assert str(refused.value) == (
        f"gpt2 needs 648 MB on the disk of {tmp_path / 'not' / 'yet'}, where 500 MB is free. Free some, or set HF_HOME "
        "to a folder on a larger disk."
    )
