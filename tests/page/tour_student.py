"""A student who takes the tour, and what its card must not cover."""

from playwright.sync_api import Page, expect

from decoding.i18n import translate
from tests.browser import frames_later, open_settings

STOPS = 8


def covered(page: Page) -> list[str]:
    """What the card talks about and covers, or what is out of sight of it: the part that came last, by its box on the
    screen. It talks about one thing at least.
    """
    expect(page.locator(".gs-tour")).to_be_visible()
    return frames_later(page).evaluate(
        """() => {
            const card = document.querySelector(".gs-tour").getBoundingClientRect();
            const parts = [...document.querySelectorAll(".gs-toured")].filter((part) => part.checkVisibility());
            const boxes = parts.map((part) => [part.className, part.getBoundingClientRect()]);
            const beside = (box) => box.right <= card.left || box.left >= card.right;
            const over = boxes.filter(([, box]) => !beside(box) && box.top < card.bottom && box.bottom > card.top);
            const stop = boxes.at(-1)?.[1];
            if (stop && (stop.top < 0 || stop.bottom > innerHeight || stop.left < 0 || stop.right > innerWidth)) {
                return ["out of sight", boxes.at(-1)[0], stop.top, stop.bottom];
            }
            return parts.length ? over.map(([name]) => name) : ["nothing"];
        }"""
    )


class Student:
    """Takes the tour on a page, in a language."""

    def __init__(self, page: Page, language: str) -> None:
        self.page, self.language = page, language

    def translate(self, key: str, **values: object) -> str:
        return translate(key, self.language, **values)

    def at(self, stop: int, name: str) -> None:
        expect(self.page.locator(".gs-tour-place")).to_have_text(self.translate("tour.place", place=stop, total=STOPS))
        expect(self.page.locator(".gs-tour-title")).to_have_text(self.translate(f"tour.{name}"))
        expect(self.page.locator('[data-tour="next"]')).to_have_text(self.translate("tour.skip"))
        expect(self.page.locator(".gs-tour")).to_be_focused()
        assert covered(self.page) == []

    def go_on(self) -> None:
        expect(self.page.locator(".gs-tour-status")).to_have_text(self.translate("tour.done"))
        assert covered(self.page) == []
        self.page.locator('[data-tour="next"]').press("Enter")

    def run(self, steps: int) -> None:
        open_settings(self.page).fill("#steps input", str(steps))
        self.page.click("#run")
        expect(self.page.locator(".gs-chip")).to_have_count(steps)
        expect(self.page.locator("#run")).to_be_enabled()
