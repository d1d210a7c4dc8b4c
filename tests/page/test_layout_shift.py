"""Nothing jumps: not while a run grows, nor for an error, nor where the prompt is edited."""

import pytest
from playwright.sync_api import expect

import app as application
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine
from tests.page.one_screen import BOXES, SIZES, run

# What of a shift is seen: on a phone, the player lies over the table's first rows.
SEEN = """
    const player = document.querySelector(".gs-player");
    const lower = getComputedStyle(player).position === "fixed" ? player.getBoundingClientRect().top : innerHeight;
    const isSeen = ({ previousRect, currentRect }) => [previousRect, currentRect].some(
        ({ height, top }) => height > 0 && top < lower);
"""
SHIFTS = f"""() => {{
    {SEEN}
    window.shifted = 0;
    new PerformanceObserver((list) => {{
        for (const {{ hadRecentInput, value, sources }} of list.getEntries())
            if (!hadRecentInput && (sources.length === 0 || sources.some(isSeen))) window.shifted += value;
    }}).observe({{ type: "layout-shift" }});
}}"""
SHIFTS_OUTSIDE_BARS = (
    f"() => {{ {SEEN}"
    + """
    window.moved = [];
    window.labels = new Set();
    const chart = document.querySelector(".gs-chart");
    const look = () => {
        const isBusy = document.querySelector(".gs").getAttribute("aria-busy") === "true";
        if (isBusy) window.labels.add(getComputedStyle(chart).getPropertyValue("--gs-left"));
    };
    new MutationObserver(look).observe(chart, { attributes: true, attributeFilter: ["style"] });
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) {
            const nodes = sources.filter(isSeen).map(({ node }) => node?.nodeType === 3 ? node.parentElement : node);
            const outside = nodes.filter((node) => node && !node.closest(".gs-bars, .gs-chip"));
            const names = outside.map((node) => node.id || node.className || node.tagName);
            if (names.length) window.moved.push([value, ...names]);
        }
    }).observe({ type: "layout-shift" });
}"""
)


def test_an_error_moves_nothing(url: str, visit: Visit) -> None:
    page = visit(url, width=1280, height=720)
    run(page)
    before = frames_later(page).evaluate(BOXES)
    page.fill("#steps input", "999")
    page.click("#run")
    expect(page.locator("#problem-steps p")).not_to_be_empty()
    after = frames_later(page).evaluate(BOXES)
    assert after["text"][0] == before["text"][0]  # what is said of the run takes its room from the text's own box
    assert {**after, "text": None} == {**before, "text": None}


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_nothing_jumps_over_a_run_of_120_steps(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "2")
    page.evaluate(SHIFTS)
    run(page, "120")
    assert page.evaluate("window.shifted") < 0.02


@pytest.mark.parametrize(("size", "view"), [(SIZES[0], "classroom"), (SIZES[2], ""), (SIZES[3], "")])
def test_nothing_jumps_while_a_slow_model_writes(visit: Visit, size: tuple[int, int], view: str) -> None:
    """Slower than the half second for which Chrome puts every move down to the click; the steps' rows differ. The
    numbers at the bars' ends go along with the bars, which is the picture itself.
    """
    words = [f" {letter * (2 + 2 * n)}" for n, letter in enumerate("abcdefgh")]
    script = [{word: 0.5 if n == step else 0.01 + 0.005 * n for n, word in enumerate(words)} for step in range(8)]
    slow = ScriptedEngine(script, words=words)
    with served(application.build_app(lambda name, report: slow, ["scripted"])) as url:
        page = visit(url, width=size[0], height=size[1])
        run(page, "24")
        if view:
            page.locator(".gs-strip").press("c")
        page.fill("#prompt textarea", "Another prompt, of other letters")
        frames_later(frames_later(page)).evaluate(SHIFTS_OUTSIDE_BARS)  # the view and the prompt have their sizes
        slow.delay = 0.1
        before = page.evaluate("getComputedStyle(document.querySelector('.gs-chart')).getPropertyValue('--gs-left')")
        page.click("#run")
        expect(page.locator(".gs")).to_have_attribute("aria-busy", "true")
        expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
        assert set(page.evaluate("[...window.labels]")) <= {before}, "while it grows, the bars begin at one place"
        expect(page.locator("#run")).to_be_enabled()
        moved = frames_later(page).evaluate("window.moved")
        assert sum(value for value, *_ in moved) < 0.02, moved
        slow.let_go.set()


# How many pixels of the field's own height a reader sees: what lies at its middle is the field, and nothing over it.
SEEN_OF_PROMPT = """() => {
    const field = document.querySelector("#prompt textarea");
    const { left, top, bottom, width } = field.getBoundingClientRect();
    let seen = 0;
    for (let y = top + 0.5; y < bottom; y += 1) seen += document.elementFromPoint(left + width / 2, y) === field;
    return { seen, high: bottom - top, top, scrolled: field.scrollTop,
        line: parseFloat(getComputedStyle(field).lineHeight) };
}"""


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_the_prompt_grows_while_it_is_edited_and_moves_nothing(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    field = page.locator("#prompt textarea")
    field.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("a long prompt of many words " * 7)
    before = frames_later(page).evaluate(BOXES)
    prompt = page.evaluate(SEEN_OF_PROMPT)
    assert prompt["top"] >= 0, "its first line is not above the screen"
    assert prompt["high"] >= 2 * prompt["line"]
    assert prompt["seen"] >= prompt["high"] - 2, prompt  # its border has round corners
    page.keyboard.press("Control+Home")
    page.keyboard.press("Control+End")
    prompt = page.evaluate(SEEN_OF_PROMPT)
    assert prompt["seen"] >= prompt["high"] - 2, prompt
    page.locator(".gs-strip").focus()
    assert frames_later(page).locator("#prompt textarea").evaluate("(field) => field.offsetHeight") < 40
    lines = "(field) => field.clientHeight / parseFloat(getComputedStyle(field).lineHeight)"
    assert field.evaluate(lines) <= 1, "nothing of a second line"
    assert page.evaluate(BOXES) == before
