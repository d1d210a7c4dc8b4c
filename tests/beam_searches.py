"""Beam searches over small models, and transformers' own to hold them against."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import decoding
from decoding.beam import BeamStep, finished_beams, path_to
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from tests import tiny_models

Folder = Callable[[str], Path]


SIX = ("#$%", "!&#", "$$", '%#"&')


def texts(steps: Sequence[BeamStep]) -> list[list[tuple[int, ...]]]:
    """The ids of the beams of each step."""
    return [
        [
            tuple(steps[n].beams[at].token_id for n, at in enumerate(path_to(steps, step, place)))
            for place in range(len(each.beams))
        ]
        for step, each in enumerate(steps)
    ]


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


def small(folder: Path, size: int, **options: Any) -> LocalEngine:
    network = tiny_models.network("llama", vocab_size=size)
    network.generation_config.update(**options)
    return decoding.load(str(tiny_models.save(folder, network)), device="cpu")
