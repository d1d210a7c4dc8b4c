"""How a run picks its tokens where no person does: argmax or a draw, and whether it goes on past the end of the text.

Owns `Sampling` and `Draw`, which a run records, and `PickRule`, which an engine is given. Knows no logits:
`decoding.sampling` computes with these.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a run draws its tokens, with the names and the meaning of transformers' own settings.

    The logits are divided by `temperature` (1: the model's own); then only the `top_k` most probable tokens stay (0:
    all), and of these the fewest whose probabilities sum to at least `top_p` (1: all). `seed` decides the draws. Steps
    before `first`, counted from 0, are picked by argmax.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    first: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """What one step was drawn from.

    `probabilities` are those of the step's candidates, in their order, in the distribution after temperature, top_k and
    top_p; 0 if a token was cut. `picked` is that of the pick. `kept` counts the tokens of the vocabulary that were not
    cut. `number` is the random number that decided, at least 0 and less than 1.
    """

    probabilities: tuple[float, ...]
    picked: float
    kept: int
    number: float


@dataclass(frozen=True, slots=True)
class PickRule:
    """How an engine picks at a step that has no forced pick.

    `passed_ids` are never picked: the next candidate is. With `sampling`, the pick is drawn from its first step on.
    """

    passed_ids: frozenset[int] = frozenset()
    sampling: Sampling | None = None

    def draws_at(self, index: int) -> bool:
        return self.sampling is not None and index >= self.sampling.first


ARGMAX = PickRule()
"""Plain greedy decoding."""
