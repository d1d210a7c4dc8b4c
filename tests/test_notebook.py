"""The lesson is run as a class runs it, from top to bottom in a kernel of its own; and what it says is true."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import decoding
from decoding.engines.local_engine import LocalEngine

LESSON = Path(__file__).resolve().parents[1] / "assets" / "lesson.ipynb"


@pytest.fixture(scope="module")
def cells(drives_process: None) -> dict[str, Any]:
    """The cells of code by name, after they were run."""
    lesson = nbformat.read(LESSON, as_version=4)
    client = NotebookClient(lesson, timeout=300, resources={"metadata": {"path": str(LESSON.parent)}})
    # A thread does not wait for another that a busy machine has put aside.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with ThreadPoolExecutor(1) as thread:  # this one may hold Playwright's loop
        thread.submit(client.execute, env=environment).result()
    return {cell.id: cell for cell in lesson.cells if cell.cell_type == "code"}


@pytest.fixture(scope="module")
def outputs(cells: dict[str, Any]) -> dict[str, str]:
    """What each cell shows: printed lines, or the plain text of its last value."""
    return {name: "".join(map(shown, cell.outputs)) for name, cell in cells.items()}


def shown(output: Any) -> str:
    assert output.output_type != "error"
    assert output.get("name") != "stderr", output.text  # no warning in front of a class
    return str(output.get("text") or output.data["text/plain"])


def test_the_loop_by_hand_the_run_and_generate_say_the_same(outputs: dict[str, str], starter: LocalEngine):
    trace = decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=5)
    by_hand = [f"{step.picked.text!r:14} {step.picked.probability:7.2%}" for step in trace.steps]
    assert outputs["loop"].splitlines() == by_hand
    assert outputs["same"].startswith("the same tokens: True\nfive choices 0.2149 + everything else 0.7851\n")
    ids = list(trace.generated_token_ids)
    assert outputs["generate"] == f"by hand:    {ids}\ngenerate:   {ids}\nidentical:  True in 8 tokens\n"


def test_a_run_shows_itself_as_the_panel_and_as_the_table_in_plain_text(cells: dict[str, Any], starter: LocalEngine):
    trace = decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=5)
    (shown,) = cells["panel"].outputs
    assert shown.data["text/plain"] == str(trace)
    assert shown.data["text/html"].startswith(
        '<iframe sandbox="allow-scripts" title="Greedyscope: Transformers are the'
    )
    assert cells["table"].outputs[0].data["text/html"] == trace.to_frame()._repr_html_()


def test_the_story_ends_early_or_repeats_itself(outputs: dict[str, str]):
    assert "discovered the unicorns?<|im_end|>" in outputs["story"]
    assert outputs["story"].endswith("24 tokens, and then: end_of_text\n")
    assert outputs["longer"].count("communicate with each other") > 5
    times, phrase = outputs["repeats"].splitlines()[0].split(" times: ")
    assert int(times) > 3
    assert outputs["longer"].count(phrase) == int(times)
    first, second = map(int, re.findall(r"(\d+)% on average", outputs["repeats"]))
    assert second > first + 10


def test_a_branch_costs_and_beams_find_a_better_text(outputs: dict[str, str]):
    assert outputs["branch"].splitlines()[-1].startswith("The branch's text is 1.9 times as probable")
    assert outputs["beam"].splitlines()[-1].startswith("Beam search's text is 7.7 times as probable")


def test_paris_rests_on_the_country_and_on_the_sentence_and_comes_last(outputs: dict[str, str]):
    left_out = dict(re.findall(r"^without '([^']+)' .*→ ([\d.]+)%", outputs["why"], re.MULTILINE))
    assert list(left_out) == ["The", " capital", " of", " France", " is"]
    assert outputs["why"].count("77.3% → ") == 5
    assert all(float(left_out[word]) < 0.3 for word in (" France", " is"))
    assert re.search(r"^without ' is' .*then ' is'$", outputs["why"], re.MULTILINE)
    *layers, last = outputs["layers"].splitlines()
    assert [line.split(":")[0] for line in layers] == [f"layer {number}" for number in range(25, 31)]
    assert layers[-1] == "layer 30: ' Paris'     77.3%, ' Paris'  77.3%"
    assert layers[-2].startswith("layer 29: ' capital'   19.9%, ' Paris'")
    assert last == "in the lead from layer 30 of 30"


def test_it_is_a_clean_notebook_of_short_cells():
    lesson = nbformat.read(LESSON, as_version=4)
    nbformat.validate(lesson)
    assert lesson.metadata.kernelspec.name == "python3"
    code = {cell.id: cell for cell in lesson.cells if cell.cell_type == "code"}
    assert all(not cell.outputs and cell.execution_count is None for cell in code.values())
    assert len([line for line in code["loop"].source.splitlines() if line.strip()]) <= 10


def test_in_colab_the_first_cell_fetches_the_project(tmp_path: Path):
    """Where no project is: a small one, cloned and installed by pip."""
    project, there = tmp_path / "project", tmp_path / "content"
    (project / "decoding").mkdir(parents=True)
    (project / "decoding" / "__init__.py").write_text("here = True\n")
    (project / "requirements.txt").write_text("")
    there.mkdir()
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a project"]):
        subprocess.run([*git, *command], check=True)
    setup = next(cell["source"] for cell in json.loads(LESSON.read_text("utf-8"))["cells"] if cell["id"] == "setup")
    refused = python("".join(setup), there)
    assert "Write the address to clone it from into REPOSITORY" in refused.stderr
    filled = "".join(setup).replace('REPOSITORY = ""', f"REPOSITORY = {project.as_uri()!r}")
    done = python(f"{filled}\nimport decoding; print(decoding.here, decoding.__file__)", there)
    assert done.stdout.strip() == f"True {there / 'greedyscope' / 'decoding' / '__init__.py'}", done.stderr


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
