"""Checks how a step was picked: whether its draw, and what was passed over, fit its probabilities and the request.

Owns these rules. They detect a draw that was altered by hand: its probabilities are those of the step at the run's
temperature, apart from the tokens that were cut. Knows no JSON and no model. Raises ContradictionError.
"""

import math

from decoding.record.contradiction import ContradictionError
from decoding.record.picking import Draw, Sampling
from decoding.record.step import Step

_SUM = 1e-6
_NATS = 0.01
"""Logits divided by a temperature are rounded in float32."""


def check_how_picked(step: Step, *, past_end: bool, sampling: Sampling | None) -> None:
    """Check a step of a run that was asked to go on past the end, or to draw its tokens."""
    draws = sampling is not None and step.index >= sampling.first
    if step.past_end and not (past_end and step.forced and step.picked.rank > 0):
        raise ContradictionError("it passes over an end of the text, and the run or the pick does not")
    if step.draw is None:
        if draws and not step.forced:
            raise ContradictionError("it was not drawn, in a run that draws")
        return
    if sampling is None or not draws:
        raise ContradictionError("it was drawn, in a run that does not draw there")
    if step.forced != (step.picked.rank > 0):
        raise ContradictionError("it was drawn, and does not say rightly whether argmax would have picked the same")
    _check_shares(step, step.draw)
    _check_temperature(step, step.draw, sampling.temperature)


def _check_shares(step: Step, draw: Draw) -> None:
    shares, picked = draw.probabilities, step.picked
    if len(shares) != len(step.candidates):
        raise ContradictionError("its draw has another number of probabilities than it has candidates")
    rest = 1 - math.fsum(shares)
    if rest < -_SUM or sum(share > 0 for share in shares) > draw.kept:
        raise ContradictionError("its draw has more than the whole probability, or more tokens than it kept")
    hidden = picked.rank >= len(shares)
    if not draw.picked or (draw.picked > rest + _SUM if hidden else draw.picked != shares[picked.rank]):
        raise ContradictionError("its pick contradicts its draw")
    if draw.number >= 1:
        raise ContradictionError("the number of its draw is not less than 1")


def _check_temperature(step: Step, draw: Draw, temperature: float) -> None:
    """Check that the shares of the tokens that stayed differ as their log-probabilities do at the temperature."""
    pairs = [(c.logprob, share) for c, share in zip(step.candidates, draw.probabilities, strict=True) if share > 0]
    pairs.append((step.picked.logprob, draw.picked))
    logprob, share = pairs[0]
    for other, its_share in pairs[1:]:
        expected = (other - logprob) / temperature
        if not abs(math.log(its_share) - math.log(share) - expected) <= _NATS + 1e-6 * abs(expected):
            raise ContradictionError("its draw is not what its probabilities give at the run's temperature")
