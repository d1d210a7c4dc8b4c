"""The rows of a beam search: copied, dropped and swapped, each reads what it would read alone, within the memory."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import decoding
from decoding import cancellation
from decoding.cancellation import WorkCancelledError
from decoding.engines.branching_caches import NetworkRows, check_beam_memory
from decoding.errors import RequestError
from tests import all_architectures as sweep
from tests import tiny_models
from tests.beam_searches import Folder, agrees, small, texts
from tests.machines import give_memory
from tests.watched import noting, watched


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
