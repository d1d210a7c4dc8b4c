"""Every surface that shows the panel takes every key and every stored setting: the page, a frame of another page, an
exported file with and without plotly.js, a notebook's frame.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Page, expect

import app as application
from decoding import assets
from decoding.export import to_frame_html
from decoding.record.trace import Trace
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine

RECORDED = Trace.from_jsonl(assets.read("recorded/starter.jsonl"))
SETTINGS = {
    "greedyscope.classroom": ("on", "", "x"),
    "greedyscope.language": ("ko", "en", "tlh", ""),
    "greedyscope.tour": ("3", "99", "-1", "x"),
}
KEYS = (
    *"abcdefghijklmnopqrstuvwxyz0123456789C?/",
    *("Escape", "Home", "End", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageDown", "Enter", "Tab", "Space"),
)
SURFACES = ("page", "embed", "file", "file with plotly", "notebook")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


def address_of(surface: str, url: str, folder: Path) -> str:
    if surface in ("page", "embed"):
        return url if surface == "page" else f"{url}?embed=1"
    path = folder / "run.html"
    text = to_frame_html(RECORDED) if surface == "notebook" else RECORDED.to_html(plotly="plotly" in surface)
    path.write_text(f"<!doctype html><meta charset=utf-8>{text}" if surface == "notebook" else text, "utf-8")
    return path.as_uri()


def panel_of(page: Page, surface: str) -> Page | Frame:
    """Where the panel is, once it has drawn its run; a panel that does not start draws none."""
    there: Page | Frame = page
    if surface == "notebook":
        page.wait_for_selector("iframe")
        there = page.frames[1]
    there.wait_for_selector(".gs-chip", timeout=20_000)
    return there


@pytest.mark.parametrize("surface", SURFACES)
def test_a_surface_takes_every_key_and_every_stored_setting(
    surface: str, url: str, visit: Visit, tmp_path: Path
) -> None:
    address = address_of(surface, url, tmp_path)
    page = visit(address) if surface != "notebook" else visit(address, waits=False)
    # A value of each setting at a time: a page costs seconds to load.
    for values in zip_longest(*SETTINGS.values(), fillvalue=""):
        if surface != "notebook":  # which may remember nothing
            page.evaluate("(all) => Object.assign(localStorage, all)", dict(zip(SETTINGS, values, strict=True)))
        page.reload()
        panel_of(page, surface)
    panel = panel_of(page, surface)
    page.evaluate("localStorage.clear()")
    for key in KEYS:
        panel.locator(".gs").focus()
        page.keyboard.press(key)
        page.reload() if key in "cC" else None
        panel = panel_of(page, surface)
    panel.locator(".gs").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(panel.locator(".gs-strip")).to_have_attribute("aria-valuenow", "2")


def test_an_exported_file_keeps_the_classroom_view(visit: Visit, tmp_path: Path) -> None:
    address = address_of("file", "", tmp_path)
    page = visit(address)
    page.keyboard.press("c")
    expect(page.locator("html")).to_have_class("classroom")
    page.reload()
    expect(page.locator("html")).to_have_class("classroom")
    expect(page.locator(".gs-step-title")).to_contain_text("·most")


def test_the_panel_is_drawn_in_a_frame_as_on_the_page(url: str, visit: Visit) -> None:
    page = visit(f"{url}?embed=1")
    assert frames_later(page).locator(".gs-embedded .gs-bar").count() > 3
