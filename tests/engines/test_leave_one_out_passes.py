"""A text with a part left out gives what a fresh reading of the shorter text gives, on every family."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decoding import cancellation
from decoding.cancellation import WorkCancelledError
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.leave_one_out_passes import scores_without
from decoding.engines.local_engine import LocalEngine
from decoding.engines.model_facts import ModelFacts
from decoding.engines.network_protocol import Network
from decoding.engines.onnx.float32_session import CROWD_ROWS
from decoding.engines.onnx.network import MAX_REREAD, OnnxNetwork, with_shared_beginnings
from decoding.engines.torch.engine import load
from decoding.record.step import StepScores
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo
from tests import tiny_models
from tests.engines.onnx.test_families import CASES, ids, network
from tests.fakes import FakeTokenizer, ScriptedEngine
from tests.graphs import graph_without_proof

NOISE = 2e-5
SPANS = [(0, 1), (1, 3), (7, 1), (20, 4), (29, 1)]
FAMILIES = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma3"]
Engines = Callable[[str], LocalEngine]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """Tiny engines of ONNX Runtime by the case of a family, made once."""
    made: dict[str, LocalEngine] = {}

    def engine(case: str) -> LocalEngine:
        if case not in made:
            folder = tmp_path_factory.mktemp("model")
            network(case).save_pretrained(folder)
            made[case] = local(OnnxNetwork(graph_without_proof(folder, folder)))
        return made[case]

    return engine


def local(of: Network) -> LocalEngine:
    info = ModelInfo("tiny", "", "float32", "cpu", "tests")
    vocabulary = Vocabulary(FakeTokenizer())
    return LocalEngine(ModelFacts(info, vocabulary, tiny_models.VOCABULARY, tiny_models.CONTEXT, frozenset(), None), of)


def shorter(text: Sequence[int], span: tuple[int, int]) -> list[int]:
    return [*text[: span[0]], *text[sum(span) :]]


def fresh(engine: Any, text: Sequence[int], wanted: int) -> StepScores:
    """One step of a run of its own, with no cache of another."""
    found: Iterator[StepScores] = engine.steps(text, max_new_tokens=1, top_k=3, forced={0: wanted})
    return next(found)


def assert_fresh(engine: Any, text: Sequence[int], spans: Sequence[tuple[int, int]], wanted: Sequence[int]) -> None:
    leading = set()
    found = list(scores_without(engine, text, spans, wanted))
    for span, scores in zip(spans, found, strict=True):
        for one, token_id in zip(scores, wanted, strict=True):
            alone = fresh(engine, shorter(text, span), token_id)
            assert one.picked
            assert alone.picked
            assert one.token_ids[0] == alone.token_ids[0]
            for ours, theirs in ((one.picked.logprob, alone.picked.logprob), (one.logprobs[0], alone.logprobs[0])):
                assert abs(math.exp(ours) - math.exp(theirs)) < NOISE
            assert one.picked.rank == alone.picked.rank
            leading.add(alone.token_ids[0])
    assert len(leading) > 1, "texts that all go on alike prove nothing"


@pytest.mark.parametrize("case", FAMILIES)
def test_each_text_is_that_of_a_fresh_run(engines: Engines, case: str) -> None:
    assert case in CASES
    assert_fresh(engines(case), ids(30), SPANS, [5, 70])


@pytest.mark.parametrize("architecture", ["llama", "recurrent_gemma"])
def test_through_transformers_too(tiny_folder: Callable[[str], Path], architecture: str) -> None:
    """The second of them has no cache that can be cropped."""
    engine = load(str(tiny_folder(architecture)), device="cpu", dtype="float32")
    assert_fresh(engine, ids(30), SPANS, [5, 70])


def test_the_starter(starter: LocalEngine) -> None:
    text = starter.vocabulary.encode("Mary had a little lamb, its fleece was white as")
    assert_fresh(starter, text, [(n, 1) for n in range(len(text))], [starter.vocabulary.encode(" snow")[0]])


class Counting:
    """A network that notes the ids of each pass, text by text, and reads at most `max_read` of them."""

    def __init__(self, inner: Any, *, max_read: int, max_reread: int = MAX_REREAD) -> None:
        self.inner, self.max_read, self.max_reread = inner, max_read, max_reread
        self.passes: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> Any:
        self.passes.append([len(token_ids)])
        return self.inner.read(token_ids, cache, last=last)

    def read_texts(self, texts: Sequence[Sequence[int]]) -> Any:
        self.passes.append([len(text) for text in texts])
        assert with_shared_beginnings(texts)[0].size <= self.max_read
        return self.inner.read_texts(texts)


@pytest.mark.parametrize("case", ["gpt2", "gemma3"])
def test_texts_that_share_a_short_beginning_share_passes(engines: Engines, case: str) -> None:
    """By words, in groups; a long beginning is read once. Gemma's window of 8 slides over most of the text."""
    inner = engines(case).network
    network: Any = Counting(inner, max_read=200, max_reread=10)
    words = [(first, 1 + first % 3) for first in (0, 1, 3, 6, 7, 9, 12, 19, 23, 24, 30, 36, 43)]
    engine = BatchedEngine(local(network))
    found = list(scores_without(engine, ids(45), words, [5]))
    assert network.passes[:2] == [[44, 43, 44, 44], [43, 44, 44, 43, 42, 44]]  # 171 and 187 different ids
    assert network.passes[2:] == [[42], [14], [8], [1]]  # the beginning, and what comes after each part
    for span, [scores] in zip(words, found, strict=True):
        alone = fresh(engine, shorter(ids(45), span), 5)
        assert scores.picked
        assert alone.picked
        assert abs(math.exp(scores.picked.logprob) - math.exp(alone.picked.logprob)) < NOISE
        assert scores.token_ids == alone.token_ids[:1]


def test_thirty_texts_of_thirty_ids_share_one_pass(engines: Engines) -> None:
    network: Any = Counting(engines("llama").network, max_read=508)  # as the starter has
    assert len(list(scores_without(local(network), ids(30), [(n, 1) for n in range(30)], [5]))) == 30
    assert network.passes == [[29] * 30]


def test_a_long_text_is_not_read_again_for_each_part(engines: Engines) -> None:
    network: Any = Counting(engines("llama").network, max_read=28)  # fewer than a text has
    found = list(scores_without(local(network), ids(30), [(n, 1) for n in range(10, 30)], [5]))
    assert len(found) == 20
    assert network.passes == [[28], *[[29 - n] for n in range(10, 29)], [1]]


def test_one_question_does_not_ask_for_the_float32_weights_of_a_crowd(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, asked = engines("llama"), list[int]()
    monkeypatch.setattr(engine.network, "float32_session", SimpleNamespace(session=asked.append))
    assert len(list(scores_without(engine, ids(30), [(n, 1) for n in range(20)], [5]))) == 20
    assert asked
    assert max(asked) < CROWD_ROWS


def check_ends_when_the_visitor_leaves(found: Iterator[Any], *, after: int) -> None:
    """Take `after` answers; then the visitor leaves, and no further answer comes."""
    left = threading.Event()
    cancellation.bind(left)
    try:
        for _ in range(after):
            next(found)
        left.set()
        with pytest.raises(WorkCancelledError):
            next(found)
    finally:
        cancellation.bind(threading.Event())


def test_no_further_pass_is_made_when_the_visitor_has_left(engines: Engines) -> None:
    network: Any = Counting(engines("llama").network, max_read=100)
    found = scores_without(local(network), ids(30), [(n, 1) for n in range(12)], [5])
    check_ends_when_the_visitor_leaves(found, after=4)
    assert network.passes == [[29, 29, 29]] * 2


def test_an_engine_without_a_network_scores_each_text() -> None:
    engine = ScriptedEngine()
    found = list(scores_without(engine, [10, 11, 12], [(0, 1), (2, 1)], [260, 261]))
    assert engine.read == [[11, 12], [11, 12], [10, 11], [10, 11]]
    assert [[one.picked.token_id for one in scores if one.picked] for scores in found] == [[260, 261]] * 2


@pytest.mark.parametrize("scripted", [True, False])
def test_it_ends_when_the_visitor_has_left(engines: Engines, scripted: bool) -> None:
    found = scores_without(ScriptedEngine() if scripted else engines("llama"), ids(30), SPANS, [5])
    check_ends_when_the_visitor_leaves(found, after=1)
