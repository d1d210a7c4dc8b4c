"""The rules of a capture, with a CUDA that only notes what it is asked for; and what no capture takes, on a CPU."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from decoding.engines.torch import cuda_graph
from decoding.engines.torch.cuda_graph import Graphs, NotCapturedError

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    "ask",
    [lambda x: int(x[0]), lambda x: bool(x[0] > 0), lambda x: x[x > 0], lambda x: torch.tensor([1]), torch.nonzero],
)
def test_a_function_that_asks_the_host_is_refused(ask: Callable[[torch.Tensor], Any]) -> None:
    numbers = torch.arange(3)
    with pytest.raises(NotCapturedError, match="asks the host") as refused:
        Graphs(torch.device("cpu")).capture(lambda: ask(numbers))
    assert not refused.value.passes


class Stream:
    made = 0

    def __init__(self, number: int | None = None) -> None:
        Stream.made += number is None
        self.cuda_stream = (Stream.made - 1) % 32 + 1 if number is None else number  # as torch gives them out

    def wait_stream(self, other: "Stream") -> None:
        Machine.said.append(f"{self.cuda_stream} waits for {other.cuda_stream}")


class Graph:
    def __init__(self) -> None:
        self.stream: Any = None
        self.is_reset = False

    def replay(self) -> None:
        assert not self.is_reset

    def reset(self) -> None:
        """As torch from 2.12 on: the workspace of the stream goes."""
        assert not Machine.capturing, "a graph was reset in the middle of a capture"
        self.is_reset = True
        Machine.said.append(f"reset on {self.stream.cuda_stream}")


class Machine:
    said: list[str]
    current: Stream
    capturing: list[Graph]
    captured: list[Graph]


class OnStream:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.before = Machine.current
        Machine.current = self.stream

    def __exit__(self, *_: object) -> None:
        Machine.current = self.before


class Capture:
    """As `torch.cuda.graph`: where the end of a capture fails, the thread is left on its stream."""

    def __init__(self, made: Graph, *, pool: Any, stream: Stream, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.made, made.stream = made, stream

    def __enter__(self) -> None:
        assert not Machine.capturing, "two captures at once"
        Machine.capturing.append(self.made)
        self.on_stream = OnStream(self.made.stream)
        self.on_stream.__enter__()

    def __exit__(self, kind: Any, *_: object) -> None:
        Machine.capturing.remove(self.made)
        if kind is not None:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.on_stream.__exit__()
        Machine.captured.append(self.made)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Machine]]:
    gc.collect()
    Machine.said, Machine.current, Machine.capturing, Machine.captured = [], Stream(0), [], []
    Stream.made = 0
    for name, value in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": Capture,
        "stream": OnStream,
        "current_stream": lambda: Machine.current,
        "current_device": lambda: 0,
        "graph_pool_handle": object,
        "synchronize": lambda: Machine.said.append("synchronize"),
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name, value in {"_free_streams": [], "_our_streams": set(), "_dropped": [], "_is_broken": False}.items():
        monkeypatch.setattr(cuda_graph, name, value)
    yield Machine
    gc.collect()  # what a test let go of is reset while its CUDA is here
    cuda_graph._reset_dropped()


def test_a_function_is_warmed_up_refused_and_then_captured_on_one_stream(machine: type[Machine]) -> None:
    graphs, calls = Graphs(CUDA), []
    graphs.capture(lambda: calls.append((machine.current.cuda_stream, bool(machine.capturing))))
    assert calls == [(1, False), (1, False), (1, False), (1, True)]
    assert machine.said == ["1 waits for 0", "0 waits for 1"]
    graphs.capture(lambda: None)
    assert len(graphs) == 2
    assert {graph.stream.cuda_stream for graph in machine.captured} == {1}


def test_no_two_models_share_a_stream_and_a_models_graphs_go_together(machine: type[Machine]) -> None:
    models = [Graphs(CUDA) for _ in range(3)]
    for graphs in models * 2:
        graphs.capture(lambda: None)
    assert [graph.stream.cuda_stream for graph in machine.captured] == [1, 2, 3, 1, 2, 3]
    machine.said.clear()
    models[1].drop()
    assert machine.said == ["synchronize", "reset on 2", "reset on 2"]
    assert [graph.is_reset for graph in machine.captured] == [False, True, False, False, True, False]
    models.append(Graphs(CUDA))
    models[3].capture(lambda: None)
    assert machine.captured[-1].stream.cuda_stream == 2  # only now another's
    del models, graphs
    gc.collect()
    assert all(graph.is_reset for graph in machine.captured)
    assert len(cuda_graph._free_streams) == 3


def test_more_models_than_streams_are_refused_for_now(machine: type[Machine]) -> None:
    models = [Graphs(CUDA) for _ in range(33)]
    for graphs in models[:32]:
        graphs.capture(lambda: None)
    with pytest.raises(NotCapturedError) as refused:
        models[32].capture(lambda: None)
    assert refused.value.passes
    models.pop(0)
    models[-1].capture(lambda: None)


def test_graphs_dropped_during_a_capture_are_reset_after_it(machine: type[Machine]) -> None:
    old = [Graphs(CUDA)]
    old[0].capture(lambda: None)

    def collecting() -> None:
        old.clear()
        gc.collect()

    graphs = Graphs(CUDA)
    graphs.capture(lambda: collecting() if machine.capturing else None)
    assert machine.captured[0].is_reset
    assert not machine.captured[1].is_reset


def test_a_capture_that_fails_leaves_the_thread_and_the_others_as_they_were(machine: type[Machine]) -> None:
    good, bad = Graphs(CUDA), Graphs(CUDA)
    replay = good.capture(lambda: None)

    def failing() -> None:
        if machine.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(NotCapturedError, match="during capture") as refused:
        bad.capture(failing)
    assert not refused.value.passes
    assert machine.current.cuda_stream == 0
    replay()
    bad.capture(lambda: None)()
    assert not cuda_graph._is_broken


def test_a_process_that_a_capture_has_spoiled_captures_nothing_more(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        if machine.capturing:
            raise RuntimeError("no")

    def asserting() -> None:
        raise RuntimeError("INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", asserting)
    graphs = Graphs(CUDA)
    for _ in range(2):
        with pytest.raises(NotCapturedError) as refused:
            graphs.capture(failing)
    assert "spoiled" in str(refused.value)
    assert cuda_graph._is_broken


def test_captures_of_two_models_never_meet(machine: type[Machine]) -> None:
    """`Capture` asserts that there is one at a time."""
    meet, errors = threading.Barrier(4), []

    def capture() -> None:
        meet.wait()
        for _ in range(20):
            try:
                Graphs(CUDA).capture(lambda: threading.Event().wait(0.001) if machine.capturing else None)  # type: ignore[arg-type, return-value]
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=capture) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(machine.captured) == 80
