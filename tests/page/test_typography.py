"""Type and alignment: a word is in one font, controls are as large in every language, and large enough for a finger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import app as application
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import SPECIALS, ScriptedEngine
from tests.page.actions import wait_for_first_run

SCRIPT = [{",": 0.5, " " + "unbreakable" * 9: 0.3}, {" most": 0.9}]
WORDS = (",", " " + "unbreakable" * 9, " most")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = ScriptedEngine(SCRIPT, words=WORDS)
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


def run(page: Page, choices: str = "3") -> Page:
    open_settings(page).fill("#choices input", choices)
    page.click("#run")
    wait_for_first_run(page)
    return frames_later(page)


def test_bytes_stand_in_their_order_within_a_text_that_runs_from_right_to_left(visit: Visit) -> None:
    first, second = (len(SPECIALS) + byte for byte in "\u060c".encode())
    engine = ScriptedEngine([{first: 0.9}, {second: 0.9}])
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        page = visit(address)
        page.fill("#prompt textarea", "مرحبا")
        page.fill("#steps input", "2")
        page.click("#run")
        expect(page.locator(".gs-text .gs-chip")).to_have_count(2)
        places = page.locator(".gs-text .gs-chip .gs-adds").last.evaluate("""(small) => [..."⟨+8C⟩"].map((_, n) => {
            const range = document.createRange();
            range.setStart(small.firstChild, n);
            range.setEnd(small.firstChild, n + 1);
            return range.getBoundingClientRect().left;
        })""")
        assert places == sorted(places)


def test_words_from_right_to_left_take_no_number_along(visit: Visit, tmp_path: Path) -> None:
    engine = ScriptedEngine([{"ر": 0.5, "م": 0.3}, {"ب": 0.9}], words=("ر", "م", "ب"))
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        page = visit(f"{address}?language=en")
        page.fill("#prompt textarea", "हिन्दी مرحبا")
        page.fill("#steps input", "2")
        page.click("#run")
        expect(page.locator(".gs-text .gs-chip")).to_have_count(2)
        page.click("#gs-tab-whatif")
        expect(page.locator("#gs-page-whatif li").first).to_contain_text(
            "Step 1: \u2068ر\u2069 50.00 %, \u2068م\u2069 30.00 %, margin 20.00 %"
        )
        page.click("#gs-tab-why")
        page.click("#gs-page-why [data-ask]")
        change = page.locator(".gs-change").first
        expect(change).to_have_css("direction", "ltr")  # the answer may still grow
        page.click("#gs-tab-keep")
        with page.expect_download() as saved:
            page.click('[data-picture="svg"]')
        assert saved.value.suggested_filename == "greedyscope-हिन्दी-مرحبا-step-2.svg"
        saved.value.save_as(tmp_path / "step.svg")
        picture = (tmp_path / "step.svg").read_text("utf-8")
        assert "\u2068ب\u2069" in picture
        assert 'direction="rtl"' not in picture  # its first letter is Hindi
        page.fill("#prompt textarea", "مرحبا abc")
        page.click("#run")
        expect(page.locator(".gs-text .gs-prompt")).to_have_text("مرحبا abc")
        expect(page.locator(".gs-text .gs-chip")).to_have_count(2)
        with page.expect_download() as saved:
            page.click('[data-picture="svg"]')
        saved.value.save_as(tmp_path / "step.svg")
        assert 'x="1824" y="190"' in (line := (tmp_path / "step.svg").read_text("utf-8"))
        assert line.count('direction="rtl"') == 1


def test_a_prompt_of_which_nothing_would_be_seen_is_spelled(url: str, visit: Visit) -> None:
    page = visit(url)
    page.fill("#prompt textarea", "\u200b \u200b")
    run(page)
    expect(page.locator(".gs-prompt")).to_have_text("\\u200b·\\u200b")


def test_no_font_is_shipped_that_lacks_letters(url: str, visit: Visit) -> None:
    page = run(visit(url))
    assert page.evaluate("[...document.fonts].filter((font) => /Source Sans|Plex/.test(font.family)).length") == 0
    client = page.context.new_cdp_session(page)
    client.send("DOM.enable")
    client.send("CSS.enable")
    root = client.send("DOM.getDocument")["root"]["nodeId"]
    for selector in ("#title h1", ".gs h2", ".gs-step-title", ".gs-model", '[data-ask="undo"]', "#run"):
        node = client.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        fonts = client.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        assert len({font["familyName"] for font in fonts}) <= 1, (selector, fonts)


SIZES = """() => Object.fromEntries([...document.querySelectorAll(
    '.gs [role="tab"], [data-languages] button, #run, .gs-head, .gs-step-head, .gs-title, .gs-temperature, .gs-player'
)].map((node) => {
    const { width, height } = node.getBoundingClientRect();
    const isAsWide = node.matches("[data-language], [role='tab']");
    return [node.id || node.dataset.language || node.className, [isAsWide ? width : 0, height]];
}))"""


LINES = """(selector) => {
    const boxes = [...document.querySelectorAll(selector)].flatMap((node) => [...node.getClientRects()]);
    return [boxes.length, new Set(boxes.map((box) => Math.round(box.top))).size];
}"""


def test_controls_are_as_large_in_both_languages(url: str, visit: Visit) -> None:
    page = run(visit(url, height=720))
    english = page.evaluate(SIZES)
    assert page.evaluate(LINES, ".gs-numbers > span") == [3, 1], "log-probability, entropy and margin are one line"
    page.click("[data-language=ko]")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    korean = frames_later(page).evaluate(SIZES)
    assert page.evaluate(LINES, ".gs-numbers > span") == [3, 1]
    page.click("#gs-tab-lesson")  # the dialog is in its page
    page.evaluate("document.querySelector('.gs-vote').hidden = document.querySelector('.gs-vote-local').hidden = false")
    page.evaluate("document.querySelector('.gs-vote-join').show()")
    expect(page.locator(".gs-vote-local code")).to_have_text("--host 0.0.0.0")
    for width in (1280, 1000, 700, 390):
        page.set_viewport_size({"width": width, "height": 720})
        assert frames_later(page).evaluate(LINES, ".gs-vote-local code") == [1, 1], "what one types is in one piece"
    assert english == korean
    tabs = {tuple(size) for name, size in english.items() if name.startswith("gs-tab")}
    assert len(tabs) == 1
    assert english["en"] == english["ko"]


TOO_SMALL = """() => [...document.querySelectorAll(".gs button, .gs summary")].filter((node) => {
    const { width, height } = node.getBoundingClientRect();
    return node.checkVisibility() && (width < 24 || height < 24);
}).map((node) => node.outerHTML.slice(0, 90))"""


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_pressed_is_large_enough(url: str, visit: Visit, width: int) -> None:
    page = run(visit(url, width=width, height=844))
    page.locator(".gs-chip").first.click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "1")
    page.locator(".gs-column .gs-bar").nth(1).dispatch_event("click")
    expect(page.locator(".gs-forked")).to_be_visible()
    expect(page.locator("#run")).to_be_enabled()
    small = {}
    for name in ("table", "lesson", "why", "whatif", "tree", "compare", "keep", "reading"):
        page.locator(f"#gs-tab-{name}").press("Enter")
        small[name] = frames_later(page).evaluate(TOO_SMALL)
    assert not any(small.values()), small


@pytest.mark.parametrize("width", [1280, 390])
def test_a_token_is_whole_and_large_enough_to_press(url: str, visit: Visit, width: int) -> None:
    page = run(visit(url, width=width, height=844))
    page.locator(".gs-chip").first.click()
    frames_later(page)
    for index in (1, 0):
        page.locator(".gs-column .gs-bar").nth(index).dispatch_event("click")
        expect(page.locator(".gs-chip-text").first).to_have_text((",", "·" + "unbreakable" * 9)[index])
        expect(page.locator("#run")).to_be_enabled()
        chips = frames_later(page).evaluate("""() => [...document.querySelectorAll(".gs-chip")].map((chip) => {
            const [text] = chip.children;
            const lines = text.getClientRects().length;
            const { width, height } = chip.getBoundingClientRect();
            return { lines, width, height, high: text.clientHeight, room: chip.parentElement.clientWidth };
        })""")
        assert all(chip["width"] >= 24 and chip["height"] >= 24 for chip in chips)
        assert {chip["lines"] for chip in chips} == {1}
        assert len({round(chip["high"]) for chip in chips}) == 1, "no token is broken into lines"
        assert all(chip["width"] <= chip["room"] for chip in chips)


def test_fields_on_a_phone_do_not_make_it_zoom(url: str, visit: Visit) -> None:
    page = run(visit(url, width=390, height=844))
    small = page.evaluate("""() => [...document.querySelectorAll("input, textarea, select")].filter(
        (field) => !["range", "checkbox", "file"].includes(field.type)
            && parseFloat(getComputedStyle(field).fontSize) < 16
    ).map((field) => field.outerHTML.slice(0, 120))""")
    assert small == []
