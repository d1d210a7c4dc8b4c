"""Hostile text on every surface of the page, in a real Chromium on a phone: no script runs, nothing is asked of another
machine, nothing scrolls sideways, and the text stays text.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
import decoding
from decoding.record.permalink import Link, to_link
from decoding.record.trace import Trace
from tests.browser import drawn, frames_later, open_settings, served, tab
from tests.export.test_standalone import hostile
from tests.fakes import ScriptedEngine

IMAGE, SCRIPT = "<img src=http://evil.example/x onerror=window.hit=1>", "</textarea><script>window.hit=1</script>"
TEXTS = {
    "markup": IMAGE,
    "script": SCRIPT,
    "picture": "<svg/onload=window.hit=1>&lt;img src=x onerror=window.hit=1&gt;",
    "link": "<a href=javascript:window.hit=1>press</a> ![x](http://evil.example/y.png) [z](javascript:window.hit=1)",
    "template": "${window.hit=1} {{window.hit=1}} {{constructor.constructor('window.hit=1')()}} {0} %s",
    "attribute": "\" onmouseover=window.hit=1 x=' onfocus=window.hit=1 autofocus `",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "right to left": "\u202e\u2067 abc \u202dשלום\u2066 مرحبا" * 20,
    "zero width": "a" + "\u200b\u200d\u2060\ufeff" * 250,
    "combining": "Z" + "\u0301\u0489\u0338" * 250,
    "one long word": "W" * 4000,
    "wide": "\ufdfd𒐫꧅" * 100,
    "controls": "a\x01\x08\x1b[31m\x7f\x85\u2028\u2029b",
    "NUL": "a\x00b",
}
WORDS = tuple(text[:400] for text in TEXTS.values())
"""The model says them as well, one at a step, and the others are what it might have said."""

TRAP = """
    for (const name of ["alert", "confirm", "prompt"]) window[name] = () => { window.hit = name; };
    addEventListener("securitypolicyviolation", (e) => console.error("refused by policy: " + e.violatedDirective));
"""


WIDEST = """() => [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth)
    .map((e) => `${e.tagName}.${e.className}#${e.id}`).slice(0, 12)"""


class Watched:
    """A page on a phone, and what should not have happened in it."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.context = browser.new_context(viewport={"width": 390, "height": 844})
        self.context.add_init_script(TRAP)
        self.complaints: list[str] = []
        self.page = self.open(url)

    def open(self, address: str) -> Page:
        """Another address in a window of its own, and from now on the one that is looked at."""
        self.page = tab(self.context)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda r: self.complaints.append(r.url) if "evil" in r.url.split("?")[0] else None)
        self.page.goto(address)
        return drawn(self.page) if address.startswith("http") else self.page

    def check(self) -> None:
        assert frames_later(self.page).evaluate("typeof window.hit") == "undefined"
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, (wide, self.page.evaluate(WIDEST))
        assert not self.complaints

    def look_everywhere(self) -> None:
        """Each tab, and the pointer over chips, bars and cells."""
        for name in self.page.locator(".gs [role=tab]:visible").all():
            name.click()
            self.check()
        self.page.locator(".gs [role=tab]").first.click()
        for selector in (".gs-chip", ".gs-bars button", ".gs-table td", ".gs-strip"):
            for one in self.page.locator(selector).all()[:2]:
                one.hover(force=True)
        self.check()


class Script(list[dict[str, float]]):
    """Each word in its turn, and the next two as candidates."""

    def __init__(self) -> None:
        super().__init__()
        for n in range(len(WORDS)):
            self.append({WORDS[(n + k) % len(WORDS)]: share for k, share in enumerate((0.6, 0.2, 0.1))})


@pytest.fixture(scope="module")
def url(browser: Browser) -> Iterator[str]:
    engine = ScriptedEngine(Script(), words=WORDS, context_length=None)
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.fixture(scope="module")
def watched(browser: Browser, url: str) -> Iterator[Watched]:
    there = Watched(browser, url)
    yield there
    there.context.close()


def run(page: Page, prompt: str, *, steps: int) -> None:
    # Not typed: no key is a NUL or half a pair.
    page.evaluate(
        """(codes) => {
            const field = document.querySelector("#prompt textarea");
            field.value = String.fromCharCode(...codes);
            field.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [int.from_bytes(pair, "little") for pair in _pairs(prompt)],
    )
    open_settings(page).fill("#steps input", str(steps))
    page.fill("#choices input", "3")
    page.click("#run")


def _pairs(text: str) -> list[bytes]:
    units = text.encode("utf-16-le", "surrogatepass")
    return [units[at : at + 2] for at in range(0, len(units), 2)]


@pytest.mark.parametrize("name", TEXTS)
def test_a_prompt_is_text(watched: Watched, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    page = watched.page
    run(page, TEXTS[name], steps=3)
    if name == "NUL":
        expect(page.locator("#problem-prompt")).to_contain_text("a NUL")
    else:
        begins = TEXTS[name][:6]  # enough to tell it from the prompt before
        expect(page.locator(".gs-prompt")).to_contain_text("\\u202e" if name == "right to left" else begins)
        expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    watched.check()
    assert page.locator(".gs-prompt *:not(span):not(button):not(i):not(bdi)").count() == 0
    assert TEXTS[name][:20] not in "".join(capfd.readouterr())


def test_what_the_model_says_is_text_on_every_tab(watched: Watched) -> None:
    run(watched.page, "a", steps=len(WORDS))
    expect(watched.page.locator(".gs-state")).to_contain_text(f"{len(WORDS)} steps, done")
    watched.look_everywhere()
    for step in range(0, len(WORDS), 2):
        watched.page.locator(".gs-text .gs-chip, .gs-chip").nth(step).click()
        watched.check()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [(IMAGE * 2000, "at most 50,000 are read. Shorten it."), ("a\ud800b", ""), ("\udfff", "")],
    ids=["100,000 characters", "half a pair", "the other half"],
)
def test_what_is_refused_is_refused_in_a_sentence(watched: Watched, prompt: str, sentence: str) -> None:
    run(watched.page, prompt[:100_000], steps=3)
    expect(watched.page.locator("#run")).to_be_enabled()
    expect(watched.page.locator("#problem-prompt, #notice").filter(visible=True).first).to_contain_text(sentence)
    expect(watched.page.locator(".gs-chip").first).to_be_visible()
    watched.check()


def test_a_run_from_a_file_a_link_and_the_page_that_is_kept(watched: Watched, url: str, tmp_path: Path) -> None:
    page = watched.page
    for text in (IMAGE, SCRIPT, TEXTS["right to left"], TEXTS["combining"]):
        replay(page, tmp_path, hostile(text, *WORDS))
        watched.look_everywhere()
    page.click("#gs-tab-keep")
    with page.expect_download() as download:
        page.get_by_role("button", name="HTML", exact=True).click()
    kept = tmp_path / "kept.html"
    download.value.save_as(kept)
    for model, prompt in (("scripted", SCRIPT), (IMAGE, "a")):
        page = watched.open(f"{url}?run={to_link(Link(model, prompt, 2, 2, []))}")
        expect(page.locator(".gs-prompt" if model == "scripted" else "#problem-model")).to_contain_text(
            SCRIPT if model == "scripted" else json.dumps(IMAGE)
        )
        watched.check()
    page = watched.open(f"{url}?run={IMAGE}&embed={IMAGE}&lang={IMAGE}")
    expect(page.locator(".gs-chip").first).to_be_visible()
    watched.check()
    page = watched.open(kept.as_uri())
    expect(page.locator(".gs-chip").first).to_be_visible()
    watched.look_everywhere()


# ---- what stands beside hostile text is still there, and still in its place

OUTSIDE = """(selector) => [...document.querySelectorAll(selector)].filter((each) => {
    const box = each.closest("section").getBoundingClientRect(), own = each.getBoundingClientRect();
    return own.right > box.right + 1 || own.left < box.left - 1;
}).length"""
AROUND_A_CHIP = """() => {
    const chip = document.querySelector(".gs-chip").getBoundingClientRect();
    const line = [...document.querySelector(".gs-prompt").getClientRects()]
        .filter((each) => each.top < chip.bottom && chip.top < each.bottom);
    return new Set(line.map((each) => each.left >= chip.right - 1)).size;
}"""

BACKWARDS = """() => {
    const chips = [...document.querySelectorAll(".gs-chip")].map((chip) => chip.getBoundingClientRect());
    return chips.filter((chip, n) => n && chip.top === chips[n - 1].top && chip.left < chips[n - 1].left).length;
}"""


def replay(page: Page, folder: Path, trace: Trace) -> None:
    file = folder / f"run-{len([*folder.iterdir()])}.jsonl"  # which is named where it is on screen
    file.write_text(trace.to_jsonl(), "utf-8", newline="\n")
    page.click("#gs-tab-keep")
    page.set_input_files("#gs-page-keep input[type=file]", file)
    expect(page.locator(".gs-note")).to_contain_text(file.name)
    expect(page.locator(".gs-chip")).to_have_count(len(trace.steps))


def test_a_flood_covers_nothing_beside_it(browser: Browser, url: str, tmp_path: Path) -> None:
    there = Watched(browser, url)
    page = there.page
    for text in (TEXTS["combining"], TEXTS["one long word"][:400]):
        replay(page, tmp_path, hostile(text, *WORDS))
        assert page.locator(".gs-head").bounding_box()["height"] < 420  # type: ignore[index]
        page.click("#gs-tab-whatif")
        expect(page.locator(".gs-closest li")).to_have_count(5)
        assert frames_later(page).evaluate(OUTSIDE, ".gs-closest, .gs-closest li, .gs-closest button") == 0
        replay(page, tmp_path, decoding.trace(ScriptedEngine(context_length=None), text, max_new_tokens=4, top_k=3))
        page.click("#gs-tab-table")
        expect(frames_later(page).locator("#gs-page-table tbody tr")).to_have_count(4)
        text_cell, beside = page.locator("#gs-page-table tbody tr").nth(1).locator("th, td").all()[:2]
        seen = beside.screenshot()
        text_cell.evaluate("(cell) => { cell.style.visibility = 'hidden'; }")
        assert beside.screenshot() == seen
    there.check()
    there.context.close()


@pytest.mark.parametrize(
    "text",
    [TEXTS["right to left"], "\u2066\u2067" * 80 + " שלום", "\u2069\u202e abc", "\u2069\u2067 abc", "\u202e\u2068 abc"],
    ids=["floods", "isolates", "an end and an override", "an end and an isolate", "an override and an isolate"],
)
def test_a_direction_that_is_left_open_ends_with_the_prompt(
    browser: Browser, url: str, tmp_path: Path, text: str
) -> None:
    """The frame that a style sheet puts around it does not close what was opened in it."""
    there = Watched(browser, url)
    said = decoding.trace(ScriptedEngine(context_length=None), text, max_new_tokens=6, top_k=3)
    replay(there.page, tmp_path, said)
    assert frames_later(there.page).evaluate(AROUND_A_CHIP) <= 1
    assert there.page.evaluate(BACKWARDS) == 0
    there.check()
    there.context.close()


def test_what_turns_a_text_around_turns_nothing_else(browser: Browser, url: str, tmp_path: Path) -> None:
    there = Watched(browser, url)
    page = there.page
    for text in (TEXTS["right to left"], "\u202e abc", "\u2067 abc", "\u202e" * 60):
        replay(page, tmp_path, hostile(text, *WORDS[:3]))
        assert frames_later(page).evaluate(AROUND_A_CHIP) <= 1
        for place in (".gs-model", ".gs-state", ".gs-note", ".gs-step-title"):
            said = page.locator(place).text_content() or ""
            assert said
            said = re.sub("\u2068([^\u2066-\u2069]*)\u2069", r"\1", said)  # an isolate that is closed turns nothing
            assert not set(said) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    there.check()
    there.context.close()
