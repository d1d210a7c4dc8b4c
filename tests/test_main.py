"""The terminal front end: what it prints and where, and how it refuses."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import decoding
from decoding.__main__ import main
from decoding.engines.local_engine import LocalEngine
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.progress import Report
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from tests.fakes import NOTEBOOK, ScriptedEngine

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "트랜스포머는 🎉"


def terminal(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "decoding", *arguments]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)


def output(*arguments: str) -> str:
    done = terminal(*arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


# ---- the real thing, in a process of its own


def test_json_lines_are_the_librarys(starter: LocalEngine) -> None:
    printed = Trace.from_jsonl(output(PROMPT, "--steps", "4", "--choices", "3", "--format", "jsonl", "--device", "cpu"))
    assert recompute(starter, printed) < 1e-5  # a process with other threads adds in another order
    ours = decoding.trace(starter, PROMPT, max_new_tokens=4, top_k=3)
    assert (printed.model, printed.prompt_tokens, printed.text) == (ours.model, ours.prompt_tokens, ours.text)


def test_a_spreadsheet(starter: LocalEngine) -> None:
    printed = output(PROMPT, "--steps", "2", "--format", "csv", "--device", "cpu")
    trace = decoding.trace(starter, PROMPT, max_new_tokens=2, top_k=5)
    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    ids = [candidate.token_id for step in trace.steps for candidate in step.candidates]
    assert [int(row["token_id"]) for row in rows] == ids
    assert len(rows) == 2 * 5


def test_the_notebooks_prompt_as_a_table() -> None:
    lines = output("Transformers are the").splitlines()
    assert lines[0].split() == ["Input", *(word for n in range(1, 6) for word in ("Choice", str(n)))]
    assert lines[1].strip().split("  ")[0] == "Transformers are the"
    assert "most (8.26%)" in lines[1]
    assert len(lines) == 1 + 8 + 1 + 1 + 1 + 1
    assert lines[10] == "Transformers are the most efficient way to create a new object"
    assert lines[12].startswith("8 steps (the step count was reached); log-probability -14.2454, perplexity 5.9")
    assert "; starter, four-bit weights, computed in float32, " in lines[12]


def test_refusals_in_a_process_of_their_own() -> None:
    sentence = "The number of steps has to be a whole number from 1 to 256, not 0.\n"
    done = terminal("a", "--steps", "0")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", sentence.encode())
    done = terminal(b"a\xff")  # no text in UTF-8
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (b"The prompt holds the byte 0xFF, which is no text in utf-8.\n")


def test_a_prompt_too_long_for_the_starter(
    starter: LocalEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "load", lambda *_, **__: starter)
    assert main(["word " * 9_000]) == 2
    assert capfd.readouterr() == (
        "",
        "The prompt is 9,001 tokens long; if the number of steps is 8, starter has room for 8,184 (its context is "
        "8,192). Shorten the prompt or use fewer steps.\n",
    )


# ---- while the user waits


class Screen(io.StringIO):
    """A terminal, and what stands on its lines."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Each state of the line, without what erases it."""
        return [line for line in self.getvalue().split("\r") if line.strip()]


def slow_load(model: str, *, report: Report, **_: object) -> ScriptedEngine:
    for share in (0.0, 0.5):
        report(f"Fetching {model} {share}", share)
    report("Checking " + "x" * 500, None)
    report("Checking 한글" + "글" * 100 + "\x1b[31m", None)
    return ScriptedEngine()


def test_a_line_of_the_terminal_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "load", slow_load)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["a", "--format", "csv"]) == 0
    plain = capsys.readouterr()
    assert plain.err == ""  # no terminal: a pipe, a file
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    assert main(["a", "--format", "csv"]) == 0
    assert capsys.readouterr().out == plain.out
    assert screen.lines() == [
        "Fetching starter 0.0",
        "Fetching starter 0.5",
        ("Checking " + "x" * 500)[:79],
        "Checking 한글" + "글" * 33,
    ]
    assert "\n" not in screen.getvalue()
    assert screen.getvalue().endswith("\r" + " " * 79 + "\r\r")  # nothing is left of it


def test_the_line_is_gone_before_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: str, *, report: Report, **_: object) -> ScriptedEngine:
        report("Checking it", None)
        raise ModelError("It is damaged.")

    monkeypatch.setattr(decoding, "load", fail)
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    assert main(["a"]) == 2
    assert screen.lines() == ["Checking it", "It is damaged.\n"]


def test_the_library_says_it_to_a_caller_who_asks() -> None:
    told: list[tuple[str, float | None]] = []
    decoding.load("starter", device="cpu", report=lambda word, done: told.append((word, done)))
    assert told[-1] == ("Loading starter …", None)


# ---- with a model written by hand


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    engine = ScriptedEngine()
    monkeypatch.setattr(decoding, "load", lambda *_, **__: engine)
    return engine


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", "--steps", "257"], "The number of steps has to be a whole number from 1 to 256, not 257."),
        (["a", "--steps", "2.5"], "The number of steps has to be a whole number from 1 to 256, not “2.5”."),
        (["a", "--steps", "many"], "The number of steps has to be a whole number from 1 to 256, not “many”."),
        (
            ["a", "--steps", "9" * 5000],
            f"The number of steps has to be a whole number from 1 to 256, not “{'9' * 40}”.",
        ),
        (["a", "--choices", "51"], "The number of choices has to be a whole number from 1 to 50, not 51."),
        (["a", "--temperature", "0"], "The temperature has to be a number from 0.01 to 100, not 0."),
        (["a", "--top-k", "x"], "The top-k has to be a whole number from 0 to 16,777,216, not “x”."),
        (["a", "--seed", "-1"], "The seed has to be a whole number from 0 to 4,294,967,295, not -1."),
        (["a" * 50_001], "The prompt has 50,001 characters; at most 50,000 are read. Shorten it."),
        (["a" * 2_000], "The prompt is 2,000 tokens long; if the number of steps is 8, scripted has room for 1,016 ("
                        "its context is 1,024). Shorten the prompt or use fewer steps."),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("engine")
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    for form in ("table", "jsonl", "csv"):
        assert main([*arguments, "--format", form]) == 2
        assert capsys.readouterr() == ("", sentence + "\n")


def test_draws_a_message_and_past_the_end(engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.script = [{"<|end|>": 0.6, " most": 0.4}]
    assert main(["a", "--steps", "3", "--format", "jsonl", "--past-end"]) == 0
    run = Trace.from_jsonl(capsys.readouterr().out)
    assert run == decoding.trace(engine, "a", max_new_tokens=3, top_k=5, past_end=True)
    assert run.generated_text == " most most most"
    engine.vocabulary = ScriptedEngine(chat_template="U: {{ messages[0].content }}").vocabulary
    assert main(["a", "--steps", "3", "--format", "jsonl", "--past-end", "--as-message"]) == 0
    message = Trace.from_jsonl(capsys.readouterr().out)
    assert message == decoding.trace(engine, "a", max_new_tokens=3, top_k=5, past_end=True, as_message=True)
    assert message.prompt_text == "U: a"
    how = ["--temperature", "2", "--top-k", "9", "--top-p", "0.9", "--seed", "5"]
    assert main(["a", "--steps", "3", "--format", "jsonl", *how]) == 0
    drawn = Trace.from_jsonl(capsys.readouterr().out)
    assert drawn.sampling == decoding.Sampling(2.0, 9, 0.9, 5)
    assert drawn == decoding.sample(engine, "a", sampling=drawn.sampling, max_new_tokens=3, top_k=5)
    assert main(["a", "--seed", "7", "--format", "jsonl"]) == 0
    assert Trace.from_jsonl(capsys.readouterr().out).sampling == decoding.Sampling(seed=7)


@pytest.mark.parametrize("option", [["--model", "nope"], ["--device", "tpu"], ["--dtype", "int8"]])
def test_models_and_machines_that_do_not_exist(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    assert main(["a", *option]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f'"{option[1]}"' in err
    assert err.count("\n") == 1


def test_an_error_in_mid_run(engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.script = [NOTEBOOK[0], np.full(engine.size, math.nan, np.float32)]
    sentence = str(Message("model.nan"))
    assert main(["a"]) == 2
    out, err = capsys.readouterr()
    assert err == sentence + "\n"
    assert "most (" in out
    assert "1 step (ended by an error); " in out
    assert main(["a", "--format", "csv"]) == 2
    out, err = capsys.readouterr()
    assert err == sentence + "\n"
    assert {row["step"] for row in csv.DictReader(io.StringIO(out, newline=""))} == {"1"}
    assert main(["a", "--format", "jsonl"]) == 2
    out, err = capsys.readouterr()
    assert err == sentence + "\n"
    assert json.loads(out.splitlines()[-1]) == {"stop_reason": "error", "message": sentence}
    assert Trace.from_jsonl(out).generated_text == " most"


def test_an_error_before_the_first_step_is_its_sentence_alone(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.script = [np.full(engine.size, math.nan, np.float32)]
    for form in ("table", "csv"):
        assert main(["a", "--format", form]) == 2
        assert capsys.readouterr() == ("", str(Message("model.nan")) + "\n")


def test_json_lines_are_printed_as_they_come(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr("decoding.__main__.write", lambda _: begun.append(engine.begun))
    assert main(["a", "--steps", "3", "--format", "jsonl"]) == 0
    assert begun == [0, 1, 2, 3, 3]
