"""The address bar holds the run on screen, and an address opens the same run."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.record.permalink import Link, from_link, to_link
from tests import node
from tests.browser import Visit, served
from tests.record.test_permalink import PROMPTS

PROMPT = "Transformers are the"


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


def link_in_address(page: Page) -> Link | None:
    value = page.evaluate("new URLSearchParams(location.search).get('run')")
    return from_link(value) if value else None


def until_named(page: Page, link: Link) -> None:
    """Wait until the address holds a run, which it does from when the run is asked for, and until it is written."""
    for _ in range(600):
        if link_in_address(page) == link:
            break
        page.wait_for_timeout(100)
    assert link_in_address(page) == link
    expect(page.locator("#run")).to_be_enabled()


def copy_link(page: Page) -> None:
    """Press the button and wait until it has said so, which stands there for two seconds only."""
    page.evaluate("""() => {
        const button = document.querySelector(".gs-copy");
        window.said = [];
        new MutationObserver(() => said.push(button.textContent)).observe(button, { childList: true });
    }""")
    page.click(".gs-copy")
    page.wait_for_function("said.includes('Copied')")


def test_the_address_holds_the_run_the_step_and_the_picks(url: str, visit: Visit, starter: LocalEngine):
    page = visit(url)
    assert link_in_address(page) is None  # a recorded run is on screen
    page.click("#run")
    until_named(page, Link("starter", PROMPT, 8, 5, [], 7))
    page.locator(".gs-chip").nth(2).click()
    until_named(page, Link("starter", PROMPT, 8, 5, [], 2))
    page.locator(".gs-bar").nth(1).click()
    other = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5).steps[2].candidates[1].token_id
    until_named(page, Link("starter", PROMPT, 8, 5, [[2, other]], 2))
    page.go_back()
    until_named(page, Link("starter", PROMPT, 8, 5, [], 2))
    expect(page.locator(".gs-step-title")).to_have_text("Step 3 of 8: ·way")
    page.go_forward()
    until_named(page, Link("starter", PROMPT, 8, 5, [[2, other]], 2))


def test_a_link_opens_the_same_run_with_nothing_typed(url: str, visit: Visit, starter: LocalEngine):
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=6, top_k=3)
    fork = decoding.branch(starter, greedy, 1, greedy.steps[1].candidates[2].token_id, max_new_tokens=6)
    link = to_link(Link("starter", PROMPT, 6, 3, [[1, fork.steps[1].picked.token_id]], 4))
    page = visit(f"{url}?run={link}")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 5 of 6")
    ids = [str(token_id) for token_id in fork.generated_token_ids]
    expect(page.locator(".gs-chip .gs-id")).to_have_text(ids)
    expect(page.locator("#steps input")).to_have_value("6")
    expect(page.locator("#choices input")).to_have_value("3")


def test_beams_are_named_by_their_picks_and_come_back(url: str, visit: Visit, starter: LocalEngine):
    found = decoding.beam_search(starter, PROMPT, max_new_tokens=8, num_beams=4, top_k=5)
    picks = [[step.index, step.picked.token_id] for step in found.steps if step.forced]
    page = visit(url)
    page.click("#run")
    until_named(page, Link("starter", PROMPT, 8, 5, [], 7))
    page.click("#gs-tab-whatif")
    page.click('[data-ask="beam"]')
    until_named(page, Link("starter", PROMPT, 8, 5, picks, picks[0][0]))  # where it leaves the greedy run
    page.reload()
    expect(page.locator(".gs-state")).to_contain_text(f"log-probability −{-found.logprob:.3f}")
    ids = [str(token_id) for token_id in found.generated_token_ids]
    expect(page.locator(".gs-chip .gs-id")).to_have_text(ids)


def test_back_after_a_reload_opens_what_the_address_says(url: str, visit: Visit):
    page = visit(url)
    for steps in ("2", "3"):
        page.fill("#steps input", steps)
        page.click("#run")
        until_named(page, Link("starter", PROMPT, int(steps), 5, [], int(steps) - 1))
        expect(page.locator("#run")).to_be_enabled()
    page.reload()
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    page.go_back()  # the history's "Run 2" is no longer this page's
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.go_back()
    expect(page.locator(".gs-badge")).to_be_visible()
    page.wait_for_url(lambda address: "run=" not in address)


def test_back_while_an_address_is_being_written_opens_what_that_address_says(url: str, visit: Visit):
    """The run that was left named itself in the place of the one gone back to."""
    page = visit(url)
    for steps in ("2", "3"):
        page.fill("#steps input", steps)
        page.click("#run")
        until_named(page, Link("starter", PROMPT, int(steps), 5, [], int(steps) - 1))
        expect(page.locator("#run")).to_be_enabled()
    page.reload()
    until_named(page, Link("starter", PROMPT, 3, 5, [], 2))
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.evaluate("""() => {
        const Packing = CompressionStream, goes = new Promise((done) => { window.goOn = done; });
        window.CompressionStream = function (kind) {
            const held = new TransformStream({ transform: (chunk, out) => goes.then(() => out.enqueue(chunk)) });
            window.isHeld = true;
            return { writable: held.writable, readable: held.readable.pipeThrough(new Packing(kind)) };
        };
    }""")
    page.locator(".gs-chip").first.click()
    page.wait_for_function("window.isHeld")
    page.go_back()
    page.evaluate("goOn()")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.go_back()
    expect(page.locator(".gs-badge")).to_be_visible()


def test_the_page_packs_a_prompt_as_the_library_does():
    requests = [{"model": "starter", "prompt": each, "steps": 1, "choices": 5} for each in PROMPTS.values()]
    code = """async (requests, load) => {
        const { linkTo } = await load("core/permalink.js");
        return Promise.all(requests.map((request) => linkTo(request, 0, "ko")));
    }"""
    links = dict(zip(PROMPTS, node.run(code, requests), strict=True))
    for name, prompt in PROMPTS.items():
        assert from_link(links[name]) == Link("starter", prompt, 1, 5, [], 0, "ko")
    assert max(len(links[name]) for name in ("Korean", "emoji")) < 1_900


def test_the_link_is_copied(url: str, visit: Visit):
    page = visit(url, is_alone=True)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#steps input", "2")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    copy_link(page)  # at once, before the address bar has it
    copied = page.evaluate("navigator.clipboard.readText()")
    assert from_link(copied.split("?run=")[1]) == Link("starter", PROMPT, 2, 5, [], 1)


def test_the_link_is_given_to_the_clipboard_within_the_click(url: str, visit: Visit):
    """WebKit permits it no later, and the link is packed in its own time."""
    page = run_of_two_steps(visit(url))
    copied = page.evaluate("""() => {
        const given = [];
        Object.defineProperty(navigator, "clipboard", { value: { write: async (items) => given.push(...items) } });
        document.querySelector(".gs-copy").click();
        return given[0]?.getType("text/plain").then((blob) => blob.text());
    }""")
    assert from_link(copied.split("?run=")[1]) == Link("starter", PROMPT, 2, 5, [], 1)
    expect(page.locator(".gs-copy")).to_have_text("Copied")


def test_a_browser_that_cannot_pack_a_link_says_that_there_is_none(url: str, visit: Visit):
    page = visit(url)
    page.evaluate("delete window.CompressionStream")
    page.fill("#steps input", "2")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    expect(page.locator(".gs-copy")).to_be_disabled()
    expect(page.locator(".gs-copy")).to_have_attribute("title", "This run has no link. You can save it as a file.")
    assert link_in_address(page) is None


def test_the_link_is_copied_where_the_clipboard_is_closed(url: str, visit: Visit):
    page = visit(url)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over plain http
    page.evaluate("document.addEventListener('copy', () => { window.copied = String(document.activeElement.value); })")
    page.fill("#steps input", "2")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    copy_link(page)
    assert from_link(page.evaluate("window.copied").split("?run=")[1]).steps == 2


@pytest.mark.parametrize(
    ("value", "prompt", "sentence"),
    [
        ("1abc", "", "This link is broken: it is cut short or altered."),
        ("9abc", "", "This link is of a version that this page does not know."),
        (to_link(Link("gpt2-xl", "a", 8, 5, [])), "a", 'The model "gpt2-xl" is not offered here.'),
        (
            to_link(Link("starter", "a", 999, 5, [])),
            "a",
            "The number of steps has to be a whole number from 1 to 256, not 999.",
        ),
        (
            to_link(Link("starter", "a", 8, 5, [[3, 10**6]])),
            "a",
            "The token id 1000000, forced at step 4 (counted from 1), does not exist",
        ),
    ],
)
def test_a_broken_link_says_so_and_the_page_works(url: str, visit: Visit, value: str, prompt: str, sentence: str):
    page = visit(f"{url}?run={value}")
    expect(page.locator(".problem p:not(:empty)").first).to_contain_text(sentence)
    if not prompt:
        page.keyboard.press("Escape")  # takes the message away
        expect(page.locator(".problem p:not(:empty)")).to_have_count(0)
        page.locator(".gs-chip").first.click()
        expect(page.locator(".gs-old")).to_have_text("This is a recorded run, and not the one of the link.")
    if prompt:  # a link that can be read fills the fields, which is a request of its own
        expect(page.locator("#prompt textarea")).to_have_value(prompt)
    page.fill("#prompt textarea", PROMPT)
    page.fill("#steps input", "2")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")


def test_an_address_that_changes_fetches_nothing_anew(url: str, visit: Visit):
    page = visit(url)
    page.fill("#steps input", "5")
    page.click("#run")
    until_named(page, Link("starter", PROMPT, 5, 5, [], 4))
    page.wait_for_function("document.querySelector('#panel .main-svg')")  # now all that the page needs is there
    session = page.context.new_cdp_session(page)  # Playwright's own events leave out what a picture or a clip fetches
    asked: list[str] = []
    session.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    session.send("Network.enable")
    for steps in (6, 7):
        page.fill("#steps input", str(steps))
        page.click("#run")
        until_named(page, Link("starter", PROMPT, steps, 5, [], steps - 1))
    page.locator(".gs-chip").nth(2).click()
    until_named(page, Link("starter", PROMPT, 7, 5, [], 2))
    page.wait_for_function("document.querySelector('#panel .main-svg')")
    assert any("/queue/join" in address for address in asked)
    assert [address for address in asked if "/gradio_api/" not in address and "favicon" not in address] == []


def run_of_two_steps(page: Page) -> Page:
    page.fill("#steps input", "2")
    page.click("#run")
    until_named(page, Link("starter", PROMPT, 2, 5, [], 1))
    expect(page.locator("#run")).to_be_enabled()
    return page


def test_a_run_that_ends_before_it_is_named_is_known_after_a_reload(url: str, visit: Visit):
    """It was asked for once more, as a run of its own."""
    page = run_of_two_steps(visit(url))
    page.evaluate("""() => {
        const Packing = CompressionStream;
        window.held = [];
        window.CompressionStream = function (kind) {
            const goes = new Promise((done) => { window.held.push(done); });
            const held = new TransformStream({ transform: (chunk, out) => goes.then(() => out.enqueue(chunk)) });
            return { writable: held.writable, readable: held.readable.pipeThrough(new Packing(kind)) };
        };
    }""")
    page.locator("button.gs-bar").nth(1).click()
    rows = page.locator("#gs-page-compare .gs-list tbody tr")
    page.locator("#gs-tab-compare").press("Enter")
    expect(rows).to_have_count(3)
    expect(page.locator("#run")).to_be_enabled()
    stored = "Object.keys(sessionStorage).filter((name) => name.includes('.kept.run.'))"
    page.wait_for_function(f"() => {stored}.length === 3")
    page.evaluate("held[0]()")  # what names the branch; what would name it by its number stays held
    page.wait_for_function("history.state.request")
    page.reload()
    expect(page.locator(".gs-step-title")).to_contain_text(" of 2: ·")
    page.locator("#gs-tab-compare").press("Enter")
    page.wait_for_timeout(1000)  # in which a run that is asked for comes
    expect(rows).to_have_count(3)


def test_an_address_that_is_written_while_a_reload_waits_is_known_after_it(url: str, visit: Visit):
    """The browser forgets such a page's place, and the run was asked for once more."""
    page = run_of_two_steps(visit(url))
    waiting: list[Route] = []

    def answer_both(written: Route) -> None:
        written.fulfill(status=204)
        if waiting:
            waiting.pop().continue_()

    page.route(lambda address: "run=" in address, lambda document: waiting.append(document), times=1)
    page.route("**/written", answer_both)
    page.evaluate("""() => addEventListener("beforeunload", () => {
        document.querySelector(".gs-chip[data-step='0']").click();
        setInterval(() => { if (history.state.step === 0) fetch("/written"); }, 10);
    })""")
    page.reload()
    expect(page.locator(".gs-step-title")).to_contain_text("1 of 2: ·")
    page.locator("#gs-tab-compare").press("Enter")
    page.wait_for_timeout(1000)  # in which a run that is asked for comes
    expect(page.locator("#gs-page-compare .gs-list tbody tr")).to_have_count(2)
