"""Checks how a step was picked: whether its draw, and what was passed over, fit its probabilities and the request.

Owns these rules. They detect a draw that was altered by hand: its probabilities are those of the step at the run's
temperature, apart from the tokens that were cut. Knows no JSON and no model. Raises ContradictionError.
"""

import math

from decoding.messages import Message
from decoding.record.contradiction_error import ContradictionError
from decoding.record.pick_rule import Draw, Sampling
from decoding.record.step import Step

_SUM = 1e-6
_NATS = 0.01
"""Logits divided by a temperature are rounded in float32."""


def check_how_picked(step: Step, *, past_end: bool, sampling: Sampling | None) -> None:
    """Check a step of a run that was asked to go on past the end, or to draw its tokens."""
    draws = sampling is not None and step.index >= sampling.first
    if step.past_end and not (past_end and step.forced and step.picked.rank > 0):
        raise ContradictionError(Message("read.wrong.past_end"))
    if step.draw is None:
        if draws and not step.forced:
            raise ContradictionError(Message("read.wrong.draw.not"))
        return
    if sampling is None or not draws:
        raise ContradictionError(Message("read.wrong.draw.no"))
    if step.forced != (step.picked.rank > 0):
        raise ContradictionError(Message("read.wrong.draw.argmax"))
    _check_shares(step, step.draw)
    _check_temperature(step, step.draw, sampling.temperature)


def _check_shares(step: Step, draw: Draw) -> None:
    shares, picked = draw.probabilities, step.picked
    if len(shares) != len(step.candidates):
        raise ContradictionError(Message("read.wrong.draw.candidates"))
    rest = 1 - math.fsum(shares)
    if rest < -_SUM or sum(share > 0 for share in shares) > draw.kept:
        raise ContradictionError(Message("read.wrong.draw.more"))
    hidden = picked.rank >= len(shares)
    if not draw.picked or (draw.picked > rest + _SUM if hidden else draw.picked != shares[picked.rank]):
        raise ContradictionError(Message("read.wrong.draw.pick"))
    if draw.number >= 1:
        raise ContradictionError(Message("read.wrong.draw.number"))


def _check_temperature(step: Step, draw: Draw, temperature: float) -> None:
    """Check that the shares of the tokens that stayed differ as their log-probabilities do at the temperature."""
    pairs = [(c.logprob, share) for c, share in zip(step.candidates, draw.probabilities, strict=True) if share > 0]
    pairs.append((step.picked.logprob, draw.picked))
    logprob, share = pairs[0]
    for other, its_share in pairs[1:]:
        expected = (other - logprob) / temperature
        if not abs(math.log(its_share) - math.log(share) - expected) <= _NATS + 1e-6 * abs(expected):
            raise ContradictionError(Message("read.wrong.draw.temperature"))
