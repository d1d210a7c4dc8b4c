"""The folders of a page's versions: a new one replaces the one before, but not one that a server serves."""

import subprocess
import sys
from pathlib import Path

import pytest

from decoding.site.version_folders import ensure_version

SERVER = """
import sys
from pathlib import Path
from decoding.site.version_folders import ensure_version
ensure_version(Path(sys.argv[1]), sys.argv[2], lambda key: False, lambda folder: (folder / "file").touch())
print("ready", flush=True)
sys.stdin.read()
"""


def make(folder: Path, key: str) -> None:
    ensure_version(folder, key, lambda other: other.startswith("model"), lambda new: (new / "file").touch())


def test_a_version_goes_when_a_new_one_is_made_unless_it_is_served(tmp_path: Path) -> None:
    first, second, third, other = (tmp_path / "cache" / name for name in ("first", "second", "third", "other"))
    make(other, "another model")
    command = [sys.executable, "-c", SERVER, str(first), "model 1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        make(second, "model 2")
        assert (first / "file").exists(), "a running server serves it"
        server.communicate("")
    make(second, "model 2")
    assert first.exists(), "nothing was made"
    (third.parent / ".making-killed").mkdir()
    make(third, "model 3")
    assert {path for path in third.parent.iterdir() if path.is_dir()} == {
        second,
        third,
        other,
    }  # this process serves them


def test_a_version_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        ensure_version(tmp_path / "first", "1", lambda key: True, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
