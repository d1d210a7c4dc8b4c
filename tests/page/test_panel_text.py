"""What the panel is sent of a growing text: new lines that go on from each other."""

from decoding.page.panel_text import PanelText


def test_an_update_is_the_new_lines_behind_the_last_one_before_them() -> None:
    sent = PanelText()
    texts = ["header\n", "header\none\n", "header\none\ntwo\nthree\n", "header\none\ntwo\nthree\nend\n"]
    assert [sent.update(text) for text in texts] == [
        "header\n",
        "header\none\n",
        "one\ntwo\nthree\n",
        "three\nend\n",
    ]


def test_a_long_text_is_sent_once() -> None:
    lines = ["header\n", *(f"{number:9,d}\n" for number in range(30_000))]
    sent, text, updates = PanelText(), "", []
    for at in range(0, len(lines), 1_000):
        text += "".join(lines[at : at + 1_000])
        updates.append(sent.update(text))
    assert text == "".join(lines)
    assert sum(map(len, updates)) == len(text) + sum(len(update.partition("\n")[0]) + 1 for update in updates[1:])
    known = updates[0]
    for update in updates[1:]:
        first = update[: update.index("\n") + 1]
        assert known.endswith(first)
        known += update.removeprefix(first)
    assert known == text


def test_another_text_is_sent_from_its_beginning() -> None:
    sent = PanelText()
    assert sent.update("header\n") == "header\n"
    assert sent.update("header\none\n") == "header\none\n"
    assert sent.update("header\none\ntwo\n") == "one\ntwo\n"
    assert sent.update("another\n") == "another\n"
