"""`python app.py --engine URL` in a browser: the page over a model that a server computes, here a fake one."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from tests import tiny_models
from tests.browser import Visit
from tests.fake_vllm import FakeVllm
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def launched(*options: str) -> Iterator[str]:
    """The address of `python app.py` with these options, as a process of its own; and its log goes to the test's."""
    command = [sys.executable, "app.py", "--port", str(application.free_port("127.0.0.1")), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("Greedyscope is at "), line
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeVllm:
    folder = tiny_models.save(tmp_path_factory.mktemp("model"), tiny_models.network("llama"))
    return FakeVllm(decoding.load(str(folder), device="cpu"), root=str(folder), context=64)


@pytest.fixture(scope="module")
def url(fake: FakeVllm) -> Iterator[str]:
    with fake.served() as server, launched("--engine", server, "--model", fake.root) as address:
        yield address


@pytest.fixture
def page(fake: FakeVllm, url: str, visit: Visit) -> Page:
    fake.faults.clear()
    fake.closed.clear()
    page: Page = visit(url)
    expect(page.locator("#choices")).to_contain_text("Choices (1–20)")  # the server's limit, once it was asked
    return page


def run(page: Page, steps: str = "6", choices: str = "3") -> None:
    page.fill("#prompt textarea", "The toy")
    page.fill("#steps input", steps)
    page.fill("#choices input", choices)
    page.click("#run")


def test_a_run_by_a_server_and_what_is_not_known_of_it(fake: FakeVllm, page: Page) -> None:
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    ours = decoding.trace(fake.engine, "The toy", max_new_tokens=6, top_k=3)
    expect(page.locator(".gs-chip[data-step]")).to_have_count(6)
    first = page.locator(".gs-chart .gs-bar").first
    expect(first).to_contain_text(f"{ours.steps[-1].candidates[0].probability:.2%}".replace("%", " %"))
    expect(page.locator(".gs-model")).to_contain_text("unknown dtype · server · vLLM 0.0.fake")
    expect(page.locator(".gs-model")).not_to_contain_text("exact")
    expect(page.locator(".gs-why")).to_contain_text("only the top candidates: no logits, no entropy")
    expect(page.locator(".gs-numbers")).to_contain_text("entropy not given")
    page.click("#gs-tab-lesson")
    expect(page.locator(".gs-no-logits")).to_contain_text("This run has no logits")
    expect(page.locator('button[data-part="entropy"] b')).to_have_text("–")
    expect(page.locator(".gs-heat")).to_be_disabled()
    page.locator('button[data-language="ko"]').first.click()
    expect(page.locator("#choices")).to_contain_text("(1–20)")
    expect(page.locator(".gs-why")).to_contain_text("로짓과 엔트로피 없음")


def test_the_line_about_the_model_has_the_servers_context_and_nothing_to_fetch(page: Page) -> None:
    expect(page.locator("#facts")).to_have_text("context 64")
    page.reload()
    expect(page.locator("#facts")).to_have_text("context 64")


def test_what_if_and_a_given_text(page: Page) -> None:
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    page.locator(".gs-chip[data-step='2']").click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "3")
    page.locator(".gs-chart .gs-bar").nth(1).click()
    expect(page.locator(".gs-chip[data-step='2']")).to_have_class(re.compile("gs-forced"))
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    page.click("#gs-tab-whatif")
    page.locator('[data-ask="agree"]').click()
    expect(page.locator("#panel")).to_contain_text("transformers' own search cannot be used")
    page.locator('[data-ask="draws"]').click()
    expect(page.locator("#panel")).to_contain_text("A page or program that loads the model itself can draw.")


def test_more_choices_than_the_server_gives(page: Page) -> None:
    run(page, choices="21")
    expect(page.locator("#problem-choices")).to_contain_text("gives at most 20 choices at a step, not 21. Use fewer.")


def test_stop_closes_the_stream(fake: FakeVllm, page: Page) -> None:
    fake.faults.append(("silent", 2))
    run(page)
    expect(page.locator(".gs-chip[data-step]")).to_have_count(2)
    page.click("#stop")
    assert fake.closed.wait(60)
    expect(page.locator(".gs-state")).to_contain_text("stopped")


def test_a_server_that_answers_no_more(fake: FakeVllm, page: Page) -> None:
    fake.faults.extend([("error", 2), *[("500", 0)] * 500])
    run(page)
    expect(page.locator(".gs-message")).to_contain_text(
        "The model's server does not answer: it answered with status 500"
    )
    expect(page.locator(".gs-chip[data-step]")).to_have_count(2)
    fake.faults.clear()
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")


def test_a_page_that_starts_before_its_server_becomes_ready_by_itself(fake: FakeVllm) -> None:
    port = application.free_port("127.0.0.1")
    with launched("--engine", f"http://127.0.0.1:{port}", "--model", fake.root) as url:
        event = httpx.post(f"{url}gradio_api/call/greedy", json={"data": ["a", 1, 2, fake.root]}, timeout=60).json()
        answer = httpx.get(f"{url}gradio_api/call/greedy/{event['event_id']}", timeout=60).text  # once the load failed
        assert "event: error" in answer
        assert httpx.get(f"{url}readyz", timeout=60).status_code == 503
        with fake.served(port):
            until(lambda: httpx.get(f"{url}readyz", timeout=60).status_code == 200)


def test_an_open_page_notices_that_its_server_has_come(fake: FakeVllm, visit: Visit) -> None:
    port = application.free_port("127.0.0.1")
    with launched("--engine", f"http://127.0.0.1:{port}", "--model", fake.root) as url:
        page: Page = visit(url)
        expect(page.locator("#problem-model")).to_contain_text("The model's server cannot be reached.")
        run(page)  # which fails too, and ends what the panel waits for
        expect(page.locator("#run")).to_be_enabled()
        with fake.served(port):
            expect(page.locator("#facts")).to_have_text("context 64")
            expect(page.locator("#choices")).to_contain_text("Choices (1–20)")
            expect(page.locator("#problem-model")).to_have_text("")


def test_a_server_that_came_back_with_other_settings_is_asked_anew(fake: FakeVllm, page: Page) -> None:
    fake.most = 10
    try:
        run(page, choices="15")
        expect(page.locator(".gs-message")).to_contain_text(
            "Perhaps it was started anew with other settings: run again"
        )
        page.click("#run")
        expect(page.locator("#problem-choices")).to_contain_text("gives at most 10 choices at a step, not 15.")
        expect(page.locator("#choices")).to_contain_text("Choices (1–10)")
        fake.most, fake.name, root, fake.root = 20, "other", fake.root, "other"
        run(page)
        expect(page.locator(".gs-message")).to_contain_text("The model `")
        page.click("#run")
        expect(page.locator("#problem-model")).to_contain_text('The server has the model "other"')
        fake.name, fake.root = "served", root
        page.click("#run")
        expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    finally:
        fake.most = 20


def test_options_that_do_not_go_together() -> None:
    command = [sys.executable, "app.py", "--engine", "http://127.0.0.1:1", "--model", "gpt2,starter"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr == 'A server computes one model, and --model names more: "gpt2,starter". Name that one.\n'
