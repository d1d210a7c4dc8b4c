"""The Keep tab in a real Chromium: files out and in, the picture, and the run in a frame of another page."""

import struct
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
import decoding
from decoding.export import to_csv_file
from tests.browser import Visit, drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine

HOSTILE = '<img src=x onerror=window.hit=1> 한국 🎉 "&amp;\u202e'
WORDS = (" <script>window.hit=1</script>", " 한국", "👩‍👩‍👧", "=1+1", "\n", "\x01")
SCRIPT = [{word: 0.6, "other": 0.2} for word in WORDS]
STEPS, CHOICES = 6, 3


def scripted(**options: object) -> ScriptedEngine:
    return ScriptedEngine(SCRIPT, words=(*WORDS, "other"), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return scripted()


@pytest.fixture(scope="module")
def url(engine: ScriptedEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.fixture(scope="module")
def trace() -> decoding.Trace:
    return decoding.trace(scripted(), HOSTILE, max_new_tokens=STEPS, top_k=CHOICES)


@pytest.fixture
def page(url: str, visit: Visit) -> Page:
    """The hostile run on screen, and the Keep tab open."""
    return run(visit(url))


def run(page: Page, prompt: str = HOSTILE) -> Page:
    open_settings(page).fill("#prompt textarea", prompt)
    page.fill("#steps input", str(STEPS))
    page.fill("#choices input", str(CHOICES))
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    page.click("#gs-tab-keep")
    return page


def saved(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    expect(page.locator(".gs-status")).to_have_text(f"{path.name} is in your downloads.")
    return path


def test_each_file_is_what_the_library_writes(page: Page, trace: decoding.Trace, tmp_path: Path):
    for button, name, content in (
        ("JSON Lines", ".jsonl", trace.to_jsonl().encode()),
        ("CSV", ".csv", to_csv_file(trace)),
        ("Markdown", ".md", trace.to_markdown().encode()),
        ("HTML", ".html", trace.to_html().encode()),
        ("HTML with Plotly (5 MB)", "-plotly.html", trace.to_html(plotly=True).encode()),
    ):
        path = saved(page, button, tmp_path)
        assert path.name == f"greedyscope-img-src-x-onerror-window-hit-1-한국-amp{name}"
        assert path.read_bytes() == content, button


def test_a_saved_page_plays_from_disk_with_the_network_cut(page: Page, trace: decoding.Trace, visit, tmp_path: Path):
    path = saved(page, "HTML", tmp_path)
    there = visit(path.as_uri(), is_alone=True)
    there.context.set_offline(True)
    there.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")
    there.reload()
    there.wait_for_selector(".gs-chip")
    for step in range(STEPS):
        expect(there.locator(".gs-step-title")).to_contain_text(f"Step {step + 1} of {STEPS}: ")
        there.keyboard.press("ArrowRight")
    assert there.evaluate("typeof window.hit") == "undefined"
    expect(there.get_by_role("tab", name="Keep")).to_have_count(0)


def test_the_picture_is_a_slide_in_which_text_is_text(page: Page, browser: Browser, tmp_path: Path):
    page.locator(".gs-chip").first.click()
    svg = saved(page, "SVG", tmp_path)
    assert svg.name.endswith("-step-1.svg")
    root = ElementTree.fromstring(svg.read_text("utf-8"))
    assert (root.get("width"), root.get("height")) == ("1920", "1080")
    tags = {element.tag.split("}")[1] for element in root.iter()}
    assert tags == {"svg", "title", "rect", "pattern", "line", "text"}
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "Step 1 of 6: ·<script>window.hit=1</script>"
    assert 'Prompt: <img src=x onerror=window.hit=1> 한국 🎉 "&amp;\\u202e' in words
    assert "Step 1 of 6 · scripted, float32, exact · ▸ argmax · Greedyscope" in words
    assert "60.00 %  id 258" in words
    assert "everything else" in words
    png = saved(page, "PNG", tmp_path).read_bytes()
    assert struct.unpack(">II", png[16:24]) == (1920, 1080)
    shown = tab(browser)
    shown.goto(svg.as_uri())
    assert shown.evaluate("typeof window.hit") == "undefined"
    boxes = shown.evaluate(
        "[...document.querySelectorAll('text')].map((t) => t.getBBox()).map((b) => [b.x, b.x + b.width])"
    )
    assert all(left >= 0 and right <= 1920 for left, right in boxes), boxes
    shown.close()


def test_the_largest_picture_holds_all_its_bars(url: str, visit: Visit, tmp_path: Path):
    page = visit(url)
    page.fill("#prompt textarea", "W" * 20_000 + "\ud83c\udf89" * 3)
    page.fill("#steps input", "1")
    page.fill("#choices input", "50")
    page.click("#run")
    problem = page.locator("#problem-prompt")
    expect(problem).to_contain_text("scripted has room for")  # its context is 1,024
    page.fill("#prompt textarea", "\U0001f389" * 200)
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("1 step, done")
    page.click("#gs-tab-keep")
    root = ElementTree.fromstring(saved(page, "SVG", tmp_path).read_text("utf-8"))
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("x") == "560"]
    assert len(bars) == 51
    assert max(float(bar.get("y", 0)) + float(bar.get("height", 0)) for bar in bars) <= 890


# ---- a file opened


def chosen(page: Page, name: str, content: bytes) -> None:
    page.set_input_files(".gs [type=file]", files=[{"name": name, "mimeType": "", "buffer": content}])


def dropped(page: Page, name: str, text: str, *others: str) -> None:
    page.evaluate(
        """([text, ...names]) => {
            const dataTransfer = new DataTransfer();
            for (const name of names) dataTransfer.items.add(new File([text], name));
            for (const type of ["dragover", "drop"]) {
                const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
                document.querySelector("#title").dispatchEvent(event);
            }
        }""",
        [text, name, *others],
    )


def test_a_file_is_replayed_without_a_model(visit: Visit, trace: decoding.Trace):
    ready = threading.Event()

    def loader(name: str, report: object) -> ScriptedEngine:
        ready.wait(600)
        return scripted()

    try:
        with served(application.build_app(loader, ["scripted"])) as address:
            page = visit(address)
            page.click("#gs-tab-keep")
            chosen(page, "<b>run</b>.jsonl", trace.to_jsonl().encode())
            expect(page.locator(".gs-badge")).to_have_text("Replayed")
            expect(page.locator(".gs-note")).to_contain_text("Replayed from the file <b>run</b>.jsonl")
            expect(page.locator(".gs-state")).to_contain_text(f"log-probability −{-trace.logprob:.3f}")
            page.locator(".gs-chip").last.click()
            expect(page.locator(".gs-step-title")).to_have_text("Step 6 of 6: \\u0001")
            page.click("#gs-tab-compare")
            expect(page.locator(".gs-list tr[aria-current] td").nth(1)).to_contain_text(
                "replayed from <b>run</b>.jsonl"
            )
            ready.set()
            expect(page.locator("#notice")).to_be_hidden()
    finally:
        ready.set()


def test_a_dropped_file_goes_on_as_a_branch(page: Page, engine: ScriptedEngine):
    kept = decoding.trace(scripted(), "kept", max_new_tokens=2, top_k=2)
    begun = engine.begun
    dropped(page, "kept.jsonl", kept.to_jsonl())
    expect(page.locator(".gs-prompt")).to_have_text("kept")
    expect(page.locator(".gs-badge")).to_have_text("Replayed")
    assert engine.begun == begun
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-badge")).to_be_hidden()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    assert engine.begun == begun + 2


def test_a_stopped_run_is_saved_and_opened(url: str, visit: Visit, engine: ScriptedEngine, tmp_path: Path):
    page = visit(url)
    engine.delay = 0.5
    try:
        page.fill("#steps input", "256")
        page.click("#run")
        page.wait_for_selector(".gs-running .gs-chip:nth-of-type(2)")
        page.click("#gs-tab-keep")
        expect(page.get_by_role("button", name="CSV")).to_be_disabled()  # not whole yet
        page.click("#stop")
        expect(page.locator(".gs-state")).to_contain_text("stopped")
    finally:
        engine.delay = 0
    path = saved(page, "JSON Lines", tmp_path)
    assert decoding.Trace.from_jsonl(path.read_text("utf-8")).stop_reason == "stopped"
    chosen(page, path.name, path.read_bytes())
    expect(page.locator(".gs-badge")).to_have_text("Replayed")


@pytest.fixture
def alone(browser: Browser, url: str) -> Iterator[Page]:
    """Not `visit`: Chromium puts an answer that refuses into its console."""
    page = tab(browser)
    page.goto(url)
    yield drawn(page)
    page.close()


def test_what_is_no_run_gets_a_sentence_and_nothing_is_lost(alone: Page, trace: decoding.Trace):
    text = trace.to_jsonl()
    alone.click("#gs-tab-keep")
    for name, content, sentence in (
        ("photo.png", b"\x89PNG\r\n", "“photo.png” was not opened. It is not JSON Lines"),
        ("cut.jsonl", text[:-9].encode(), "“cut.jsonl” was not opened. Line 8 of the run cannot be read"),
        ("altered.jsonl", text.replace("0.6", "0.7", 1).encode(), "was not opened. Line 2 of the run cannot be right"),
        ("next.jsonl", text.replace('"version":1', '"version":2').encode(), "has another version of the format"),
        ("empty.jsonl", b"", "“empty.jsonl” was not opened. The file is empty."),
        ("wide.jsonl", text.encode("utf-16"), "“wide.jsonl” was not opened. It is written in UTF-16."),
        ("large.jsonl", b"{" * (8 * 2**20 + 1), "“large.jsonl” was not opened. The file has 8.0 MB; at most 8 MB"),
    ):
        chosen(alone, name, content)
        expect(alone.locator(".gs-refused")).to_contain_text(sentence)
    expect(alone.locator(".gs-step-title")).to_have_text("Step 1 of 8: ·most")  # what was on screen stays
    alone.click("#gs-tab-table")
    dropped(alone, "dropped.txt", "hello")
    expect(alone.locator(".gs-refused")).to_be_visible()  # wherever one was
    expect(alone.locator(".gs-refused")).to_contain_text("“dropped.txt” was not opened.")
    alone.route("**/keep/**", lambda route: route.abort())
    chosen(alone, "run.jsonl", text.encode())
    expect(alone.locator(".gs-refused")).to_contain_text("The server cannot be reached.")
    alone.get_by_role("button", name="CSV").click()
    expect(alone.locator(".gs-status")).to_contain_text("The server cannot be reached.")
    alone.unroute("**/keep/**")
    chosen(alone, "run.jsonl", text.encode())
    expect(alone.locator(".gs-badge")).to_have_text("Replayed")
    expect(alone.locator(".gs-refused")).to_be_empty()
    expect(alone.locator(".gs-opened")).to_have_text("“run.jsonl” is open.")
    expect(alone.locator(".gs-status")).to_be_empty()  # it was of what went before


def test_of_two_files_that_are_dropped_one_is_opened(page: Page):
    kept = decoding.trace(scripted(), "kept", max_new_tokens=2, top_k=2)
    dropped(page, "one.jsonl", kept.to_jsonl(), "two.jsonl")
    expect(page.locator(".gs-opened")).to_contain_text("“one.jsonl” is open. One file is opened at a time")


def test_on_a_phone_a_file_that_is_opened_comes_into_sight(url: str, visit: Visit, trace: decoding.Trace):
    page = visit(url, width=390, height=844)
    page.click("#gs-tab-keep")
    page.locator(".gs-opened").evaluate("(line) => line.parentElement.scrollIntoView()")
    chosen(page, "run.jsonl", trace.to_jsonl().encode())
    expect(page.locator(".gs-badge")).to_have_text("Replayed")
    expect(page.locator(".gs-head")).to_be_in_viewport()
    assert page.locator(".gs-main").evaluate("(main) => main.getBoundingClientRect().top") >= 0


# ---- in another page


def test_a_frame_shows_the_run_alone(page: Page, url: str, browser: Browser, trace: decoding.Trace):
    page.wait_for_function("document.querySelector('.gs-frame').value")
    snippet = page.input_value(".gs-frame")
    assert snippet.startswith(f'<iframe src="{url}?run=1')
    other = tab(browser)
    other.set_viewport_size({"width": 700, "height": 800})
    other.set_content(f"<!doctype html><h1>My page</h1>{snippet}<p>After it.</p>")
    frame = other.frame_locator("iframe")
    expect(frame.locator(".gs-state")).to_contain_text("6 steps, done")
    shown = HOSTILE.replace("\u202e", r"\u202e")  # what would turn the text around is written out
    expect(frame.locator(".gs-prompt")).to_have_text(shown)
    ids = frame.locator(".gs-chip .gs-id").all_inner_texts()
    assert ids == [str(token_id) for token_id in trace.generated_token_ids]
    for gone in ("#title", "#prompt", "#steps", "#run", ".chips", ".gs-tabs", "footer"):
        expect(frame.locator(gone).first).to_be_hidden()
    frame.locator('[data-go="first"]').click()
    frame.locator('[data-go="next"]').click()
    expect(frame.locator(".gs-step-title")).to_have_text("Step 2 of 6: ·한국")
    assert frame.locator("html").evaluate("(page) => page.scrollWidth <= page.clientWidth")
    assert other.evaluate("typeof window.hit") == "undefined"
    with other.expect_popup() as opened:
        frame.get_by_role("link", name="Open in Greedyscope").click()
    whole = opened.value
    expect(whole.locator(".gs-prompt")).to_have_text(shown)
    expect(whole.locator("#prompt")).to_be_visible()
    other.close()
    whole.close()


def test_a_frame_of_a_broken_link_says_so(browser: Browser, url: str):
    page = tab(browser)
    page.set_content(f'<iframe src="{url}?run=1abc&amp;embed=1" width="700" height="600"></iframe>')
    expect(page.frame_locator("iframe").locator("#problem-forced")).to_contain_text("This link is broken")
    page.close()


def test_a_recorded_run_without_ids_has_no_frame(url: str, visit: Visit):
    page = visit(url)
    page.click("#gs-tab-keep")
    expect(page.locator(".gs-no-frame")).to_be_visible()
    expect(page.locator("[data-copies]")).to_be_disabled()


def test_on_a_phone_nothing_scrolls_sideways(url: str, visit: Visit):
    page = run(visit(url, width=390, height=844, scheme="dark"), "x" * 40)
    expect(page.locator(".gs-frame")).not_to_have_value("")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    embedded = visit(f"{url}?embed=1", width=390, height=600)
    assert frames_later(embedded).evaluate("document.documentElement.scrollWidth") == 390
    embedded.locator("#facts p").evaluate("(line) => { line.textContent = 'what the model needs'; }")
    expect(embedded.locator("#facts")).to_be_hidden()
