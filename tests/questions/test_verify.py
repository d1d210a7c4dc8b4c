"""`python -m decoding check`: what it says of a file, and its exit codes."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import decoding
from decoding.__main__ import main
from decoding.models.progress import Report
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import NOTEBOOK, ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "assets" / "recorded"

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    engine = ScriptedEngine()
    monkeypatch.setattr(decoding, "load", lambda *_, **__: engine)
    return engine


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Writes a file, checks it, and gives the exit code and what was printed, without the file's name."""

    def run(content: Trace | str | bytes, *options: str) -> tuple[int, str, str]:
        path = tmp_path / "run.jsonl"
        text = content.to_jsonl() if isinstance(content, Trace) else content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        code = main(["check", str(path), *options])
        out, err = capsys.readouterr()
        return code, out.replace(str(path), "FILE"), err.replace(str(path), "FILE")

    return run


def made(engine: ScriptedEngine, *forced: tuple[int, int], steps: int = 3, choices: int = 3) -> Trace:
    run = Run(engine, check_request("Transformers are the", steps, choices, forced))
    assert len(list(run)) == steps
    return run.trace


# ---- well-formed or not


def test_a_run_is_well_formed(check: Check, engine: ScriptedEngine) -> None:
    trace = made(engine)
    for content in (trace, "\ufeff" + trace.to_jsonl(), trace.to_jsonl().replace("\n", "\r\n")):
        code, out, err = check(content)
        assert (code, err) == (0, "")
        assert out.startswith("FILE is a well-formed run: 3 steps (the step count was reached); log-probability -1.89")
        assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "A run has a first and a last line at least; this text has 0."),
        (b"PK\x03\x04\xff", "The file is not text: its byte 5 is not UTF-8."),
        ("no\nrun\n", "Line 1 of the run cannot be read: it is not JSON."),
    ],
)
def test_a_file_that_is_no_run_is_refused(check: Check, content: str | bytes, sentence: str) -> None:
    assert check(content) == (1, "", f"FILE is no well-formed run. {sentence}\n")


def test_a_file_that_is_cut_altered_or_of_another_version(check: Check, engine: ScriptedEngine) -> None:
    text = made(engine).to_jsonl()
    assert check(text[:-30])[2].startswith("FILE is no well-formed run. The run is cut short: ")
    for broken in (text.replace('"version":1', '"version":2'), text.replace('"index":1', '"index":2')):
        code, out, err = check(broken)
        assert (code, out) == (1, "")
        assert re.fullmatch(r"FILE is no well-formed run\. Line \d .+\n", err)


def test_a_file_cannot_write_on_the_terminal(check: Check, engine: ScriptedEngine) -> None:
    trace = made(engine)
    escape = "\x1b[2J\n\u202e"
    named = replace(trace, model=replace(trace.model, id=escape))
    for content in (named, trace.to_jsonl().replace('"rest"', '"\\u001b[2J":1,"rest"')):
        _, out, err = check(content)
        assert "\\u001b[2J" in out + err
        assert not {"\x1b", "\u202e"} & set(out + err)
        assert (out + err).count("\n") == 1


def test_a_file_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", str(tmp_path / "none")]) == 2
    assert capsys.readouterr() == ("", f"{tmp_path / 'none'} cannot be read: No such file or directory.\n")
    assert main(["check", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"{tmp_path} cannot be read: Is a directory.\n")


def test_without_a_file_it_says_how_to_decode_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["check", "--help"])
    assert "python -m decoding --steps 2 -- check" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["check"])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("arguments", [["--", "check"], ["--steps", "2", "check"], ["--steps", "2", "--", "check"]])
def test_the_word_check_is_a_prompt_too(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "check"


# ---- the numbers again


@pytest.mark.parametrize("forced", [(), ((1, 258),), ((0, 259), (2, 40))], ids=["greedy", "one", "two, one far off"])
def test_the_same_numbers(check: Check, engine: ScriptedEngine, forced: tuple[tuple[int, int], ...]) -> None:
    code, out, err = check(made(engine, *forced), "--recompute")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == (
        "scripted still gives its tokens, and its probabilities to within 0.0001 (no difference at all)."
    )


def test_the_dtype_of_a_server_may_be_given(
    check: Check, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def connect(url: str, *, model: str, dtype: str, report: Report) -> ScriptedEngine:
        given.append(dtype)
        return engine

    monkeypatch.setattr(decoding, "connect", connect)
    server = ("--recompute", "--engine", "http://127.0.0.1:1")
    assert check(made(engine), *server)[0] == check(made(engine), *server, "--dtype", "bfloat16")[0] == 0
    assert given == ["float32", "bfloat16"]


def test_a_run_that_was_stopped_and_one_that_ended_early(check: Check, engine: ScriptedEngine) -> None:
    trace = made(engine)
    assert check(replace(trace, steps=trace.steps[:2], stop_reason="stopped"), "--recompute")[0] == 0
    engine.end_ids = frozenset({261})  # " popular", which is the second step's
    assert check(decoding.trace(engine, "a", max_new_tokens=9, top_k=3), "--recompute")[0] == 0
    code, _, err = check(trace, "--recompute")
    assert code == 1
    assert err.endswith("Step 3 is not there when the run is written again: the text ends before it.\n")


def test_near_ties_may_change_places(check: Check, engine: ScriptedEngine) -> None:
    engine.script = [{" most": 0.5, " only": 0.20001, " best": 0.2}]
    trace = made(engine, choices=2)
    engine.script = [{" most": 0.5, " only": 0.2, " best": 0.20001}]
    assert check(trace, "--recompute")[0] == 0


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ({" most": 0.5, " only": 0.251, " best": 0.125},
         "Step 1 gives ' only' (id 259) 25.0000%; written again it is 25.1000%."),
        ({" only": 0.5, " most": 0.25}, "Step 1 picked ' most' (id 258); written again it is ' only' (id 259)."),
    ],
)  # fmt: skip
def test_other_numbers(check: Check, engine: ScriptedEngine, script: dict[str | int, float], sentence: str) -> None:
    trace = made(engine)
    engine.script = [script, *NOTEBOOK[1:]]
    code, out, err = check(trace, "--recompute")
    assert (code, out.count("\n")) == (1, 1)
    assert err == f"scripted does not give these numbers. {sentence}\n"


def test_a_text_that_was_altered(check: Check, engine: ScriptedEngine) -> None:
    text = made(engine).to_jsonl()
    code, _, err = check(text.replace('" only"', '" lonely"'), "--recompute")
    assert code == 1
    assert "Step 1 has ' lonely' (id 259) among its candidates; written again it has not." in err
    header, _, rest = text.partition("\n")
    record = json.loads(header)
    record["prompt_token_ids"][-1] = record["prompt_tokens"][-1]["token_id"] = 7
    code, _, err = check(f"{json.dumps(record)}\n{rest}", "--recompute")
    assert (code, err) == (
        1, "scripted does not give these numbers. scripted reads the prompt as other tokens than the run has.\n"
    )  # fmt: skip


def test_logits_that_were_altered(check: Check, engine: ScriptedEngine) -> None:
    trace = made(engine)
    first, *others = trace.steps
    moved = replace(first, log_sums=tuple((power, log_sum + 3 * power) for power, log_sum in first.log_sums))
    code, _, err = check(replace(trace, steps=(moved, *others)), "--recompute")
    assert code == 1
    assert "Step 1 has 4.4764 as its log sum at 1/T = 0.25; written again it is 3.7264." in err
    without = replace(trace, steps=tuple(replace(step, log_sums=()) for step in trace.steps))
    assert check(without, "--recompute")[0] == 0


def test_runs_that_cannot_be_recomputed_are_refused(check: Check, engine: ScriptedEngine) -> None:
    printed = (RECORDED / "gpt2_xl_notebook_table.jsonl").read_text("utf-8")
    sentence = "This run was taken from a printed table, without token ids, so it cannot be computed again.\n"
    assert check(printed, "--recompute")[::2] == (2, sentence)
    empty = replace(made(engine), steps=(), stop_reason="stopped")
    assert check(empty, "--recompute")[::2] == (2, "The run has no steps, so there is nothing to compute again.\n")
    assert math.isnan(empty.perplexity)


def test_a_model_that_is_not_there(check: Check) -> None:
    code, out, err = check((RECORDED / "starter.jsonl").read_text("utf-8"), "--recompute", "--model", "nope")
    assert (code, out.count("\n")) == (2, 1)
    assert '"nope"' in err


def test_the_recorded_run_is_the_starters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(RECORDED / "starter.jsonl"), "--recompute"]) == 0
    assert "starter still gives its tokens" in capsys.readouterr().out


def test_a_printed_table_is_refused_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    printed = RECORDED / "gpt2_xl_notebook_table.jsonl"
    for options in (["--recompute"], ["--model", "starter"]):
        assert main(["check", str(printed), *options]) == 2
        out, err = capsys.readouterr()
        assert out.endswith("perplexity 3.5044; gpt2-xl, as printed.\n")
        assert err == ("This run was taken from a printed table, without token ids, so it cannot be computed again.\n")
