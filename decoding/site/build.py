"""The folder of a static site, file by file.

Owns which files there are, the policy that the page keeps to, and the README with which the folder is a static Space.
All addresses are relative: the folder works under any path, on any server that sends files.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from decoding import assets, plotly_script
from decoding.errors import RequestError
from decoding.i18n import translate
from decoding.limits import MAX_CHOICES, MAX_STEPS
from decoding.models.catalogue import format_bytes
from decoding.models.model_paths import entry_of
from decoding.models.progress import Report, no_report
from decoding.site.model_files import WITH_MODEL, write_model
from decoding.site.npm_packages import ONNX_RUNTIME, PLOTLY, TOKENIZERS, files_of

NOT_EMPTY = "{folder} holds something else than a site that was written before. Name a folder that is empty or new."
LIBRARIES = (ONNX_RUNTIME, TOKENIZERS)
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    f"style-src 'self' {plotly_script.EMPTY_STYLE_ELEMENT}; style-src-attr {plotly_script.STYLE_ATTRIBUTES}; "
    f"img-src 'self' blob: {plotly_script.IMAGES}; base-uri 'none'; form-action 'none'"
)
"""WebAssembly may be compiled; all other code is in these files, and nothing is asked of another host. Trusted Types
are not required, since plotly.js writes markup.
"""
STYLES = ("standalone/theme.css", "browser/site_page.css")
_PANEL_STYLES = ("panel/root.css", "panel/on_page.css", "panel/lens_picture.css")
_README = """---
title: Greedyscope
emoji: 🔎
colorFrom: blue
colorTo: green
sdk: static
pinned: false
license: apache-2.0
custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
  cross-origin-resource-policy: cross-origin
---

# Greedyscope, a static site

Greedy decoding of {model} ({revision}), step by step, computed by the visitor's own browser. Any server that sends
files can serve this folder, under any path: `python -m http.server -d FOLDER`. A first visit fetches {size}, and with
a GPU {more} more; from the second on it works without a network, where the browser keeps what it fetched (over https,
and on 127.0.0.1).

Written by `python -m decoding.site`. Beside Greedyscope's own files there are {libraries}.
"""


def build_site(folder: Path, *, model: str = "starter", report: Report = no_report) -> int:
    """Write the site into `folder`, in place of one that is there, and return its size in bytes. Raises RequestError
    for a folder that holds anything else, ModelError for a model that no browser computes here.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "service_worker.js").exists():
        raise RequestError(NOT_EMPTY.format(folder=folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".site-") as work:
        site = Path(work) / "site"
        site.mkdir()
        _write(site, model, report)
        if folder.exists():
            shutil.rmtree(folder)
        site.rename(folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write(site: Path, model: str, report: Report) -> None:
    libraries = library_files()
    facts = write_model(entry_of(model), site, libraries, report)
    shell = _shell(facts, libraries)
    version = hashlib.sha256()
    for name, data in sorted(shell.items()):
        version.update(f"{name} {len(data)} ".encode() + data)
    worker = {"version": version.hexdigest()[:16], "shell": json.dumps(sorted(shell))}
    shell["service_worker.js"] = assets.filled("browser/service_worker.js", worker).encode()
    shell["README.md"] = _readme(facts, shell, site).encode()
    for name, data in shell.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(data)


def library_files() -> dict[str, bytes]:
    """The libraries' files by name. Raises ModelError where they are not in the cache and cannot be fetched."""
    return {name: data for package in LIBRARIES for name, data in files_of(package).items()}


def engine_files(libraries: dict[str, bytes]) -> dict[str, bytes]:
    """The scripts of the engine's worker, by their place beside the page."""
    # Some servers do not know what a .mjs is, and no browser runs a script that is sent as something else.
    theirs = {name.replace(".mjs", ".js"): data for name, data in libraries.items() if name not in WITH_MODEL}
    return own_engine_files() | {f"engine/lib/{name}": data for name, data in theirs.items()}


def own_engine_files() -> dict[str, bytes]:
    return {f"engine/{path.name}": path.read_bytes() for path in (assets.ASSETS / "browser/engine").glob("*.js")}


def _shell(facts: dict[str, Any], libraries: dict[str, bytes]) -> dict[str, bytes]:
    """The files that the page is made of, but for the model's."""
    data = assets.data_for() | {
        "texts": _texts(),
        "site": facts,
        "recorded": {name: assets.read(f"recorded/{name}.jsonl") for name in assets.RECORDED},
        "allExamples": json.loads(assets.read("examples.json")),
    }
    page = {
        "policy": POLICY,
        "panel": assets.panel_html(page=True),
        "noscript": translate("standalone.script"),
        "steps": str(MAX_STEPS),
        "choices": str(MAX_CHOICES),
    }
    return {
        "index.html": assets.filled("browser/site_page.html", page).encode(),
        "page.js": f"(() => {{\n{assets.site_script()}\nstartSite({_script_json(data)});\n}})();\n".encode(),
        "plotly.js": b"".join(files_of(PLOTLY).values()),
        "page.css": "\n".join(
            [*map(assets.read, STYLES), assets.panel_css(), *map(assets.read, _PANEL_STYLES)]
        ).encode(),
        **engine_files(libraries),
    }


def _texts() -> dict[str, dict[str, str]]:
    """What people read, by language; what begins with "site" stands in place of a text that speaks of a server."""
    return {
        language: {key: words.get(f"site.{key}", text) for key, text in words.items()}
        for language, words in assets.texts().items()
    }


def _script_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _readme(facts: dict[str, Any], shell: dict[str, bytes], site: Path) -> str:
    for_gpu = sum(file["bytes"] for file in facts["webgpu"].values())
    whole = sum(map(len, shell.values())) + sum(path.stat().st_size for path in (site / "model").iterdir())
    libraries = ", ".join(f"{package.spec} ({package.licence})" for package in (*LIBRARIES, PLOTLY))
    model = facts["model"]
    return _README.format(
        model=model["id"],
        revision=model["revision"],
        size=format_bytes(whole - for_gpu),
        more=format_bytes(for_gpu),
        libraries=libraries,
    )
