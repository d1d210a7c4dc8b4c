"""What is said about the totals of two runs, and which do not compare."""

import math
from dataclasses import replace
from typing import Any

import pytest

import decoding
from decoding.record.step import Step
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import ScriptedEngine


def run(engine: Any, steps: int = 3, choices: int = 3, forced: Any = ()) -> Trace:
    made = Run(engine, check_request("a", steps, choices, forced))
    for _ in made:
        pass
    return made.trace


def total(*logprobs: float, engine: str = "hand", forced: bool = False) -> Trace:
    """A text of two-candidate steps with these log-probabilities."""
    info = ScriptedEngine().info
    base = run(ScriptedEngine()).steps[0]

    def step(index: int, logprob: float) -> Step:
        # Ids are distinct, so that no two texts are the same.
        token_id = 2 + abs(hash((index, logprob))) % 10**6
        candidate = replace(base.picked, token_id=token_id, logprob=logprob, probability=math.exp(logprob))
        return replace(base, index=index, picked=candidate, forced=forced)

    steps = tuple(step(index, logprob) for index, logprob in enumerate(logprobs))
    return Trace(replace(info, engine=engine), "a", (), len(steps), 2, steps, "steps")


BEAM = "beam search, 4 beams, torch"
GREEDY = total(-1.0, -3.0)


def of_model(**changes: str) -> Trace:
    return replace(GREEDY, model=replace(GREEDY.model, **changes))


SENTENCES = [
    (
        total(-1.0, -1.837, engine=BEAM),
        GREEDY,
        "Beam search's text is 3.2 times as probable: −2.84 against −4.00 nats over 2 tokens.",
    ),
    (
        total(-1.0, -3.5, engine=BEAM),
        GREEDY,
        "Greedy's text is 1.6 times as probable: −4.00 against −4.50 nats over 2 tokens.",
    ),
    (GREEDY, GREEDY, "The first text and the second text are the same: −4.00 nats over 2 tokens."),
    (
        total(-2.0, -2.0, engine=BEAM),
        GREEDY,
        "Beam search's text and greedy's text are equally probable: −4.00 nats over 2 tokens.",
    ),
    (
        total(-1.0, -3.001, forced=True),
        GREEDY,
        "Greedy's text is 0.10% more probable: −4.000 against −4.001 nats over 2 tokens.",
    ),
    (
        total(-1.0, engine="a given text, torch"),
        GREEDY,
        "−1.00 nats over 1 token against −4.00 over 2 tokens: totals of different lengths do not compare; per token it "
        "is −1.00 against −2.00.",
    ),
    (
        total(-1.0, -30.0, forced=True),
        total(-1.0, -3.0, -2.0, forced=True),
        "−31.00 nats over 2 tokens against −6.00 over 3 tokens: totals of different lengths do not compare; per token "
        "it is −15.50 against −2.00.",
    ),
    (
        total(-1.0, -30.0, forced=True),
        total(-1.0, -5.0, forced=True),
        "The second text is about 10^11 times as probable: −6.00 against −31.00 nats over 2 tokens.",
    ),
    (replace(GREEDY, prompt="b"), GREEDY, "Different prompts: their probabilities do not compare."),
    (
        replace(GREEDY, prompt_tokens=(Token(5, "a"),)),  # the same letters, read as other ids
        GREEDY,
        "Different prompts: their probabilities do not compare.",
    ),
    (of_model(id="other"), GREEDY, "Different models: their probabilities do not compare."),
    (
        replace(of_model(id="other"), prompt="b"),
        GREEDY,
        "Different models and different prompts: their probabilities do not compare.",
    ),
    (of_model(dtype="bfloat16"), GREEDY, "Different versions of a model: their probabilities do not compare."),
    (of_model(revision="1"), GREEDY, "Different versions of a model: their probabilities do not compare."),
    (total(), GREEDY, "One of the texts has no token yet, so there is nothing to compare."),
    (
        total(-1.0, -math.inf, forced=True),
        GREEDY,
        "Greedy's text is the only possible one: the other has a token of probability 0.",
    ),
    (
        total(-1.0, -9.0, forced=True),
        GREEDY,
        "Greedy's text is 403 times as probable: −4.00 against −10.00 nats over 2 tokens.",
    ),
]


@pytest.mark.parametrize(("a", "b", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_the_sentence_about_two_totals(a: Trace, b: Trace, sentence: str) -> None:
    assert decoding.compare_totals(a, b) == sentence


def test_both_impossible() -> None:
    a, b = total(-math.inf, -2.0), total(-1.0, -math.inf)
    assert decoding.compare_totals(a, b, names=("This text", "That text")) == (
        "This text and that text are equally probable: −inf nats over 2 tokens."
    )
