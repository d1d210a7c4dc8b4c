"""The two switches beside the prompt: as a message to the assistant, and past the end of text."""

from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.record.permalink import Link, to_link
from decoding.record.trace import Trace
from decoding.serving.model_list import ModelOffer
from tests.browser import Visit, open_settings, served
from tests.fakes import ScriptedEngine
from tests.page.actions import wait_for_link

ENDS = ({"<|end|>": 0.5, " most": 0.25, " only": 0.125}, {" popular": 0.75, " most": 0.125})
TEMPLATE = "<|begin|>user\n{{ messages[0].content | trim }}<|end|>\n{{ '<|begin|>assistant\n' }}"
ENGINES = {
    "plain": ScriptedEngine(ENDS, name="plain"),
    "chat": ScriptedEngine(ENDS, name="chat", chat_template=TEMPLATE),
    "broken": ScriptedEngine(ENDS, name="broken", chat_template="{{ raise_exception('No users here') }}"),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    def offers(ready: Sequence[str]) -> list[ModelOffer]:
        return [ModelOffer(name, name, has_chat_template=name != "plain") for name in ENGINES]

    page = application.build_app(lambda name, report: ENGINES[name], [*ENGINES], offers)
    with served(page) as address:
        yield address


def choose(page: Page, model: str) -> None:
    page.click("#model input")
    page.get_by_role("option", name=model, exact=True).click()


def run(page: Page, steps: int) -> None:
    page.click("#run")
    expect(page.locator(".gs-text > .gs-chip")).to_have_count(steps)
    expect(page.locator("#run")).to_be_enabled()


def shown(page: Page) -> list[str]:
    return [text.split("\n")[0] for text in page.locator(".gs-prompt .gs-chip").all_inner_texts()]


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_a_message_and_past_the_end(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    message, past_end = page.locator("#as-message input"), page.locator("#past-end input")
    open_settings(page)
    expect(past_end).to_be_visible()
    expect(message).to_be_hidden()  # the first model has no template
    choose(page, "chat")
    expect(message).to_be_visible()
    page.fill("#prompt textarea", " Hi \n")
    page.fill("#steps input", "4")
    run(page, 1)  # the text ends at once
    assert shown(page) == []

    open_settings(page)
    message.set_checked(True)
    expect(page.locator(".gs-old")).to_be_visible()  # below is the run of before
    page.keyboard.press("Tab")
    past_end.focus()
    page.keyboard.press("Space")
    expect(past_end).to_be_checked()
    run(page, 4)
    tokens = ["<|begin|>", "u", "s", "e", "r", "↵", "H", "i", "<|end|>", "↵", "<|begin|>", *"assistant", "↵"]
    assert shown(page) == tokens
    expect(page.locator(".gs-prompt .gs-special")).to_have_count(3)
    expect(page.locator(".gs-prompt-tokens summary")).to_have_text(
        f"The chat template made {len(tokens)} tokens of the message"
    )
    expect(page.locator(".gs-chip.gs-passed")).to_have_count(2)
    expect(page.locator(".gs-old")).to_be_hidden()
    page.locator(".gs-text > .gs-chip").first.click()
    expect(page.locator(".gs-column .gs-bars")).to_contain_text("<|end|>")
    expect(page.locator(".gs-how-picked")).to_contain_text("would end the text")
    how = {"past_end": True, "as_message": True}
    wait_for_link(page, **how)

    # The file holds the run, and the library has the same one.
    page.locator("#gs-tab-keep").press("Enter")
    with page.expect_download() as saved:
        page.click('[data-file="jsonl"]')
    kept = Trace.from_jsonl(saved.value.path().read_text("utf-8"))
    ours = decoding.trace(ENGINES["chat"], " Hi \n", max_new_tokens=4, top_k=5, past_end=True, as_message=True)
    assert kept == ours
    # A branch of it is one of the same message.
    page.locator(".gs-column .gs-bars .gs-bar").nth(2).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(2)
    expect(page.locator(".gs-prompt .gs-special")).to_have_count(3)
    expect(page.locator("#run")).to_be_enabled()
    wait_for_link(page, **how)
    # After a reload it is the same run, and the switches follow it.
    page.reload()
    expect(page.locator(".gs-prompt .gs-special")).to_have_count(3)
    open_settings(page)
    expect(message).to_be_checked()
    expect(past_end).to_be_checked()
    # Where there is no template, the switch is gone, and off.
    choose(page, "plain")
    expect(message).to_be_hidden()
    run(page, 4)
    wait_for_link(page, past_end=True)


def test_a_link_sets_both_switches_and_a_failing_template_says_why(url: str, visit: Visit) -> None:
    link = to_link(Link("chat", "Hi", 3, 5, [], 2, "ko", {"past_end": True, "as_message": True}))
    page = visit(f"{url}?run={link}", width=1280, height=720)
    expect(page.locator(".gs-text > .gs-chip")).to_have_count(3)
    expect(page.locator("#as-message input")).to_be_checked()
    expect(page.locator("#past-end input")).to_be_checked()
    expect(page.get_by_label("메시지로 보내기")).to_be_visible()
    expect(page.locator(".gs-prompt-tokens summary")).to_contain_text("채팅 템플릿이 메시지로")
    choose(page, "broken")
    page.click("#run")
    expect(page.locator("#problem-model p")).to_contain_text("프롬프트를 만들지 못했습니다: No users here")
    assert to_link(Link("m", "p", 1, 1, [])) == to_link(
        Link("m", "p", 1, 1, [], 0, "", {})
    )  # older links stay as they are
