"""A run of 256 steps and 50 choices is light: what is out of sight is not drawn, and what is in sight is all there."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine, endless_engine

STEPS, CHOICES, MOST_ELEMENTS = 256, 50, 4_400


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return endless_engine()


@pytest.fixture(scope="module")
def url(engine: ScriptedEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.fixture
def slow_engine(engine: ScriptedEngine) -> Iterator[ScriptedEngine]:
    """So slow that no busy machine gets the run in one part."""
    engine.delay = 0.01
    yield engine
    engine.delay = 0.0


@pytest.fixture
def received() -> list[int]:
    """The bytes of what the page received since Run was pressed, part by part."""
    return []


@pytest.fixture
def page(url: str, visit: Visit, received: list[int]) -> Page:
    there = visit(url, height=720)
    there.fill("#steps input", str(STEPS))
    there.fill("#choices input", str(CHOICES))
    there.evaluate("""() => {
        window.written = [];
        const count = (all) => window.written.push(all.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0));
        new MutationObserver(count).observe(document.querySelector(".gs-text"), { childList: true });
    }""")
    there.wait_for_function("window.Plotly")  # five MB that are not the run's
    session = there.context.new_cdp_session(there)
    session.send("Network.enable")
    session.on("Network.dataReceived", lambda part: received.append(part["dataLength"]))
    there.click("#run")
    expect(there.locator(".gs-state")).to_contain_text(f"{STEPS} steps, done")
    expect(there.locator("#run")).to_be_enabled()
    return frames_later(there)


def rows(page: Page) -> list[int]:
    """The steps whose rows lie within the table's box."""
    return frames_later(page).evaluate("""() => {
        const box = document.querySelector(".gs-rows").getBoundingClientRect();
        const head = document.querySelector(".gs-rows thead").getBoundingClientRect();
        return [...document.querySelectorAll(".gs-rows tbody tr")].filter((row) => {
            const { top, bottom } = row.getBoundingClientRect();
            return top >= head.bottom - 1 && bottom <= box.bottom + 1;
        }).map((row) => Number(row.dataset.step));
    }""")


def test_a_run_is_sent_once_and_written_once_in_parts(
    slow_engine: ScriptedEngine, page: Page, received: list[int]
) -> None:
    prompt = page.locator("#prompt textarea").input_value()
    whole = decoding.trace(slow_engine, prompt, max_new_tokens=STEPS, top_k=CHOICES).to_jsonl()
    quoted = len(json.dumps(whole, ensure_ascii=False).encode())
    assert quoted < sum(received) < 1.2 * quoted
    written = page.evaluate("written")
    assert STEPS < sum(written) < STEPS + 30, "chips, line breaks and the prompt"
    assert max(written) < 60


def test_a_tab_that_is_busy_and_draws_no_frames_misses_no_part(visit: Visit) -> None:
    """Each part of a run is sent once, so one that another overtakes would be missing to the end."""
    engine = endless_engine(delay=0.03)
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as url:
        page = visit(url)
        page.fill("#steps input", "64")
        page.evaluate("""() => {
            const [draw, held] = [window.requestAnimationFrame, []];
            window.requestAnimationFrame = (frame) => held.push(frame);
            window.goOn = () => {
                window.requestAnimationFrame = draw;
                held.forEach((frame) => draw(frame));
            };
        }""")
        page.click("#run")
        for _ in range(5):  # parts come in every 0.15 s
            page.evaluate("() => { const end = performance.now() + 500; while (performance.now() < end); }")
        page.evaluate("goOn()")
        expect(page.locator(".gs-state")).to_contain_text("64 steps, done")
        expect(page.locator(".gs-chip")).to_have_count(64)


def test_nothing_fades_where_a_run_begins_and_ends(page: Page) -> None:
    """While one thing fades, all others are composed anew in each frame: 45 ms of a long run's."""
    page.evaluate("""() => {
        window.fades = [];
        document.addEventListener("transitionrun", ({ target }) => window.fades.push(target.outerHTML));
    }""")
    page.fill("#steps input", "3")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    frames_later(page)
    assert [one for one in page.evaluate("window.fades") if 'id="run"' in one or 'id="stop"' in one] == []


def test_what_is_out_of_sight_is_not_drawn(page: Page) -> None:
    assert page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
    assert page.locator(".gs-chip").count() == STEPS
    table = page.locator(".gs-rows table")
    expect(table).to_have_attribute("aria-rowcount", str(STEPS + 1))
    assert STEPS - 1 in rows(page), "the table shows the chosen step"
    for key, step in (("Home", 0), ("End", STEPS - 1)):
        page.locator(".gs-strip").press(key)
        expect(page.locator('.gs-rows tr[aria-current="step"]')).to_have_attribute("data-step", str(step))
        assert step in rows(page)
    for place in (0.0, 0.3, 0.62, 1.0):
        page.locator(".gs-rows").evaluate("(box, place) => { box.scrollTop = box.scrollHeight * place; }", place)
        seen = rows(page)
        assert len(seen) >= 8
        assert seen == list(range(seen[0], seen[-1] + 1))
        assert abs(seen[0] / STEPS - place) < 0.1
        heights = page.locator(".gs-rows tbody tr").evaluate_all("(all) => all.map((row) => row.offsetHeight)")
        assert set(heights) == {32}, "one line each"
        assert page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
    page.evaluate("""() => {
        window.added = 0;
        new MutationObserver((all) => { for (const { addedNodes } of all) window.added += addedNodes.length; })
            .observe(document.querySelector(".gs-steps"), { childList: true });
        document.querySelector(".gs-rows").scrollTop -= 12 * 32;
    }""")
    assert 3 <= frames_later(page).evaluate("window.added") <= 12, "rows that stay are not laid out anew"
    page.locator(".gs-rows").evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
    frames_later(page)
    row = page.locator(".gs-rows tbody tr").last
    expect(row).to_have_attribute("aria-rowindex", str(STEPS + 1))
    # Of many choices, those that were not in sight yet are not drawn.
    expect(table).to_have_attribute("aria-colcount", str(CHOICES + 1))
    expect(row.locator("td")).to_have_count(12)
    page.locator(".gs-rows").evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    expect(row.locator("td")).to_have_count(CHOICES)
    expect(row.locator("td").last.locator(".gs-id")).to_have_count(1)
    page.locator(".gs-rows").evaluate("(box) => { box.scrollLeft = 0; }")
    row.locator("th").click()
    expect(page.locator(".gs-step-title")).to_contain_text(f"Step {STEPS} of {STEPS}")

    # On paper the table is whole.
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    expect(page.locator(".gs-rows tbody tr")).to_have_count(STEPS)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".gs-rows tbody tr")).to_have_count(19)


def test_the_table_shows_the_last_step_of_a_run_that_was_stopped(
    url: str, engine: ScriptedEngine, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "delay", 0.1)
    page = visit(url, height=720)
    page.fill("#steps input", str(STEPS))
    page.click("#run")
    expect(page.locator(".gs-chip").nth(20)).to_be_attached()
    page.click("#stop")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs-state")).to_contain_text("stopped")
    assert page.locator(".gs-chip").count() - 1 in rows(page)


def test_while_a_run_grows_its_table_is_drawn_only_in_sight(
    url: str, engine: ScriptedEngine, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "delay", 0.1)
    page = visit(url, height=720)
    page.fill("#steps input", str(STEPS))
    page.click("#run")
    chips, table = page.locator(".gs-chip"), page.locator(".gs-rows tbody tr")
    expect(chips.nth(30)).to_be_attached()
    assert table.count() < 19, "as tall as it will be, and no more is seen of it"
    page.locator(".gs-rows").scroll_into_view_if_needed()
    expect(table.nth(18)).to_be_attached()
    expect(page.locator(".gs-state")).to_contain_text("Step")  # it grows still
    page.click("#stop")
    expect(page.locator("#run")).to_be_enabled()


COLUMNS = """() => {
    const box = document.querySelector(".gs-tree-beams .gs-tree-picture").getBoundingClientRect();
    const { nodes } = document.querySelector(".gs-tree-beams .gs-tree").tree;
    const columns = {};
    for (const button of document.querySelectorAll(".gs-tree-beams [data-node]")) {
        const { left, right } = button.getBoundingClientRect();
        const { step } = nodes[button.dataset.node];
        if (left >= box.left - 1 && right <= box.right + 1) columns[step] = (columns[step] ?? 0) + 1;
    }
    return columns;
}"""


def columns(page: Page) -> dict[int, int]:
    """The beams drawn at each step whose column lies within the picture of the tree."""
    return {int(step): count for step, count in frames_later(page).evaluate(COLUMNS).items()}


def test_of_a_long_tree_the_columns_in_sight_are_drawn(url: str, visit: Visit) -> None:
    page = visit(url, height=720)
    page.fill("#steps input", str(STEPS))
    page.fill("#choices input", "10")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text(f"{STEPS} steps, done")
    page.click("#gs-tab-whatif")
    page.fill(".gs-beams", "8")
    page.click('[data-ask="beam"]')
    nodes = page.locator(".gs-tree-beams .gs-node")
    expect(nodes.first).to_be_attached()
    expect(page.locator(".gs-strip-bar")).to_have_count(STEPS)
    last = STEPS * 8 - 1
    picture, strip = page.locator(".gs-tree-beams .gs-tree-picture"), page.locator(".gs-strip")
    for key, step in (("Home", 0), ("End", STEPS - 1)):
        strip.press(key)
        expect(page.locator('.gs-tree-beams [aria-current="step"][tabindex="0"]')).to_have_count(1)
        assert step in columns(page), "the picture shows the chosen step"
    for place in (0.0, 0.4, 1.0):
        picture.evaluate("(box, place) => { box.scrollLeft = (box.scrollWidth - box.clientWidth) * place; }", place)
        seen = columns(page)
        assert len(seen) >= 10
        assert list(seen) == list(range(min(seen), max(seen) + 1))
        assert set(seen.values()) == {8}, "every beam of every step in sight"
        assert page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
    assert max(seen) == STEPS - 1

    # What has the keyboard stays while the picture is scrolled away from it, and the arrows bring it back into sight.
    page.locator(f'.gs-tree-beams [data-node="{last}"]').focus()
    picture.evaluate("(box) => { box.scrollLeft = 0; }")
    assert 0 in columns(page)
    expect(page.locator(f'.gs-tree-beams [data-node="{last}"]')).to_be_focused()
    page.keyboard.press("ArrowLeft")
    assert STEPS - 2 in columns(page)
    assert page.evaluate("Math.floor(document.activeElement.dataset.node / 8)") == STEPS - 2
    page.keyboard.press("Enter")
    expect(page.locator(".gs-step-title")).to_contain_text(f"Step {STEPS - 1} of {STEPS}")


def test_of_many_candidates_the_list_draws_the_bars_and_of_few_plotly_does_once_a_step(page: Page) -> None:
    expect(page.locator(".gs-plot .xaxislayer-above text").first).to_be_attached()
    assert page.locator(".gs-plot .bars path").count() == 0, "the axis alone"
    expect(page.locator(".gs-column .gs-bar-track").first).to_have_css("visibility", "visible")
    page.fill("#choices input", "10")
    page.fill("#steps input", "8")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
    # A step with longer labels than any step before it widens their column, and the axis is drawn once more for that.
    for key, step in (("ArrowLeft", 7), ("ArrowRight", 8)):
        page.locator(".gs-strip").press(key)
        expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step} of 8")
    expect(page.locator(".gs.gs-plotted:not(.gs-live)")).to_be_visible()
    page.evaluate("""() => {
        window.drawings = 0;
        const { react } = window.Plotly;
        window.Plotly.react = (...all) => { window.drawings += 1; return react(...all); };
    }""")
    page.locator(".gs-strip").press("ArrowLeft")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 7 of 8")
    page.wait_for_function("window.drawings === 1")
    left = page.evaluate("document.querySelector('.gs-chart').style.getPropertyValue('--gs-left')")
    for tab in ("lesson", "table", "whatif"):
        page.click(f"#gs-tab-{tab}")
        frames_later(page)
    assert page.evaluate("window.drawings") == 1
    assert page.evaluate("document.querySelector('.gs-chart').style.getPropertyValue('--gs-left')") == left


LINES_IN_SIGHT = """() => {
    const box = document.querySelector(".gs-column .gs-chart").getBoundingClientRect();
    const isSeen = ({ top, bottom }) => bottom > box.top && top < box.bottom;
    const lines = [...document.querySelectorAll(".gs-column .gs-bars .gs-bar-value")];
    const seen = lines.map((line) => isSeen(line.getBoundingClientRect()));
    const step = Number(/Step ([0-9]+)/.exec(document.querySelector(".gs-step-title").textContent)[1]) - 1;
    const numbers = lines.filter((_, place) => seen[place]).map((line) => line.textContent);
    return { step, first: seen.indexOf(true), numbers };
}"""


def assert_lines_in_sight_say(page: Page, record: decoding.Trace) -> int:
    """Each line in sight says a candidate of the step that is shown, which is returned."""
    there = frames_later(page).evaluate(LINES_IN_SIGHT)
    assert len(there["numbers"]) >= 5
    candidates = record.steps[there["step"]].candidates[there["first"] :]
    for number, candidate in zip(there["numbers"], candidates, strict=False):
        assert number == f"{100 * candidate.probability:.2f} % {candidate.token_id}"
    return there["step"]


def test_while_steps_stream_in_the_lines_in_sight_are_rewritten_and_no_others(visit: Visit) -> None:
    engine = endless_engine(delay=0.05)
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as url:
        page = visit(url, height=720)
        prompt, chart = page.locator("#prompt textarea").input_value(), page.locator(".gs-column .gs-chart")
        page.fill("#steps input", "100")
        page.fill("#choices input", str(CHOICES))
        page.click("#run")
        expect(page.locator(".gs-badge")).to_be_hidden()  # the recorded run has as many steps
        expect(page.locator(".gs-chip").nth(2)).to_be_attached()
        page.evaluate("""() => {
            window.changed = new Set();
            for (const [place, line] of [...document.querySelectorAll(".gs-column .gs-bars li")].entries()) {
                const look = new MutationObserver(() => window.changed.add(place));
                look.observe(line, { subtree: true, childList: true, characterData: true });
            }
        }""")
        page.wait_for_function("window.changed.size > 0")  # a slow browser draws many steps at once
        expect(page.locator(".gs-chip").nth(15)).to_be_attached()
        changed = page.evaluate("[...window.changed]")
        assert min(changed) == 0
        assert 5 <= max(changed) < 20

        engine.delay = 60.0  # nothing comes any more, so nothing else draws
        frames_later(page).wait_for_timeout(300)
        record = decoding.trace(endless_engine(), prompt, max_new_tokens=100, top_k=CHOICES)
        for place in (0.5, 1.0, 0.0):
            chart.evaluate("(chart, place) => { chart.scrollTop = chart.scrollHeight * place; }", place)
            assert assert_lines_in_sight_say(page, record) < 99, "while it is written"
        page.locator(".gs-strip").press("ArrowLeft")
        chart.evaluate("(chart) => { chart.scrollTop = chart.scrollHeight / 2; }")
        assert assert_lines_in_sight_say(page, record) < 99, "an earlier step, chosen while the run is written"
        page.locator(".gs-strip").press("End")
        engine.let_go.set()
        expect(page.locator(".gs-state")).to_contain_text("100 steps, done")
        expect(page.locator("#run")).to_be_enabled()
        numbers = frames_later(page).locator(".gs-column .gs-bars button .gs-id").all_text_contents()
        assert numbers == [str(candidate.token_id) for candidate in record.steps[99].candidates]


def test_the_prompts_tokens_are_drawn_when_they_are_asked_for(url: str, visit: Visit) -> None:
    page = visit(url)
    page.fill("#prompt textarea", "a" * 300)
    page.click("#run")
    expect(page.locator(".gs-prompt-tokens summary")).to_contain_text("300")
    expect(page.locator("#run")).to_be_enabled()
    assert page.locator(".gs-token").count() == 0
    page.click(".gs-prompt-tokens summary")
    expect(page.locator(".gs-token")).to_have_count(300)
