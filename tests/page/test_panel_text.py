"""What the panel is sent of a growing text: short updates that go on from each other, and all of it at the end."""

from decoding.page import panel_text
from decoding.page.panel_text import PanelText


def test_a_short_text_is_sent_as_it_is() -> None:
    sent = PanelText()
    assert [sent.update("header\n"), sent.update("header\none\n")] == ["header\n", "header\none\n"]
    assert sent.end() is None


def test_of_a_long_text_the_newest_lines_are_sent_from_one_that_was_sent_before() -> None:
    lines = ["header\n", *(f"{number:9,d}\n" for number in range(30_000))]
    sent, text, updates = PanelText(), "", []
    for at in range(0, len(lines), 1_000):
        text += "".join(lines[at : at + 1_000])
        updates.append(sent.update(text))
    assert text == "".join(lines)
    assert len(text) > 4 * panel_text.MOST_CHARACTERS
    assert all(len(update) <= panel_text.MOST_CHARACTERS + 10 * 1_000 for update in updates)
    known = ""
    for update in updates:
        first = update[: update.index("\n") + 1]
        known = known[: known.rindex(first)] + update if known and first in known else update
    assert known == text
    assert sent.end() == text


def test_another_text_is_sent_from_its_beginning() -> None:
    sent, long = PanelText(), "x" * panel_text.MOST_CHARACTERS
    assert sent.update("header\n") == "header\n"
    assert sent.update(f"header\n{long}\n") == f"header\n{long}\n"
    assert sent.update(f"header\n{long}\nmore\n") == f"{long}\nmore\n"
    assert sent.update("another\n") == "another\n"
    assert sent.end() is None
