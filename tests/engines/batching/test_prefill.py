"""Prompts that are read together are read as alone."""

from typing import Any

import pytest
import torch

from decoding.engines.batching import prefill as prompts_module
from decoding.engines.batching.prefill import MOST_IDS, read_together
from decoding.engines.batching.sequence import Text
from decoding.engines.prefix_cache import Memory
from tests.engines.batching.test_scheduler import ByHand, Folder, Passes, Reader, joined, load, reader

LENGTHS = (1, 7, 3, 40, 3)


def prompts() -> list[list[int]]:
    return [list(range(20 * n + 1, 20 * n + 1 + length)) for n, length in enumerate(LENGTHS)]


def check_all(readers: list[Reader], batch: ByHand, folder: Any) -> None:
    for each in readers:
        each.read(batch)
        assert len(each.got) == each.steps
        each.check(load(folder))


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen3", "gpt_neox"])
def test_each_prompt_is_read_as_alone(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    for prompt, (logits, cache) in zip(prompts(), read_together(engine.network, prompts()), strict=True):
        with torch.inference_mode():
            expected, alone = engine.forward(prompt, None)
        assert torch.allclose(logits, expected, atol=1e-4 * float(expected.abs().max()))
        assert cache.get_seq_length() == len(prompt)
        for mine, theirs in zip(cache.layers, alone.layers, strict=True):
            assert torch.allclose(mine.keys, theirs.keys, atol=1e-4)
            assert torch.allclose(mine.values, theirs.values, atol=1e-4)


def test_what_a_prompt_is_filled_up_with_changes_nothing(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load(tiny_folder("llama")).network
    before = [logits for logits, _ in read_together(network, prompts())]
    monkeypatch.setattr(prompts_module, "FILLER", 77)
    assert all(torch.equal(a, b) for a, (b, _) in zip(before, read_together(network, prompts()), strict=True))


@pytest.mark.parametrize("architecture", ["mistral", "gemma3_text"])
def test_behind_a_window_each_is_read_alone(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    engine = load(tiny_folder(architecture))
    passes = Passes(engine, monkeypatch)
    batch = ByHand(engine)
    joined(batch, reader(1), reader(50, length=3))
    batch.round()
    assert passes.shapes[:2] == [(1, 5), (1, 3)]


def test_as_many_as_fit_are_read_in_one_pass_the_shortest_first(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine, monkeypatch)
    batch = ByHand(engine)
    long = reader(1, 2, length=MOST_IDS // 2 + 1).join(batch)  # one that no other would fit beside
    short = joined(batch, *(reader(n, 2, length=10 + n % 3) for n in range(20)))
    batch.round()
    count = next(rows for rows, _ in passes.shapes)
    assert count * 11 <= MOST_IDS < (count + 1) * 12
    assert (1, MOST_IDS // 2 + 1) in passes.shapes  # it waits for no other
    batch.to_the_end()
    check_all([long, *short], batch, tiny_folder("llama"))


@pytest.mark.parametrize("fault", ["it raises", "another answer"])
def test_a_pass_that_fails_is_made_alone(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    asked: list[int] = []

    def broken(network: Any, prompts: list[list[int]]) -> Any:
        asked.append(len(prompts))
        if fault == "it raises":
            raise RuntimeError("not enough memory: you tried to allocate 1 byte.")
        return [(logits.flip(0), cache) for logits, cache in read_together(network, prompts)]

    monkeypatch.setattr(prompts_module, "read_together", broken)
    engine = load(tiny_folder("llama"))
    batch = ByHand(engine)
    for wave in (1, 2):
        readers = joined(batch, reader(wave), reader(50 + wave, length=3))
        batch.to_the_end()
        engine.memory = Memory()
        check_all(readers, batch, tiny_folder("llama"))
    # What failed is tried again when all have gone; what would change an answer is not.
    assert asked == ([2, 2] if fault == "it raises" else [2])


def test_a_prompt_of_which_some_is_read_is_not_among_them(tiny_folder: Folder) -> None:
    batch = ByHand(load(tiny_folder("llama")))
    texts = [each.text for each in joined(batch, reader(1), reader(50), reader(90))]
    assert all(isinstance(text, Text) for text in texts)
    begun = texts[0]
    assert begun
    begun.cache = object()
    assert batch._prompts.choose([text for text in texts if text]) == texts[1:]
    assert batch._prompts.choose([begun]) == []
