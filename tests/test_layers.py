"""The rooms of the house, in order: a file imports from its own room and those before it, and nothing in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each line is a room. A file of `decoding/` itself stands beside the files it works with.
ROOMS = (
    (
        "decoding.errors",
        "decoding.cancellation",
        "decoding.generator_results",
        "decoding.limits",
        "decoding.script_bundle",
        "decoding.assets",
        "decoding.plotly_script",
        "decoding.i18n",
        "decoding.messages",
    ),
    ("decoding.record",),
    ("decoding.export",),
    ("decoding.models",),
    ("decoding.ranking", "decoding.softmax", "decoding.greedy", "decoding.sampling", "decoding.beam"),
    ("decoding.engines",),
    ("decoding.requests", "decoding.command_line"),
    ("decoding.run", "decoding.questions"),
    ("decoding.serving",),
    ("decoding.page",),
    ("app", "decoding", "decoding.__main__", "decoding.starter", "decoding.bench", "decoding.site"),
)
# A Trace writes itself as a table or a file: the one place that looks upwards.
UPWARDS = {("decoding.record.trace", "decoding.export")}

# Who may import what; "" is everybody.
RUNS_MODELS = (
    "decoding.models.config_support",
    "decoding.models.context_length",
    "decoding.models.devices",
    "decoding.models.generation_settings",
    "decoding.models.loading",
    "decoding.models.slow_tokenizer",
    "decoding.models.starter",
    "decoding.engines",
    "decoding.bench",
)
ALLOWED = {
    "gradio": ("app", "decoding.page"),
    "gradio_client": ("decoding.bench",),
    "starlette": ("decoding.page",),  # gradio is made of these four
    "fastapi": ("decoding.page.http",),
    "uvicorn": ("decoding.page.http", "decoding.page.gradio_compat"),
    "anyio": ("decoding.page.http",),
    "httptools": ("decoding.page.gradio_compat",),
    "prometheus_client": ("decoding.page",),
    "segno": ("decoding.page.http.qr_code",),
    "torch": RUNS_MODELS,
    "transformers": RUNS_MODELS,
    "tokenizers": (
        *RUNS_MODELS,
        "decoding.models.tokenizer",
        "decoding.models.gguf_tokenizer_builder",
    ),
    "llama_cpp": ("decoding.bench",),  # on request, where it is installed
    "jinja2": ("decoding.models.chat_renderer",),
    "spaces": ("decoding.engines",),
    "httpx": ("decoding.engines",),
    "onnx": ("decoding.engines.onnx",),
    "onnxruntime": ("decoding.engines.onnx",),
    "filelock": ("decoding.models.cache", "decoding.site.version_folders"),
    "huggingface_hub": (
        "decoding.models.hub",
        "decoding.models.hub_listing",
        "decoding.models.gguf_head",
        "decoding.models.download",
        "decoding.serving.availability",
    ),
    "psutil": ("decoding.models.resources", "decoding.bench"),
    "numpy": (
        "decoding.ranking",
        "decoding.softmax",
        "decoding.sampling",
        "decoding.engines",
        "decoding.models",
        "decoding.bench",
    ),
    "playwright": ("decoding.bench",),
    "pandas": ("decoding.record.trace", "decoding.export"),  # trace for its types
    "pydantic": (
        "decoding.record.beams",
        "decoding.record.prompt_scores",
        "decoding.record.trace",
        "decoding.record.step",
        "decoding.record.tokens",
        "decoding.record.why",
    ),
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


def room(name: str) -> int:
    """The place of a file in `ROOMS`. A file that stands in none fails."""
    package = ".".join(name.split(".")[:2])
    return next(number for number, files in enumerate(ROOMS) if package in files)


IMPORTS = {name: imported(name) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_imports_point_one_way(name: str) -> None:
    for other in IMPORTS[name] & FILES.keys():
        if (name, other) not in UPWARDS:
            assert room(other) <= room(name), f"{name} imports {other}"


def test_nothing_imports_in_a_circle() -> None:
    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' → '.join([*way, name])}"
        for other in IMPORTS[name] & FILES.keys():
            walk(other, (*way, name))

    for name in FILES:
        walk(name, ())


@pytest.mark.parametrize("library", ALLOWED)
def test_only_allowed_files_import_a_library(library: str) -> None:
    users = {name for name in FILES if any(other.split(".")[0] == library for other in IMPORTS[name])}
    strangers = {name for name in users if not name.startswith(ALLOWED[library])}
    assert not strangers


def test_no_other_library_is_imported() -> None:
    """Runtime dependencies stand once, in requirements.txt."""
    libraries = {other.split(".")[0] for others in IMPORTS.values() for other in others}
    foreign = libraries - set(sys.stdlib_module_names) - {"decoding", "app", ""}
    assert foreign <= ALLOWED.keys()


STARTER_STEP = "[*model.steps(model.vocabulary.encode('A'), max_new_tokens=1, top_k=2)]"


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        (
            "import decoding, decoding.run, decoding.serving.model_registry, decoding.export",
            {"torch", "transformers", "tokenizers"},
        ),
        (
            "import decoding, decoding.run, decoding.serving.model_registry, decoding.export",
            {"gradio", "pandas", "numpy", "plotly"},
        ),
        ("import decoding.__main__", {"torch", "transformers", "gradio", "pandas"}),
        ("import app", {"torch", "transformers", "tokenizers", "gradio"}),
        ("import app; app.build_app(None, ['starter'])", {"torch", "transformers", "tokenizers"}),
        # The way to the first step on a CPU: of the library and the terminal, and of the page.
        (
            f"import decoding; model = decoding.load('starter', device='cpu'); {STARTER_STEP}",
            {"torch", "transformers", "onnx", "huggingface_hub", "gradio"},
        ),
        (
            "import app; entries = app.entries_of(app.settings([])); app.build_app(None, ['starter']); "
            "from decoding.serving.model_setup import EngineOptions, make_loader; "
            "load = make_loader(entries, EngineOptions('auto', 'cpu', 'auto')); "
            f"model = load('starter', lambda *_: None); {STARTER_STEP}",
            {"torch", "transformers", "onnx"},
        ),
    ],
)
@pytest.mark.usefixtures("starter")  # whose graph is made by then, which takes onnx
def test_what_an_import_costs(statement: str, heavy: set[str]) -> None:
    code = f"import sys; {statement}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
