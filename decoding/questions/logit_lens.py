"""The logit lens: what each layer would say at a step, if the last norm and the head read its state.

Owns the question, its checks and its answer. The lens is raw: the norm and the head were trained for the last layer,
and nothing is tuned for the others (nostalgebraist, "interpreting GPT: the logit lens", 2020). Knows no page.
"""

from collections.abc import Sequence

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.limits import MAX_FOLLOWED, MAX_LAYERS, MAX_LENS_LOGITS, MAX_LENS_NUMBERS, MAX_LENS_TOKENS
from decoding.messages import Message
from decoding.questions.leave_one_out import check_step
from decoding.questions.same_model import check_same_model
from decoding.record.step import ScoredToken, make_candidate
from decoding.record.trace import Trace
from decoding.record.why import Lens, LensLayer
from decoding.requests.values import is_whole, json_type_of, shown_id


def lens(model: Engine, trace: Trace, step: int, *, follow: Sequence[int] = ()) -> Lens:
    """Read each layer's state at `step` (counted from 0) with the model's last norm and head.

    The lens follows the step's pick, the ids `follow`, at most 16, and the tokens that lead at some layer, last layer
    first. It costs one step, and the head once for each layer. Raises RequestError for a value that is invalid, for a
    trace of another model, and for a model whose layers cannot be read: on a server, or of a family without such ones;
    and what `Engine.steps` raises.

    >>> run = decoding.trace(model, "The capital of France is", max_new_tokens=1, top_k=5)
    >>> found = decoding.lens(model, run, 0)
    >>> len(found.layers), found.leads_from, [layer.leader.text for layer in found.layers][-4:]
    (31, 30, [' the', ' the', ' capital', ' Paris'])
    """
    from decoding.softmax import read_tokens  # here: `import decoding` takes no NumPy

    asked = check_step(trace, step)
    check_same_model(model, trace)
    followed = _check_followed(model, follow)
    check_lens_size(model)
    picks = trace.generated_token_ids[: asked.index]
    logits = model.layer_logits(trace.prompt_token_ids, picks)  # type: ignore[attr-defined]  # (layers + 1, vocabulary)
    leaders = [int(row.argmax()) for row in logits]
    wanted = list(dict.fromkeys([asked.picked.token_id, *followed, *reversed(leaders)]))
    ids = wanted[: min(MAX_LENS_TOKENS, MAX_LENS_NUMBERS // len(leaders))]
    decoder = model.vocabulary.decoder_after([*trace.prompt_token_ids, *picks])
    layers = []
    for row, leader in zip(logits, leaders, strict=True):
        logprobs, ranks = read_tokens(row, [leader, *ids])
        first = make_candidate(decoder, ScoredToken(leader, logprobs[0], 0))
        layers.append(LensLayer(first, tuple(logprobs[1:]), tuple(ranks[1:])))
    return Lens(asked.index, tuple(map(decoder.token, ids)), tuple(layers))


def check_lens_size(model: Engine) -> int:
    """The rows of a model's lens, its layers and the embedding. Raises RequestError for a model that has no lens, or
    whose lens is too large.
    """
    layers = getattr(getattr(model, "network", model), "layers", None)
    if layers is None or not hasattr(model, "layer_logits"):
        raise RequestError(Message("why_token.lens", model=model.info.id), field="model")
    rows = int(layers) + 1
    if rows > MAX_LAYERS + 1 or rows * model.vocabulary_size > MAX_LENS_LOGITS:
        raise RequestError(
            Message(
                "why_token.large",
                model=model.info.id,
                rows=f"{rows:,}",
                vocabulary=f"{model.vocabulary_size:,}",
                most=f"{MAX_LENS_LOGITS:,}",
            ),
            field="model",
        )
    return rows


def _check_followed(model: Engine, follow: Sequence[int]) -> list[int]:
    try:
        ids = list(follow)
    except TypeError:
        raise RequestError(Message("given.ids", type=json_type_of(follow)), field="forced") from None
    if len(ids) > MAX_FOLLOWED:
        raise RequestError(Message("why_token.follow", count=f"{len(ids):,}", most=MAX_FOLLOWED), field="forced")
    for token_id in ids:
        if not is_whole(token_id) or token_id not in range(model.vocabulary_size):
            raise RequestError(
                Message("why_token.id", id=shown_id(token_id), model=model.info.id, last=model.vocabulary_size - 1),
                field="forced",
            )
    return [int(token_id) for token_id in ids]
