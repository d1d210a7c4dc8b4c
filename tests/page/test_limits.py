"""The browser refuses by the server's own limits before it draws: no file that is opened here freezes the tab."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
import decoding
from decoding import assets, limits
from decoding.record.trace import Trace
from tests import node
from tests.browser import Visit, served, tab
from tests.fakes import ScriptedEngine
from tests.record.test_bounds import refused
from tests.test_regex_speed import LENGTH, MOST, SHORTEST, script_patterns, units


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="module")
def url(engine: ScriptedEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.fixture(scope="module")
def lines(engine: ScriptedEngine) -> list[dict[str, Any]]:
    run = decoding.trace(engine, "a", max_new_tokens=3, top_k=3)
    return [json.loads(line) for line in run.to_jsonl().splitlines()]


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def with_(lines: list[dict[str, Any]], at: int, **fields: Any) -> str:
    return text_of([*lines[:at], lines[at] | fields, *lines[at:][1:]])


def large(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Files that the server refuses for their size alone."""
    header, first, *_, last = lines
    many = first["candidates"] * 20_000
    steps = [first | {"index": n} for n in range(1_001)]
    long = "x" * (limits.MAX_NOTE_CHARACTERS + 1)
    return {
        "a prompt of 1.1 MB and 500 steps": text_of([header | {"prompt": "a" * 1_100_000}, *steps[:500], last]),
        "60,000 candidates": text_of([header, first | {"candidates": many}, last]),
        "51 candidates": with_(lines, 1, candidates=first["candidates"] * 17),
        "many sums": with_(lines, 1, log_sums=[[n + 1, 0.0] for n in range(17)]),
        "a wide header": with_(lines, 0, top_k=10**7),
        "many steps": text_of([header | {"max_new_tokens": 1_001}, *steps, last]),
        "many steps to come": with_(lines, 0, max_new_tokens=10**9),
        "a long prompt": with_(lines, 0, prompt="a" * 50_001),
        "a long note": with_(lines, 0, note=long),
        "a long name": with_(lines, 0, model=header["model"] | {"why": long}),
        "a long message": with_(lines, 4, stop_reason="error", message=long),
        "a long token": with_(lines, 1, picked=first["picked"] | {"text": "a" * 1_001}),
        "a long loop": with_(lines, 4, loops=[{"start": 0, "period": 1, "repeats": 10**9}]),
        "too many bytes": " " * (limits.MAX_RUN_BYTES + 1),
    }


def refusals(texts: list[str]) -> list[str]:
    """Why the panel would not draw a text: "" for each that it draws."""
    code = """async (texts, load) => {
        const { refusalOf } = await load("core/too_large.js");
        return texts.map(refusalOf);
    }"""
    found: list[str] = node.run(code, texts)
    return found


def test_the_browser_refuses_by_size_what_the_server_refuses(lines: list[dict[str, Any]]) -> None:
    texts = large(lines)
    for (name, text), said in zip(texts.items(), refusals([*texts.values()]), strict=True):
        assert refused(text) != "", name
        assert said.endswith(("is read.", "are read.")), name
    assert refusals([text_of(lines), "", "no run", "[]\n[]\n", "null\n1\n"]) == [""] * 5  # the server says more


def test_recorded_runs_are_not_too_large() -> None:
    texts = [path.read_text("utf-8") for path in sorted((assets.ASSETS / "recorded").glob("*.jsonl"))]
    assert len(texts) > 1
    assert not any(refusals(texts))


def open_file(page: Page, text: str) -> None:
    page.set_input_files("#gs-page-keep [type=file]", {"name": "a.jsonl", "mimeType": "", "buffer": text.encode()})


def test_a_file_that_would_freeze_the_tab_is_refused_before_the_server_is_asked(
    url: str, visit: Visit, lines: list[dict[str, Any]]
) -> None:
    page = visit(url)
    page.click("#gs-tab-keep")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("a prompt of 1.1 MB and 500 steps", "60,000 candidates", "a wide header"):
        open_file(page, large(lines)[name])
        expect(page.locator(".gs-refused")).to_contain_text("is too large to be shown", timeout=20_000)
        page.locator(".gs-refused").evaluate("(slot) => { slot.textContent = ''; }")
    assert not [address for address in asked if "/keep/" in address]


def test_the_largest_file_that_is_read_can_be_looked_through(url: str, visit: Visit, engine: ScriptedEngine) -> None:
    run = decoding.trace(engine, "a", max_new_tokens=256, top_k=50)
    large_run = replace(run, prompt="a" * 50_000, prompt_tokens=run.prompt_tokens * 50_000)
    page = visit(url)
    page.click("#gs-tab-keep")
    open_file(page, large_run.to_jsonl())
    expect(page.locator(".gs-state")).to_contain_text("256 steps, done", timeout=60_000)
    page.click("#gs-tab-table")
    expect(page.locator("#gs-page-table table")).to_have_attribute("aria-rowcount", "257")
    assert page.locator("#gs-page-table tbody th").last.evaluate("(cell) => cell.textContent.length") <= 100
    page.keyboard.press("Home")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 1 of 256")


def test_an_exported_file_that_is_too_large_says_so(engine: ScriptedEngine, browser: Browser, tmp_path: Any) -> None:
    run = decoding.trace(engine, "a", max_new_tokens=2, top_k=2)
    file = tmp_path / "run.html"
    file.write_text(Trace.to_html(replace(run, prompt="a" * 1_100_000)), "utf-8")
    page = tab(browser)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file.as_uri())
    expect(page.locator(".kept")).to_contain_text("Line 1 of the run is too large to be shown")
    expect(page.locator(".gs-chip")).to_have_count(0)
    page.close()
    assert wrong == []


# ---- patterns


SCRIPT_PATTERNS = script_patterns()


def test_the_scripts_patterns_are_found() -> None:
    assert len(SCRIPT_PATTERNS) >= 10
    assert any("\\p{C}" in pattern for pattern in SCRIPT_PATTERNS.values())


def test_a_scripts_pattern_takes_time_in_proportion_to_the_text() -> None:
    code = r"""([patterns, length, shortest, most]) => patterns.flatMap(([name, body, flags, units]) => {
        const pattern = new RegExp(body, flags.includes("g") ? flags : `${flags}g`);
        const timed = (unit, size) => {
            const text = `${unit.repeat(size / unit.length + 1).slice(0, size)}\0`;
            const begun = process.cpuUsage(); // what others do meanwhile counts for nothing
            text.replace(pattern, "");
            const { user, system } = process.cpuUsage(begun);
            return (user + system) / 1000;
        };
        const isSlow = (unit) => {
            const [once, tenfold] = [timed(unit, length), timed(unit, 10 * length)];
            return tenfold > shortest && tenfold > most * once;
        };
        const slow = units.filter((unit) => [1, 2, 3, 4].every(() => isSlow(unit))); // a hiccup is no square
        return slow.map((unit) => [name, unit]);
    })"""
    split = {name: pattern[1:].rsplit("/", 1) for name, pattern in SCRIPT_PATTERNS.items()}
    patterns = [[name, body, flags, units(body)] for name, (body, flags) in split.items()]
    assert node.run(code, [patterns, LENGTH, 1000 * SHORTEST, MOST]) == []
    assert node.run(code, [[["a square", "a*$", "", ["a"]]], LENGTH // 5, 1000 * SHORTEST, MOST]) == [["a square", "a"]]
