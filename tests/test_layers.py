"""The floors of the design, read from the imports: everything rests on what is below it, and nothing in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = {
    "app": 8,
    "decoding.bench": 8,
    "decoding.page": 7,
    "decoding.__main__": 6.5,
    "decoding": 6.2,  # the public names
    "decoding.whatif": 6,
    "decoding.check": 6,
    "decoding.run": 5,
    "decoding.offers": 5.5,
    "decoding.shelf": 5,
    "decoding.request": 4.5,
    "decoding.beam": 4.5,
    "decoding.engines": 4,
    "decoding.forced": 3.5,
    "decoding.greedy": 3,
    "decoding.temperatures": 2,
    "decoding.models": 3,
    "decoding.links": 3,
    "decoding.trace": 2,
    "decoding.devices": 2.8,
    "decoding.fetching": 2.7,
    "decoding.hub": 2.6,
    "decoding.room": 2.4,
    "decoding.catalogue": 2.2,
    "decoding.startup": 2.5,
    "decoding.starter": 2,
    "decoding.export": 1.8,  # below Trace, which writes itself with them
    "decoding.step": 1.5,
    "decoding.tokenizer_file": 1,
    "decoding.lent": 1,
    "decoding.sealed": 1.2,
    "decoding.tokens": 1,
    "decoding.errors": 1,
    "decoding.heaps": 1,
    "decoding.pages": 1,
    "decoding.leaving": 1,
    "decoding.loops": 1,
    "decoding.texts": 1.2,
    "decoding.assets": 1,
}
PACKAGES = ("decoding.page", "decoding.engines", "decoding.bench", "decoding.export")

# Who may import what; "" is everybody.
RUNS_MODELS = (
    "decoding.greedy",
    "decoding.temperatures",
    "decoding.forced",
    "decoding.devices",
    "decoding.models",
    "decoding.starter",
    "decoding.engines",
    "decoding.beam",
    "decoding.bench",
)
ALLOWED = {
    "gradio": ("app", "decoding.page"),
    "gradio_client": ("decoding.bench",),
    "starlette": ("decoding.page",),  # gradio is made of these two
    "fastapi": ("decoding.page.guard",),
    "prometheus_client": ("decoding.page",),
    "torch": RUNS_MODELS,
    "transformers": RUNS_MODELS,
    "tokenizers": (*RUNS_MODELS, "decoding.tokenizer_file"),
    "llama_cpp": ("decoding.bench",),  # on request, where it is installed
    "spaces": ("decoding.engines",),
    "httpx": ("decoding.engines",),
    "gguf": ("decoding.starter",),
    "filelock": ("decoding.starter",),
    "huggingface_hub": ("decoding.hub", "decoding.fetching", "decoding.offers"),
    "psutil": ("decoding.room", "decoding.bench"),
    "numpy": ("decoding.engines", "decoding.pages"),
    "threadpoolctl": ("decoding.engines",),
    "playwright": ("decoding.bench",),
    "pandas": ("decoding.trace", "decoding.export"),  # trace for its types
    "pydantic": ("decoding.links", "decoding.trace", "decoding.step", "decoding.loops", "decoding.tokens"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted([ROOT / "app.py", *(ROOT / "decoding").rglob("*.py")])}


def imported(name: str) -> set[str]:
    """Every module that a file imports anywhere in it, for type checking too; ours by the name of its file."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively: write the whole name"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = whole & FILES.keys()
            found |= ours | ({node.module or ""} if ours != whole else set())
    return found


def home(name: str) -> str:
    """A file's name in `FLOORS`: that of its package where it is in one."""
    return next((package for package in PACKAGES if name.startswith(package + ".")), name)


IMPORTS = {name: imported(name) for name in FILES}


def test_every_file_has_its_floor() -> None:
    assert {home(name) for name in FILES} <= FLOORS.keys()


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name: str) -> None:
    for other in IMPORTS[name] & FILES.keys():
        if home(other) != home(name):
            assert FLOORS[home(other)] < FLOORS[home(name)], f"{name} imports {other}"


def test_nothing_imports_in_a_circle() -> None:
    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' → '.join([*way, name])}"
        for other in IMPORTS[name] & FILES.keys():
            walk(other, (*way, name))

    for name in FILES:
        walk(name, ())


@pytest.mark.parametrize("library", ALLOWED)
def test_who_imports_what(library: str) -> None:
    users = {name for name in FILES if any(other.split(".")[0] == library for other in IMPORTS[name])}
    strangers = {name for name in users if not name.startswith(ALLOWED[library])}
    assert not strangers


def test_no_other_library_is_imported() -> None:
    """Runtime dependencies stand once, in requirements.txt."""
    libraries = {other.split(".")[0] for others in IMPORTS.values() for other in others}
    foreign = libraries - set(sys.stdlib_module_names) - {"decoding", "app", ""}
    assert foreign <= ALLOWED.keys()


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import decoding, decoding.run, decoding.shelf, decoding.export", {"torch", "transformers", "tokenizers"}),
        ("import decoding, decoding.run, decoding.shelf, decoding.export", {"gradio", "pandas", "numpy", "plotly"}),
        ("import decoding.__main__", {"torch", "transformers", "gradio", "pandas"}),
        ("import app", {"torch", "transformers", "tokenizers", "gradio"}),
        ("import app; app.build_app(None, ['starter'])", {"torch", "transformers", "tokenizers"}),
    ],
)
def test_what_an_import_costs(statement: str, heavy: set[str]) -> None:
    code = f"import sys; {statement}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
