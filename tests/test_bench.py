"""The benchmark's shape, and that its contenders write the same. How fast they are is no test's business."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from decoding.bench import __main__ as bench
from decoding.bench.loops import CONTENDERS, Decoded, ForwardClock, load_endless, max_difference
from tests import tiny_models

TinyFolder = Callable[[str], Path]
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {
    "name",
    "steps",
    "prompt_tokens",
    "ms_per_step",
    "ratio_to_generate",
    "ratio_to_notebook",
    "max_probability_difference",
    "same_ids",
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert bench.main([*map(str, arguments), "--repeats", "1", "--no-page"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mamba"])
def test_json_is_one_object_with_a_row_a_contender_and_step_count(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    result = json.loads(run(capsys, "--model", tiny_folder(architecture), "--steps", "3,5", "--json"))
    rows = result["rows"]
    assert [(row["name"], row["steps"]) for row in rows] == [(name, n) for n in (3, 5) for name in CONTENDERS]
    for row in rows:
        assert set(row) == COLUMNS
        assert row["prompt_tokens"] == len(bench.PROMPT)  # a token a byte
        assert row["ms_per_step"] > 0
        assert row["same_ids"]
        assert row["max_probability_difference"] < 1e-5
        assert row["name"] != "generate" or row["ratio_to_generate"] == 1
        assert row["name"] != "notebook" or row["ratio_to_notebook"] == 1
    assert 0 < result["share_outside_forward"] < 1
    assert result["page"] is None


def test_table_has_the_columns_the_aims_and_what_was_left_out(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, "--model", tiny_folder("llama"), "--steps", "3")
    assert all(word in printed for word in (*COLUMNS, *CONTENDERS, "≥ 2.5 at 64", "< 2 %"))
    assert "The page was not measured." in printed


def test_no_contender_stops_at_an_end_of_text_token(tmp_path: Path) -> None:
    plain = load_endless(
        str(tiny_models.save(tmp_path / "plain", tiny_models.network("llama"))), device="cpu", dtype="auto"
    )
    prompt = plain.vocabulary.encode(bench.PROMPT)
    written = CONTENDERS["loop"](plain, prompt, 6).token_ids
    assert len(set(written)) > 1
    ending = tiny_models.network("llama", eos_token_id=written[1])
    ending.generation_config.eos_token_id = written[1]
    engine = load_endless(str(tiny_models.save(tmp_path / "ending", ending)), device="cpu", dtype="auto")
    assert engine.network.generation_config.eos_token_id == written[1]
    assert {name: contend(engine, prompt, 6).token_ids for name, contend in CONTENDERS.items()} == dict.fromkeys(
        CONTENDERS, written
    )


def test_the_difference_is_taken_up_to_the_first_other_pick() -> None:
    ours = Decoded((1, 2, 3), ((0.5, 0.2), (0.4, 0.3), (0.9, 0.0)))
    assert max_difference(ours, ours) == 0
    theirs = Decoded((1, 7, 3), ((0.5, 0.25), (0.4, 0.4), (0.1, 0.0)))
    assert max_difference(ours, theirs) == pytest.approx(0.1)


def test_the_clock_counts_forward_passes_and_leaves_no_hook(tiny_folder: TinyFolder) -> None:
    engine = load_endless(str(tiny_folder("llama")), device="cpu", dtype="auto")
    with ForwardClock(engine.network) as clock:
        CONTENDERS["loop"](engine, [1, 2], 4)
    assert len(clock.seconds) == 4
    CONTENDERS["loop"](engine, [1, 2], 4)
    assert len(clock.seconds) == 4


def test_more_steps_than_the_context_holds_are_refused(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--model", str(tiny_folder("llama")), "--steps", "90", "--no-page"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == f"90 steps do not fit: {tiny_folder('llama')} has room for {tiny_models.CONTEXT - 20}."


@pytest.mark.parametrize("option", [["--steps", "0"], ["--steps", "8,x"], ["--repeats", "0"]])
def test_counts_that_are_none_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(option)
    assert option[0] in capsys.readouterr().err


@pytest.mark.usefixtures("browser")  # there is a Chromium from here on
def test_the_real_page_is_measured_through_client_and_browser(tiny_folder: TinyFolder) -> None:
    # In a process of its own: two of Playwright's do not run in one thread.
    command = [sys.executable, "-m", "decoding.bench", "--model", str(tiny_folder("llama"))]
    command += ["--steps", "24", "--repeats", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)["page"]
    assert page["steps"] == 24
    assert page["notes"] == []
    assert 0 < page["first_forward_seconds"] < page["loop_seconds"]
    assert 0 < page["first_bar_seconds"] <= page["browser_seconds"]
    assert page["client_seconds"] > 0
