"""The prompt's own tokens, read with the lens of the text that is written: probability, rank, entropy.

Owns which tokens are scored: those that have one before them, the last 1,000 at most. Knows an engine by its protocol.
"""

from dataclasses import replace

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.limits import MAX_TEXT_TOKENS
from decoding.messages import Message
from decoding.questions.same_model import check_same_model
from decoding.record.prompt_scores import PromptScore
from decoding.record.trace import Trace


def score_prompt(model: Engine, trace: Trace) -> Trace:
    """The same run with `prompt_scores`: one for each of the prompt's last tokens, at most 1,000. The first token of a
    prompt has none, because nothing stands before it.

    The prompt is read as a given text is, without decoding, in as few passes as memory allows. Raises RequestError for
    a run that this model did not write, and for a prompt of one token.

    >>> run = decoding.trace(model, "The capital of France is", max_new_tokens=1, top_k=2)
    >>> scored = decoding.score_prompt(model, run)
    >>> [(token.text, score.rank) for token, score in zip(run.prompt_tokens[1:], scored.prompt_scores)]
    [(' capital', 2922), (' of', 0), (' France', 1), (' is', 0)]
    """
    check_same_model(model, trace)
    ids = trace.prompt_token_ids
    if len(ids) < 2:
        raise RequestError(
            Message("prompt.alone"),
            field="prompt",
        )
    first = max(1, len(ids) - MAX_TEXT_TOKENS)
    read = model.score(ids[:first], ids[first:], top_k=1)
    scores = [PromptScore(s.picked.logprob, s.picked.rank, s.entropy) for s in read if s.picked is not None]
    return replace(trace, prompt_scores=tuple(scores))
