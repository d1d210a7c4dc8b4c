"""How the programs print and exit: in any encoding, after Ctrl+C, into a closed pipe or output, on a full disk."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decoding.questions.verify import read_run

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "안녕 🎉"


STARTED_BY_A_PERSON = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("decoding", run_name="__main__", alter_sys=True)
"""
"""A shell lets what it starts in the background ignore Ctrl+C, and these tests may be such a program."""


def started(*arguments: str, encoding: str = "utf-8", **streams: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", STARTED_BY_A_PERSON, *arguments]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, **streams)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("encoding", ["cp1252", "cp949", "ascii"])
def test_a_file_is_utf_8_in_any_terminal_and_a_table_escapes_what_it_cannot_show(encoding: str, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    with run.open("wb") as out:
        done = started(PROMPT, "--steps", "2", "--format", "jsonl", encoding=encoding, stdout=out)
        assert done.communicate()[1] == b""
    assert read_run(run).prompt == PROMPT

    done = started(PROMPT, "--steps", "1", encoding=encoding, stdout=subprocess.PIPE)
    printed, errors = done.communicate()
    assert (done.returncode, errors) == (0, b"")
    assert PROMPT.encode(encoding, "backslashreplace") in printed


@pytest.mark.skipif(os.name != "posix", reason="the signal is sent as a POSIX shell sends it")
def test_ctrl_c_keeps_the_steps_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    with file.open("wb") as out:
        run = started("Transformers are the", "--steps", "256", "--format", "jsonl", stdout=out)
        while file.read_bytes().count(b"\n") < 4 and run.poll() is None:
            pass
        run.send_signal(signal.SIGINT)
        assert run.communicate()[1] == b""
    assert run.returncode == 130
    trace = read_run(file)
    assert trace.stop_reason == "stopped"
    assert 3 <= len(trace.steps) < 256


@pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
def test_a_reader_that_has_read_enough_is_no_error() -> None:
    with started("Transformers are the", "--steps", "64", "--format", "jsonl", stdout=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stderr
        run.stdout.readline()
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux that is always full")
@pytest.mark.parametrize("kind", ["table", "csv", "jsonl"])
def test_a_full_disk_is_one_sentence(kind: str) -> None:
    with open("/dev/full", "wb") as out:
        run = started("x", "--steps", "2", "--format", kind, stdout=out)
        said = run.communicate()[1].decode()
    assert run.returncode == 2
    assert said == "The output cannot be written: No space left on device.\n"


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes the output")
@pytest.mark.parametrize("program", ["-m decoding x --steps 1", "-m decoding --help", "-m decoding.starter", "app.py"])
def test_a_closed_output_is_one_sentence(program: str) -> None:
    for closed, said in ((">&-", "The output cannot be written: standard output is closed.\n"), (">&- 2>&-", "")):
        command = f"exec {shlex.quote(sys.executable)} {program} {closed}"
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes the errors")
def test_a_refusal_does_not_go_into_the_output() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m decoding x --steps 0 2>&-"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
