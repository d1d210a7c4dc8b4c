"""Beam search: by tables, against transformers' own on every family, and against a search through every sequence."""

import itertools
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import decoding
from decoding import cancellation
from decoding.beam import Beam, BeamStep, beam_loop, finished_beams, next_beams, path_to
from decoding.cancellation import WorkCancelledError
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.branching import NetworkRows, check_beam_memory
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from decoding.errors import FormatError, ModelError, RequestError
from decoding.record.step import StepScores
from decoding.record.trace import Trace
from tests import all_architectures as sweep
from tests import tiny_models
from tests.fakes import ScriptedEngine
from tests.machines import give_memory
from tests.watched import noting, watched

Folder = Callable[[str], Path]
PROMPTS = ("!!", '"!', '!"!', '""', '!""!')
"""Texts of the ids 0 and 1 alone; those of `SIX` may have 2 to 5 as well."""
SIX = ("#$%", "!&#", "$$", '%#"&')
END = 9

# ---- the search by tables


class Table:
    """Rows whose scores are written by hand: probabilities of the next ids by the ids so far."""

    def __init__(self, table: dict[tuple[int, ...], dict[int, float]]) -> None:
        self.table, self.rows = table, [()]

    def begin(self, top_k: int) -> StepScores:
        return self._scores((), top_k)

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> list[StepScores]:
        self.rows = [(*self.rows[row], token_id) for row, token_id in picks]
        return [self._scores(row, top_k) for row in self.rows]

    def _scores(self, row: tuple[int, ...], top_k: int) -> StepScores:
        following = sorted(self.table[row].items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]
        return StepScores(
            tuple(i for i, _ in following), tuple(math.log(p) if p else -math.inf for _, p in following), 0
        )


def texts(steps: Sequence[BeamStep]) -> list[list[tuple[int, ...]]]:
    """The ids of the beams of each step."""
    return [
        [
            tuple(steps[n].beams[at].token_id for n, at in enumerate(path_to(steps, step, place)))
            for place in range(len(each.beams))
        ]
        for step, each in enumerate(steps)
    ]


GREED_COSTS = {
    (): {1: 0.5, 2: 0.4, 3: 0.1},
    (1,): {1: 0.4, 2: 0.3, 3: 0.3},
    (2,): {3: 0.9, 1: 0.1},
    (3,): {1: 1.0},
}


def test_the_greedy_beam_may_be_dropped() -> None:
    steps = list(beam_loop(Table(GREED_COSTS), num_beams=2, max_new_tokens=2, top_k=1))
    assert texts(steps) == [[(1,), (2,)], [(2, 3), (1, 1)]]
    assert steps[0].beams == (
        Beam(0, 1, math.log(0.5), 0, math.log(0.5)),
        Beam(0, 2, math.log(0.4), 1, math.log(0.4)),
    )
    assert steps[1].beams[0] == Beam(1, 3, math.log(0.9), 0, math.log(0.4) + math.log(0.9))
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(1, 0), (1, 1)]
    assert finished[0].score == pytest.approx(math.log(0.36) / 2)


def test_both_beams_may_come_from_one() -> None:
    table = {(): {1: 0.9, 2: 0.1}, (1,): {1: 0.5, 2: 0.5}, (2,): {1: 1.0}, (1, 1): {3: 1.0}, (1, 2): {3: 1.0}}
    rows = Table(table)
    steps = list(beam_loop(rows, num_beams=2, max_new_tokens=3, top_k=1))
    assert texts(steps) == [[(1,), (2,)], [(1, 1), (1, 2)], [(1, 1, 3), (1, 2, 3)]]
    assert rows.rows == [(1, 1), (1, 2)]  # the row of (2,) was dropped


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        # One beam: the lower id first.
        ({7: 0.25, 4: 0.25, 5: 0.5}, {}, [5, 4]),
        ({4: 0.5, 7: 0.5}, {}, [4, 7]),
        # Two beams: the one that was more probable before, whatever the ids.
        ({8: 0.5, 6: 0.5}, {3: 0.5, 2: 0.5}, [6, 8]),
    ],
)
def test_ties(first: dict[int, float], second: dict[int, float], kept: list[int]) -> None:
    before = (Beam(0, 1, -1.0, 0, -1.0), Beam(0, 2, -1.0, 1, -1.0))[: 2 if second else 1]
    scores = [Table({(): line}).begin(9) for line in (first, second) if line]
    beams = next_beams(before, scores, num_beams=2, end_ids=(), is_last=False)
    assert [beam.token_id for beam in beams] == kept


def test_finished_texts_of_one_score_stand_in_the_order_of_their_ends() -> None:
    half = math.log(0.5)
    steps = [BeamStep((Beam(0, END, half, 0, half, True), Beam(0, 1, half, 1, half)), ())]
    steps.append(BeamStep((Beam(1, 2, half, 0, 2 * half),), ()))
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(0, 0), (1, 0)]


def test_a_text_that_ends_makes_room_for_another() -> None:
    table = {(): {END: 0.5, 1: 0.3, 2: 0.15, 3: 0.05}, (1,): {1: 1.0}, (2,): {1: 1.0}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=2, top_k=1, end_ids=[END]))
    assert texts(steps) == [[(END,), (1,), (2,)], [(1, 1), (2, 1)]]
    assert [beam.has_ended for beam in steps[0].beams] == [True, False, False]
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(1, 0), (0, 0)]  # −1.20 / 2 against −0.69


def test_an_end_that_is_not_among_the_first_is_no_end() -> None:
    table = {(): {1: 0.5, 2: 0.3, END: 0.2}, (1,): {1: 1.0}, (2,): {1: 1.0}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=2, top_k=1, end_ids=[END]))
    assert texts(steps)[0] == [(1,), (2,)]


def test_the_search_is_over_when_no_beam_is_better_than_what_has_ended() -> None:
    table = {(): {END: 0.5, 1: 0.3, 2: 0.2}, (1,): {END: 0.9, 3: 0.1}, (2,): {3: 1.0}}
    table |= {(2, 3): {3: 0.01}, (1, 3): {3: 0.01}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=5, top_k=1, end_ids=[END]))
    # (1, END) has ended with −1.31 / 2, (END,) with −0.69. The best running one, (2, 3), has −1.61 / 2.
    assert texts(steps) == [[(END,), (1,), (2,)], [(1, END), (2, 3), (1, 3)]]


def test_where_everything_ends_the_search_ends() -> None:
    steps = list(beam_loop(Table({(): {END: 1.0, 1: 0.0}}), num_beams=2, max_new_tokens=5, top_k=1, end_ids=[END]))
    assert texts(steps) == [[(END,)]]


# ---- transformers' own search


def generated(engine: LocalEngine, ids: list[int], *, steps: int, num_beams: int, **options: Any) -> Any:
    """The texts of `generate(num_beams=…)` and their scores, best first."""
    found = network_of(engine).generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=steps,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        use_cache=False,
        return_dict_in_generate=True,
        output_scores=True,
        pad_token_id=0,
        **options,
    )
    return [row[len(ids) :].tolist() for row in found.sequences], found.sequences_scores.tolist()


def agrees(engine: Any, ids: list[int], *, steps: int, num_beams: int, **options: Any) -> list[BeamStep]:
    """Check a search against transformers', and return it."""
    found = list(engine.beams(ids, num_beams=num_beams, max_new_tokens=steps, top_k=2))
    finished = finished_beams(found, num_beams=num_beams, max_new_tokens=steps)
    ours = [list(texts(found)[text.step][text.place]) for text in finished]
    theirs, scores = generated(engine, ids, steps=steps, num_beams=num_beams, **options)
    assert ours == [text[: len(mine)] for text, mine in zip(theirs, ours, strict=True)]
    assert all(set(text[len(mine) :]) <= {0, 2} for text, mine in zip(theirs, ours, strict=True))  # padding
    assert [text.score for text in finished] == pytest.approx(scores, abs=1e-5)
    return found


@pytest.mark.parametrize("architecture", [*tiny_models.ARCHITECTURES, "gemma2", "opt", "falcon", "mamba2"])
def test_every_family(tiny_folder: Folder, architecture: str) -> None:
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu", engine="torch")
    agrees(engine, sweep.PROMPT, steps=6, num_beams=4)


def test_onnx_runtime_and_shared_passes(tmp_path: Path) -> None:
    # ONNX Runtime's attention takes heads of multiples of 16.
    sizes = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "query_pre_attn_scalar": 16}
    folder = tiny_models.save(tmp_path, tiny_models.network("gemma3_text", **sizes))
    engine = decoding.load(str(folder), device="cpu")
    assert "ONNX Runtime" in engine.info.engine
    alone = agrees(engine, sweep.PROMPT, steps=6, num_beams=5)
    shared = agrees(BatchedEngine(engine), sweep.PROMPT, steps=6, num_beams=5)
    assert texts(alone) == texts(shared)


def small(folder: Path, size: int, **options: Any) -> LocalEngine:
    network = tiny_models.network("llama", vocab_size=size)
    network.generation_config.update(**options)
    return decoding.load(str(tiny_models.save(folder, network)), device="cpu")


def test_texts_that_end_early(tmp_path: Path) -> None:
    engine = small(tmp_path, 6, eos_token_id=[2, 5])
    lengths = set()
    for prompt, num_beams in itertools.product((*SIX, "&&", "%%", '"%#', "#&"), (2, 3, 5)):
        ids = engine.vocabulary.encode(prompt)
        found = agrees(engine, ids, steps=6, num_beams=num_beams, eos_token_id=[2, 5])
        lengths.add(len(found))
        trace = decoding.beam_search(engine, prompt, max_new_tokens=6, num_beams=num_beams, top_k=2)
        assert trace.beams
        assert trace.generated_token_ids == trace.beams.token_ids(*trace.beams.finished[0])
        assert trace.stop_reason == ("end_of_text" if trace.generated_token_ids[-1] in (2, 5) else "steps")
        assert Trace.from_jsonl(trace.to_jsonl()) == trace
    assert len(lengths) > 1  # some searches are over before their last step


@torch.inference_mode()
def totals(engine: LocalEngine, ids: Sequence[int], steps: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every sequence of so many ids."""
    sequences = list(itertools.product(range(engine.vocabulary_size), repeat=steps))
    read = torch.tensor([[*ids, *sequence[:-1]] for sequence in sequences])
    rows = network_of(engine)(input_ids=read, use_cache=False).logits[:, -steps:].double().log_softmax(-1)
    return {
        sequence: math.fsum(row[n, token_id].item() for n, token_id in enumerate(sequence))
        for sequence, row in zip(sequences, rows, strict=True)
    }


@pytest.mark.parametrize("prompt", PROMPTS)
def test_wide_enough_it_finds_the_best(tmp_path: Path, prompt: str) -> None:
    engine = small(tmp_path, 2)
    trace = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=8, top_k=2)  # 8 = 2³
    every = totals(engine, trace.prompt_token_ids, 4)
    assert len(every) == 16
    assert trace.generated_token_ids == max(every, key=lambda sequence: every[sequence])
    assert trace.logprob == pytest.approx(max(every.values()), abs=1e-5)


def test_narrower_beams_never_beat_the_best(tmp_path: Path) -> None:
    engine = small(tmp_path, 6)
    gaps = []
    for prompt in SIX:
        greedy = decoding.trace(engine, prompt, max_new_tokens=4, top_k=3)
        every = totals(engine, greedy.prompt_token_ids, 4)
        best = max(every, key=lambda sequence: every[sequence])
        widest = list(engine.beams(greedy.prompt_token_ids, num_beams=6**3, max_new_tokens=4, top_k=2))
        assert texts(widest)[-1][0] == best
        assert greedy.logprob == pytest.approx(every[greedy.generated_token_ids], abs=1e-5)
        for num_beams in (2, 3, 8):
            found = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=num_beams, top_k=3)
            assert len(found.steps) == 4
            assert found.logprob == pytest.approx(every[found.generated_token_ids], abs=1e-5)
            assert found.logprob <= every[best] + 1e-6
        gaps.append(every[best] - greedy.logprob)
    assert min(gaps) >= -1e-6
    assert max(gaps) > 0.01  # or greed costs nothing here, and the test shows nothing


def test_the_models_own_settings_do_not_bend_it(tmp_path: Path) -> None:
    bent: dict[str, Any] = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "num_beams": 3, "length_penalty": 9.0}
    engine, plain = small(tmp_path / "bent", 6, **bent), small(tmp_path / "plain", 6)
    for prompt in SIX:
        one, other = (decoding.beam_search(e, prompt, max_new_tokens=8, num_beams=4, top_k=2) for e in (engine, plain))
        assert (one.steps, one.beams) == (other.steps, other.beams)


# ---- the record


def test_a_search_is_a_trace_with_its_tree(tmp_path: Path) -> None:
    engine = small(tmp_path, 6)
    trace = decoding.beam_search(engine, SIX[0], max_new_tokens=6, num_beams=3, top_k=4)
    assert trace.model.engine == f"beam search, 3 beams, {engine.info.engine}"
    assert (trace.max_new_tokens, trace.top_k, trace.stop_reason) == (6, 4, "steps")
    assert [step.forced for step in trace.steps] == [step.picked.rank != 0 for step in trace.steps]
    # The same ids, decoded step by step with those picks.
    forced = [(step.index, step.picked.token_id) for step in trace.steps if step.forced]
    run = decoding.run.Run(engine, decoding.run.check_request(SIX[0], 6, 4, forced))
    assert [step.picked.token_id for step in run] == list(trace.generated_token_ids)
    assert run.trace.logprob == pytest.approx(trace.logprob, abs=1e-5)
    tree = trace.beams
    assert tree
    assert [len(beams) for beams in tree.steps] == [3] * 6
    for step, beams in enumerate(tree.steps):
        for place, beam in enumerate(beams):
            ids = tree.token_ids(step, place)
            given = engine.score(trace.prompt_token_ids, ids, top_k=2)
            nats = [scores.picked.logprob for scores in given if scores.picked]
            assert beam.total == pytest.approx(math.fsum(nats), abs=1e-5)
            assert beam.logprob == pytest.approx(nats[-1], abs=1e-5)
            went_on = any(other.parent == place for other in tree.steps[step + 1]) if step < 5 else True
            assert tree.dropped_at(step, place) == (None if went_on else step + 1)
    assert any(tree.dropped_at(step, place) for step in range(5) for place in range(3))
    greedy = decoding.trace(engine, SIX[0], max_new_tokens=6, top_k=2).generated_token_ids
    marked = {tree.token_ids(step, place) for step in range(6) for place in range(3) if tree.is_greedy(step, place)}
    assert marked == {greedy[: n + 1] for n in range(len(marked))} != set()
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


ALTERED: dict[str, tuple[str, str]] = {
    "a total": ('"total":-', '"total":-9'),
    "a parent": ('"parent":2', '"parent":7'),
    "a step's number": ('"beam_step":3', '"beam_step":4'),
    "the winner": ('"finished":[[5,0]', '"finished":[[5,2]'),
    "a winner that is not there": ('"finished":[[5,0]', '"finished":[[5,9]'),
    "a beam twice": ('"finished":[[5,0],', '"finished":[[5,0],[5,0],'),
    "no beams": ('"beam_step":3,"beams":[', '"beam_step":3,"beams":[],"finished":['),
    "a field": ('"beam_step":3', '"beam_step":3,"more":1'),
}


@pytest.mark.parametrize("altered", ALTERED)
def test_an_altered_tree_is_refused(tmp_path: Path, altered: str) -> None:
    trace = decoding.beam_search(small(tmp_path, 6), SIX[0], max_new_tokens=6, num_beams=3, top_k=4)
    old, new = ALTERED[altered]
    assert old in trace.to_jsonl()
    with pytest.raises(FormatError):
        Trace.from_jsonl(trace.to_jsonl().replace(old, new, 1))


def test_beam_search_on_the_starter(starter: LocalEngine) -> None:
    found = decoding.beam_search(starter, "Transformers are the", max_new_tokens=8, num_beams=4, top_k=3)
    greedy = decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=3)
    read = decoding.score(starter, "Transformers are the", found.generated_text, top_k=3)
    assert found.logprob == pytest.approx(read.logprob, abs=1e-4)
    theirs, scores = generated(starter, list(found.prompt_token_ids), steps=8, num_beams=4)
    assert list(found.generated_token_ids) == theirs[0]
    assert found.logprob / 8 == pytest.approx(scores[0], abs=1e-5)
    assert decoding.compare_totals(found, greedy).startswith("Beam search's text is 7.7 times as probable")


# ---- caches and passes


def test_rows_part_as_single_sequences_do(tiny_folder: Folder) -> None:
    """Whatever rows are copied, dropped and swapped: each reads what it would read alone."""
    for architecture in ("llama", "mistral", "mamba"):
        engine = decoding.load(str(tiny_folder(architecture)), device="cpu", engine="torch")
        rows, ids = NetworkRows(engine.network, [5, 9, 3], max_rows=4), [(5, 9, 3)]
        rows.begin(3)
        for picks in ([(0, 7), (0, 8), (0, 9)], [(2, 1), (0, 2), (2, 3), (2, 4)], [(3, 6)], [(0, 1), (0, 2)], [(1, 5)]):
            found = rows.advance(picks, 3)
            ids = [(*ids[row], token_id) for row, token_id in picks]
            for scores, text in zip(found, ids, strict=True):
                (expected,) = engine.steps(text, max_new_tokens=1, top_k=3)
                assert scores.token_ids == expected.token_ids
                assert scores.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


def test_a_shared_pass_that_fails_is_made_one_by_one(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    right = list(engine.beams([5, 9, 3], num_beams=4, max_new_tokens=5, top_k=2))
    passes: list[int] = []

    def failing(new_batch: Any) -> Any:
        def made(max_rows: int) -> Any:
            batch = new_batch(max_rows)
            step = batch.step

            def fail_at_the_third(ids: Any) -> Any:
                passes.append(len(ids))
                if len(passes) == 3:
                    raise MemoryError
                return step(ids)

            batch.step = fail_at_the_third
            return batch

        return made

    found = list(watched(engine, new_batch=failing).beams([5, 9, 3], num_beams=4, max_new_tokens=5, top_k=2))
    assert passes == [4, 4, 4]  # and not again
    assert texts(found) == texts(right)


def test_a_search_ends_between_two_passes(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    left = threading.Event()

    def visit() -> None:
        cancellation.bind(left)
        search = engine.beams([5, 9, 3], num_beams=4, max_new_tokens=20, top_k=2)
        assert [len(next(search).beams) for _ in range(3)] == [4, 4, 4]
        left.set()
        with pytest.raises(WorkCancelledError):
            next(search)

    with ThreadPoolExecutor(1) as visitor:
        visitor.submit(visit).result(300)


def test_layers_that_differ_are_searched(tmp_path: Path) -> None:
    """Gemma 4: what a configuration says of heads and widths is another thing in each layer."""
    config = AutoConfig.for_model(
        "gemma4_text",
        vocab_size=320,
        vocab_size_per_layer_input=320,
        hidden_size=64,
        hidden_size_per_layer_input=16,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        global_head_dim=32,
        intermediate_size=128,
        max_position_embeddings=128,
        sliding_window=8,
        num_kv_shared_layers=0,
        layer_types=["sliding_attention", "full_attention"] * 2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    engine = decoding.load(str(tiny_models.save(tmp_path, AutoModelForCausalLM.from_config(config))), device="cpu")
    agrees(engine, sweep.PROMPT, steps=5, num_beams=3)
    assert len(decoding.beam_search(engine, "Hi", max_new_tokens=3, num_beams=2, top_k=2).steps) == 3


# ---- bad input


OF_BEAMS = "The number of beams has to be a whole number from 2 to 8, not"


@pytest.mark.parametrize(
    ("num_beams", "sentence"),
    [
        *((number, f"{OF_BEAMS} {number}.") for number in (1, 0, 9, -2, 2.5)),
        (None, "The number of beams is empty. It has to be a whole number from 2 to 8."),
        ("4", f"{OF_BEAMS} “4”."),
        (True, f"{OF_BEAMS} true or false."),
        (math.inf, f"{OF_BEAMS} one that is not finite."),
    ],
)
def test_unfit_numbers_of_beams(scripted: ScriptedEngine, num_beams: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.beam_search(scripted, "a", max_new_tokens=4, num_beams=num_beams, top_k=2)
    assert (refused.value.field, str(refused.value)) == ("beams", sentence)


def test_beam_search_refuses_what_a_run_refuses(scripted: ScriptedEngine) -> None:
    for options in ({"prompt": "\0"}, {"max_new_tokens": 257}, {"top_k": 0}, {"prompt": "a" * 1_024}):
        asked: dict[str, Any] = {"prompt": "a", "max_new_tokens": 4, "num_beams": 2, "top_k": 2} | options
        prompt = asked.pop("prompt")
        with pytest.raises(RequestError):
            decoding.beam_search(scripted, prompt, **asked)
    found = decoding.beam_search(scripted, "a", max_new_tokens=3, num_beams=2, top_k=2)
    assert found.generated_text == " most popular toy"


def test_logits_that_are_no_numbers_end_it(tmp_path: Path) -> None:
    def breaking(read: Any) -> Any:
        def broken(*given: Any, **options: Any) -> Any:
            logits, cache = read(*given, **options)
            return logits * math.nan, cache

        return broken

    engine = watched(small(tmp_path, 6), read=breaking)
    with pytest.raises(ModelError, match="not a number"):
        decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)


def test_beams_that_exceed_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small(tmp_path, 6)
    # 2 layers, 2 heads, 8 numbers of 4 bytes, keys and values: 256 bytes a token; 7 tokens in 2 beams and their copies.
    needed = 2 * 2 * 7 * 256 + 4 * 2 * 6 * 4
    give_memory(monkeypatch, needed)
    decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)
    give_memory(monkeypatch, needed - 1)
    passes: list[Any] = []
    with pytest.raises(RequestError, match=r"need about .* of memory"):
        decoding.beam_search(watched(engine, read=noting(passes)), "!!!", max_new_tokens=4, num_beams=2, top_k=2)
    assert passes == []  # refused before it reads
    give_memory(monkeypatch, 2**30)
    facts: Any = {"device": "cpu", "vocabulary_size": 6, "num_beams": 8}
    with pytest.raises(RequestError) as refused:
        check_beam_memory(engine.network, tokens=1_000_000, **facts)
    assert (refused.value.field, str(refused.value)) == (
        "beams",
        "8 beams of 1,000,000 tokens need about 3.8 GiB of memory, and 1.0 GiB are free. "
        "Use fewer beams, fewer steps or a shorter prompt.",
    )
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")  # whose GPU is not there yet
    check_beam_memory(engine.network, tokens=10**9, **facts | {"device": "cuda"})
