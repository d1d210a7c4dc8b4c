"""A real vLLM on this machine's CPU: the same truths as of this process's engine, two replicas of which one is killed
in mid-run, and the page in a browser.

It is started once, as `tests.real_vllm` does; its environment is made the first time, as `tests.vllm_environment` says.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.vllm.engine import ServerEngine
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from tests.browser import Visit
from tests.engines.test_reference import RUNS
from tests.engines.vllm.test_proxy import behind_haproxy
from tests.page.http.test_proxy import proxied
from tests.page.test_remote_engine import launched
from tests.real_vllm import Vllm, served

PROMPT = "Transformers are the"

pytestmark = pytest.mark.vllm


@dataclass
class Servers:
    """Two replicas, and the proxy before them."""

    replicas: list[Vllm]
    front: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("vllm")
    ports = [application.free_port("127.0.0.1") for _ in range(2)]
    with ExitStack() as stack:
        replicas = stack.enter_context(served(ports, folder, threads=1))
        written = behind_haproxy([replica.url for replica in replicas])
        yield Servers(replicas, stack.enter_context(proxied(written, folder / "haproxy.cfg", ready="/health")))


@pytest.fixture(scope="module")
def vllm(servers: Servers) -> ServerEngine:
    return decoding.connect(servers.replicas[0].url, dtype="float32")


def same(theirs: Trace, ours: Trace) -> None:
    """The same ids, and the same probabilities as far as two ways of adding up can agree."""
    assert theirs.prompt_token_ids == ours.prompt_token_ids
    assert theirs.generated_token_ids == ours.generated_token_ids
    assert theirs.stop_reason == ours.stop_reason
    for their, our in zip(theirs.steps, ours.steps, strict=True):
        known = {candidate.token_id: candidate.probability for candidate in their.candidates}
        for candidate in our.candidates:
            assert known.get(candidate.token_id, our.candidates[-1].probability) == pytest.approx(
                candidate.probability, abs=1e-4
            )
        assert their.picked.probability == pytest.approx(our.picked.probability, abs=1e-4)
        assert their.rest == pytest.approx(our.rest, abs=1e-4)
        assert their.forced == our.forced


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_reference_trace(vllm: ServerEngine, path: Path) -> None:
    expected: dict[str, Any] = json.loads(path.read_text("utf-8"))
    count, top_k = len(expected["steps"]), len(expected["steps"][0]["choices"])
    trace = decoding.trace(vllm, expected["prompt"], max_new_tokens=count, top_k=top_k)
    assert list(trace.prompt_token_ids) == expected["prompt_token_ids"]
    for step, reference in zip(trace.steps, expected["steps"], strict=True):
        choices = reference["choices"]
        assert step.picked.token_id == reference["token_id"]
        assert [c.token_id for c in step.candidates] == [choice["token_id"] for choice in choices]
        assert [c.text for c in step.candidates] == [choice["text"] for choice in choices]
        assert [c.probability for c in step.candidates] == pytest.approx([c["prob"] for c in choices], abs=1e-4)
        assert step.margin == pytest.approx(reference["gap"], abs=1e-4)
    assert trace.logprob == pytest.approx(expected["logprob"], abs=1e-3)
    assert trace.generated_text == expected["generated_text"]
    assert trace.stop_reason == ("end_of_text" if expected["steps"][-1]["token_id"] == 2 else "steps")
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_what_the_server_says_of_itself(vllm: ServerEngine) -> None:
    assert vllm.info.engine == "vLLM 0.32.0"
    assert (vllm.max_top_k, vllm.context_length, vllm.end_ids) == (50, 1024, {2})


def test_fifty_choices_a_branch_and_a_given_text(vllm: ServerEngine, starter: LocalEngine) -> None:
    ours, theirs = (decoding.trace(engine, PROMPT, max_new_tokens=6, top_k=50) for engine in (starter, vllm))
    same(theirs, ours)
    for rank in (1, 49):  # among the candidates, and, of two, beyond them
        pick = ours.steps[2].candidates[rank].token_id
        few = [decoding.trace(engine, PROMPT, max_new_tokens=6, top_k=2) for engine in (starter, vllm)]
        forks = [decoding.branch(e, t, 2, pick, max_new_tokens=6) for e, t in zip((starter, vllm), few, strict=True)]
        same(forks[1], forks[0])
        assert forks[1].steps[2].picked.rank == forks[0].steps[2].picked.rank == rank
    texts = [decoding.score(engine, PROMPT, " robots in disguise. 🎉", top_k=5) for engine in (starter, vllm)]
    same(texts[1], texts[0])
    assert recompute(starter, theirs) < 1e-4
    assert recompute(vllm, few[0]) < 1e-4


def test_the_page_over_a_real_vllm(servers: Servers, starter: LocalEngine, visit: Visit) -> None:
    ours = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    with launched("--engine", servers.front, "--dtype", "float32") as url:
        page = visit(url)
        expect(page.locator("#model input")).to_have_value("starter · 135 M · on a server")
        page.fill("#steps input", "8")
        page.click("#run")
        expect(page.locator(".gs-model")).to_contain_text("starter · float32 · server · exact · vLLM 0.32.0")
        expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
        ids = page.locator(".gs-chip[data-step] .gs-id").all_inner_texts()
        assert ids == [str(token_id) for token_id in ours.generated_token_ids]
        for number, step in enumerate(ours.steps):
            page.locator(f".gs-chip[data-step='{number}']").click()
            shown = f"{step.candidates[0].probability:.2%}".replace("%", " %")
            expect(page.locator(".gs-chart .gs-bar").first).to_contain_text(shown)
        page.locator(".gs-chart .gs-bar").nth(1).click()  # what if?
        expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)


def test_one_of_two_replicas_is_killed_and_every_run_is_the_same(
    servers: Servers, starter: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = decoding.connect(servers.front, dtype="float32")
    prompts = [PROMPT, "In a shocking finding,", "def fibonacci(n):", "트랜스포머는"]
    written: dict[str, list[decoding.Step]] = {prompt: [] for prompt in prompts}
    errors: list[BaseException] = []

    def visit(prompt: str) -> None:
        try:
            for step in decoding.greedy_search(engine, prompt, max_new_tokens=48, top_k=5):
                written[prompt].append(step)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=visit, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    while not errors and not all(written.values()):  # all have begun; one replica may be far ahead of the other
        threading.Event().wait(0.02)
    servers.replicas[0].kill()
    for thread in threads:
        thread.join(300)
    assert not errors
    assert "the connection was cut" in caplog.text
    for prompt in prompts:
        ours = decoding.trace(starter, prompt, max_new_tokens=48, top_k=5)
        assert [step.picked.token_id for step in written[prompt]] == list(ours.generated_token_ids)
        for their, our in zip(written[prompt], ours.steps, strict=True):
            assert their.picked.probability == pytest.approx(our.picked.probability, abs=1e-4)
