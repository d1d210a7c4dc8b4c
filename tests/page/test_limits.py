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
from tests.browser import Visit, served, tab
from tests.fakes import ScriptedEngine
from tests.record.test_bounds import refused
from tests.test_patterns import LENGTH, MOST, SHORTEST, script_patterns, units


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


@pytest.fixture(scope="module")
def scripts(browser: Browser) -> Iterator[Page]:
    """The panel's scripts alone, in an empty page."""
    page = browser.new_page()
    page.set_content("<main></main>")
    page.add_script_tag(content=f"{assets.page_script()}\nprovide({assets.page_data()});")
    yield page
    page.close()


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


def test_the_browser_refuses_by_size_what_the_server_refuses(lines: list[dict[str, Any]], scripts: Page) -> None:
    for name, text in large(lines).items():
        assert refused(text) != "", name
        said = scripts.evaluate("(text) => refusalOf(text)", text)
        assert said.endswith(("is read.", "are read.")), name
    for text in (text_of(lines), "", "no run", "[]\n[]\n", "null\n1\n"):  # of which the server says more
        assert scripts.evaluate("(text) => refusalOf(text)", text) == ""


@pytest.mark.parametrize("path", sorted((assets.ASSETS / "recorded").glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_runs_are_not_too_large(path: Any, scripts: Page) -> None:
    assert scripts.evaluate("(text) => refusalOf(text)", path.read_text("utf-8")) == ""


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


# ---- sentences and patterns


def test_a_sentence_is_found_again_whatever_stands_in_it(scripts: Page) -> None:
    """As the patterns did that these parts stand for: each place is filled, and found again."""
    wrong = scripts.evaluate(r"""() => {
        const wrong = [];
        for (const { key, names, fixed } of patternsOf(TEXTS.en)) {
            const filled = names.map((_, n) => `x${n}`);
            const sentence = fixed.flatMap((part, n) => [part, filled[n] ?? ""]).join("");
            const sign = fixed.slice(1, -1).includes("") ? "" : "|"; // places side by side are one
            if (between(fixed, sentence)?.join(sign) !== filled.join(sign)) wrong.push(key);
            if (fixed.join("").length > 2 && between(fixed, `${sentence}!?!`) && fixed.at(-1)) wrong.push(key);
        }
        return wrong;
    }""")
    assert wrong == []


def test_a_strangers_sentence_is_worded_in_time_that_grows_with_it(scripts: Page) -> None:
    """A pattern of five wildcards took the sixth power of a sentence's length."""
    times = scripts.evaluate(r"""() => {
        const known = patternsOf(TEXTS.en);
        const timed = (text) => {
            const begun = performance.now();
            for (const { fixed } of known) between(fixed, text);
            return performance.now() - begun;
        };
        const units = [...new Set(known.flatMap(({ fixed }) => fixed))].filter(Boolean);
        return units.map((unit) => [10_000, 100_000].map((length) => {
            const starts = known.map(({ fixed }) => fixed[0]).filter((first) => first.startsWith(unit));
            const text = (starts[0] ?? "") + unit.repeat(length / unit.length + 1).slice(0, length) + "\u0000";
            return Math.min(timed(text), timed(text), timed(text));
        }));
    }""")
    slow = [(once, tenfold) for once, tenfold in times if tenfold > max(1000 * SHORTEST, MOST * once)]
    assert slow == []
    sentence = "Line 1 of the run cannot be read: " * 3_000
    korean = "(text) => { texts.choose('ko'); const said = reword(text); texts.choose('en'); return said; }"
    assert scripts.evaluate(korean, sentence) == sentence
    nested = "Line 1 of the run cannot be right: " * 110 + "x" + "." * 110
    assert len(nested) < limits.MAX_NOTE_CHARACTERS
    said = scripts.evaluate(korean, nested)
    assert said.count("실행의 1번째 줄이 맞지 않습니다") == 5  # a sentence within a sentence, but not for ever


SCRIPT_PATTERNS = script_patterns()


def test_the_scripts_patterns_are_found() -> None:
    assert len(SCRIPT_PATTERNS) >= 10
    assert any("\\p{C}" in pattern for pattern in SCRIPT_PATTERNS.values())


@pytest.mark.parametrize("pattern", SCRIPT_PATTERNS.values(), ids=SCRIPT_PATTERNS)
def test_a_scripts_pattern_takes_time_in_proportion_to_the_text(pattern: str, scripts: Page) -> None:
    body, flags = pattern[1:].rsplit("/", 1)
    found = scripts.evaluate(
        r"""([body, flags, units, length, shortest, most]) => units.map((unit) => {
            const pattern = new RegExp(body, flags.includes("g") ? flags : `${flags}g`);
            const timed = (size) => {
                const text = `${unit.repeat(size / unit.length + 1).slice(0, size)}\0`;
                const begun = performance.now();
                text.replace(pattern, "");
                return performance.now() - begun;
            };
            const isSlow = () => {
                const [once, tenfold] = [timed(length), timed(10 * length)];
                return tenfold > shortest && tenfold > most * once;
            };
            return [1, 2, 3, 4].every(isSlow) ? unit : null; // a hiccup is no square
        })""",
        [body, flags, units(body), LENGTH, 1000 * SHORTEST, MOST],
    )
    assert [unit for unit in found if unit is not None] == []
