"""Which model a server has, and whether it is the one whose tokenizer is here: looked at before the first run.

Owns what is refused. Knows no run. Nobody can see a server's weights, so its name for them has to be ours, and its
tokenizer and its ids are tried.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from decoding.engines.vllm.client import Wire
from decoding.engines.vllm.responses import BrokenAnswerError, Reader
from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import CATALOGUE
from decoding.models.loading import Words
from decoding.models.starter import SAFETENSORS_NAME, STARTER_ID

MOST_ASKED = 50
"""More candidates are never asked for, so a limit above is none."""
GREEDY = {
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "ignore_eos": True,  # where a text ends is said here, by the model's own files
    "skip_special_tokens": False,
    "return_tokens_as_token_ids": True,
    "return_token_ids": True,
}
"""Plain greedy decoding, whatever the model's own settings are, with everything named by ids."""

_PROBE = "The\n\n\t  x=[12]; 트랜 变 🎉 e\u0301<|im_end|></s>"
"""Whatever two tokenizers may take apart in different ways."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served:
    """A model as its server has it: `name` is what to ask for, `context_length` in ids, `most_choices` a step."""

    name: str
    version: str
    context_length: int | None
    most_choices: int


def patiently(wire: Wire, ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again where an answer breaks. Raises ModelError where none comes in time."""
    patience = wire.patience()
    while True:
        try:
            return ask()
        except BrokenAnswerError as error:
            patience.spend(error)


def models_at(wire: Wire) -> list[Mapping[str, Any]]:
    """What a server says of its models, the first first. Raises ModelError where it has none."""
    answer = patiently(wire, lambda: wire.get("/v1/models"))
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list) or not models or not all(isinstance(m, dict) and "id" in m for m in models):
        raise ModelError("The server at this address serves no models. It has to be a vLLM server.")
    return models


def name_here(models: list[Mapping[str, Any]]) -> str:
    """The name that a served model has here: of the catalogue, or a local folder. Raises RequestError."""
    known = {SAFETENSORS_NAME: STARTER_ID} | {name: name for name in CATALOGUE}
    known |= {entry.repository: name for name, entry in CATALOGUE.items() if entry.repository}
    for served in models:
        for name in _names(served):
            if name in known:
                return known[name]
            with suppress(OSError, ValueError):
                if (Path(name) / "config.json").is_file():
                    return name
    raise RequestError(
        f'The server has the model "{str(models[0]["id"])[:80]}", which has no tokenizer here. Name the model of the '
        "catalogue, or the folder, that the server runs.",
        field="model",
    )


def check_served(wire: Wire, models: list[Mapping[str, Any]], words: Words) -> Served:
    """The model that `words` are of. Raises ModelError where it is not there, or is another."""
    served = next((m for m in models if _names(m) & words.names), None)
    if served is None:
        raise ModelError(
            f'The server has the model "{str(models[0]["id"])[:80]}", not {words.model}. Choose that one, or start the '
            f"server with --served-model-name {words.model}."
        )
    name = str(served["id"])

    def probe(prompt: str | list[int], top_k: int = 2) -> Any:
        body = GREEDY | {"model": name, "prompt": prompt, "max_tokens": 1, "logprobs": top_k}
        answer = patiently(wire, lambda: wire.ask(body))
        with suppress(KeyError, IndexError, TypeError):
            return answer["choices"][0]
        raise ModelError("The server at this address serves no models. It has to be a vLLM server.")

    choice = probe(_PROBE)
    patiently(wire, lambda: Reader(words.model, words.vocabulary_size, 2).written(choice))
    if choice.get("prompt_token_ids") != words.vocabulary.encode(_PROBE) or not _takes(
        probe, [words.vocabulary_size - 1]
    ):
        raise ModelError(
            f"The server reads a text as different token ids than {words.model} does: it has another vocabulary, so it "
            "serves another model."
        )
    length = served.get("max_model_len")
    lengths = [x for x in (length, words.context_length) if isinstance(x, int)]
    return Served(name, _version(wire), min(lengths, default=None), _most_choices(probe))


def _names(served: Mapping[str, Any]) -> set[str]:
    """What a model may be called by: the server's name for it, where its files are, and the last part of that."""
    found = {str(served["id"]), str(served.get("root") or served["id"])}
    return found | {Path(name).name for name in found}


def _takes(probe: Callable[..., Any], prompt: Collection[int], top_k: int = 2) -> bool:
    try:
        probe(prompt, top_k)
    except ModelError as error:
        if isinstance(error.__cause__, BrokenAnswerError):  # it does not answer at all
            raise
        return False
    return True


def _most_choices(probe: Callable[..., Any]) -> int:
    """How many candidates the server gives a step, which it says only by refusing."""
    least, most = 2, MOST_ASKED  # two were given already
    while least < most:
        middle = most if most == MOST_ASKED and least == 2 else (least + most + 1) // 2
        if _takes(probe, [0], middle):
            least = middle
        else:
            most = middle - 1
    return least


def _version(wire: Wire) -> str:
    with suppress(ModelError, BrokenAnswerError):
        answer = wire.get("/version")
        return str(answer.get("version", ""))[:40] if isinstance(answer, dict) else ""
    return ""
