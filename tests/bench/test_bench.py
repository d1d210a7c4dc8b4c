"""The benchmark's shape, and that its contenders write the same. How fast they are is no test's business."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from decoding.bench import __main__ as bench
from decoding.bench import contenders
from decoding.bench.clock import NetworkClock
from decoding.bench.contenders import measured_steps
from decoding.bench.loops import Decoded, first_other_pick, generate, loop, max_difference, notebook
from decoding.bench.measured_models import SHAPES, load_endless, load_subject, reference_of
from decoding.bench.memory_bandwidth import Weights, weight_bytes
from decoding.bench.startup import StartupTimes
from decoding.errors import ModelError
from decoding.models.catalogue import CATALOGUE
from tests import tiny_models
from tests.machines import give_memory

TinyFolder = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["name", "steps", "prompt_tokens", "ms_per_step", "ratio_to_generate", "max_probability_difference"]
NAMES = ["notebook", "generate", "loop", "best", "limit"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert bench.main([*map(str, arguments), "--repeats", "1", "--no-page", "--no-start", "--no-crowds"]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert bench.main([*map(str, arguments), "--no-page", "--no-start", "--no-crowds"]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mamba"])
def test_json_is_one_object_with_a_row_a_contender_prompt_and_step_count(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str], architecture: str
) -> None:
    result = json.loads(
        run(capsys, "--model", tiny_folder(architecture), "--prompts", "10,20", "--steps", "3,5", "--json")
    )
    rows = result["rows"]
    assert [(row["prompt_tokens"], row["steps"], row["name"]) for row in rows] == [
        (tokens, steps, name) for tokens in (10, 20) for steps in (3, 5) for name in NAMES
    ]
    for row in rows:
        assert list(row) == COLUMNS
        assert row["ms_per_step"] > 0
        assert row["ratio_to_generate"] > 0
        if row["name"] == "limit":  # writes nothing
            assert row["max_probability_difference"] is None
        else:
            assert 0 <= row["max_probability_difference"] < 1e-5
        assert row["name"] != "generate" or (row["ratio_to_generate"], row["max_probability_difference"]) == (1, 0)
    assert result["notes"] == ["The page was not measured."]  # so all wrote the same ids
    assert 0 < result["share_outside_forward"] < 1
    assert result["first_step_ms"] > 0
    why = result["why"]
    assert why["without_over_step"] > 0 < why["without_seconds"]
    assert why["tokens"] == 30
    assert why["lens_over_step"] > 0
    assert result["memory"]["weight_bytes"] > 1000
    assert (result["page"], result["startup"]) == (None, None)


def test_table_has_the_columns_the_aims_and_what_was_left_out(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, "--model", tiny_folder("llama"), "--prompts", "10,1000", "--steps", "60")
    assert all(
        word in printed
        for word in (*COLUMNS, *NAMES, "≥ 6", "≥ 17", "≤ 5 %", "a lens on one step, in steps", "Memory: weights 0 MB")
    )
    assert "notebook  60 (42 measured)  10 " in printed
    assert "At 10 tokens and 60 steps, 42 steps of notebook's were measured, evenly spread." in printed
    assert "A prompt of 1,000 tokens and 60 steps do not fit; 36 and 60 do." in printed
    assert "The page was not measured." in printed


# ---- the contenders


def test_no_contender_stops_at_an_end_of_text_token(tmp_path: Path) -> None:
    plain = load_endless(
        str(tiny_models.save(tmp_path / "plain", tiny_models.network("llama"))), device="cpu", dtype="auto"
    )
    prompt = list(b"Transformers are the")
    written = loop(plain, prompt, 6).token_ids
    assert len(set(written)) > 1
    ending = tiny_models.network("llama", eos_token_id=written[1])
    ending.generation_config.eos_token_id = written[1]
    subject = load_subject(str(tiny_models.save(tmp_path / "ending", ending)), shape=None, device="cpu", dtype="auto")
    assert subject.network.generation_config.eos_token_id == written[1]
    assert generate(subject.network, prompt, 6).token_ids == written
    assert loop(subject.plain, prompt, 6).token_ids == written
    assert loop(subject.fastest, prompt, 6).token_ids == written
    assert notebook(subject.network, prompt, written, range(6)).token_ids == written


def test_the_notebook_is_measured_from_the_first_step_to_the_last() -> None:
    assert measured_steps(64, 10) == sorted(set(measured_steps(64, 10)))
    assert (measured_steps(64, 1000), measured_steps(256, 1000)) == ([0, 63], [0, 255])
    assert measured_steps(8, 10) == list(range(8))
    assert measured_steps(1, 1000) == [0]
    for steps, tokens in ((64, 10), (256, 10), (256, 100)):
        assert (measured_steps(steps, tokens)[0], measured_steps(steps, tokens)[-1]) == (0, steps - 1)
        assert len(measured_steps(steps, tokens)) * (steps + tokens) <= contenders.NOTEBOOK_TOKENS


def test_the_difference_is_taken_up_to_the_first_other_pick() -> None:
    ours = Decoded((1, 2, 3), ((0.5, 0.2), (0.4, 0.3), (0.9, 0.0)))
    assert max_difference(ours, ours) == 0
    theirs = Decoded((1, 7, 3), ((0.5, 0.25), (0.4, 0.4), (0.1, 0.0)))
    assert max_difference(ours, theirs) == pytest.approx(0.1)
    assert first_other_pick(ours, theirs) == 1
    assert first_other_pick(ours, ours) is None


def test_a_contender_that_writes_another_text_is_named(
    tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = load_subject(str(tiny_folder("llama")), shape=None, device="cpu", dtype="auto")

    def stubborn(token_ids: Any, steps: int) -> Decoded:
        return Decoded((319,) * steps, ((1.0, 0.0, 0.0, 0.0, 0.0),) * steps)

    measured = contenders.measure_rows(
        subject, {"stubborn": stubborn}, subject.prompt(10), steps=4, repeats=1, say=lambda _: None
    )
    assert [row.name for row in measured.rows] == ["notebook", "generate", "loop", "best", "stubborn", "limit"]
    assert measured.notes == (
        "At 10 tokens and 4 steps, stubborn picked another token than generate at step 0 (counted from 0).",
    )


def test_the_clock_counts_passes_and_readouts_and_is_taken_off_again(tiny_folder: TinyFolder) -> None:
    engine = load_endless(str(tiny_folder("llama")), device="cpu", dtype="auto")
    network = engine.network
    with NetworkClock(engine) as clock:
        loop(engine, [1, 2], 4)
    assert (len(clock.passes), len(clock.readouts)) == (4, 4)
    loop(engine, [1, 2], 4)
    assert len(clock.passes) == 4
    assert engine.network is network


# ---- the limit


def test_the_limit_reads_as_many_bytes_as_the_weights_have(tiny_folder: TinyFolder) -> None:
    network = reference_of(load_endless(str(tiny_folder("llama, tied")), device="cpu", dtype="auto"))
    expected = sum(weights.numel() for name, weights in network.state_dict().items() if name != "lm_head.weight") * 4
    assert weight_bytes(network) == expected
    weights = Weights(network)
    assert len(weights._memory) * 4 == expected
    assert weights.seconds_to_read() > 0


def test_a_read_of_a_part_counts_for_all(tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    network = reference_of(load_endless(str(tiny_folder("llama")), device="cpu", dtype="auto"))
    give_memory(monkeypatch, weight_bytes(network) // 2)

    class AlwaysASecond(Weights):
        def read(self) -> float:
            return 1.0

    weights = AlwaysASecond(network)
    assert len(weights._memory) == weight_bytes(network) // 16
    assert weights.seconds_to_read() == pytest.approx(4.0, rel=0.01)


# ---- shapes


def test_a_shape_is_measured_without_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 500}
    monkeypatch.setitem(SHAPES, "gpt2", tiny)
    assert (
        bench.main(["--shape", "gpt2", "--prompts", "7", "--steps", "4", "--repeats", "1", "--no-crowds", "--json"])
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["model"]["id"] == "gpt2's shape, random weights"
    assert [row["name"] for row in result["rows"]] == NAMES
    assert result["notes"] == ["The page and a start were not measured: a shape has no files for app.py to load."]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_parameters_of_what_it_is_named_after(shape: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPES[shape]))
    network.tie_weights()
    assert sum(weights.numel() for weights in network.parameters()) == CATALOGUE[shape].parameters


# ---- llama.cpp


def test_llama_cpp_is_refused_where_it_is_not_installed(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    assert refused(capsys, "--model", tiny_folder("llama"), "--prompts", "5", "--steps", "3", "--llama-cpp") == (
        "llama.cpp cannot be measured: its Python package is not installed. Run `pip install llama-cpp-python` "
        "(it needs a C++ compiler), or leave out --llama-cpp."
    )


def test_llama_cpp_needs_a_file_of_this_model(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = SimpleNamespace(Llama=lambda *_, **__: SimpleNamespace(n_vocab=lambda: 7))
    monkeypatch.setitem(sys.modules, "llama_cpp", package)
    command = ("--model", tiny_folder("llama"), "--prompts", "5", "--steps", "3", "--llama-cpp")
    file = tmp_path / "other.gguf"
    assert refused(capsys, *command, file) == f"There is no GGUF file {file} for llama.cpp."
    file.write_bytes(b"GGUF")
    assert refused(capsys, *command, file) == (
        "other.gguf is another model: it has 7 tokens, and the one that is measured has 320. "
        "Name its own GGUF file: --llama-cpp FILE."
    )


# ---- what is refused


def test_more_steps_than_the_context_holds_are_refused(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "--model", tiny_folder("llama"), "--steps", "96")
    assert said == f"96 steps do not fit: {tiny_folder('llama')} has room for {tiny_models.CONTEXT - 1}."


def test_a_shape_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--shape", "gpt9") == ('There is no shape "gpt9": choose one of gpt2, gpt2-xl, starter.')


@pytest.mark.parametrize("option", [["--steps", "0"], ["--steps", "8,x"], ["--prompts", "0"], ["--repeats", "0"]])
def test_counts_that_are_none_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(option)
    assert option[0] in capsys.readouterr().err


# ---- the page


@pytest.mark.usefixtures("browser")  # there is a Chromium from here on
def test_the_real_page_is_measured_through_client_and_browser(tiny_folder: TinyFolder) -> None:
    # In a process of its own: two of Playwright's do not run in one thread.
    command = [sys.executable, "-m", "decoding.bench", "--model", str(tiny_folder("llama"))]
    command += ["--prompts", "10", "--steps", "24", "--repeats", "1", "--json", "--no-start", "--no-wait"]
    command += ["--crowds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    page = result["page"]
    assert page["steps"] == 24
    assert page["notes"] == []
    assert 0 < page["first_forward_seconds"] < page["loop_seconds"]
    assert 0 < page["first_bar_seconds"] <= page["browser_seconds"]
    assert page["client_seconds"] > 0
    assert page["resident_bytes"] > 100e6
    assert 100e6 < result["memory"]["page"]["after_ten"] <= result["memory"]["page"]["in_class"]
    assert result["memory"]["page"]["later"] is None
    (crowd,) = result["crowds"]
    assert (crowd["runs"], crowd["tokens_per_second"] > 0) == (3, True)


def test_a_start_is_measured_or_left_out_with_the_reason(
    tiny_folder: TinyFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [
        "--model",
        str(tiny_folder("llama")),
        "--prompts",
        "5",
        "--steps",
        "3",
        "--repeats",
        "1",
        "--no-page",
        "--no-crowds",
    ]
    times = StartupTimes(1.5, 3.9, 3.0, 1)
    monkeypatch.setattr(bench, "measure_startup", lambda *_, **__: times)
    assert bench.main(command) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("start: page", "1.50 s", "start: first step", "3.90 s", "start: terminal"))

    def failing(*_: Any, **__: Any) -> StartupTimes:
        raise ModelError("The terminal ended.")

    monkeypatch.setattr(bench, "measure_startup", failing)
    assert bench.main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["startup"] is None
    assert "A start was not measured. The terminal ended." in result["notes"]
