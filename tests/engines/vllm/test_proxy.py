"""Replicas of a vLLM server behind HAProxy, as decoding/engines/vllm/README.md configures it, over fake servers."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

import decoding
from tests.engines.vllm.engine_pair import Varied, engine_of
from tests.fake_vllm import FakeVllm
from tests.page.http.test_proxy import proxied
from tests.readmes import block


def behind_haproxy(urls: Sequence[str]) -> str:
    """That README's configuration, with these two servers in it."""
    written = block("decoding/engines/vllm", "haproxy models", "haproxy")
    for port, url in zip(("8001", "8002"), urls, strict=True):
        assert port in written
        written = written.replace(port, str(httpx.URL(url).port))
    return written.replace("8090", "8080")  # which `proxied` looks for


@pytest.mark.usefixtures("drives_process")
def test_losing_one_of_two_replicas_changes_no_run(tmp_path: Path) -> None:
    fakes = [FakeVllm(Varied(end_ids=())) for _ in range(2)]
    with ExitStack() as stack:
        served = [stack.enter_context(ExitStack()) for _ in fakes]
        urls = [one.enter_context(fake.served()) for one, fake in zip(served, fakes, strict=True)]
        front = stack.enter_context(proxied(behind_haproxy(urls), tmp_path / "haproxy.cfg", ready="/health"))
        engine = engine_of(front, fakes[0])
        for fake in fakes:
            fake.asked.clear()
            fake.pause = 2.0  # so that no run ends before the one that goes has gone
        begun, done = threading.Barrier(5), {}

        def visit(prompt: str) -> None:
            steps = decoding.greedy_search(engine, prompt, max_new_tokens=12, top_k=3)
            written = [next(steps)]
            begun.wait(300)
            done[prompt] = [step.picked.token_id for step in (*written, *steps)]

        threads = [threading.Thread(target=visit, args=(f"run {n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        begun.wait(300)
        # Two each, unless a busy machine made one look dead for a moment: the one with more of them goes.
        goes, stays = sorted((0, 1), key=lambda number: -len(fakes[number].asked))
        assert len(fakes[goes].asked) >= 2
        before = len(fakes[stays].asked)
        served[goes].close()
        fakes[stays].pause = 0.0
        for thread in threads:
            thread.join(300)
    for prompt, ids in done.items():
        ours = decoding.trace(fakes[0].engine, prompt, max_new_tokens=12, top_k=3)
        assert ids == list(ours.generated_token_ids)
    assert len(done) == 4
    assert len(fakes[stays].asked) > before  # it went on with the others'
