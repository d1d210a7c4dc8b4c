"""The READMEs are tested: their commands, snippets, links and options, the table of rooms, the front matter."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import gradio
import pytest
import yaml

import app as application
from decoding.models.starter import SAFETENSORS_NAME
from tests.readmes import READMES, ROOT, block, blocks, commands

README = (ROOT / "README.md").read_text("utf-8")
NAMES = [path.relative_to(ROOT).as_posix() for path in READMES]
FILES = [
    f"/{path.relative_to(ROOT).as_posix()}"
    for path in (
        *ROOT.glob("*"),
        *(path for room in ("assets", "decoding", "tests") for path in (ROOT / room).rglob("*")),
    )
]
SNIPPETS = [
    pytest.param(text, id=f"{name}-{number}")
    for path, name in zip(READMES, NAMES, strict=True)
    for number, (called, text) in enumerate(blocks(path, "python"))
    if called != "client"  # which tests/page/test_api.py runs, against a page
]


def test_the_commands_are_the_agreed_ones_and_ci_runs_those_of_the_tests():
    assert "pip install -r requirements.txt && python app.py\n" in README
    agreed = {
        "test command": "pip install -r tests/requirements.txt && python -m pytest\n",
        "floors test command": "python -m tests.oldest_versions\n",
        "vllm test command": "python -m pytest -m vllm\n",
    }
    assert {name: block("", name, "sh") for name in agreed} == agreed
    checked = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.findall(r'^readme "(.*)"$', checked, re.MULTILINE) == [*agreed]


def test_the_first_page_is_two_screens():
    assert len(README.split("---\n", 2)[2].splitlines()) <= 145


def test_there_is_a_snippet_of_python_on_the_first_page_and_in_the_librarys_readme():
    assert [param.id for param in SNIPPETS] == ["README.md-0", "decoding/README.md-0"]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_of_python_runs(snippet: str):
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" most 8.26% everything else 78.51%\n")


def test_every_command_is_one_that_there_is():
    """Of `python app.py` the options are tried as well."""
    seen = set()
    for path in READMES:
        for words in commands(path):
            if words[:2] == ["python", "app.py"]:
                assert application.settings(words[2:]), words
                seen.add("app.py")
            elif words[:2] == ["python", "-m"] and words[2] != "vllm.entrypoints.openai.api_server":
                assert importlib.util.find_spec(words[2]), words
                seen.add(words[2])
    assert {"app.py", "decoding", "decoding.starter", "pytest", "tests.oldest_versions"} <= seen


@pytest.mark.parametrize("name", NAMES)
def test_what_a_readme_names_is_there(name: str):
    """The files that it links to and their headings, the modules that it runs, and the starter's folder for vLLM."""
    path = ROOT / name
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.is_relative_to(ROOT), target
        assert there.is_file(), target
        assert not heading or heading in headings(there), target
    for file in re.findall(r"`([\w/]+\.(?:py|js|json|ipynb|txt))`", text):
        assert any(there.endswith(f"/{file}") for there in FILES), file
    for module in re.findall(r"`python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for folder in re.findall(r"starter-\d[\w.-]+", text):
        assert folder == SAFETENSORS_NAME
    for option in re.findall(r"`(--[\w-]+)`", text):
        assert option in OPTIONS_THERE_ARE, option


def headings(path: Path) -> set[str]:
    """The anchors of a README's headings, as GitHub and the Hub make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def options_of(*files: str) -> set[str]:
    """What the files that read a command line name as options."""
    source = "".join((ROOT / file).read_text("utf-8") for file in files)
    return set(re.findall(r'"(--[\w-]+)"', source)) | {
        f"--{name}" for name in re.findall(r'parser\.add\(\s*"([\w-]+)"', source)
    }


OPTIONS_THERE_ARE = (
    {f"--{name}" for name, *_ in application.OPTIONS}
    | options_of(
        "decoding/__main__.py",
        "decoding/command_line/run_options.py",
        "decoding/starter.py",
        "tests/load.py",
        "tests/gpu/__main__.py",
    )
    | options_of("decoding/bench/__main__.py", "decoding/bench/server.py")
    | {"--help", "--enforce-eager", "--max-logprobs", "--max-model-len"}  # all but the first are vLLM's
    | {"--force-reruns", "--hypothesis-profile=explore", "--hypothesis-seed=N"}  # of the tests
)


def test_the_table_of_options_has_their_defaults():
    table = README.split("| option | meaning (default) |")[1].split("##")[0]
    said = {
        name: default
        for names, defaults in re.findall(r"^\| (`--.*?) \|.*\((.*)\) \|$", table, re.MULTILINE)
        for name, default in zip(re.findall(r"`--([\w-]+)`", names), re.findall(r"`(.*?)`", defaults), strict=True)
    }
    assert len(said) >= 5
    assert said == {name: default for name, default, *_ in application.OPTIONS if name in said}


def test_nothing_is_written_twice():
    """A long sentence stands in one README, and once there. Tables and code may repeat a cell or a line."""
    seen: dict[str, str] = {}
    for path, name in zip(READMES, NAMES, strict=True):
        for sentence in prose(path):
            assert sentence not in seen, f"{name} and {seen[sentence]}: {sentence}"
            seen[sentence] = name
    assert len(seen) > 150


def prose(path: Path) -> list[str]:
    """A README's sentences of 40 letters and more."""
    lines = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL).splitlines()
    text = " ".join("." if line.startswith(("|", "#")) or not line else line for line in lines)
    return [sentence.strip() for sentence in re.split(r"[.:;](?:\s|$)", text) if len(sentence) >= 40]


def test_the_table_of_rooms_matches_the_tree():
    table = README.split("| folder | what it holds |")[1].split("##")[0]
    named = set(re.findall(r"`((?:decoding/\w+|assets|tests|decoding)/)`|`(app\.py)`", table))
    folders = {f"decoding/{path.name}/" for path in (ROOT / "decoding").iterdir() if (path / "__init__.py").exists()}
    assert {first or second for first, second in named} == {"app.py", "assets/", "tests/", "decoding/"} | folders


def test_every_folder_says_what_it_is_for():
    """In a README, or where that would be a line only, in its docstring."""
    for folder in {path.parent for path in (ROOT / "decoding").rglob("__init__.py")}:
        assert (folder / "README.md").exists() or (folder / "__init__.py").read_text("utf-8").startswith('"""'), folder


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
def test_every_dependency_has_its_reason(name: str):
    lines = (ROOT / name).read_text("utf-8").splitlines()
    required = [line for line in lines if re.match(r"\w", line)]
    assert len(required) > 10
    assert [line for line in required if not re.fullmatch(r"[\w-]+>=[\d.]+(,<[\d.]+)?  # \S.{8,}", line)] == []


def test_the_front_matter_is_what_a_space_needs():
    front = yaml.safe_load(README.split("---\n")[1])
    assert {"title", "emoji", "sdk", "sdk_version", "python_version", "app_file", "license"} <= front.keys()
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert len(front["short_description"]) <= 60  # the Hub refuses more
    assert front["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
