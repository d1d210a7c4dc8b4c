"""The fixtures of the server's engine: one fake server a module, as new for each test."""

from collections.abc import Iterator

import pytest

from tests.engines.vllm.engine_pair import Pair, Varied
from tests.fake_vllm import FakeVllm


@pytest.fixture(scope="module")
def started() -> Iterator[Pair]:
    fake = FakeVllm(Varied(end_ids=()))
    with fake.served() as url:
        yield Pair(url, fake)


@pytest.fixture
def pair(started: Pair) -> Pair:
    fake = started.fake
    fake.faults.clear()
    fake.asked.clear()
    fake.closed.clear()
    fake.health, fake.pause, fake.chunk, fake.key, fake.context, fake.most = 200, 0.0, 1, "", 4096, 20
    fake.name = fake.root = "served"
    return started
