"""The static site around its runs: how the model comes, what needs no network, links, files, languages, phones."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from decoding.engines.local_engine import LocalEngine
from decoding.record.permalink import from_link, to_link
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run
from tests.site.serving import HEADERS, Server, differences, kept, opened, run, serving, site_folder, wait_ready

__all__ = ["site_folder"]

ROOT = Path(__file__).resolve().parents[2]


def wait_state(page: Page, state: str) -> None:
    page.wait_for_selector(f'#download[data-state="{state}"]', state="attached")


def without_model(browser: Browser, server: Server, **options: object) -> Page:
    """The page, its model held back: enough for what is looked at alone."""
    server.let(0)
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 720}, "locale": "en-US", **options})
    page.goto(server.url)
    page.wait_for_selector(".gs-chip")
    return page


def test_a_second_visit_needs_no_network_and_a_link_opens_there(
    browser: Browser, site_folder: Path, tmp_path: Path
) -> None:
    """Below a path, on a server that sends no headers, as most do: the page has its threads all the same."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(site_folder)
    (tmp_path / "a" / "index.html").write_text("<link rel=icon href=data:,>", "utf-8")
    with serving(tmp_path) as server, opened(browser) as (page, complaints):
        server.headers = {}
        page.goto(f"{server.url}a/")
        page.evaluate("caches.open('greedyscope-page-/a/c/-0')")  # of another site of this host
        server.paths.clear()
        page.goto(f"{server.url}a/b/")
        wait_ready(page)
        assert [path for path in server.paths if not path.startswith("a/b/")] == []
        assert page.evaluate("window.crossOriginIsolated")
        first_visit = server.sent
        assert first_visit < 140_000_000
        assert not [path for path in server.paths if "webgpu" in path]
        run(page, "The dog ran", 5, 3)
        expect(page).to_have_url(re.compile(r"[?]run=1"))
        address, before = page.url, Trace.from_jsonl(kept(page))
        assert from_link(address.split("run=")[1]).prompt == "The dog ran"
        server.close()
        page.close()
        page = page.context.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
        after = Trace.from_jsonl(kept(page))
        assert after.steps == before.steps
        threads = page.evaluate("Math.min(4, navigator.hardwareConcurrency)")
        assert after.model.device == f"this browser · WebAssembly ({threads} threads)"
        # A run that this engine would write otherwise is refused, and never another one.
        asked = from_link(address.split("run=")[1])
        page.goto(f"{address.split('run=')[0]}run={to_link(replace(asked, how={'as_message': True}))}")
        expect(page.locator("#problem-forced p")).to_contain_text("picks by argmax alone")
        expect(page.locator("#run")).to_be_enabled()
        assert page.evaluate("caches.has('greedyscope-page-/a/c/-0')")
        assert not complaints, complaints
        print(f"first visit {first_visit} bytes")


def test_a_download_is_seen_stopped_and_gone_on_with(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser) as (page, _):
        server.let(10)
        page.goto(server.url)
        page.wait_for_selector(".gs-chip")  # a recorded run is there at once
        expect(page.locator("#download p")).to_contain_text(re.compile(r"Fetching the model: [56]\d of 1[34]\d MB"))
        page.click("#download button")
        wait_state(page, "failed")
        expect(page.locator("#download p")).to_contain_text("The download is stopped.")
        server.let(math.inf)
        page.click("#download button")
        wait_ready(page)
        pieces = len([*(site_folder / "model").glob("weights-*")])
        asked = sum(path.startswith("model/weights") for path in server.paths)
        assert pieces <= asked <= pieces + 3, "what came was kept"


def test_a_piece_with_a_wrong_sum_is_fetched_again_and_then_refused(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser) as (page, _):
        server.broken = {"model/weights-002": 1, "model/weights-003": 99}
        page.goto(server.url)
        wait_state(page, "failed")
        expect(page.locator("#download p")).to_contain_text("The file model/weights-003")
        expect(page.locator("#download button")).to_be_hidden()
        assert server.broken["model/weights-002"] == 0
        assert sum(path.startswith("model/weights-003") for path in server.paths) == 2


def test_a_site_that_is_gone_is_said_and_what_came_is_kept(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server:
        page = without_model(browser, server)
        wait_state(page, "progress")
        page.route("**/model/weights*", lambda route: route.abort())
        server.close()
        wait_state(page, "failed")
        expect(page.locator("#download p")).to_contain_text("The site cannot be reached.")
        expect(page.locator("#download button")).to_have_text("Go on")
        page.click("#run")
        expect(page.locator("#notice")).to_contain_text("The model is not in this browser yet")
        expect(page.locator("#run")).to_be_enabled()
        page.close()


def test_a_download_goes_on_by_itself_when_the_network_is_back(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser) as (page, _):
        server.let(10)
        page.goto(server.url)
        wait_state(page, "progress")
        page.context.set_offline(True)
        server.let(math.inf)
        wait_state(page, "failed")
        page.context.set_offline(False)
        wait_ready(page)


def test_a_network_that_is_back_before_its_loss_is_noticed_is_used(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser, service_workers="block") as (page, _):
        server.let(10)
        page.goto(server.url)
        wait_state(page, "progress")
        page.route("**/model/weights*", lambda route: route.abort())
        page.evaluate("dispatchEvent(new Event('online'))")
        server.let(math.inf)
        wait_state(page, "failed")
        page.unroute("**/model/weights*")
        wait_ready(page)


def test_a_loss_that_ends_while_it_is_looked_into_is_no_wrong_sum(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser, service_workers="block") as (page, _):
        page.route("**/model/weights-003*", lambda route: route.abort(), times=2)
        page.goto(server.url)
        wait_state(page, "failed")
        page.click("#download button")
        wait_ready(page)


def test_a_metered_line_is_asked_first(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser) as (page, _):
        page.add_init_script("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
        page.goto(server.url)
        wait_state(page, "inspected")
        expect(page.locator("#download p")).to_contain_text("MB to fetch, once; 0 MB are here.")
        assert not [path for path in server.paths if path.startswith("model/")]
        expect(page.locator("#download button")).to_have_text("Fetch the model")


def test_a_browser_that_cannot_compute_says_so(browser: Browser, site_folder: Path) -> None:
    with serving(site_folder) as server, opened(browser) as (page, _):
        page.add_init_script("WebAssembly.validate = () => false")
        page.goto(server.url)
        expect(page.locator("#download p")).to_contain_text("no WebAssembly with SIMD")
        expect(page.locator(".gs-chip").first).to_be_visible()


def test_a_picture_keeps_its_styles_where_the_page_permits_none_in_markup(browser: Browser, site_folder: Path) -> None:
    """Firefox saves an empty "style" where Chromium only complains."""
    with serving(site_folder) as server:
        page = without_model(browser, server)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.click("#gs-tab-keep")
        with page.expect_download() as saved:
            page.click('[data-picture="svg"]')
        assert complaints == []
        assert saved.value.path().read_text("utf-8").count("white-space: pre; unicode-bidi: isolate") > 10
        page.close()


def test_files_are_opened_and_what_is_no_run_is_refused(browser: Browser, site_folder: Path) -> None:
    recorded = (ROOT / "assets" / "recorded" / "gpt2_xl_notebook_table.jsonl").read_text("utf-8")
    lines = (ROOT / "assets" / "recorded" / "starter.jsonl").read_text("utf-8").splitlines()
    with serving(site_folder) as server:
        page = without_model(browser, server)
        page.click("#gs-tab-keep")

        def give(text: str) -> None:
            page.set_input_files("[type=file]", {"name": "r.jsonl", "mimeType": "", "buffer": text.encode()})

        give(recorded)
        expect(page.locator(".gs-note")).to_contain_text("Replayed from the file r.jsonl")
        step = json.loads(lines[1])
        altered = {
            "Line 2 of the run cannot be read: rest: it has to be a number from 0 to 1.": {**step, "rest": 2},
            "Line 2 of the run cannot be read: note: there is no such field.": {**step, "note": 1},
            "Line 2 of the run cannot be right: candidates and rest do not sum to 1.": {**step, "rest": 0.5},
            "Line 2 of the run cannot be right: its index is 5, not 0.": {**step, "index": 5},
        }
        for sentence, record in altered.items():
            give("\n".join([lines[0], json.dumps(record), *lines[2:]]))
            expect(page.locator(".gs-refused")).to_contain_text(sentence)
        give("no run")
        expect(page.locator(".gs-refused")).to_contain_text("this text has 1")
        give("\n".join(lines[:-1]))
        expect(page.locator(".gs-refused")).to_contain_text("The run is cut short: its last line")
        give("\r\n".join(["\ufeff" + lines[0], *lines[1:], "", ""]))  # as an editor may save it
        expect(page.locator(".gs-refused")).to_be_hidden()
        expect(page.locator(".gs-note")).to_contain_text("r.jsonl")
        page.close()


@pytest.mark.parametrize(("locale", "label"), [("en-US", "Run"), ("ko-KR", "실행")])
def test_the_line_about_the_download_fits_a_phone(browser: Browser, site_folder: Path, locale: str, label: str) -> None:
    with serving(site_folder) as server:
        page = without_model(browser, server, viewport={"width": 390, "height": 844}, locale=locale)
        wait_state(page, "progress")
        expect(page.locator("#run")).to_have_text(label)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 800, "height": 720})
        box = page.locator("#prompt").bounding_box()
        assert box
        assert box["width"] > 400
        page.close()


def test_a_small_device_keeps_its_weights_packed(browser: Browser, site_folder: Path, starter: LocalEngine) -> None:
    with serving(site_folder) as server, opened(browser) as (page, complaints):
        page.add_init_script("Object.defineProperty(Navigator.prototype, 'serviceWorker', { value: undefined })")
        small = "Object.defineProperty(navigator, 'deviceMemory', { value: 2 });"
        worker = (site_folder / "engine" / "worker.js").read_text("utf-8")
        script = {"body": worker + small, "content_type": "text/javascript", "headers": HEADERS}
        page.route("**/engine/worker.js", lambda route: route.fulfill(**script))
        page.goto(server.url)
        wait_state(page, "inspected")
        page.click("#download button")
        wait_ready(page)
        run(page, "The dog ran", 3, 3)
        written = kept(page)
        assert Trace.from_jsonl(written).model.why.startswith("the weights are unpacked anew at every step")
        theirs = Run(starter, check_request("The dog ran", 3, 3))
        assert len(list(theirs)) == 3
        assert differences(written, theirs.trace) == []
        assert not [path for path in server.paths if "unpacked" in path]
        assert not complaints, complaints
