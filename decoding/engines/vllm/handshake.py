"""The handshake with a vLLM server: which model it has, and whether its tokenizer is the local one.

Owns what is refused before the first run. Knows no run. A server does not report its weights, so its name for them must
be ours, and its tokenizer and ids are tried.
"""

from collections.abc import Callable, Collection, KeysView, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from decoding.engines.vllm.client import ServerClient
from decoding.engines.vllm.refused_address import address_error
from decoding.engines.vllm.responses import BrokenAnswerError, ResponseParser
from decoding.errors import ModelError, RequestError
from decoding.messages import Message
from decoding.models.catalogue import CATALOGUE, Entry, parse_model_list
from decoding.models.loading import ModelWithoutWeights
from decoding.models.starter import MODEL_FILE, SAFETENSORS_NAME, STARTER_ID

MAX_CHOICES_ASKED = 50
"""More candidates are never requested, so a higher limit is none."""
_MOST_NAMED = 5  # of a server's models, in a sentence
GREEDY = {
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "ignore_eos": True,  # the model's local files decide where a text ends
    "skip_special_tokens": False,
    "return_tokens_as_token_ids": True,
    "return_token_ids": True,
}
"""Plain greedy decoding, whatever the model's settings are, with all tokens named by ids."""

_PROBE = "The\n\n\t  x=[12]; 트랜 变 🎉 e\u0301<|im_end|></s>"
"""A text that different tokenizers split differently."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on a server: the `name` to request, its `context_length` in ids, and the most candidates per step."""

    name: str
    version: str
    context_length: int | None
    most_choices: int


def with_retries(client: ServerClient, ask: Callable[[], T]) -> T:
    """The result of `ask`, retried if an answer broke. Raises ModelError if none comes in time."""
    budget = client.new_retry_budget()
    while True:
        try:
            return ask()
        except BrokenAnswerError as error:
            budget.wait_or_raise(error)


def list_models(client: ServerClient) -> list[Mapping[str, Any]]:
    """A server's models, its default first. Raises AddressError if no vLLM server answers, ModelError if it refuses the
    key.
    """
    try:
        answer = with_retries(client, lambda: client.get("/v1/models"))
        models = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(models, list) or not models or not all(isinstance(m, dict) and "id" in m for m in models):
            raise ModelError(Message("address.no_model"))
    except ModelError as error:
        raise address_error(client.address, error) from None
    return models


def local_name(models: list[Mapping[str, Any]]) -> str:
    """The local name of a served model: a name of the catalogue, or a folder. Raises RequestError if there is none."""
    known = {SAFETENSORS_NAME: STARTER_ID} | {name: name for name in CATALOGUE}
    known |= {entry.repository: name for name, entry in CATALOGUE.items() if entry.repository}
    for served in models:
        for name in _possible_names(served):
            if name in known:
                return known[name]
            with suppress(OSError, ValueError):
                if (Path(name) / "config.json").is_file():
                    return name
    raise RequestError(
        Message("address.no_tokenizer", model=str(models[0]["id"])[:80]),
        field="model",
    )


def check_may_serve(models: list[Mapping[str, Any]], entry: Entry) -> None:
    """Raises ModelError if none of a server's models can be that of `entry`, whose files are perhaps not here yet.

    Without its files the name of a model's folder is unknown, except in the Hub's cache; `check_served` looks closer.
    """
    if not entry.repository and entry.name != STARTER_ID:
        return  # its files are here
    paths = {entry.name, entry.repository, entry.file, entry.revision, MODEL_FILE if not entry.repository else ""}
    ours = {*paths, *(Path(path).name for path in paths)} - {""}
    in_cache = f"models--{entry.repository.replace('/', '--')}"
    for served in models:
        names = _possible_names(served)
        if names & ours or any(in_cache in Path(name).parts for name in names):
            return
    raise _other_model(models, entry.name)


def _other_model(models: list[Mapping[str, Any]], ours: str) -> ModelError:
    """The error that a server has no model `ours`, with what to write for one that it has."""
    theirs = ", ".join(f'"{str(served["id"])[:80]}"' for served in models[:_MOST_NAMED])
    with suppress(RequestError):
        return ModelError(Message("address.model", theirs=theirs, ours=ours, model=local_name(models)))
    for served in models:
        with suppress(RequestError):
            repository = parse_model_list(f"hub:{served['id']}")[0].name
            return ModelError(Message("address.model", theirs=theirs, ours=ours, model=f"hub:{repository}"))
    return ModelError(Message("address.model.folder", theirs=theirs, ours=ours))


def check_served(
    client: ServerClient, models: list[Mapping[str, Any]], model_facts: ModelWithoutWeights
) -> ServedModel:
    """The served model that `model_facts` describe. Raises ModelError if the server does not have it, or has another
    one under its name.
    """
    served = next((m for m in models if _possible_names(m) & model_facts.names), None)
    if served is None:
        raise _other_model(models, model_facts.model)
    name = str(served["id"])

    def probe(prompt: str | list[int], top_k: int = 2) -> Any:
        body = GREEDY | {"model": name, "prompt": prompt, "max_tokens": 1, "logprobs": top_k}
        answer = with_retries(client, lambda: client.complete(body))
        with suppress(KeyError, IndexError, TypeError):
            return answer["choices"][0]
        raise ModelError(Message("address.no_model"))

    choice = probe(_PROBE)
    with_retries(client, lambda: ResponseParser(model_facts.model, model_facts.vocabulary_size, 2).parse_stream(choice))
    if choice.get("prompt_token_ids") != model_facts.vocabulary.encode(_PROBE) or not _accepts(
        probe, [model_facts.vocabulary_size - 1]
    ):
        raise ModelError(Message("engine.vocabulary", model=model_facts.model))
    length = served.get("max_model_len")
    lengths = [x for x in (length, model_facts.context_length) if isinstance(x, int)]
    return ServedModel(name, _version(client), min(lengths, default=None), _most_choices(probe))


def _possible_names(served: Mapping[str, Any]) -> KeysView[str]:
    """The names that a model may have: the server's, the path of its files, and the last part of each, in order."""
    found = [str(served["id"]), str(served.get("root") or served["id"])]
    return dict.fromkeys([*found, *(Path(name).name for name in found)]).keys()


def _accepts(probe: Callable[..., Any], prompt: Collection[int], top_k: int = 2) -> bool:
    try:
        probe(prompt, top_k)
    except ModelError as error:
        if isinstance(error.__cause__, BrokenAnswerError):  # the server does not answer at all
            raise
        return False
    return True


def _most_choices(probe: Callable[..., Any]) -> int:
    """The most candidates per step, which a server reveals only by refusing more."""
    least, most = 2, MAX_CHOICES_ASKED  # two were granted already
    while least < most:
        middle = most if most == MAX_CHOICES_ASKED and least == 2 else (least + most + 1) // 2
        if _accepts(probe, [0], middle):
            least = middle
        else:
            most = middle - 1
    return least


def _version(client: ServerClient) -> str:
    with suppress(ModelError, BrokenAnswerError):
        answer = client.get("/version")
        return str(answer.get("version", ""))[:40] if isinstance(answer, dict) else ""
    return ""
