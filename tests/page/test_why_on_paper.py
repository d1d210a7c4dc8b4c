"""An answer to "Why?" on paper. Of what is printed, a real PDF is read: in an emulated print the page draws anew."""

from dataclasses import replace
from pathlib import Path

import pypdfium2
from playwright.sync_api import Page, expect

from decoding.export import to_html
from decoding.record.trace import Trace
from decoding.record.why import Lens
from tests.browser import Visit, frames_later
from tests.page.test_lens_picture import ask_why, asked, url

__all__ = ["asked", "url"]


def test_on_paper_is_what_was_answered(url: str, visit: Visit) -> None:
    """Dark on white, also from a dark page; for paper, nothing is drawn anew."""
    page = ask_why(visit(f"{url}?language=en", scheme="dark"))
    frames_later(page).evaluate("window.requestAnimationFrame = () => 0")
    page.emulate_media(media="print", color_scheme="dark")
    for shown in (".gs-why-step", ".gs-without-text", ".gs-lens-status", ".gs-lens-plot"):
        expect(page.locator(shown)).to_be_visible()
    expect(page.locator(".gs-why-ask")).to_be_hidden()
    looks = "(one) => { const { color, fill } = getComputedStyle(one); return [color, fill]; }"
    (name, _), (_, axis) = (page.locator(one).first.evaluate(looks) for one in (".gs-lens-name", ".gs-lens-plot text"))
    assert axis == "rgb(0, 0, 0)"
    assert name != "rgb(255, 255, 255)"
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    strokes = "(all) => all.map((one) => getComputedStyle(one).stroke)"
    (mark,) = page.locator(".gs-lens-plot .shapelayer path").evaluate_all(strokes)
    pick = page.locator(".gs-lens-plot .js-line").evaluate_all(strokes)[-1]
    assert (mark, pick) == ("rgb(0, 0, 0)", "rgb(26, 95, 208)")
    page.set_viewport_size({"width": 740, "height": 1000})  # as wide as paper is
    line, words = (page.locator(one).bounding_box() for one in (".gs-lens-plot .shapelayer path", ".gs-lens-from"))
    assert line
    assert words
    assert 0 < line["x"] - words["x"] - words["width"] < 10


def printed(page: Page) -> str:
    """What stands on the paper; its edge has to be white."""
    document = pypdfium2.PdfDocument(page.pdf(format="A4"))
    assert document[0].render().to_numpy()[0, 0].tolist() == [255, 255, 255]
    return " ".join(sheet.get_textpage().get_text_range() for sheet in document)


def opened_file(visit: Visit, folder: Path, asked: tuple[Trace, Lens]) -> Page:
    """A file of the answer, in which the table stands open."""
    trace, lens = asked
    (folder / "run.html").write_text(to_html(replace(trace, why=(lens,)), language="en"), "utf-8")
    file = visit((folder / "run.html").as_uri(), scheme="dark")
    file.click("#gs-tab-why")
    return file


def test_the_name_of_a_folded_table_is_not_printed(
    url: str, visit: Visit, asked: tuple[Trace, Lens], tmp_path: Path
) -> None:
    page, file = ask_why(visit(f"{url}?language=en")), opened_file(visit, tmp_path, asked)
    assert "All numbers" in printed(file)
    file.locator(".gs-lens-numbers summary").click()
    for shown in (page, file):
        assert "All numbers" not in printed(shown)


def test_a_printed_answer_ends_with_its_last_number_and_sentence(
    url: str, visit: Visit, asked: tuple[Trace, Lens], tmp_path: Path
) -> None:
    """Of a page, which has the picture too, and of a file, which has the table alone."""
    page = ask_why(visit(f"{url}?language=en", scheme="dark"))
    page.locator(".gs-lens-numbers summary").click()
    for shown in (page, opened_file(visit, tmp_path, asked)):
        paper = " ".join(printed(shown).split())
        for row in shown.locator(".gs-lens-map tbody tr").all():
            assert " ".join(row.locator(".gs-heat-cell").all_inner_texts()) in paper
        assert "nothing is tuned for the layers before the last." in paper
