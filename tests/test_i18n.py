"""The texts: every language has each of them, each is used, and none stands in the code of the page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from decoding import assets
from decoding.i18n import translate

ROOT = Path(__file__).resolve().parents[1]
HTML = [*(ROOT / "assets").rglob("*.html")]
SCRIPTS = [*(ROOT / "assets").rglob("*.js")]
PYTHON = [path for room in ("page", "export", "site") for path in (ROOT / "decoding" / room).rglob("*.py")]
# Without the codes of messages, which tests/test_messages.py checks.
CODE = {path: re.sub(r'Message\("[\w.]+"', "", path.read_text("utf-8")) for path in [*HTML, *SCRIPTS, *PYTHON]}

FORMS = re.compile(r"\.(zero|one|two|few|many|other)$")
# A key in quotes, or one whose last part is filled in: "example.{…}" in Python, `player.${…}` in a script.
KEY = re.compile(r"""["'`]([a-z]+(?:\.[\w-]+)*\.)(?:([\w-]+)["'`]|\$?\{)""")


def texts(language: str) -> dict[str, str]:
    return dict(assets.texts()[language])


def stems(language: str) -> set[str]:
    return {FORMS.sub("", key) for key in texts(language)}


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w*)\}", text))


def test_english_and_korean_are_there_and_name_themselves() -> None:
    assert next(iter(assets.texts())) == "en"
    assert [texts(language)["language.name"] for language in ("en", "ko")] == ["English", "한국어"]


@pytest.mark.parametrize("language", assets.texts())
def test_every_language_has_every_text_with_the_same_places(language: str) -> None:
    assert stems(language) == stems("en")
    for key, text in texts(language).items():
        assert text.strip(), key
        english = texts("en").get(key) or texts("en")[f"{FORMS.sub('', key)}.other"]
        assert places(text) == places(english), key


@pytest.mark.parametrize("language", assets.texts())
def test_a_text_that_counts_has_a_form_for_any_number(language: str) -> None:
    counted = {FORMS.sub("", key) for key in texts(language) if FORMS.search(key)}
    assert {f"{stem}.other" for stem in counted} <= texts(language).keys()


def test_every_text_is_used_and_every_key_that_is_used_is_there() -> None:
    families = {key.split(".")[0] for key in stems("en")}
    found = [match for code in CODE.values() for match in KEY.findall(code)]
    used = {start + last for start, last in found if last and start.split(".")[0] in families} - {"page.css", "page.js"}
    begun = {start for start, last in found if not last and start.split(".")[0] in families}
    assert {key for key in used if key not in stems("en") and key not in texts("en")} == set()
    unused = {key for key in stems("en") - used if not key.startswith((*begun, "server."))}
    assert unused - {"language.name"} == set()


class Written(HTMLParser):
    """The letters that stand in an HTML file itself, where people would read them."""

    SPOKEN = ("title", "alt", "placeholder", "aria-label")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        self.found += [value for name, value in attrs if name in self.SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.inside):
            self.found.append(data)


NAMES = {"Greedyscope", "ED 8A", "generate", "argmax", "ln", "ln p"}
"""What is called the same in every language, or is no word."""


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_the_html_contains_no_text(path: Path) -> None:
    found = [re.sub(r"\{\w+\}", "", text).strip() for text in Written(CODE[path]).found]
    assert [text for text in found if re.search(r"[^\W\d_]{2}", text) and text not in NAMES] == []


def test_translate_fills_in_values_in_each_language() -> None:
    assert translate("page.steps", most=256) == "Steps (1–256)"
    assert translate("page.steps", "ko", most=256) == "단계 수 (1–256)"
    assert translate("page.run", "tlh") == translate("page.run")
    with pytest.raises(KeyError):
        translate("page.steps")


LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`')
COMMENT = re.compile(r"/\*\*(?:[^*]|\*(?!/))*\*/|^\s*//.*$|\s//\s.*$", re.MULTILINE)
# Two words beside each other, or one that begins as a sentence or a label does.
PROSE = re.compile(r"[^\W\d_]{2,},? (… )?[^\W\d_]{2,}|^[A-Z][a-z]+( …|\.)?$")
# Keys of a keyboard, selectors, class names: what a browser reads and no person.
CODE_WORDS = re.compile(
    r"^(Arrow\w+|Home|End|Files|Enter|Escape|Shift|Tab"
    r"|[a-z]+(-[a-z]+)+ .*|.*[#\[\]=>].*|.*\bgs-.*|.*-apple-.*|.*monospace)$"
)
NOT_READ = {"as printed", "unknown dtype", "tbody button", "button, summary, a", "Greedyscope"}


def is_prose(text: str) -> bool:
    return bool(PROSE.search(text)) and not CODE_WORDS.match(text) and text not in NOT_READ


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_contain_no_text(path: Path) -> None:
    code = COMMENT.sub("", CODE[path])
    found = [re.sub(r"\$\{[^}]*\}", "…", literal)[1:-1].strip() for literal in LITERAL.findall(code)]
    assert [text for text in found if is_prose(text)] == []


def test_a_text_in_a_script_would_be_found() -> None:
    for text in ("Copied", "no id", "Step … of …: …", "A tie here.", "and … more", "Nothing was found"):
        assert is_prose(text), text


# ---- how the texts are written


REFERENCE = re.compile(r"\{@([\w.-]+)\}")
QUOTED = re.compile(r"[“‘]([^”’{}]+)[”’]")
LABELS = (
    "tabs.",
    "page.",
    "standalone.",
    "bars.rest",
    "predict.start",
    "predict.reveal",
    "whatif.",
    "example.",
    "keep.",
)
# After a token, whose last letter nobody knows, no form of these is right.
PARTICLE = re.compile(
    r"\{(?!count|step|steps|number|most|least|rank)\w+\}[”’\")]*(을|를|은|는|이|가|과|와|으로|로|라|이라)(?=[ .,]|라)"
)
EITHER = re.compile(r"(을\(를\)|은\(는\)|이\(가\)|\(으\)로|\(이\))")
NOT_KOREAN = ("녹화", "텍스트", "컨텍스트", "nats", "비트", "토큰 ID", "욕심", "아슬아슬한 곳과 반복", "판의", "무르")
ENDS_IN_A_COLON = ("loops.found", "page.examples", "page.recorded")


@pytest.mark.parametrize("language", assets.texts())
def test_a_text_that_names_another_takes_its_words(language: str) -> None:
    words = texts(language)
    labels = {text: key for key, text in words.items() if key.startswith(LABELS) and "{" not in text}
    for key, text in words.items():
        assert {name for name in REFERENCE.findall(text) if name not in words} == set(), key
        if not key.startswith("server."):  # found by their text, which therefore is whole
            assert [name for name in QUOTED.findall(text) if name in labels] == [], key
        elif language != "en":
            said = [name for name in QUOTED.findall(text) if not name.isascii()]
            assert [name for name in said if name not in labels] == [], key


@pytest.mark.parametrize("language", assets.texts())
def test_no_text_ends_where_something_should_follow(language: str) -> None:
    ends = {FORMS.sub("", key) for key, text in texts(language).items() if text.rstrip().endswith((":", ",", ";", "("))}
    assert ends <= set(ENDS_IN_A_COLON)


def test_no_two_texts_of_a_mode_say_the_same() -> None:
    for mode in ("predict.", "tour.", "old.", "verdict."):
        for language in assets.texts():
            said = [text for key, text in texts(language).items() if key.startswith(mode)]
            assert len({text.casefold() for text in said}) >= len(said) - len(DOUBLED), (mode, language)


DOUBLED = ("predict.score.one",)
"""A plural that Korean has not."""


def test_korean_is_written_as_korean() -> None:
    for key, text in texts("ko").items():
        assert not PARTICLE.search(text), f"{key}: {text}"
        assert not EITHER.search(text), f"{key}: {text}"
        assert [word for word in NOT_KOREAN if word in re.sub(r"\{\w+\}", "", text)] == [], f"{key}: {text}"
