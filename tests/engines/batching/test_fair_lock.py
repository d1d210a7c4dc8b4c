"""Turns: one at a time, first come, first served; and work that ends when nobody waits for it."""

import inspect
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from decoding import cancellation
from decoding.cancellation import WorkCancelledError
from decoding.engines.batching.fair_lock import FairLock, serialize_forward


def test_first_come_first_served() -> None:
    turns, order = FairLock(), []
    turns.__enter__()
    threads = []
    for number in range(5):

        def work(number: int = number) -> None:
            with turns:
                order.append(number)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        while len(turns._waiting) <= number:  # until it stands in line
            threading.Event().wait(0.001)
    turns.__exit__()
    for thread in threads:
        thread.join(300)
    assert order == [0, 1, 2, 3, 4]


def test_a_thread_that_asks_again_waits_behind_the_others() -> None:
    turns, order = FairLock(), []
    turns.__enter__()

    def other() -> None:
        with turns:
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    while not turns._waiting:
        threading.Event().wait(0.001)
    turns.__exit__()
    with turns:
        order.append("again")
    thread.join(300)
    assert order == ["other", "again"]


def a_network() -> Any:
    def forward(input_ids: int, use_cache: bool = False) -> int:
        return input_ids

    return SimpleNamespace(forward=forward)


def test_a_failed_pass_releases_the_lock_and_forward_keeps_its_signature() -> None:
    network = a_network()
    serialize_forward(network, FairLock())
    with pytest.raises(TypeError):
        network.forward(wrong=1)
    assert network.forward(input_ids=7) == 7
    assert list(inspect.signature(network.forward).parameters) == ["input_ids", "use_cache"]


def test_a_cancelled_visitors_pass_is_not_begun() -> None:
    network, left, outcome = a_network(), threading.Event(), []
    serialize_forward(network, FairLock())

    def work() -> None:
        cancellation.bind(left)
        outcome.append(network.forward(1))
        left.set()
        try:
            network.forward(2)
        except WorkCancelledError:
            outcome.append("left")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(300)
    assert outcome == [1, "left"]
    assert network.forward(3) == 3  # the mark is that thread's alone


def test_the_lock_is_reentrant() -> None:
    """A batch's pass over a transformers network goes through the network's own turn as well."""
    turns, order = FairLock(), []
    with turns, turns:
        thread = threading.Thread(target=lambda: (turns.__enter__(), order.append("other"), turns.__exit__()))
        thread.start()
        while not turns._waiting:
            threading.Event().wait(0.001)
        order.append("mine")
    thread.join(300)
    assert order == ["mine", "other"]
