"""Checks the consistency of a run: repeated facts agree, and its numbers are possible.

Owns the rules; each costs time linear in the size of a step. They detect a file that was altered by hand, but not one
that was invented consistently; that takes the model (`decoding.questions.verify.recompute`). They cannot check a
candidate's text whose id occurs only once, the order of two equally probable candidates, a name, a note, or whether a
person picked what argmax would have picked too. Knows no JSON and no model.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from decoding import limits
from decoding.messages import Message
from decoding.record.contradiction_error import ContradictionError
from decoding.record.how_picked import check_how_picked
from decoding.record.pick_rule import Sampling
from decoding.record.prompt_text import tokens_hold, tokens_spell
from decoding.record.step import NO_ID, Candidate, LogSums, Step
from decoding.record.tokens import Token

_SUM = 1e-6
"""Sums of probabilities may be off by this much."""
_NATS = 0.01
"""Entropies and log-partitions may be off by this many nats: float32 over a vocabulary of a million."""
_MOST_NATS = math.log(limits.MAX_VOCABULARY)


class Consistency:
    """Checks the lines of a run against each other, in the order of the file. Raises ContradictionError, also when
    made.
    """

    def __init__(
        self,
        prompt: str,
        token_ids: Sequence[int],
        tokens: Sequence[Token],
        *,
        max_new_tokens: int,
        top_k: int,
        past_end: bool = False,
        sampling: Sampling | None = None,
        as_message: bool = False,
    ) -> None:
        self._past_end, self._sampling = past_end, sampling
        self._max_new_tokens, self._top_k = max_new_tokens, top_k
        self._steps, self._levels = 0, 0
        self._texts: dict[int, tuple[str, bytes | None]] = {}
        self._powers: tuple[float, ...] = ()
        self._has_prompt_tokens = bool(tokens)
        if tuple(token_ids) != tuple(token.token_id for token in tokens):
            raise ContradictionError(Message("read.wrong.ids"))
        self._check_texts(tokens)
        fits = tokens_hold if as_message else tokens_spell
        if tokens and not fits(prompt, tokens):
            raise ContradictionError(Message("read.wrong.prompt"))

    def add(self, step: Step) -> None:
        """Check the next step, in itself and against those before it. Raises ContradictionError."""
        if self._levels:
            raise ContradictionError(Message("read.wrong.beam.after"))
        if step.index != self._steps:
            raise ContradictionError(Message("read.wrong.index", index=step.index, number=self._steps))
        if len(step.candidates) > self._top_k:
            raise ContradictionError(Message("read.wrong.more", most=self._top_k))
        _check_probabilities(step)
        _check_pick(step)
        check_how_picked(step, past_end=self._past_end, sampling=self._sampling)
        if len(step.candidates) < self._top_k and step.rest > _NATS:
            raise ContradictionError(Message("read.wrong.fewer"))
        tokens = (*step.candidates, step.picked)
        known = {token.token_id != NO_ID for token in tokens} | ({True} if self._has_prompt_tokens else set())
        if len(known) > 1:
            raise ContradictionError(Message("read.wrong.some"))
        if known == {True} and not self._has_prompt_tokens:
            raise ContradictionError(Message("read.wrong.prompt.none"))
        self._check_texts(tokens)
        _check_sums(step)
        _check_entropy(step)
        powers = tuple(power for power, _ in step.log_sums)
        if self._steps and powers != self._powers:
            raise ContradictionError(Message("read.wrong.sums.others"))
        self._powers = powers
        self._steps += 1

    def add_beams(self, number: int, tokens: Iterable[Token]) -> None:
        """Check the next line of a beam search's tree: its number, and the texts of its tokens. Raises
        ContradictionError.
        """
        if number != self._levels:
            raise ContradictionError(Message("read.wrong.beam_step", step=number, number=self._levels))
        self._levels += 1
        self._check_texts(tokens)

    def end(self, stop_reason: str, message: str) -> None:
        """Check the end of the run against its steps. Raises ContradictionError."""
        steps, most = self._steps, self._max_new_tokens
        if steps > most or (stop_reason == "steps" and steps < most):
            raise ContradictionError(Message("read.wrong.count", most=most, count=steps))
        if stop_reason == "context_full" and steps == most:
            raise ContradictionError(Message("read.wrong.context"))
        if stop_reason == "end_of_text" and not steps:
            raise ContradictionError(Message("read.wrong.ended"))
        if message and stop_reason != "error":
            raise ContradictionError(Message("read.wrong.message"))

    def _check_texts(self, tokens: Iterable[Token | Candidate]) -> None:
        """Check that one id has one text everywhere, apart from the space that some tokenizers add in front of a word
        or behind it, and that a text matches its bytes.
        """
        for token in tokens:
            if token.token_id == NO_ID:
                continue
            spelled = (token.text, token.bytes)
            if (first := self._texts.setdefault(token.token_id, spelled)) is spelled:
                if token.bytes and token.text != token.bytes.decode("utf-8", "replace"):
                    raise ContradictionError(Message("read.wrong.bytes", id=token.token_id))
            elif _word(*first) != _word(*spelled):
                raise ContradictionError(Message("read.wrong.texts", id=token.token_id))


def _word(text: str, data: bytes | None) -> tuple[str, bytes | None]:
    """A token's text and bytes without what depends on its position."""
    return text.removeprefix("##").strip(" "), data and data.strip(b" ")


def _check_probabilities(step: Step) -> None:
    probabilities = [c.probability for c in step.candidates]
    last = probabilities[-1]
    if [c.rank for c in step.candidates] != list(range(len(probabilities))):
        raise ContradictionError(Message("read.wrong.ranks"))
    if probabilities != sorted(probabilities, reverse=True):
        raise ContradictionError(Message("read.wrong.order"))
    if abs(math.fsum([*probabilities, step.rest]) - 1) >= _SUM:
        raise ContradictionError(Message("read.wrong.sum"))
    if step.rest > limits.MAX_VOCABULARY * last + _SUM:
        raise ContradictionError(Message("read.wrong.rest"))
    if not all(map(_agrees, (*step.candidates, step.picked))):
        raise ContradictionError(Message("read.wrong.logprob"))
    if len({c.token_id for c in step.candidates} - {NO_ID}) < sum(c.token_id != NO_ID for c in step.candidates):
        raise ContradictionError(Message("read.wrong.twice"))
    # With a single candidate, the second one is in the rest.
    second = probabilities[1] if len(probabilities) > 1 else max(0.0, min(last - step.margin, step.rest))
    if abs(probabilities[0] - second - step.margin) >= _SUM:
        raise ContradictionError(Message("read.wrong.margin"))


def _agrees(candidate: Candidate) -> bool:
    return math.isclose(math.exp(candidate.logprob), candidate.probability, rel_tol=_SUM, abs_tol=1e-300)


def _check_pick(step: Step) -> None:
    """Check that the pick is argmax's unless it was forced, and that it is the candidate of its rank or, beyond them,
    fits into the rest.
    """
    picked, candidates = step.picked, step.candidates
    if not step.forced and picked != candidates[0]:
        raise ContradictionError(Message("read.wrong.forced"))
    if picked.rank < len(candidates):
        fits = picked == candidates[picked.rank]
    else:
        shown = picked.token_id in {c.token_id for c in candidates} - {NO_ID}
        # The tokens ranked between the last candidate and the pick are at least as probable as the pick.
        least = picked.probability * (picked.rank - len(candidates) + 1)
        fits = not shown and picked.probability <= candidates[-1].probability and least <= step.rest + _SUM
    if not fits:
        raise ContradictionError(Message("read.wrong.pick"))


def _check_sums(step: Step) -> None:
    """Check that the log-partitions belong to one set of logits, of which the candidates are the largest."""
    if not step.log_sums:
        return
    powers = [power for power, _ in step.log_sums]
    if 1 not in powers or any(a >= b for a, b in pairwise(powers)):
        raise ContradictionError(Message("read.wrong.powers"))
    at_one = dict(step.log_sums)[1]
    for power, log_sum in step.log_sums:
        logprobs = [(c.logprob + at_one) * power - log_sum for c in step.candidates]
        shares = math.fsum(math.exp(min(logprob, 1)) for logprob in logprobs)
        if not shares < 1 + 1e-4:
            raise ContradictionError(Message("read.wrong.whole"))
        if shares + math.exp(min(logprobs[-1] + _MOST_NATS, 1)) < 1 - 1e-4:
            raise ContradictionError(Message("read.wrong.sums.more"))
    slopes = _slopes(step.log_sums)
    # log Σ exp(β · logit) is convex in β, and at β = 0 the logarithm of the vocabulary's size.
    (first, log_sum), *_ = step.log_sums
    at_zero = log_sum - first * slopes[0] if slopes else 0.0
    if any(b < a - _NATS for a, b in pairwise(slopes)) or at_zero > _MOST_NATS + _NATS:
        raise ContradictionError(Message("read.wrong.sums"))


def _check_entropy(step: Step) -> None:
    """Check the entropy: the candidates' part, plus the rest's, which is smallest for few large shares and largest for
    many small ones.
    """
    entropy, rest = step.entropy, step.rest
    if math.isnan(entropy):
        return
    if entropy < 0:
        raise ContradictionError(Message("read.wrong.entropy"))
    shown = -math.fsum(c.probability * c.logprob for c in step.candidates if c.probability)
    last = step.candidates[-1]
    least = shown - rest * last.logprob if rest > _SUM and last.probability else shown
    most = shown + (rest * (_MOST_NATS - math.log(rest)) if rest else 0.0)
    if not least - _NATS <= entropy <= most + _NATS:
        raise ContradictionError(Message("read.wrong.entropy.impossible"))
    # The slope of log Σ exp(β · logit) at β = 1 is the mean logit, which is the log sum there less the entropy.
    powers = [power for power, _ in step.log_sums]
    if 1 in powers:
        at, slopes = powers.index(1), _slopes(step.log_sums)
        mean = step.log_sums[at][1] - entropy
        if (at > 0 and mean < slopes[at - 1] - _NATS) or (at < len(slopes) and mean > slopes[at] + _NATS):
            raise ContradictionError(Message("read.wrong.entropy.sums"))


def _slopes(log_sums: LogSums) -> list[float]:
    return [(b_sum - a_sum) / (b - a) for (a, a_sum), (b, b_sum) in pairwise(log_sums)]
