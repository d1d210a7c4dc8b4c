"""A class that votes, in real Chromiums: a teacher at a projector and phones whose network comes and goes."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

import app as application
from tests.browser import Visit, open_settings, served, tab
from tests.fakes import ScriptedEngine
from tests.page.actions import run_of_three
from tests.page.test_accessibility import EVERY, SETTLED

MARKUP = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Any]:
    """Opens a phone at an address below the page's."""
    with ExitStack() as stack:

        def open_phone(path: str, **options: Any) -> Page:
            context = browser.new_context(viewport={"width": 390, "height": 844}, **options)
            stack.callback(context.close)
            page = tab(context)
            page.goto(f"{url}vote/{path}")
            return page

        yield open_phone


def teaching(visit: Visit, url: str, **options: Any) -> tuple[Page, str]:
    """A teacher's page that shows the code, with a run of three steps and three choices; and the code."""
    page = open_settings(visit(url, **options))
    run_of_three(page)
    page.click("#gs-tab-lesson")
    page.click('[data-vote="open"]')
    expect(page.locator(".gs-vote-big")).to_have_text(re.compile(r"^[2-9A-Z]{6}$"))
    expect(page.locator(".gs-vote-qr path")).to_have_attribute("d", re.compile("^M"))
    return page, page.locator(".gs-vote-big").inner_text()


def accessible(page: Page) -> None:
    page.evaluate(SETTLED)
    found = Axe().run(page, options=EVERY).response["violations"]
    assert not found, [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]


def press(phone: Page, label: str) -> None:
    phone.locator(".labels button", has_text=label).click()


def type_in(phone: Page, text: str) -> None:
    phone.fill(".answer input", text)
    phone.keyboard.press("Enter")


def answer_late(route: Route) -> None:
    """Longer than the page waits from one state of the class to the next."""
    answer = route.fetch()
    time.sleep(0.3)
    route.fulfill(response=answer)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_class_votes_on_three_steps(visit: Visit, url: str, phone: Any, tmp_path: Path) -> None:
    teacher, code = teaching(visit, url, height=720)
    assert "popular" not in teacher.locator("#panel").inner_text()  # hidden from the moment on
    accessible(teacher)
    ann, ben = phone(code), phone("", bypass_csp=True, color_scheme="dark")
    ben.fill(".enter input", code.lower())
    ben.keyboard.press("Enter")
    expect(ben.locator(".status")).to_contain_text("You are in.")
    expect(teacher.locator(".gs-vote-joined")).to_have_text("2 phones have joined")
    teacher.keyboard.press("Enter")  # on "Begin"
    expect(teacher.locator(".gs-vote-reveal")).to_be_focused()

    # 1. The first step: a typed text that is markup, and an answer that is changed.
    expect(ann.locator(".labels button")).to_have_count(3)
    expect(ann.locator(".text")).to_have_text("Transformers are the")
    press(ann, "·only")
    press(ann, "·most")
    expect(ann.locator("button[aria-pressed=true]")).to_have_text("·most")
    expect(ann.locator(".status")).to_contain_text("Your answer: “·most”. You can change it")
    type_in(ben, " ")
    expect(ben.locator(".refused")).to_have_text("Type an answer first, or choose one of the candidates.")
    type_in(ben, MARKUP)
    expect(teacher.locator(".gs-vote-count")).to_have_text("2 of 2 have answered")
    assert "onerror" not in teacher.content()  # nor is anything of it on the teacher's page
    teacher.keyboard.press("Enter")
    expect(ann.locator(".status")).to_have_text("✓ Right: “·most” is what the model writes. Rank 1, 50.00 %.")
    assert ann.locator(".text").evaluate("(text) => getComputedStyle(text, '::after').content") == '"·most"'
    expect(ann.locator(".score")).to_have_text("Right: 1 of 1 · mean rank 1.00, 1.00 bits per token")
    expect(ben.locator(".status")).to_contain_text("is not among the candidates that the run kept: rank 4 or lower")
    expect(teacher.locator(".gs-vote-status")).to_contain_text("Right answers: 1 of 2.")
    expect(teacher.locator(".gs-vote-next")).to_be_focused()
    expect(teacher.locator(".gs-vote-value")).to_have_text(["▨ 1 (50 %)", "▨ 1 (50 %)"])
    expect(teacher.locator(".gs-vote-others p")).to_be_hidden()  # the teacher looks first
    teacher.click(".gs-vote-others summary")
    expect(teacher.locator(".gs-vote-others p")).to_have_text(f"“{MARKUP}” 1")
    accessible(ben)
    for page in (teacher, ben):
        fits(page)
        assert page.title() != "1"

    # 2. The second: a phone without a network, a teacher's page and a phone that are reloaded, and who comes late.
    teacher.click(".gs-vote-next")
    expect(ann.locator(".step h2")).to_have_text("Step 2: what comes next?")
    ann.context.set_offline(True)
    press(ann, "·popular")
    expect(ann.locator(".offline")).to_contain_text("No connection.")
    expect(ann.locator(".status")).to_have_text("“·popular” is being sent …")
    press(ben, "·popular")
    ben.reload()
    expect(ben.locator("button[aria-pressed=true]")).to_have_text("·popular")
    expect(teacher.locator(".gs-vote-count")).to_have_text("1 of 2 have answered")
    teacher.reload()
    expect(teacher.locator(".gs-vote-code")).to_have_text(code)
    expect(teacher.locator(".gs-vote-count")).to_have_text("1 of 2 have answered")
    assert "toy" not in teacher.locator("#panel").inner_text()
    cho = phone(code)
    type_in(cho, "popular")
    ann.context.set_offline(False)
    expect(ann.locator(".status")).to_contain_text("Your answer: “·popular”.")
    expect(ann.locator(".offline")).to_be_empty()
    expect(teacher.locator(".gs-vote-count")).to_have_text("3 of 3 have answered")
    teacher.click(".gs-vote-reveal")
    expect(teacher.locator(".gs-vote-status")).to_contain_text("The class's choice: “·popular”, 100 % of the answers.")
    for page, score in ((ann, "Right: 2 of 2"), (ben, "Right: 1 of 2"), (cho, "Right: 1 of 1")):
        expect(page.locator(".score")).to_contain_text(score)
    teacher.reload()
    expect(teacher.locator(".gs-vote-status")).to_contain_text("Right answers: 3 of 3.")
    accessible(teacher)

    # 3. The third has a time, and is revealed when it is over.
    teacher.select_option(".gs-vote-time", "15")
    teacher.click(".gs-vote-next")
    expect(ann.locator(".left")).to_have_text(re.compile(r"Time left 0:(0\d|1[0-5])"))
    expect(teacher.locator(".gs-vote-left")).to_have_text(re.compile(r"0:(0\d|1[0-5])"))
    press(cho, "·line")
    expect(teacher.locator(".gs-vote-count")).to_have_text("1 of 3 have answered")
    teacher.evaluate("() => { const now = performance.now(); performance.now = () => now + 17_000; }")
    wrong = "✗ “·line” is rank 2, 30.00 %. The text continues with “·toy”, 40.00 %."
    expect(cho.locator(".status")).to_have_text(wrong)
    expect(ann.locator(".status")).to_have_text("You did not answer. The text continues with “·toy”, 40.00 %.")
    expect(teacher.locator(".gs-vote-next")).to_be_hidden()

    # 4. What came of it. Whatever the page asked of the session after its end would be an error in its console.
    teacher.route(f"**/vote/{code}/end", answer_late)
    teacher.click('[data-vote="end"]')
    expect(teacher.locator(".gs-vote-picture title")).to_have_text("The class against the model")
    accessible(teacher)
    for page in (ann, ben, cho):
        expect(page.locator(".status")).to_have_text("The vote has ended. Nothing of it is kept on the server.")
        assert page.evaluate("Object.keys(localStorage)") == []
    ben.reload()
    expect(ben.locator(".status")).to_have_text("The vote has ended. Nothing of it is kept on the server.")
    expect(ben.locator(".enter")).to_be_hidden()
    with teacher.expect_download() as download:
        teacher.click('[data-vote-file="png"]')
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    teacher.evaluate("() => { HTMLCanvasElement.prototype.toBlob = (done) => done(null); }")  # as where memory is short
    teacher.click('[data-vote-file="png"]')
    expect(teacher.locator(".gs-vote-unsaved")).to_have_text(
        "This browser did not make a PNG. Save the picture as SVG instead."
    )
    with teacher.expect_download() as download:
        teacher.click('[data-vote-file="csv"]')
    expect(teacher.locator(".gs-vote-unsaved")).to_be_empty()
    download.value.save_as(tmp_path / "vote.csv")
    table = (tmp_path / "vote.csv").read_text("utf-8-sig").splitlines()
    assert len(table) == 1 + 3 * 3 + 1
    assert '1,1,"<img src=x onerror=""document.title=1"">",0,1,0.5,,,0' in table
    teacher.click('[data-vote="close"]')
    expect(teacher.locator(".gs-vote")).to_be_hidden()
    expect(teacher.locator(".gs-chip")).to_have_count(3)


def test_a_phone_that_comes_with_a_wrong_code_can_type_another(phone: Any) -> None:
    page = phone("AAAAAA", locale="ko-KR", bypass_csp=True)
    expect(page.locator(".refused")).to_contain_text("이 코드의 투표가 없거나 이미 끝났습니다.")
    expect(page.locator(".enter input")).to_be_focused()
    accessible(page)
    fits(page)


def test_another_run_drops_the_open_question_and_says_so(visit: Visit, url: str, phone: Any) -> None:
    teacher, code = teaching(visit, url, height=720)
    teacher.keyboard.press("Enter")  # on "Begin"
    expect(teacher.locator(".gs-vote-count")).to_have_text("No phone has joined yet.")
    ann = phone(code)
    press(ann, "·most")
    expect(teacher.locator(".gs-vote-count")).to_have_text("1 of 1 have answered")
    teacher.click(".gs-vote-reveal")
    teacher.click(".gs-vote-next")
    expect(ann.locator(".step h2")).to_have_text("Step 2: what comes next?")
    teacher.fill("#prompt textarea", "line\n" * 60)
    teacher.click("#run")
    expect(teacher.locator(".gs-vote-problem")).to_contain_text("the question that was open was dropped")
    expect(ann.locator(".step h2")).to_have_text("Step 1: what comes next?")
    assert teacher.locator(".gs-text").evaluate("(box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 1")
    press(ann, "·most")
    expect(teacher.locator(".gs-vote-count")).to_have_text("1 of 1 have answered")
    teacher.click(".gs-vote-reveal")
    expect(teacher.locator(".gs-vote-problem")).to_be_empty()
    teacher.click('[data-vote="results"]')
    expect(teacher.locator(".gs-vote-picture text", has_text=re.compile(r"^Text \d$"))).to_have_text(
        ["Text 1", "Text 2"]
    )
    teacher.click('[data-vote="close"]')
    asked: list[str] = []
    teacher.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    teacher.close(run_before_unload=True)
    teacher.wait_for_event("close")
    assert asked == ["beforeunload"]  # while a class waits


def test_the_code_is_in_sight_once_the_vote_begins(visit: Visit, url: str) -> None:
    teacher, _ = teaching(visit, url, height=900)
    teacher.evaluate("scrollTo(0, document.body.scrollHeight)")
    teacher.click('[data-vote="begin"]')
    expect(teacher.locator(".gs-vote-code")).to_be_in_viewport(ratio=1)
    expect(teacher.locator(".gs-vote-reveal")).to_be_in_viewport(ratio=1)


def test_reveal_is_in_sight_beside_fifty_candidates(visit: Visit, url: str) -> None:
    teacher = visit(url, height=720)
    teacher.fill("#choices input", "50")
    teacher.fill("#steps input", "3")
    teacher.click("#run")
    expect(teacher.locator(".gs-chip")).to_have_count(3)
    expect(teacher.locator("#run")).to_be_enabled()
    teacher.click("#gs-tab-lesson")
    teacher.click('[data-vote="open"]')
    teacher.click('[data-vote="begin"]')
    expect(teacher.locator(".gs-vote-labels li")).to_have_count(50)
    teacher.add_style_tag(content=".gs .gs-vote-labels li { min-width: 11rem; }")  # as long as many tokens are
    teacher.evaluate("scrollTo(0, 0)")
    box = teacher.locator(".gs-vote-reveal").bounding_box()
    assert box
    assert box["y"] + box["height"] <= 720
