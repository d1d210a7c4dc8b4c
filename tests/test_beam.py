"""Beam search by transformers, against a search through every sequence there is; and what it may cost."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

import decoding
from decoding import beam
from decoding.engines.local import LocalEngine
from decoding.errors import ModelError, RequestError
from decoding.record.trace import Trace
from tests import sweep, tiny_models
from tests.fakes import ScriptedEngine

Folder = Callable[[str], Path]
PROMPTS = ("!!", '"!', '!"!', '""', '!""!')
"""Texts of the ids 0 and 1 alone; those of `SIX` may have 2 to 5 as well."""
SIX = ("#$%", "!&#", "$$", '%#"&')


@torch.inference_mode()
def totals(engine: LocalEngine, ids: Sequence[int], steps: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every sequence of so many ids."""
    sequences = list(itertools.product(range(engine.vocabulary_size), repeat=steps))
    read = torch.tensor([[*ids, *sequence[:-1]] for sequence in sequences])
    rows = beam.network_of(engine)(input_ids=read, use_cache=False).logits[:, -steps:].double().log_softmax(-1)
    return {
        sequence: math.fsum(row[n, token_id].item() for n, token_id in enumerate(sequence))
        for sequence, row in zip(sequences, rows, strict=True)
    }


def small(folder: Path, size: int, **options: Any) -> LocalEngine:
    network = tiny_models.network("llama", vocab_size=size)
    network.generation_config.update(**options)
    return decoding.load(str(tiny_models.save(folder, network)), device="cpu")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_wide_enough_it_finds_the_best(tmp_path: Path, prompt: str) -> None:
    engine = small(tmp_path, 2)
    trace = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=8, top_k=2)  # 8 = 2³
    every = totals(engine, trace.prompt_token_ids, 4)
    assert len(every) == 16
    assert trace.generated_token_ids == max(every, key=lambda sequence: every[sequence])
    assert trace.logprob == pytest.approx(max(every.values()), abs=1e-5)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_narrower_beams_never_beat_the_best(tmp_path: Path) -> None:
    engine = small(tmp_path, 6)
    gaps = []
    for prompt in SIX:
        greedy = decoding.trace(engine, prompt, max_new_tokens=4, top_k=3)
        every = totals(engine, greedy.prompt_token_ids, 4)
        best = max(every, key=lambda sequence: every[sequence])
        widest = beam.transformers_beam_search(engine, greedy.prompt_token_ids, steps=4, num_beams=6**3)
        assert tuple(widest) == best
        assert greedy.logprob == pytest.approx(every[greedy.generated_token_ids], abs=1e-5)
        for num_beams in (2, 3, 8):
            found = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=num_beams, top_k=3)
            assert len(found.steps) == 4
            assert found.logprob == pytest.approx(every[found.generated_token_ids], abs=1e-5)
            assert found.logprob <= every[best] + 1e-6
        gaps.append(every[best] - greedy.logprob)
    assert min(gaps) >= -1e-6
    assert max(gaps) > 0.01  # or greed costs nothing here, and the test shows nothing


def test_no_beam_ends_before_the_last_token(tmp_path: Path) -> None:
    free = small(tmp_path / "free", 6)
    engine = small(tmp_path / "ends", 6, eos_token_id=[2, 5])
    assert engine.end_ids == {2, 5}
    ends = []
    for prompt in (*SIX, "&&", "%%", '"%#', "#&"):
        ids = free.vocabulary.encode(prompt)
        every = totals(free, ids, 4)
        longest = {s: logprob for s, logprob in every.items() if not {2, 5} & set(s[:-1])}
        best = max(longest, key=lambda s: longest[s])
        assert tuple(beam.transformers_beam_search(engine, ids, steps=4, num_beams=6**3)) == best
        trace = decoding.beam_search(engine, prompt, max_new_tokens=4, num_beams=8, top_k=2)
        assert len(trace.steps) == 4
        ends.append(trace.stop_reason)
        assert trace.stop_reason == ("end_of_text" if trace.generated_token_ids[-1] in (2, 5) else "steps")
    assert set(ends) == {"steps", "end_of_text"}


def test_the_models_own_settings_do_not_bend_it(tmp_path: Path) -> None:
    bent: dict[str, Any] = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "num_beams": 3, "length_penalty": 9.0}
    engine, plain = small(tmp_path / "bent", 6, **bent), small(tmp_path / "plain", 6)
    before = beam.network_of(engine).generation_config.to_dict()
    for prompt in SIX:
        one, other = (decoding.beam_search(e, prompt, max_new_tokens=8, num_beams=4, top_k=2) for e in (engine, plain))
        assert one.steps == other.steps
    assert beam.network_of(engine).generation_config.to_dict() == before


def test_a_search_is_a_trace_like_any_other(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_every_architecture(tiny_folder: Folder, architecture: str) -> None:
    """The library's own scores and one forward pass over what it found say the same."""
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu")
    ids = [5, 6, 7]
    found = beam.transformers_beam_search(engine, ids, steps=5, num_beams=3)
    greedy = list(engine.steps(ids, max_new_tokens=5, top_k=2))
    read = [readout.picked for readout in engine.score(ids, found, top_k=2)]
    total = math.fsum(picked.logprob for picked in read if picked)
    assert total >= math.fsum(readout.logprobs[0] for readout in greedy) - 0.5  # not what a muddled cache would find
    uncached = beam.network_of(engine).generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, 3, dtype=torch.long),
        max_new_tokens=5,
        num_beams=3,
        use_cache=False,
        pad_token_id=0,
    )
    assert found == uncached[0, 3:].tolist()


def test_beam_search_on_the_starter(starter: LocalEngine) -> None:
    found = decoding.beam_search(starter, "Transformers are the", max_new_tokens=6, num_beams=2, top_k=3)
    greedy = decoding.trace(starter, "Transformers are the", max_new_tokens=6, top_k=3)
    assert len(found.steps) == len(greedy.steps) == 6
    read = decoding.score(starter, "Transformers are the", found.generated_text, top_k=3)
    assert read.steps == found.steps
    sentence = decoding.compare_totals(found, greedy)
    same = found.generated_token_ids == greedy.generated_token_ids
    winner = "the same" if same else max((found, "Beam"), (greedy, "Gree"), key=_logprob)[1]
    assert winner in sentence


def _logprob(named: tuple[Trace, str]) -> float:
    return named[0].logprob


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
    with pytest.raises(RequestError, match="does not run in this process"):
        decoding.beam_search(scripted, "a", max_new_tokens=4, num_beams=2, top_k=2)


def test_beams_that_exceed_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small(tmp_path, 6)
    # 2 layers, 2 heads, 8 numbers of 4 bytes, keys and values: 256 bytes a token; 7 tokens in 2 beams, and logits.
    needed = 2 * 7 * 256 + (4 * 2 + 4) * 6 * 4
    monkeypatch.setattr(beam, "free_bytes_on", lambda _: needed)
    decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)
    monkeypatch.setattr(beam, "free_bytes_on", lambda _: needed - 1)
    monkeypatch.setattr(beam, "_generate", None)  # refused before it runs
    with pytest.raises(RequestError, match=r"need about .* of memory"):
        decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)
    monkeypatch.setattr(beam, "free_bytes_on", lambda _: 2**30)
    with pytest.raises(RequestError) as refused:
        beam.check_beam_memory(beam.network_of(engine), tokens=1_000_000, steps=256, num_beams=8)
    assert (refused.value.field, str(refused.value)) == (
        "beams",
        "8 beams of 1,000,000 tokens need about 1.9 GiB of memory, and 1.0 GiB are free. "
        "Use fewer beams, fewer steps or a shorter prompt.",
    )
    monkeypatch.setattr(beam, "free_bytes_on", lambda _: None)  # a system that does not say
    beam.check_beam_memory(beam.network_of(engine), tokens=10**9, steps=4, num_beams=8)


def test_errors_of_transformers_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small(tmp_path, 6)

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("This model cannot use beam search.\nMore lines.")

    monkeypatch.setattr(type(beam.network_of(engine)), "generate", refuse)
    with pytest.raises(ModelError) as refused:
        decoding.beam_search(engine, "!!!", max_new_tokens=4, num_beams=2, top_k=2)
    assert str(refused.value) == (
        f"transformers' own search failed on {engine.info.id}. It said: This model cannot use beam search."
    )


# ---- proved before they are shown


def test_layers_that_differ_have_their_memory_measured(tmp_path: Path) -> None:
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
    sweep.check_beams(engine, "gemma4_text")
    assert len(decoding.beam_search(engine, "Hi", max_new_tokens=3, num_beams=2, top_k=2).steps) == 3


def test_a_cache_that_does_not_follow_its_beam_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small(tmp_path, 6)
    right = [beam.transformers_beam_search(engine, [0, 1, n], steps=6, num_beams=3) for n in range(5)]
    beam._proved.clear()
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda *_: None)
    network, ids = engine.reference(), torch.tensor([[0, 1, 2]])
    options: dict[str, Any] = {"max_new_tokens": 6, "num_beams": 3, "pad_token_id": 0, "length_penalty": 0.0}
    muddled = [network.generate(ids.new_tensor([[0, 1, n]]), **options)[0, 3:].tolist() for n in range(5)]
    assert muddled != right  # or the test shows nothing
    assert [beam.transformers_beam_search(engine, [0, 1, n], steps=6, num_beams=3) for n in range(5)] == right
