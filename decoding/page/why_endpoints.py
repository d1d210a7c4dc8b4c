"""The endpoints about why a step picked its token; see `decoding.page.api`.

Owns the two endpoints, their descriptions and examples. Knows no component.
"""

from collections.abc import Callable, Iterator

from decoding.generator_results import result_of
from decoding.limits import LEFT_OUT
from decoding.page.gradio_endpoints import Endpoint
from decoding.page.panel_actions import wait_for_engine
from decoding.page.text_endpoints import NONE_PICKED
from decoding.page.why_question import read_lens, read_without
from decoding.questions.leave_one_out import check_step
from decoding.record.trace import NO_ID, Trace
from decoding.serving.model_registry import ModelRegistry


def why_endpoints(registry: ModelRegistry, read: Callable[[object], Trace]) -> list[Endpoint]:
    """The endpoints; `read` makes a run of the text that a caller sent. Their docstrings are for callers."""

    def lens(run: str, step: int = 0, follow: list[int] = NONE_PICKED) -> Iterator[str]:
        """Logit lens: what each layer would say at a step, if the last norm and the head read its state. The answer is
        a line of the run's JSON Lines, {"lens": …}: the tokens that are followed, and for each layer, where 0 is the
        embedding, its leading token, and the log-probabilities (nats) and ranks of those tokens. Rank 0 is the
        most probable token. The pick is the first of the tokens. It leads from the layer after the last one where its
        rank is not 0; if that is the last layer, it does not lead at the end.

        Parameters:
            run: A run as JSON Lines, as the other endpoints write it, at most 8 MB.
            step: Which step, counted from 0.
            follow: The ids of tokens to follow, at most 16, beside the step's pick and those that lead at some layer.
        """
        trace = read(run)
        engine = result_of(wait_for_engine(registry, trace.model.id))
        found = result_of(read_lens(registry, engine, trace, check_step(trace, step).index, follow))
        yield found.to_json()

    def leave_one_out(
        run: str, step: int = 0, by: str = "tokens", against: int = NO_ID, last: int = LEFT_OUT
    ) -> Iterator[str]:
        """Leave out each part of the text before a step in turn, and ask the model again. The answer is a line of the
        run's JSON Lines, {"leave_one_out": …}: for each part the pick's log-probability (nats) and rank without it, and
        the token that would be picked instead.

        Parameters:
            run: A run as JSON Lines, as the other endpoints write it, at most 8 MB.
            step: Which step, counted from 0.
            by: What is left out at a time, "tokens" or "words".
            against: The token id of another candidate, whose log-probability is told too; -1 for none.
            last: How many tokens of the text, counted from its end, a part that is left out may end in, 1 to 256.
        """
        trace, other = read(run), None if against == NO_ID else against
        engine, answer = result_of(wait_for_engine(registry, trace.model.id)), None
        for found in read_without(registry, engine, trace, step, by=by, against=other, last=last):
            answer = answer if isinstance(found, dict) else found
        yield answer.to_json() if answer else ""

    return [lens, leave_one_out]
