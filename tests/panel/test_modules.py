"""The panel's modules: which folder may import which, what an exported file holds, and how they become one script."""

from pathlib import Path

import pytest

from decoding.assets import ASSETS, file_script, page_script, panel_html, site_script, vote_script
from decoding.page.panel import page_scripts
from decoding.script_bundle import BundleError, bundle, modules_of

FOLDERS = ("panel/core", "panel/view", "panel/tabs", "panel/app", "standalone", "browser", "vote")
"""In this order: a module imports from its own folder and those before it."""
ENTRIES = (
    *("panel/app/page.js", "standalone/page.js", "standalone/plotly_page.js"),
    *("browser/site_page.js", "browser/gradio_page.js", "vote/page.js"),
)
NEEDS_A_SERVER = {
    "page_features",
    "address_bar",
    "page_fields",
    "server_conversion",
    "stored_runs",
    "class_vote",
    "vote_server",
    "export",
    "compare",
    "why_question",
}


def folder_of(module: Path) -> str:
    return module.parent.relative_to(ASSETS).as_posix()


def modules() -> list[Path]:
    return sorted({module for entry in ENTRIES for module in modules_of(ASSETS / entry)})


def test_a_folder_imports_from_those_before_it() -> None:
    found = modules()
    assert len(found) > 50
    for module in found:
        place = FOLDERS.index(folder_of(module))
        for other in modules_of(module):
            assert FOLDERS.index(folder_of(other)) <= place, f"{module.name} imports {other.name}"


def test_every_module_is_part_of_a_surface() -> None:
    written = {path for name in FOLDERS for path in (ASSETS / name).glob("*.js")}
    assert written - set(modules()) == {ASSETS / "browser/service_worker.js"}


def test_an_exported_file_holds_nothing_that_needs_a_server() -> None:
    on_the_page = {module.stem for module in modules_of(ASSETS / "panel/app/page.js")}
    assert on_the_page >= NEEDS_A_SERVER
    assert not {module.stem for module in modules_of(ASSETS / "standalone/page.js")} & {*NEEDS_A_SERVER, "lens_picture"}
    assert not {module.stem for module in modules_of(ASSETS / "standalone/plotly_page.js")} & NEEDS_A_SERVER


def test_what_needs_our_own_server_is_on_its_page_only() -> None:
    """There is no button, not even a hidden one, where no class could vote."""
    assert not {module.stem for module in modules_of(ASSETS / "browser/site_page.js")} & {"class_vote", "vote_server"}
    assert not any("vote" in panel_html(page=page) for page in (True, False))
    assert b"data-vote" in page_scripts()["panel"]


def test_each_surface_is_one_script() -> None:
    for script, start in (
        (page_script(), "startPage"),
        (file_script(), "startFile"),
        (site_script(), "startSite"),
        (vote_script(), "startVotePage"),
    ):
        assert f"function {start}(" in script
        assert not [line for line in script.splitlines() if line.startswith(("import ", "export ", "//"))]
        assert "/**" not in script


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text, "utf-8")
    return folder / f"{next(iter(texts))}.js"


def test_a_module_stands_behind_those_that_it_imports(tmp_path: Path) -> None:
    entry = write(
        tmp_path,
        page='// The page.\n\nimport {\n  one,\n} from "./b.js";\n\nexport async function page() {\n  one();\n}\n',
        b='import { two } from "./c.js";\n\n/** @type {number} */\nexport const one = two; // two\n',
        c="export const two = 2;\n",
    )
    assert bundle(entry) == "const two = 2;\nconst one = two; // two\nasync function page() {\n  one();\n}"


@pytest.mark.parametrize(
    ("message", "first", "second"),
    [
        ("circle of imports: a.js → b.js → a.js", 'import { b } from "./b.js";\n', 'import { a } from "./a.js";\n'),
        ("imports c, which ./b.js does not", 'import { b, c } from "./b.js";\n', "export const b = 1;\nconst c = 2;\n"),
        ("c: defined in two", 'import { b } from "./b.js";\nfunction c() {}\n', "export const b = 1;\nclass c {}\n"),
        ("imports as, which", 'import { b as c } from "./b.js";\n', "export const b = 1;\n"),
        ("neither `import", 'import * as b from "./b.js";\n', ""),
        ("neither `import", 'import "./b.js";\n', ""),
        ("neither `import", "export default 1;\n", ""),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, message: str, first: str, second: str) -> None:
    with pytest.raises(BundleError, match=message.replace(".", r"\.")):
        bundle(write(tmp_path, a=first, b=second))
