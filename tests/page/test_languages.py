"""The page in another language: all of it, from the switch, the browser, a link and a file."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import app as application
from decoding.assets import texts
from decoding.i18n import translate
from decoding.messages import Message, to_json
from tests import node
from tests.browser import Visit, drawn, frames_later, served
from tests.fakes import ScriptedEngine

TABS = ("table", "lesson", "whatif", "compare", "keep", "reading")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    models = {"scripted": ScriptedEngine(context_length=64), "other": ScriptedEngine(context_length=64)}
    with served(application.build_app(lambda name, _: models[name], [*models])) as address:
        yield address


def choose(page: Page, language: str) -> None:
    page.locator(f"[data-language={language}]").click()
    expect(page.locator("html")).to_have_attribute("lang", language)


def run(page: Page, steps: str = "3") -> None:
    page.fill("#steps input", steps)
    page.click("#run")


def english_on(page: Page) -> list[str]:
    """The English texts that can be read on the page, in a label, in a title."""
    spoken = page.evaluate("""() => {
        const said = (name) => [...document.querySelectorAll(`[${name}]`)].map((node) => node.getAttribute(name));
        const attributes = ["aria-label", "title", "placeholder"].flatMap(said);
        return [document.title, document.body.innerText, ...attributes].join("\\n");
    }""")
    there = []
    for key, text in texts()["en"].items():
        pieces = [piece.strip() for piece in re.split(r"\{\w+\}", text)]
        longest = max(pieces, key=len)
        if " " in longest and longest in spoken and longest not in texts()["ko"].get(key, ""):
            there.append(f"{key}: {longest}")
    return there


def test_a_korean_browser_reads_korean_everywhere(url: str, visit: Visit) -> None:
    page = visit(url, locale="ko-KR")
    expect(page).to_have_title(translate("page.title", "ko"))
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#run")).to_have_text(translate("page.run", "ko"))
    expect(page.locator("#steps label")).to_contain_text(translate("page.steps", "ko", most=256))
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("3단계, 완료 · 로그 확률")
    page.locator(".gs-bar:not(.gs-argmax)").first.click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    for tab in TABS:
        page.click(f"#gs-tab-{tab}")
        expect(page.locator(f"#gs-page-{tab}")).to_be_visible()
        assert english_on(frames_later(page)) == []
    assert len(english_on(visit(url))) > 20, "the look for English finds none where all is English"


def test_the_server_is_heard_in_korean(url: str, visit: Visit) -> None:
    page = visit(url, locale="ko-KR")
    run(page, "999")
    problem = page.locator("#problem-steps")
    expect(problem).to_have_text("단계 수는 1에서 256까지의 정수여야 합니다. 입력한 값: 999.")
    choose(page, "en")
    expect(problem).to_have_text("The number of steps has to be a whole number from 1 to 256, not 999.")


FETCHING = Message("fetch.progress", model="other", done=1, total=4)
FILLED = [
    (
        Message("fetch.refused", model="it", reason=Message("fetch.reason.none")),
        "Hugging Face Hub가 it 모델을 내주지 않습니다(그런 저장소나 커밋이 없음). 다른 모델을 고르세요.",
    ),
    (
        Message("fetch.broke_off", model="tiny", reason=Message("engine.why.cut")),
        "tiny 모델을 받다가 끊겼습니다: 연결이 끊어짐. 받은 데까지는 남아 있으니 다시 시도하면 이어서 받습니다.",
    ),
    (
        Message("model.turn", model="tiny", word=Message("progress", message=FETCHING, share="25%")),
        "tiny 모델보다 먼저 준비하는 모델이 있습니다. other 받는 중: 4 MB 중 1 MB (25%)",
    ),
    (
        Message("progress", message=Message("fetch.quiet", word=FETCHING, seconds=7), share="25%"),
        "other 받는 중: 4 MB 중 1 MB, 7초째 아무것도 오지 않습니다 (25%)",
    ),
    (
        Message("read.wrong", number=3, complaint=Message("read.wrong.index", index=7, number=1)),
        "실행의 3번째 줄이 맞지 않습니다: 단계 번호가 7인데 1일 자리입니다.",
    ),
    (
        Message("read.line", number=1, place="format", reason=Message("read.field.missing")),
        "실행의 1번째 줄을 읽을 수 없습니다: format: 빠져 있습니다.",
    ),
]
"""Messages of the server with something filled in, and their Korean."""


def test_what_is_filled_into_a_sentence_is_korean_too() -> None:
    code = """async (messages, load) => {
        const { texts } = await load("core/texts.js");
        const { sentenceOf } = await load("core/server_messages.js");
        globalThis.document = { documentElement: {} };
        texts.chooseLanguage("ko");
        return messages.map((message) => sentenceOf(message));
    }"""
    assert node.run(code, [to_json(message) for message, _ in FILLED]) == [korean for _, korean in FILLED]


def test_the_language_is_chosen_remembered_and_kept_in_the_link(url: str, visit: Visit) -> None:
    page = visit(url)
    choose(page, "ko")
    expect(page.locator(".gs-badge")).to_have_text("기록")
    page.wait_for_url("**/?language=ko")
    page.reload()
    expect(page.locator("#stop")).to_have_text("중지")
    run(drawn(page))
    page.wait_for_url("**/?run=*")
    link = page.url
    other = visit(link)
    expect(other.locator("#run")).to_have_text("실행")
    expect(other.locator(".gs-state")).to_contain_text("3단계, 완료")
    choose(other, "en")
    expect(other.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(other.locator(".gs-step-title")).to_contain_text("Step 3 of 3")


def test_what_is_saved_has_headings_in_the_language(url: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(url, locale="ko-KR")
    page.click("#gs-tab-keep")
    files = {}
    for form in ("csv", "md", "html"):
        with page.expect_download() as saved:
            page.click(f"[data-file={form}]")
        saved.value.save_as(tmp_path / form)
        files[form] = (tmp_path / form).read_text("utf-8-sig")
    assert files["csv"].startswith("단계,순위,토큰 id,")
    assert files["md"].startswith("| 입력 | 후보 1 | 후보 2 |")
    assert '<html lang="ko"' in files["html"]
