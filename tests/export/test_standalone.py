"""A run as one HTML file: its size, its policy, and what a real Chromium makes of it, from disk and with no network."""

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import decoding
from decoding.record.trace import Trace
from tests.browser import Visit
from tests.fakes import NASTY, ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Trace.from_jsonl((ROOT / "assets" / "recorded" / "starter.jsonl").read_text("utf-8"))
HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    "</script><script>window.hit=1</script>",
    "<!--<script>",
    "</title><svg onload=window.hit=1>",
    "<a href=javascript:window.hit=1>x</a>",
    "{run}{panel}",
    '" onload="window.hit=1',
)


class Parts(HTMLParser):
    """An HTML file's tags, the text of its title and of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.scripts: list[str] = []
        self.title, self.policy, self.inside = "", "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag
        self.attributes += [name for name, _ in attrs]
        if tag == "script":
            self.scripts.append("")
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        if self.inside == "title":
            self.title += data


def run_in(text: str) -> Trace:
    """The run that is kept in an HTML file."""
    return Trace.from_jsonl(Parts(text).scripts[0])


def hostile(*texts: str) -> Trace:
    """A run that holds these texts wherever a run holds text."""
    engine = ScriptedEngine([{text: 0.5, "other": 0.2} for text in texts], words=(*texts, "other"))
    trace = decoding.trace(engine, texts[0], max_new_tokens=len(texts), top_k=2)
    model = replace(trace.model, id=texts[0], revision=texts[0], dtype=texts[0], device=texts[0], engine=texts[0])
    return replace(trace, model=model, stop_reason="error", message=texts[0], note=texts[-1])


# ---- the text of the file


def test_the_size_of_64_steps() -> None:
    steps = tuple(replace(RECORDED.steps[n % 8], index=n) for n in range(64))
    trace = replace(RECORDED, steps=steps, max_new_tokens=64)
    assert run_in(trace.to_html()) == trace
    assert len(trace.to_html().encode()) < 275_000


def test_the_policy_names_each_script_and_style_by_its_hash() -> None:
    file, drawn = Parts(RECORDED.to_html()), Parts(RECORDED.to_html(plotly=True))
    for parts, scripts in ((file, 1), (drawn, 2)):
        assert parts.policy.startswith("default-src 'none'; ")
        assert "unsafe-inline" not in parts.policy
        assert "unsafe-eval" not in parts.policy
        (sources,) = re.findall(r"script-src ([^;]+);", parts.policy)
        assert [name[:8] for name in sources.split()] == ["'sha256-"] * scripts
        assert parts.tags.count("script") == scripts + 1
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in file.policy


@pytest.mark.parametrize("text", [*NASTY.values(), *HOSTILE])
def test_nasty_texts_are_text(text: str) -> None:
    plain, trace = Parts(RECORDED.to_html()), hostile(text)
    parts = Parts(trace.to_html())
    assert (parts.tags, parts.attributes) == (plain.tags, plain.attributes)
    assert run_in(trace.to_html()) == trace


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Transformers are the", "Transformers are the · Greedyscope"),
        ("", "Greedyscope"),
        (" a\n\tb ", "a b · Greedyscope"),
        ("한국 👩‍👩‍👧", "한국 👩‍👩‍👧 · Greedyscope"),
        ("</title><b>&amp;", "</title><b>&amp; · Greedyscope"),
        ("\x00\u202e", "\\u0000\\u202e · Greedyscope"),
        ("word " * 100, f"{('word ' * 100)[:79]}… · Greedyscope"),
    ],
)
def test_the_title(prompt: str, title: str) -> None:
    assert Parts(replace(RECORDED, prompt=prompt).to_html()).title == title


def test_a_run_of_no_steps_and_one_without_an_entropy() -> None:
    for path in (ROOT / "assets" / "recorded").glob("*.jsonl"):
        trace = Trace.from_jsonl(path.read_text("utf-8"))
        assert run_in(trace.to_html()).to_jsonl() == path.read_text("utf-8")
    empty = replace(RECORDED, steps=(), stop_reason="stopped")
    assert run_in(empty.to_html()) == empty


# ---- in a browser


@pytest.fixture
def offline(visit: Visit, tmp_path: Path):
    """Opens a run's file from disk with the network cut."""

    def open_file(trace: Trace, *, plotly: bool = False, **looks) -> Page:
        path = tmp_path / "run.html"
        path.write_text(trace.to_html(plotly=plotly), "utf-8")
        page = visit(path.as_uri(), is_alone=True, **looks)
        page.context.set_offline(True)
        page.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")
        page.reload()
        page.wait_for_selector(".gs-chip")
        return page

    return open_file


@pytest.mark.parametrize("plotly", [False, True], ids=["its own bars", "plotly"])
def test_it_is_scrubbed_by_keys(offline, plotly: bool) -> None:
    page = offline(RECORDED, plotly=plotly)
    if plotly:
        page.wait_for_selector(".gs-plotted .barlayer .point")
    title, chosen = page.locator(".gs-step-title"), page.locator('.gs-chip[aria-current="step"]')
    expect(title).to_have_text("Step 1 of 8: ·most")
    for key, words in [("ArrowRight", "Step 2 of 8: ·efficient"), ("End", "Step 8 of 8: ·object"),
                       ("ArrowLeft", "Step 7 of 8: ·new"), ("Home", "Step 1 of 8: ·most")]:  # fmt: skip
        page.keyboard.press(key)
        expect(title).to_have_text(words)
    page.keyboard.press(" ")
    expect(title).to_contain_text(re.compile(r"Step [2-8] of 8"))
    page.keyboard.press(" ")
    expect(page.locator('[data-go="play"]')).to_have_attribute("aria-label", "Play")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(chosen.locator(".gs-id")).to_have_text("3758")
    expect(page.locator(".gs-bar").first).to_contain_text("12.51 %")
    expect(page.locator(".gs-table tbody tr")).to_have_count(8)


def test_the_file_makes_no_requests(offline) -> None:
    page = offline(RECORDED)
    assert page.locator("[role=tab]:visible").all_inner_texts() == [
        "Table",
        "Formulas",
        "Closest calls and loops",
        "Help",
    ]
    page.locator("button.gs-bar").nth(1).dispatch_event("click")
    page.locator("td[data-candidate]").nth(3).dispatch_event("click")
    page.get_by_role("tab", name="Closest calls and loops").click()
    expect(page.locator(".gs-closest li").first).to_contain_text("Step 8: ·object 6.80 %")
    expect(page.locator("#gs-page-whatif").get_by_role("button")).to_have_count(0)
    expect(page.locator("#gs-page-whatif section:visible h3")).to_have_text(["The closest calls", "Loops"])
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    assert "gs-running" not in (page.locator(".gs").get_attribute("class") or "")


def test_a_click_on_a_cell_chooses_its_step(offline) -> None:
    page = offline(RECORDED)
    page.locator(".gs-table tbody tr").nth(4).locator("td").nth(2).click()
    expect(page.locator(".gs-step-title")).to_have_text("Step 5 of 8: ·create")


@pytest.mark.parametrize("plotly", [False, True], ids=["its own bars", "plotly"])
def test_hostile_text_never_runs(offline, plotly: bool) -> None:
    trace = hostile(*HOSTILE, *NASTY.values()) if not plotly else hostile(*HOSTILE)
    page = offline(trace, plotly=plotly)
    assert page.evaluate("document.getElementById('run').textContent") == trace.to_jsonl()
    for step in range(len(trace.steps)):
        expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step + 1} of {len(trace.steps)}: ")
        page.keyboard.press("ArrowRight")
    page.get_by_role("tab", name="Closest calls and loops").click()
    assert page.evaluate("typeof window.hit") == "undefined"
    assert page.locator(".gs img, .gs a, .gs script, .gs [onload]").count() == 0
    expect(page.locator(".gs-prompt")).to_have_text(HOSTILE[0])


def test_korean_and_emoji_are_complete(offline) -> None:
    page = offline(hostile(" 한국", "👩‍👩‍👧"))
    expect(page.locator(".gs-chip-text").first).to_have_text("·한국")
    assert page.title() == "한국 · Greedyscope"


@pytest.mark.parametrize("plotly", [False, True], ids=["its own bars", "plotly"])
def test_light_and_dark_wide_and_narrow(offline, plotly: bool) -> None:
    long = replace(RECORDED, prompt="Donaudampfschifffahrtsgesellschaft" * 20)
    for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(15, 17, 21)")):
        page = offline(long, plotly=plotly, width=390, scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        switch, lead = (page.locator(place).bounding_box() for place in ("[data-languages]", ".kept"))
        assert switch["y"] + switch["height"] <= lead["y"]
        assert page.evaluate("getComputedStyle(document.querySelector('.gs-model')).color") != background
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).not_to_have_class("dark")


def test_the_policy_stops_what_an_attacker_adds(browser: Browser, tmp_path: Path) -> None:
    added = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'><img src=http://127.0.0.1:9/pixel>"
    path = tmp_path / "run.html"
    path.write_text(RECORDED.to_html().replace("</main>", f"{added}</main>"), "utf-8")
    page = browser.new_page()
    asked: list[str] = []
    page.on("requestfailed", lambda request: asked.append(f"{request.failure} {request.url}"))
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".gs-chip")
    assert page.evaluate("typeof window.hit") == "undefined"
    assert sorted(asked) == sorted(
        [path.as_uri(), f"csp {path.with_name('x').as_uri()}", "csp http://127.0.0.1:9/pixel"]
    )
    page.close()


# ---- in a notebook


def test_a_notebook_shows_the_panel_in_a_frame_of_its_own(browser: Browser) -> None:
    trace = hostile(*HOSTILE)
    shown = trace._repr_html_()
    (source,) = re.findall(r'^<iframe sandbox="allow-scripts" .* srcdoc="([^"]*)"></iframe>$', shown, re.DOTALL)
    assert unescape(source) == trace.to_html()
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(f"<!doctype html><meta charset=utf-8><body>{shown}")
    frame = page.frame_locator("iframe")
    expect(frame.locator(".gs-chip")).to_have_count(len(trace.steps))
    frame.locator('[data-go="next"]').click()
    expect(frame.locator(".gs-step-title")).to_contain_text("Step 2 of 7: ")
    assert page.evaluate("typeof window.hit") == "undefined"
    assert complaints == []
    page.close()
