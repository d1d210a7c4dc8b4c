"""The README is tested: its commands, its snippet, its table of files, its dependencies, its front matter."""

import re
import subprocess
import sys
from pathlib import Path

import gradio
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_commands_are_the_agreed_ones_and_ci_runs_those_of_the_tests():
    assert "pip install -r requirements.txt && python app.py\n" in README
    assert "<!-- test command -->\n```sh\npip install -r tests/requirements.txt && python -m pytest\n```" in README
    assert "<!-- vllm test command -->\n```sh\npython -m pytest -m vllm\n```" in README
    assert "<!-- floors test command -->\n```sh\npython -m tests.floors\n```" in README
    checked = (ROOT / ".ci" / "run").read_text("utf-8")
    commands = ["test command", "floors test command", "vllm test command"]
    assert re.findall(r'^readme "(.*)"$', checked, re.MULTILINE) == commands


def test_the_python_snippet_runs():
    (snippet,) = re.findall(r"(?<!-->\n)```python\n(.*?)```", README, re.DOTALL)  # the client's is test_api's
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" most 8.26% everything else 78.51%\n")


def test_the_table_of_rooms_matches_the_tree():
    table = README.split("| room | what it holds |")[1].split("##")[0]
    named = set(re.findall(r"`((?:decoding/\w+|assets|tests|decoding)/)`|`(app\.py)`", table))
    folders = {f"decoding/{path.name}/" for path in (ROOT / "decoding").iterdir() if (path / "__init__.py").exists()}
    assert {first or second for first, second in named} == {"app.py", "assets/", "tests/", "decoding/"} | folders


def test_every_dependency_has_its_reason_and_every_reason_a_dependency():
    required = re.findall(r"^([a-z][\w-]*)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    section = README.split("## What it depends on")[1].split("##")[0]
    assert sorted(required) == sorted(set(re.findall(r"^\| ([a-z][\w-]*) \|", section, re.MULTILINE)) - {"package"})


def test_the_front_matter_is_what_a_space_needs():
    front = yaml.safe_load(README.split("---\n")[1])
    assert {"title", "emoji", "sdk", "sdk_version", "python_version", "app_file", "license"} <= front.keys()
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert len(front["short_description"]) <= 60  # the Hub refuses more
    assert front["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
