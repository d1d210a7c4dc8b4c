"""The picture of a logit lens, which Plotly draws: its numbers and names, the sentence for what is pointed at, and what
stands in its place without plotly.js.
"""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.export import to_html
from decoding.record.trace import Trace
from decoding.record.why import Lens
from tests.browser import Visit, drawn, frames_later, served, tab

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "The capital of France is"
PICTURE = """() => {
    const { data, layout } = document.querySelector(".gs-lens-plot");
    const [heat, leaders, ...lines] = data;
    return {
        shades: heat.z,
        leaders: leaders.y,
        lines: lines.reverse().map(({ y }) => y),
        from: layout.shapes.map(({ x0 }) => x0),
        text: layout.font.color,
    };
}"""
WRITTEN = """() => {
    window.written = 0;
    const count = (changes) => { window.written += changes.length; };
    new MutationObserver(count).observe(document.querySelector(".gs-lens-point"), { childList: true });
}"""


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


@pytest.fixture(scope="module")
def asked(starter: LocalEngine) -> tuple[Trace, Lens]:
    trace = decoding.trace(starter, PROMPT, max_new_tokens=1, top_k=5)
    return trace, decoding.lens(starter, trace, 0)


def ask_why(page: Page) -> Page:
    page.fill("#prompt textarea", PROMPT)
    page.fill("#steps input", "1")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("1 step, done")
    page.locator('[data-ask="openWhy"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-part-of-text")
    return page


def ask_for_picture(page: Page) -> Page:
    """Ask, and wait until Plotly has drawn."""
    expect(ask_why(page).locator(".gs-lens-plot .hm image")).to_have_count(1)
    return page


def test_its_numbers_are_the_lens(url: str, visit: Visit, asked: tuple[Trace, Lens]) -> None:
    page, (_, lens) = ask_for_picture(visit(f"{url}?language=en", height=720)), asked
    picture = page.evaluate(PICTURE)
    expected = [[math.exp(layer.logprobs[n]) for layer in lens.layers] for n in range(len(lens.tokens))]
    for drawing in (
        [[shade**2 for shade in row] for row in picture["shades"]],
        [[y / 100 for y in row] for row in picture["lines"]],
    ):
        for row, shares in zip(drawing, expected, strict=True):
            assert row == pytest.approx(shares, abs=2e-5)
    assert picture["leaders"] == [layer.ranks.index(0) for layer in lens.layers]
    assert picture["from"] == [lens.leads_from - 0.5]  # one line through both
    # 1. The names are the rows', and the lines' legend.
    names = page.locator(".gs-lens-picture li")
    assert names.locator(".gs-lens-name").all_inner_texts() == ["·Paris", "·capital", "·the", "·", ".", "·a", "·is"]
    strokes = names.locator("path").evaluate_all(
        "all => all.map((path) => [path.style.stroke, path.style.strokeDasharray])"
    )
    assert len({*map(tuple, strokes)}) == len(lens.tokens)
    assert [not dashes for _, dashes in strokes] == [True, *[False] * 6]  # the pick's alone is not broken
    assert names.locator("svg[aria-hidden='true']").count() == len(strokes)  # to a screen reader they are no images
    # 2. All of it is in sight, and so in the classroom view: the answer, the rows and the lines.
    for _ in range(2):
        for seen in (".gs-lens-status", ".gs-lens-plot"):
            expect(page.locator(seen)).to_be_in_viewport(ratio=0.99)
        page.keyboard.press("c")
        page.locator('[data-ask="openWhy"]').click()
    # 3. The table has every number, on demand.
    table = page.locator(".gs-lens-map")
    expect(table).to_be_hidden()
    page.locator(".gs-lens-numbers summary").click()
    expect(table.locator("tbody tr")).to_have_count(len(lens.layers))
    shares = table.locator("tbody .gs-heat-cell").all_inner_texts()
    assert len(shares) == len(lens.layers) * len(lens.tokens)
    assert all(share.endswith(" %") for share in shares)
    paris = table.locator("tbody tr").nth(30 - 27).locator(".gs-heat-cell").first
    expect(paris).to_have_text(f"{100 * math.exp(lens.layers[27].logprobs[0]):.2f} %")  # 0.03 %
    page.locator(".gs-strip").press("Home")
    expect(table).to_be_visible()  # it stays as the reader left it


def point_at(page: Page, layer: int, *, row: float | None = None, share: float = 0) -> None:
    """At a cell of the heat map, or at a share of the lines' axis."""
    box: Any = page.locator(".gs-lens-picture").bounding_box()
    layout = page.evaluate("document.querySelector('.gs-lens-plot').layout")
    margin, area = layout["margin"], layout["height"] - layout["margin"]["b"]
    x = box["x"] + margin["l"] + (box["width"] - margin["l"] - margin["r"]) * (layer + 0.5) / 31
    (_, lines), (heat, _) = layout["yaxis2"]["domain"], layout["yaxis"]["domain"]
    rows = page.locator(".gs-lens-picture li").count()
    least, most = layout["yaxis2"]["range"]
    height = lines * (share - least) / (most - least)  # of the share, over the axis of the lines
    below = 1 - height if row is None else (1 - heat) * (row + 0.5) / rows
    page.mouse.move(x, box["y"] + area * below)


def test_the_sentence_is_in_sight_with_what_is_tapped(url: str, visit: Visit) -> None:
    """On a phone, wherever in the picture that is; and nothing moves."""
    page = visit(f"{url}?language=en", width=390, height=844)
    page.click("[data-settings]")
    ask_for_picture(page)
    sentence, picture = page.locator(".gs-lens-point"), page.locator(".gs-lens-picture")
    for row, share in ((0, 0), (6, 0), (None, 0)):
        picture.evaluate("(picture) => picture.scrollIntoView({ block: 'end' })")
        page.evaluate("scrollBy(0, 120)")  # past the bar of buttons
        before = frames_later(page).evaluate("document.querySelector('.gs-lens-picture').offsetTop")
        point_at(page, 30, row=row, share=share)
        expect(sentence).to_contain_text("Layer 30: ")
        expect(sentence).to_be_in_viewport(ratio=0.99)
        assert page.evaluate("document.querySelector('.gs-lens-picture').offsetTop") == before
        box, bar = sentence.bounding_box(), page.locator(".gs-player").bounding_box()
        assert box
        assert bar
        assert box["y"] + box["height"] <= bar["y"]


def test_a_sentence_names_what_is_pointed_at(url: str, visit: Visit, asked: tuple[Trace, Lens]) -> None:
    page, (_, lens) = ask_for_picture(visit(f"{url}?language=en")), asked
    sentence = page.locator(".gs-lens-point")
    expect(sentence).to_have_text(
        "Point at the picture, or tap it, for its numbers. A dot marks the most probable token of a layer."
    )
    for layer, row, share, name in (
        (29, 0, 0.0, "Layer 29: ·Paris, "),
        (0, 6, 0.0, "Layer 0, the embedding: ·is, "),
        (28, None, 1.2, "Layer 28: ·Paris, "),  # of the lines, the nearest
        (30, None, 80.0, "Layer 30: ·Paris, 77.25 %, rank 1. In the lead there: ·Paris with 77.25 %."),
        (20, None, 99.0, "Layer 20: ·, 98.1"),
    ):
        point_at(page, layer, row=row, share=share)
        expect(sentence).to_contain_text(name)
        leader = lens.layers[layer].leader
        expect(sentence).to_contain_text(f"In the lead there: {leader.text.replace(' ', '·')} with ")
        assert page.locator(".gs-lens-column").is_visible()
    # Within a cell nothing is written again: a screen reader would read it out again.
    page.evaluate(WRITTEN)
    for layer in (12, 13):
        for place in (0.0, 0.2, -0.2):
            point_at(page, layer, row=place)
    assert frames_later(page).evaluate("window.written") == 2


def test_it_is_drawn_anew_for_other_looks(url: str, visit: Visit) -> None:
    page = ask_for_picture(visit(f"{url}?language=en"))
    before = page.evaluate(PICTURE)
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function(f"(({PICTURE})()).text !== '{before['text']}'")
    page.locator('[data-language="ko"]').first.press("Enter")
    expect(page.locator(".gs-lens-plot .xtick text").first).to_have_text("임베딩")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('.gs-lens-plot').layout.width < 390")
    box: Any = page.locator(".gs-lens-picture").bounding_box()
    assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # Plotly knows no system colours: the table is open in its place.
    page.emulate_media(forced_colors="active")
    page.locator(".gs-lens-map").wait_for()
    expect(page.locator(".gs-lens-picture")).to_be_hidden()
    page.emulate_media(forced_colors="none")
    expect(page.locator(".gs-lens-picture")).to_be_visible()
    expect(page.locator(".gs-lens-map")).to_be_hidden()


def test_without_plotly_the_table_is_open(url: str, browser: Browser) -> None:
    page = tab(browser)
    page.route("**/scripts/plotly-*.js", lambda route: route.abort())
    page.goto(f"{url}?language=en")
    ask_why(drawn(page))
    expect(page.locator(".gs-lens-status")).to_have_text("·Paris is in the lead from layer 30 of 30 on.")
    expect(page.locator(".gs-lens-map tbody tr")).to_have_count(31)
    expect(page.locator(".gs-lens-map")).to_be_visible()
    expect(page.locator(".gs-lens-picture")).to_be_hidden()
    page.close()


@pytest.mark.parametrize("plotly", [False, True], ids=["the table", "plotly"])
def test_a_file_shows_it_where_it_has_plotly(
    plotly: bool, visit: Visit, asked: tuple[Trace, Lens], tmp_path: Path
) -> None:
    trace, lens = asked
    hostile = "<b onload=window.hit=1>x</b><img src=x onerror=window.hit=1>"
    text = to_html(replace(trace, why=(lens,)), plotly=plotly, language="en").replace(
        '"text":" capital"', f'"text":"{hostile}"'.replace("<", "\\u003c")
    )
    (tmp_path / "run.html").write_text(text, "utf-8")
    page = visit((tmp_path / "run.html").as_uri())
    page.locator("#gs-tab-why").press("Enter")
    expect(page.locator(".gs-lens-map thead th").nth(3)).to_have_text(hostile.replace(" ", "·"))
    expect(page.locator(".gs-lens-picture")).to_be_visible(visible=plotly)
    expect(page.locator(".gs-lens-map")).to_be_visible(visible=not plotly)
    if plotly:
        expect(page.locator(".gs-lens-plot .hm image")).to_have_count(1)
        expect(page.locator(".gs-lens-name").nth(1)).to_have_text(hostile.replace(" ", "·"))
    assert page.evaluate("typeof window.hit") == "undefined"
    assert page.locator(".gs img, .gs [onload]").count() == 0
    assert ("lineTraces" in text) == plotly  # what draws it is where it is needed alone


def test_its_colours_are_told_apart() -> None:
    """On every surface, light and dark, 3 to 1 at least (WCAG 2.2, 1.4.11). By a colour-blind reader, ten times what is
    just seen to differ (CIE 1976), by the matrices of Machado et al., 2009: no cones for red, none for green.
    """
    code = (ROOT / "assets/panel/tabs/lens_picture.js").read_text("utf-8")
    (listed,) = re.findall(r"^const COLOURS = \[(.+)\];$", code, re.MULTILINE)
    colours = [linear(code) for code in re.findall(r'"#(\w{6})"', listed)]
    assert len(colours) >= 6
    theme = (ROOT / "assets/standalone/theme.css").read_text("utf-8")
    surfaces = re.findall(r"--(?:body|block)-background-fill: #(\w{6});", theme)
    picks = re.findall(r"--gs-accent: #(\w{6});", (ROOT / "assets/panel/panel.css").read_text("utf-8"))
    assert len(surfaces) == 2 * len(picks) == 4  # light and dark
    for colour in colours:
        for surface in surfaces:
            darker, lighter = sorted((TO_XYZ @ each)[1] + 0.05 for each in (colour, linear(surface)))
            assert lighter / darker >= 3
    for pick in picks:
        for seen in SEEN:
            for one, other in itertools.combinations([*colours, linear(pick)], 2):
                assert np.linalg.norm(lab(seen @ one) - lab(seen @ other)) > 10 * 2.2


SEEN = [
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
]
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(code: str) -> Any:
    parts = np.array([int(code[n : n + 2], 16) / 255 for n in (0, 2, 4)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: Any) -> Any:
    x, y, z = np.cbrt(TO_XYZ @ np.clip(colour, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
