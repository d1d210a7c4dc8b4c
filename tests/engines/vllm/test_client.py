"""The thread and the streams of a server's engine: closed at once, never mixed, and ended with the engine."""

import gc
import threading
import time
from typing import Any

import decoding
from decoding import cancellation
from tests.engines.vllm.engine_pair import PROMPT, Pair, engine_of


def test_a_run_that_is_closed_closes_its_stream_at_once(pair: Pair) -> None:
    pair.fake.faults.append(("silent", 2))
    steps = decoding.greedy_search(pair.server, PROMPT, max_new_tokens=8, top_k=2)
    next(steps)
    assert not pair.fake.closed.is_set()
    steps.close()
    assert pair.fake.closed.wait(300)


def test_cancellation_is_noticed_between_two_tokens(pair: Pair) -> None:
    """The thread waits for a token that never comes, from a server that lives."""
    pair.fake.faults.append(("silent", 2))
    left, ended = threading.Event(), threading.Event()
    written = []

    def visit() -> None:
        cancellation.bind(left)
        try:
            for step in decoding.greedy_search(pair.server, PROMPT, max_new_tokens=8, top_k=2):
                written.append(step)
        except cancellation.WorkCancelledError:
            ended.set()

    thread = threading.Thread(target=visit)
    thread.start()
    while len(written) < 2:
        time.sleep(0.01)
    left.set()
    assert ended.wait(300)
    assert pair.fake.closed.wait(300)
    thread.join(300)


def test_many_at_once_do_not_mix(pair: Pair) -> None:
    pair.fake.chunk = 2
    prompts = [f"{PROMPT} {n}" for n in range(12)]
    written: dict[str, Any] = {}

    def visit(prompt: str) -> None:
        written[prompt] = decoding.trace(pair.server, prompt, max_new_tokens=10, top_k=3)

    threads = [threading.Thread(target=visit, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for prompt in prompts:
        ours = decoding.trace(pair.local, prompt, max_new_tokens=10, top_k=3)
        assert written[prompt].generated_token_ids == ours.generated_token_ids


def test_an_unused_engine_ends_its_thread(pair: Pair) -> None:
    before = set(threading.enumerate())
    engine = engine_of(pair.url, pair.fake)
    (thread,) = (each for each in set(threading.enumerate()) - before if each.name == "model's server")
    assert decoding.trace(engine, PROMPT, max_new_tokens=2, top_k=2).steps
    del engine
    gc.collect()
    thread.join(300)
    assert not thread.is_alive()
