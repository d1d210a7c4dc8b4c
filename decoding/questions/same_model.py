"""Checks that a run is one that this model could have written, before the model is asked about it. Computes nothing."""

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.export.labels import label
from decoding.messages import Message
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from decoding.requests.arguments import check_model, check_trace
from decoding.requests.run_request import check_prompt, prompt_ids


def check_same_model(model: Engine, trace: Trace) -> None:
    """Raises RequestError for a trace of another model, or one whose ids or texts this model could not have written."""
    check_model(model)
    check_trace(trace)
    if trace.model.id != model.info.id:
        raise RequestError(Message("altered.model", theirs=trace.model.id[:80], ours=model.info.id), field="model")
    context, length = model.context_length, len(trace.prompt_tokens) + len(trace.steps)
    known = all(0 <= token_id < model.vocabulary_size for token_id in trace.generated_token_ids)
    if not known or list(trace.prompt_token_ids) != prompt_ids(
        model, check_prompt(trace.prompt), as_message=trace.as_message
    ):
        raise RequestError(Message("altered.ids", model=model.info.id), field="forced")
    given = [*trace.prompt_tokens, *(step.picked.token for step in trace.steps)]
    written = model.vocabulary.tokens([token.token_id for token in given])
    for number, (theirs, ours) in enumerate(zip(given, written, strict=True), 1):
        if theirs != ours:
            raise RequestError(
                Message(
                    "altered.text",
                    number=f"{number:,}",
                    theirs=_quoted(theirs),
                    model=model.info.id,
                    ours=_quoted(ours),
                ),
                field="forced",
            )
    if context is not None and length > context:
        raise RequestError(
            Message("altered.context", count=f"{length:,}", model=model.info.id, context=f"{context:,}"),
            field="forced",
        )


def _quoted(token: Token) -> str:
    return f"“{label(token.text, token.bytes)[:80]}”"
