"""Every option and every environment variable is checked as it is read, and a bad one is refused in one sentence."""

import os
import socket
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import app as application
from decoding import __main__ as terminal
from decoding.bench import server as bench_server
from decoding.bench.__main__ import main as bench
from decoding.command_line import options
from decoding.starter import main as prepare

ROOT = Path(__file__).resolve().parents[2]

REFUSED = {
    "memory": ["", "many", "-1GB", "1e9", "1.5", "12"],
    "engine": ["localhost:8000", "ftp://a", "http://", "http://a:99999", "http://a:b"],
    "model": ["nope", "", ",", "hub:", "hub:a b/c", "hub:a/b/../c.gguf", "hub:a/b/c.bin", "starter,nope"],
    "device": ["tpu", "", "CPU"],
    "dtype": ["int8", "float"],
    "host": ["", "1.2.3", "1.2.3.4.5", "a b", "[::", "http://a", "::g"],
    "port": ["x", "-1", "65536", "1.5", "", "1e3", "٣", "9" * 5000],
    "root-path": ["greedyscope", "/a b", "//a", "http://a/b", '/"><script>'],
    "runs": ["0", "1001", "x"],
    "waiting": ["-1", "many"],
    "seconds": ["0", "inf", "nan", "86401"],
    "browser": ["yes", "1", "webgpu", ""],
    "metrics": ["yes", "1", "true", "ON", ""],
    "mcp": ["yes", ""],
}
TAKEN = {
    "memory": ["auto", "1.5GB", "800MB"],
    "engine": ["", "auto", "torch", "http://127.0.0.1:8000", "https://models.example/v1", "http://[::1]:8000"],
    "model": ["+", "starter", "starter,gpt2", "hub:owner/name@v1", "hub:owner/name/Q8/file.gguf@v1"],
    "device": ["auto", "cuda", "mps", "cpu"],
    "dtype": ["auto", "float32", "bfloat16", "float16"],
    "host": ["::", "::1", "[::1]", "0.0.0.0", "localhost", "my-host.example"],
    "port": ["0", "65535"],
    "root-path": ["", "/a", "/a/b-c", "/a/"],
    "runs": ["1"],
    "waiting": ["0"],
    "seconds": ["1"],
    "browser": ["on", "off"],
    "metrics": ["on", "off"],
    "mcp": ["on", "off"],
}
VARIABLES = {name: f"GREEDYSCOPE_{name.upper().replace('-', '_')}" for name in REFUSED}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("GREEDYSCOPE_", "GRADIO_SERVER"))]:
        monkeypatch.delenv(name)


def refusal(run: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        run()
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert len(err) < 400
    return err


def test_every_option_is_tried_here():
    names = {name for name, *_ in application.OPTIONS}
    assert names == REFUSED.keys() == TAKEN.keys()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_an_invalid_value_is_refused_in_one_sentence(
    name: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    said = refusal(lambda: application.settings([f"--{name}={value}"]), capsys)
    assert said.startswith((f"--{name} has to ", f"--{name} cannot be used: "))
    monkeypatch.setenv(VARIABLES[name], value)
    said = refusal(lambda: application.settings([]), capsys)
    assert said.startswith((f"{VARIABLES[name]} has to ", f"{VARIABLES[name]} cannot be used: "))


@pytest.mark.parametrize("value", ["1.5", "2", "64"])
def test_a_size_without_its_unit_is_told_so(value: str, capsys: pytest.CaptureFixture[str]):
    said = refusal(lambda: application.settings([f"--memory={value}"]), capsys)
    assert said == f'--memory has to have a unit, as {value}GB, not "{value}". See python app.py --help.\n'


@pytest.mark.parametrize("arguments", [["--port"], ["--port", "--metrics", "on"], ["--port", "-5GB"]])
def test_an_option_without_its_value_is_told_so(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert refusal(lambda: application.settings(arguments), capsys) == (
        "--port needs a value after it; write --port=VALUE if it begins with a dash. See python app.py --help.\n"
    )


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in TAKEN for value in TAKEN[name]])
def test_a_valid_value_is_accepted(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    chosen = application.settings([f"--{name}={value}"])
    monkeypatch.setenv(VARIABLES[name], value)
    assert vars(application.settings([])) == vars(chosen)


def test_a_misspelt_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    for name in ("GREEDYSCOPE_METRICS", "GREEDYSCOPE_ENGINE_KEY", "GREEDYSCOPE_CACHE"):
        monkeypatch.setenv(name, "on")
    monkeypatch.setenv("GREEDYSCOPE_METRCS", "on")
    application.settings([])
    assert capsys.readouterr().err == (
        "GREEDYSCOPE_METRCS is no variable of this program, and changes nothing. See python app.py --help.\n"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_variable_hides_no_help_and_an_option_that_is_given_wins(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLES[name], REFUSED[name][-1])
    with pytest.raises(SystemExit) as left:
        application.settings(["--help"])
    out, err = capsys.readouterr()
    assert (left.value.code, err) == (0, "")
    assert f"--{name}" in out
    given = [f"--{name}={TAKEN[name][-1]}"]
    chosen = application.settings(given)
    monkeypatch.delenv(VARIABLES[name])
    assert vars(chosen) == vars(application.settings(given))


def test_a_folder_or_file_that_is_no_model_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    empty, text = tmp_path / "empty", tmp_path / "notes.txt"
    empty.mkdir()
    text.write_text("no model")
    for path, why in {
        empty: "holds no config.json, so it is no model. Choose the folder that holds one, or the GGUF file in it",
        text: "does not end in .gguf. Choose a GGUF file, or the folder that holds a config.json",
        tmp_path / "none": "Check its path; a model of the Hub is written hub:owner/name",
    }.items():
        said = refusal(partial(application.settings, [f"--model=+{path}"]), capsys)
        assert said.startswith("--model cannot be used: ")
        assert f"{path}" in said
        assert f"{why}. See python app.py --help." in said
        monkeypatch.setenv("GREEDYSCOPE_MODEL", str(path))
        assert refusal(partial(application.settings, []), capsys).startswith("GREEDYSCOPE_MODEL cannot be used: ")
        monkeypatch.delenv("GREEDYSCOPE_MODEL")
    (empty / "config.json").write_text("{}")
    assert application.settings([f"--model=+{empty}"]).model == f"+{empty}"


CHECKS = {
    "server": options.server,
    "models": options.models,
    "host": options.host,
    "prefix": options.path_prefix,
    "whole": options.whole_number(0, 9),
    "wholes": options.whole_numbers(1, 9),
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@given(text=st.text())
@example(text="~0")  # a home folder of nobody
def test_no_text_at_all_is_a_traceback(check: options.Check, text: str):
    with suppress(ArgumentTypeError):
        check(text)


@pytest.mark.parametrize("arguments", [["--unknown", "1"], ["--por", "1"], ["--port"], ["stray"]])
def test_an_unknown_option_is_refused_in_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert "See python app.py --help." in refusal(lambda: application.settings(arguments), capsys)


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (terminal.main, []),
        (terminal.main, ["a", "--format", "pdf"]),
        (terminal.main, ["a", "--engine", "nowhere"]),
        (terminal.main, ["check"]),
        (bench, ["--prompts", "1,x"]),
        (bench, ["--repeats", "21"]),
        (bench_server.main, ["--engine", "http://127.0.0.1:1", "--runs", "1,a"]),
        (bench_server.main, ["--engine", "http://127.0.0.1:1", "--steps", "0"]),
        (bench_server.main, []),
        (prepare, ["bogus"]),
    ],
)
def test_the_other_programs_refuse_alike(
    main: Callable[[list[str]], object], arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert " --help." in refusal(lambda: main(arguments), capsys)


def test_a_format_that_does_not_exist_is_refused_as_any_other_value(capsys: pytest.CaptureFixture[str]):
    said = refusal(lambda: terminal.main(["a", "--format", "xml"]), capsys)
    assert said == '--format has to be table, jsonl or csv, not "xml". See python -m decoding --help.\n'


# ---- where it listens


def test_a_port_in_use_is_refused_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        command = [sys.executable, "app.py", "--port", str(port), "--device", "cpu"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"--port {port} is taken at 127.0.0.1. Stop what listens there, or choose another port; 0 is any free one.\n"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1", "bad..host", "a" * 70])
def test_an_address_that_is_not_this_machines_is_one_sentence(host: str):
    with pytest.raises(SystemExit) as left:
        options.check_can_listen(host, 0)
    assert str(left.value.code).startswith(f"--host {host} is no address of this machine")


@pytest.mark.parametrize(("host", "there"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::]")])
def test_an_ipv6_address_gets_brackets(host: str, there: str):
    assert options.bracket_ipv6(options.host(host)) == there
