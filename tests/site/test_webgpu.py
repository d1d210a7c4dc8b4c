"""WebGPU in the static site, in a real Chromium whose GPU is software: what it writes, when it is trusted, and what
stays when it is lost. A tiny model: software needs six seconds for a step of the starter.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, Worker, expect

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut
from decoding.requests.run_request import check_request
from decoding.run import Run
from decoding.site.build import build_site
from tests import gguf_files, tiny_models
from tests.browser import QUIET, chromium
from tests.site.serving import (
    HEADERS,
    NOISE,
    Server,
    differences,
    kept,
    opened,
    run,
    serving,
    wait_idle,
    wait_ready,
)

SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
SAYS_IT_IS_REAL = "findAdapter = async () => ({ isSoftware: false });"
SAYS_SOMETHING_ELSE = """
const { run } = Network.prototype;
GpuNetwork.prototype.run = async function (...all) {
  const found = await run.apply(this, all);
  return { ...found, logits: found.logits.map((logit) => logit * 1.01) };
};
"""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64, "num_hidden_layers": 1, "vocab_size": 512}
    model = tiny_models.network("llama", **sizes, initializer_range=0.1, tie_word_embeddings=True)
    path = tmp_path_factory.mktemp("webgpu") / "tiny.gguf"
    return gguf_files.write(path, model, ["Q4_1"], **gguf_files.byte_tokenizer(512))


@pytest.fixture(scope="module")
def engine(gguf: Path) -> LocalEngine:
    return decoding.load(str(gguf), device="cpu")


@pytest.fixture(scope="module")
def tiny_site(gguf: Path) -> Path:
    folder = gguf.parent / "site"
    build_site(folder, model=str(gguf))
    return folder


@pytest.fixture(scope="module")
def gpu_browser(playwright: Playwright) -> Iterator[Browser]:
    args = ["--no-sandbox", *QUIET, *SOFTWARE_GPU]
    launched = playwright.chromium.launch(executable_path=chromium(), args=args)
    yield launched
    launched.close()


@pytest.fixture(scope="module")
def served_site(tiny_site: Path) -> Iterator[Server]:
    with serving(tiny_site) as server:
        yield server


@pytest.fixture(scope="module")
def page(gpu_browser: Browser, served_site: Server) -> Iterator[Page]:
    """The site with WebGPU trusted. At the end, nothing may have gone wrong in it."""
    with opened(gpu_browser) as (page, complaints):
        page.goto(f"{served_site.url}?device=webgpu")
        wait_ready(page)
        yield page
        assert not complaints, complaints


def with_script(page: Page, site: Path, more: str) -> None:
    """Have the page's workers run something more in the module of the GPU."""
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'serviceWorker', { value: undefined })")
    script = (site / "engine" / "gpu_network.js").read_text("utf-8") + more
    answer = {"body": script, "content_type": "text/javascript", "headers": HEADERS}
    page.route("**/engine/gpu_network.js", lambda route: route.fulfill(**answer))


def engines(page: Page) -> list[Worker]:
    """The page's workers, but for the threads of one."""
    return [worker for worker in page.workers if worker.url.endswith("engine/worker.js")]


def trial_worker(page: Page, server: Server, query: str = "") -> Worker:
    """Open the page, and return the second worker that it starts: the one that tries WebGPU."""
    with page.expect_event("worker", lambda worker: worker in engines(page)[1:]) as second:
        page.goto(server.url + query)
    return second.value


def wait_ended(page: Page, worker: Worker) -> None:
    if worker in page.workers:
        with worker.expect_event("close"):
            pass


def library_run(engine: LocalEngine, prompt: str, steps: int, choices: int) -> Trace:
    theirs = Run(engine, check_request(prompt, steps, choices))
    assert len(list(theirs)) == steps
    return theirs.trace


def test_the_librarys_lines_but_for_the_header(page: Page, engine: LocalEngine) -> None:
    run(page, "The dog ran", 8, 4)
    written = kept(page)
    assert differences(written, library_run(engine, "The dog ran", 8, 4)) == []
    model = Trace.from_jsonl(written).model
    assert model.device == "this browser · WebGPU"
    assert re.fullmatch(r"WebGPU computes over .*matched WebAssembly's \(probabilities within \d\.\de-\d+\)", model.why)
    expect(page.locator(".gs-model")).to_contain_text("this browser · WebGPU · exact")
    page.click('[data-language="ko"]')
    expect(page.locator(".gs-model")).to_contain_text("이 브라우저 · WebGPU")
    expect(page.locator(".gs-why")).to_contain_text("WebGPU로 계산합니다")
    page.click('[data-language="en"]')


def test_a_fork_beams_and_why_go_on_from_what_the_gpu_has_read(page: Page, engine: LocalEngine) -> None:
    run(page, "The cat", 5, 4)
    first = Trace.from_jsonl(kept(page))
    page.click('.gs-chip[data-step="2"]')
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "3")
    page.locator(".gs-chart .gs-bar").nth(1).click()
    wait_idle(page)
    other = first.steps[2].candidates[1].token_id
    assert differences(kept(page), decoding.branch(engine, first, 2, other, max_new_tokens=5)) == []
    page.click("#gs-tab-why")
    page.click('[data-ask="why"]')
    wait_idle(page)
    found = Trace.from_jsonl(kept(page))
    left_out = found.why[1]
    assert isinstance(left_out, LeaveOneOut)
    theirs = decoding.leave_one_out(engine, found, left_out.step, by=left_out.by)
    for mine, yours in zip(left_out.parts, theirs.parts, strict=True):
        assert mine.instead.token_id == yours.instead.token_id
        assert abs(mine.probability - yours.probability) < NOISE
    page.click("#gs-tab-whatif")
    page.fill(".gs-beams", "3")
    page.click('[data-ask="beam"]')
    wait_idle(page)
    beams = decoding.beam_search(engine, "The cat", max_new_tokens=5, num_beams=3, top_k=4)
    assert differences(kept(page), beams) == []


def test_a_second_visit_finds_webgpu_in_the_browser(page: Page, served_site: Server) -> None:
    library = next(path for path in served_site.paths if re.match(r"model/webgpu-\w+\.js", path))
    served_site.broken = {"model/": 99}
    read = page.evaluate(
        "(path) => import(path).then(({ InferenceSession }) => typeof InferenceSession)", f"./{library}"
    )
    served_site.broken = {}
    assert read == "function"


def test_a_gpu_that_is_lost_leaves_the_run_and_the_next_one_works(
    page: Page, served_site: Server, engine: LocalEngine
) -> None:
    library = next(path for path in served_site.paths if re.match(r"model/webgpu-\w+\.js", path))
    page.fill("#prompt textarea", "Count: 1 2 3")
    page.fill("#steps input", "64")
    page.click("#run")
    expect(page.locator(".gs-prompt")).to_contain_text("Count: 1 2 3")
    page.wait_for_selector('.gs-chip[data-step="2"]')
    (worker,) = engines(page)
    worker.evaluate("async (url) => (await (await import(url)).env.webgpu.device).destroy()", served_site.url + library)
    expect(page.locator("#notice")).to_contain_text("The GPU was lost in the middle of the run. Its steps stay")
    wait_idle(page)
    ended = Trace.from_jsonl(kept(page))
    assert ended.stop_reason == "error"
    assert 3 <= len(ended.steps) < 64
    run(page, "The dog ran", 8, 4)
    written = kept(page)
    assert differences(written, library_run(engine, "The dog ran", 8, 4)) == []
    model = Trace.from_jsonl(written).model
    assert model.device.startswith("this browser · WebAssembly (")
    assert model.why.endswith("; WebGPU is no longer used, since the GPU was lost")


def test_webgpu_that_says_something_else_is_not_used(
    gpu_browser: Browser, tiny_site: Path, engine: LocalEngine
) -> None:
    with serving(tiny_site) as server, opened(gpu_browser) as (page, complaints):
        with_script(page, tiny_site, SAYS_IT_IS_REAL + SAYS_SOMETHING_ELSE)
        trial = trial_worker(page, server)
        run(page, "The dog ran", 2, 4)  # nothing waits for the trial
        assert Trace.from_jsonl(kept(page)).model.device.startswith("this browser · WebAssembly (")
        wait_ended(page, trial)
        run(page, "The dog ran", 8, 4)
        written = kept(page)
        assert differences(written, library_run(engine, "The dog ran", 8, 4)) == []
        model = Trace.from_jsonl(written).model
        assert model.device.startswith("this browser · WebAssembly (")
        reason = r"; WebGPU is not used, since its first steps did not match WebAssembly's \(a pro.*\)$"
        assert re.search(reason, model.why)
        assert not complaints, complaints


def test_webgpu_that_is_slower_is_not_used(gpu_browser: Browser, tiny_site: Path) -> None:
    with serving(tiny_site) as server, opened(gpu_browser) as (page, complaints):
        with_script(page, tiny_site, SAYS_IT_IS_REAL)
        wait_ended(page, trial_worker(page, server))
        run(page, "The dog ran", 2, 4)
        model = Trace.from_jsonl(kept(page)).model
        assert model.device.startswith("this browser · WebAssembly (")
        assert re.search(r"; WebGPU is not used, since a step took it [\d.]+ ms and WebAssembly [\d.]+ ms$", model.why)
        assert not complaints, complaints


def test_without_a_gpu_nothing_of_webgpu_is_fetched(gpu_browser: Browser, browser: Browser, tiny_site: Path) -> None:
    with serving(tiny_site) as server, opened(gpu_browser) as (page, _):
        wait_ended(page, trial_worker(page, server))  # the GPU is software
        run(page, "A", 1, 2)
        assert "WebGPU" not in kept(page)
        assert [path for path in server.paths if "webgpu" in path] == []
        server.paths.clear()
        with opened(browser) as (page, _):
            page.goto(f"{server.url}?device=webgpu")
            wait_ready(page)
            run(page, "A", 1, 2)
            assert Trace.from_jsonl(kept(page)).model.why.endswith("since the browser offers no GPU")
        with opened(gpu_browser) as (page, _):
            page.goto(f"{server.url}?device=wasm")
            wait_ready(page)
            assert len(engines(page)) == 1
        assert [path for path in server.paths if "webgpu" in path] == []


def test_what_is_not_the_same(page: Page) -> None:
    differs = """async ([ours, theirs]) => {
        const { compareRows } = await import("./engine/gpu_check.js");
        const { difference, isTrusted } = compareRows(ours, theirs);
        return [String(difference), isTrusted];
    }"""
    row = [0.0, 1.0, 3.0]
    rows = [row] * 4
    assert page.evaluate(differs, [rows, rows]) == ["0", True]
    assert page.evaluate(differs, [rows, [row, row, row, [0.0, 3.0, 1.0]]])[1] is False
    near = [[0.0, 3.0, 3.00001]] * 4
    assert page.evaluate(differs, [near, [[0.0, 3.00001, 3.0]] * 4])[1] is False, "another argmax"
    assert page.evaluate(differs, [rows, [row, [0.0, 1.0, 3.001], row, row]])[1] is False, "a layer"
    for odd in ("[[NaN, 1, 3], [0, 1, 3], [0, 1, 3], [0, 1, 3]]", "[[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]"):
        assert page.evaluate(differs, [page.evaluate(odd), rows])[1] is False
