"""Every causal architecture of the installed transformers at tiny size: read as the whole text reads, or refused.

    python -m tests.all_architectures [NAME ...]

Prints a line a family; takes some minutes for all. The suite's own tests take a part of them.
"""

import inspect
import sys
import warnings
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.utils import logging

from decoding.beam import finished_beams, path_to
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.engine import engine_of
from decoding.engines.torch.transformers_greedy import transformers_greedy_search
from decoding.errors import ModelError
from decoding.models.loading import describe_model
from tests import families, tiny_models

PROMPT = [65, 66, 71, 90, 33, 105, 119, 104, 110, 97, 122, 101]
"""Longer than the windows."""
STEPS = 12


@torch.inference_mode()
def uncached(network: Any, ids: list[int], steps: int) -> tuple[list[int], list[torch.Tensor]]:
    """Argmax over the whole text, read again at every step, by no code of ours."""
    options = {"use_cache": False} if "use_cache" in inspect.signature(network.forward).parameters else {}
    text, rows = list(ids), []
    for _ in range(steps):
        rows.append(network(input_ids=torch.tensor([text]), **options).logits[0, -1].double().log_softmax(-1))
        text.append(int(rows[-1].argmax()))
    return text[len(ids) :], rows


def check(network: Any, name: str, *, beams: bool = True) -> str:
    """What became of a network: "refused", with the sentence, or "same" and the way that it is read. Raises
    AssertionError where it was accepted and says something else than the whole text does.
    """
    network.generation_config = GenerationConfig()
    loaded = describe_model(network, tiny_models.tokenizer(), model=name)
    try:
        engine = engine_of(loaded)
    except ModelError as refused:
        return f"refused: {refused}"
    steps = STEPS if engine.context_length is None else min(STEPS, engine.context_length - len(PROMPT))
    ids, rows = uncached(network, PROMPT, steps)
    run = list(engine.steps(PROMPT, max_new_tokens=steps, top_k=3))
    scored = list(engine.score(PROMPT, ids, top_k=3))
    for said, read, token_id, row in zip(run, scored, ids, rows, strict=True):
        assert said.token_ids[0] == token_id, name
        for scores in (said, read):
            expected = row[list(scores.token_ids)].exp()
            off = (torch.tensor(scores.logprobs).double().exp() - expected).abs().max().item()
            assert off <= 1e-4, f"{name}: a probability is off by {off:.2g}"
    assert [token.token_id for token in transformers_greedy_search(engine, PROMPT, steps=steps)] == ids, (
        f"{name}: not identical"
    )
    if beams:
        check_beams(engine, name)
    return f"same, {len(set(ids))} different ids, {engine.network.cached.mode.value}, context {engine.context_length}"


def check_beams(engine: LocalEngine, name: str) -> None:
    """The best beams are those of transformers' search without a cache."""
    options: Any = {"num_beams": 3, "max_new_tokens": 5}
    steps = list(engine.beams(PROMPT, top_k=2, **options))
    best = finished_beams(steps, **options)[0]
    found = [step.beams[at].token_id for step, at in zip(steps, path_to(steps, best.step, best.place), strict=True)]
    mask = torch.ones(1, len(PROMPT), dtype=torch.long)
    options |= {"use_cache": False, "pad_token_id": 0, "do_sample": False}
    whole = engine.reference().generate(torch.tensor([PROMPT]), attention_mask=mask, **options)
    assert found == whole[0, len(PROMPT) :].tolist(), f"{name}: other beams than without a cache"


def words_of(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"


def main(names: list[str]) -> int:
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    wrong = 0
    for name in names or families.names():
        try:
            network = families.network(name)
        except Exception as error:  # it could not be built so small
            print(name, "was not made:", words_of(error), flush=True)
            continue
        try:
            print(name, check(network, name), flush=True)
        except Exception as error:  # an AssertionError, or what nobody should ever see
            wrong += 1
            print("WRONG", name, words_of(error), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
