"""The recorded step and its loop, on a CPU: everything but the recording itself, which a tape stands for."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import exp
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from decoding import assets
from decoding.cancellation import LeftError, bear
from decoding.engines.batching.engine import SharedEngine
from decoding.engines.torch import captured_step, graph, readback
from decoding.engines.torch.engine import LocalEngine, best
from decoding.engines.torch.graph import GraphLoop
from decoding.engines.torch.readback import DEPTH, CopyingPost, PinnedPost, fly
from decoding.errors import ModelError
from decoding.models.loading import describe, load_model
from decoding.record.step import StepScores
from tests import tape, tiny_models

Folder = Callable[[str], Path]
IDS = list(b"Transformers are the")
STEPS = 24
RECORDED = (
    *("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox"),
    *("llama, tied", "gemma2", "phi3", "cohere", "opt"),
)
PLAIN = ("mamba", "rwkv", "recurrent_gemma", "gpt_neo", "mamba2")


def engines(network: Any, *, record: Any = tape.record, ends: frozenset[int] = frozenset()) -> tuple[Any, Any]:
    """A plain engine, and one whose steps are recorded; both over one network."""
    loaded = describe(network.eval(), tiny_models.tokenizer(), model="tiny")
    plain, ours = (LocalEngine(replace(loaded, end_ids=ends)) for _ in range(2))
    ours.graph = GraphLoop(ours.network, ours.forward, record=record, post=CopyingPost)
    return plain, ours


@pytest.fixture
def llama() -> tuple[Any, Any]:
    return engines(tiny_models.network("llama"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "SMALLEST", 16)


def steps(engine: Any, ids: Any = IDS, *, count: int = STEPS, top_k: int = 5, **forced: Any) -> list[StepScores]:
    return list(engine.steps(ids, max_new_tokens=count, top_k=top_k, **forced))


def check_same(ours: list[StepScores], plain: list[StepScores]) -> None:
    assert [readout.token_ids for readout in ours] == [readout.token_ids for readout in plain]
    for a, b in zip(ours, plain, strict=True):
        assert list(map(exp, a.logprobs)) == pytest.approx(list(map(exp, b.logprobs)), abs=1e-5)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-4)
        assert [power for power, _ in a.log_sums] == [power for power, _ in b.log_sums]
        assert [s for _, s in a.log_sums] == pytest.approx([s for _, s in b.log_sums], abs=1e-3)
        assert (a.picked is None) == (b.picked is None)
        if a.picked and b.picked:
            assert (a.picked.token_id, a.picked.rank) == (b.picked.token_id, b.picked.rank)
            assert exp(a.picked.logprob) == pytest.approx(exp(b.picked.logprob), abs=1e-5)


def recordings(engine: Any) -> list[int]:
    return list(engine.graph._steps)


# ---- the same numbers


@pytest.mark.parametrize("architecture", RECORDED)
def test_recorded_is_plain(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    expected = steps(plain)
    assert len({readout.token_ids[0] for readout in expected}) >= 5  # or any two would agree
    assert ours.graph.prove() == ""
    check_same(steps(ours), expected)
    check_same(steps(ours, IDS[:3], count=8), steps(plain, IDS[:3], count=8))  # nothing is left of the run before
    assert recordings(ours) == [graph.SMALLEST]


@pytest.mark.parametrize("architecture", PLAIN)
def test_what_has_no_graph_goes_through_the_plain_loop(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    assert ours.graph.prove() == graph.NOT_THIS_FAMILY
    assert steps(ours, count=6) == steps(plain, count=6)
    assert recordings(ours) == []


def test_a_family_that_brings_the_device_a_list_at_each_step_goes_through_the_plain_loop() -> None:
    plain, ours = engines(tiny_models.network("falcon"))
    assert ours.graph.prove() == graph.NOT_CAPTURED
    assert steps(ours, count=6) == steps(plain, count=6)


@pytest.mark.parametrize(
    "ask",
    [lambda x: int(x[0]), lambda x: bool(x[0] > 0), lambda x: x[x > 0], lambda x: torch.tensor([1]), torch.nonzero],
)
def test_a_step_that_asks_the_host_cannot_be_recorded(ask: Callable[[torch.Tensor], Any]) -> None:
    def asks(step: Any) -> Any:
        def asking() -> None:
            step()
            ask(step.numbers)

        return tape.record(asking)

    _, ours = engines(tiny_models.network("llama"), record=asks)
    assert ours.graph.prove() == graph.NOT_CAPTURED


@pytest.mark.parametrize("top_k", [1, 50, 51, 320])
def test_any_number_of_candidates(llama: tuple[Any, Any], top_k: int) -> None:
    plain, ours = llama
    check_same(steps(ours, count=4, top_k=top_k), steps(plain, count=4, top_k=top_k))


def test_ties_go_to_the_lower_id() -> None:
    network = tiny_models.network("llama")
    with torch.no_grad():
        network.lm_head.weight[100:200] = network.lm_head.weight[40]
    plain, ours = engines(network)
    forced = dict.fromkeys(range(6), 150)
    check_same(steps(ours, count=8), steps(plain, count=8))
    check_same(steps(ours, count=8, forced=forced), steps(plain, count=8, forced=forced))


def test_in_16_bits_the_proof_allows_for_rounding() -> None:
    plain, ours = engines(tiny_models.network("llama").to(torch.bfloat16))
    assert ours.graph.prove() == ""
    ours_ids = [readout.token_ids[0] for readout in steps(ours, count=3)]
    assert ours_ids == [readout.token_ids[0] for readout in steps(plain, count=3)]


# ---- picks, ends, and leaving


@pytest.mark.parametrize("forced", [{0: 7}, {5: 7}, {STEPS - 1: 7}, {0: 1, 1: 2, 9: 3, 10: 4}], ids=str)
def test_forced_picks(llama: tuple[Any, Any], forced: dict[int, int]) -> None:
    plain, ours = llama
    check_same(steps(ours, forced=forced), steps(plain, forced=forced))
    assert recordings(ours)


def test_a_branch_costs_only_its_own_steps(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    run = steps(ours)
    forced = {12: run[12].token_ids[1]}
    read: list[int] = []
    handle = ours.network.register_forward_pre_hook(
        lambda _, __, options: read.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    branch = steps(ours, forced=forced)
    handle.remove()
    assert read == [1]  # the pick; what follows is played
    check_same(branch, steps(plain, forced=forced))


def test_an_end_throws_away_what_ran_ahead() -> None:
    network = tiny_models.network("llama")
    written = [readout.token_ids[0] for readout in steps(engines(network)[0])]
    place = next(n for n, token_id in enumerate(written) if n >= 3 and token_id not in written[:n])
    plain, ours = engines(network, ends=frozenset([written[place]]))
    for _ in range(2):
        readouts = steps(ours)
        assert len(readouts) == place + 1
        check_same(readouts, steps(plain))
    kept = next(iter(ours.memory._entries.values()))
    assert kept.cache.get_seq_length() == len(IDS) + place


@pytest.mark.parametrize("taken", [1, 2, 7])
def test_a_reader_who_leaves_frees_the_graph_and_keeps_what_was_read(llama: tuple[Any, Any], taken: int) -> None:
    plain, ours = llama
    run = ours.steps(IDS, max_new_tokens=STEPS, top_k=5)
    left = [next(run) for _ in range(taken)]
    run.close()
    check_same(left, steps(plain)[:taken])
    kept = next(iter(ours.memory._entries.values()))
    assert kept.cache.get_seq_length() == len(IDS) + taken - 1
    held = [tensor for layer in kept.cache.layers for tensor in (layer.keys, layer.values)]
    assert kept.size == sum(tensor.numel() * tensor.element_size() for tensor in held)  # all was there to be counted
    reread = plain.forward([*IDS, *(readout.token_ids[0] for readout in left[:-1])], None)[1]
    for mine, theirs in zip(kept.cache.layers, reread.layers, strict=True):
        assert torch.allclose(mine.keys, theirs.keys, atol=1e-4)
        assert torch.allclose(mine.values, theirs.values, atol=1e-4)
    check_same(steps(ours), steps(plain))


def test_two_runs_at_once_do_not_mix(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    alone = [steps(plain, ids, count=8) for ids in (IDS, IDS[4:])]
    both = [ours.steps(ids, max_new_tokens=8, top_k=5) for ids in (IDS, IDS[4:])]
    pairs = list(zip(*both, strict=True))
    for run, expected in zip(zip(*pairs, strict=True), alone, strict=True):
        check_same(list(run), expected)
    assert recordings(ours) == [graph.SMALLEST]


def test_numbers_that_are_none_end_the_run_and_leave_nothing_behind() -> None:
    network = tiny_models.network("llama")
    with torch.no_grad():
        network.model.embed_tokens.weight[200] = float("nan")
    plain, ours = engines(network)
    with pytest.raises(ModelError, match=r"^The model's output is not a number"):
        steps(ours, forced={5: 200})
    assert recordings(ours)
    check_same(steps(ours, IDS[:4], count=6), steps(plain, IDS[:4], count=6))


# ---- sizes


@pytest.mark.usefixtures("small")
def test_a_cache_is_as_large_as_its_run_needs(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    for length, count, columns in ((3, 8, [16]), (3, 13, [16]), (3, 15, [16, 32]), (20, 24, [32, 64])):
        check_same(steps(ours, IDS[:length], count=count), steps(plain, IDS[:length], count=count))
        assert recordings(ours) == columns  # the two used last
    full = tiny_models.CONTEXT - len(IDS)
    check_same(steps(ours, count=200), steps(plain, count=200))
    assert len(steps(ours, count=200)) == full
    assert recordings(ours) == [64, 128]


def test_where_there_is_no_memory_the_run_goes_on_by_the_plain_loop(
    llama: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, ours = llama
    monkeypatch.setattr(graph, "free_on", lambda _: 1000)
    assert steps(ours) == steps(plain)
    assert recordings(ours) == []
    monkeypatch.undo()
    check_same(steps(ours), steps(plain))
    assert recordings(ours) == [graph.SMALLEST]


# ---- what cannot be recorded


def test_a_recording_that_fails_is_not_tried_again() -> None:
    tried = []

    def failing(step: Any) -> Any:
        tried.append(step)
        raise RuntimeError("operation not permitted when stream is capturing")

    plain, ours = engines(tiny_models.network("llama"), record=failing)
    for _ in range(2):
        assert steps(ours) == steps(plain)
    assert len(tried) == 1


def test_a_recording_that_says_something_else_is_not_used() -> None:
    def frozen(step: Any) -> Any:
        play = tape.record(step)

        def stuck() -> None:  # as if the position had been recorded as a number
            play()
            step.fixed.place.sub_(1)

        return stuck

    plain, ours = engines(tiny_models.network("llama"), record=frozen)
    assert ours.graph.prove() == graph.NOT_CAPTURED
    assert steps(ours) == steps(plain)


# ---- who chooses it


def test_never_on_a_cpu(tiny_folder: Folder) -> None:
    engine = best(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
    assert engine.graph is None
    assert graph.NAME not in engine.info.engine
    assert "plain loop" not in engine.info.why


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This CPU as the device that has graphs."""
    monkeypatch.setattr(graph, "DEVICE", "cpu")
    monkeypatch.setattr(graph, "capture", tape.record)
    monkeypatch.setattr(graph, "PinnedPost", CopyingPost)


@pytest.mark.usefixtures("gpu")
def test_the_header_says_which_way_and_why(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(architecture: str) -> tuple[bool, bool, str]:
        engine = best(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
        assert len(steps(engine, count=3)) == 3
        reasons = engine.info.why.split("; ")
        return engine.graph is not None, engine.info.engine.endswith(", CUDA graph"), "; ".join(reasons[2:])

    assert chosen("gpt2") == (True, True, "")
    assert chosen("mamba") == (False, False, "the plain loop, because this architecture has no CUDA graph")

    def failing(_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(graph, "capture", failing)
    assert chosen("gpt2") == (False, False, "the plain loop, because the CUDA graph could not be captured")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    network = tiny_models.network("gpt2").eval()
    assert graph.graph_loop(network, lambda *_: None) == (
        None,
        "the plain loop, because a lent GPU keeps no CUDA graph",
    )


@pytest.mark.parametrize("language", assets.texts())
def test_the_reasons_are_said_in_every_language(language: str) -> None:
    english, theirs = assets.texts()["en"], assets.texts()[language]
    for reason in (graph.NOT_LENT, graph.NOT_THIS_FAMILY, graph.NOT_CAPTURED):
        key = next(key for key, text in english.items() if text == reason)
        assert key.startswith("server.why.")
        assert "CUDA" in theirs[key]


# ---- the page's engine


def counted(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each run played."""
    played: list[int] = []
    play = graph._play

    def counting(*args: Any, **options: Any) -> Iterator[StepScores]:
        played.append(0)
        for readout in play(*args, **options):
            played[-1] += 1
            yield readout

    monkeypatch.setattr(graph, "_play", counting)
    return played


def test_a_run_alone_takes_the_graph_and_others_share(llama: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ours = llama
    expected, other = steps(plain, count=8), steps(plain, IDS[4:], count=8)
    crowd, played = SharedEngine(ours), counted(ours, monkeypatch)
    check_same(steps(crowd, count=8), expected)
    assert played == [7]  # the first step is the network's own
    run = crowd.steps(IDS, max_new_tokens=8, top_k=5)
    first = next(run)
    check_same(steps(crowd, IDS[4:], count=8), other)  # in the batch, meanwhile
    check_same([first, *run], expected)
    assert played == [7, 7]
    forced = {3: 9}
    check_same(steps(crowd, count=8, forced=forced), steps(plain, count=8, forced=forced))
    assert len(played) == 3  # alone again


def test_without_a_graph_everything_goes_to_the_batch(llama: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ours = llama
    ours.graph = None
    monkeypatch.setattr(ours, "steps", None)
    check_same(steps(SharedEngine(ours), count=4), steps(plain, count=4))


def test_a_visitor_who_left_ends_the_run_alone(llama: tuple[Any, Any]) -> None:
    _, ours = llama
    crowd, left, ended = SharedEngine(ours), threading.Event(), []

    def visit() -> None:
        bear(left)
        run = crowd.steps(IDS, max_new_tokens=STEPS, top_k=5)
        taken = [next(run), next(run)]
        left.set()
        try:
            next(run)
        except LeftError:
            ended.append(len(taken))

    visitor = threading.Thread(target=visit)
    visitor.start()
    visitor.join(300)
    assert ended == [2]
    assert crowd._runs == 0
    assert not ours.graph._one_at_a_time.locked()


def test_memory_that_runs_out_in_a_run_alone_is_said(llama: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = llama
    crowd = SharedEngine(ours)

    def failing(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ours, "forward", failing)
    with pytest.raises(ModelError, match=r"^The model ran out of memory\."):
        steps(crowd)
    assert not ours.graph._one_at_a_time.locked()


# ---- the flight


class Slow:
    """A device that finishes nothing until it is waited for; whatever is launched lies there."""

    def __init__(self) -> None:
        self.launched, self.arrived = 0, 0
        self.most = 0

    def launch(self) -> Callable[[], list[float]]:
        number = self.launched
        self.launched += 1
        self.most = max(self.most, self.launched - self.arrived)

        def arrival() -> list[float]:
            assert number == self.arrived  # read in order
            self.arrived += 1
            return [float(number)]

        return arrival


@pytest.mark.parametrize(("count", "depth"), [(10, 4), (10, 1), (3, 4), (0, 4)])
def test_so_many_steps_are_ahead_of_the_reader_and_no_more(count: int, depth: int) -> None:
    device = Slow()
    for index, numbers in enumerate(fly(device.launch, steps=count, depth=depth)):
        assert numbers == [float(index)]
        assert device.launched == min(count, index + depth)  # the reader is slow, and the device has work meanwhile
    assert (device.launched, device.arrived, device.most) == (count, count, min(count, depth))


def test_a_flight_that_is_closed_launches_nothing_more() -> None:
    device = Slow()
    run = fly(device.launch, steps=10)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert (device.launched, device.arrived) == (DEPTH, 1)


def test_the_post_waits_for_its_own_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned memory and events by hand: a copy is there only once its event has been waited for."""
    under_way: list[Any] = []

    class Event:
        def record(self) -> None:
            self.recorded = len(under_way)

        def synchronize(self) -> None:
            assert self.recorded
            for slot, copied in under_way:  # the device is fast: what was launched since has arrived as well
                slot.held = copied

    class Slot(SimpleNamespace):
        def copy_(self, numbers: torch.Tensor, *, non_blocking: bool) -> None:
            assert non_blocking
            under_way.append((self, numbers.clone()))

        def tolist(self) -> list[float]:
            return self.held.tolist()

    def empty(shape: Any, *, dtype: Any, pin_memory: bool) -> Any:
        assert pin_memory
        return Slot(held=None)

    monkeypatch.setattr(readback.torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    numbers = torch.zeros(2)
    post = PinnedPost(numbers)

    def launch() -> Callable[[], list[float]]:
        numbers.add_(1)  # the device is a step further
        return post.send(numbers)

    assert list(fly(launch, steps=11)) == [[float(n), float(n)] for n in range(1, 12)]


def test_a_capture_warms_up_beside_and_then_records_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the calls, with a CUDA that only notes them."""
    said: list[str] = []

    class Stream:
        def __init__(self, name: str = "beside") -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            said.append(f"{self.name} waits for {other.name}")

        def __enter__(self) -> None:
            said.append(f"on {self.name}")

        def __exit__(self, *_: object) -> None:
            said.append(f"off {self.name}")

    class Graph:
        def replay(self) -> None:
            said.append("replay")

    class Capture:
        def __init__(self, made: Graph, *, capture_error_mode: str) -> None:
            assert capture_error_mode == "thread_local"

        def __enter__(self) -> None:
            said.append("recording")

        def __exit__(self, *_: object) -> None:
            said.append("recorded")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    play: Any = captured_step.capture(lambda: said.append("step"))  # type: ignore[arg-type]
    play()
    assert said == [
        *("beside waits for main", "on beside", "step", "step", "step", "off beside", "main waits for beside"),
        *("recording", "step", "recorded", "replay"),
    ]
