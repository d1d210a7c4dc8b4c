"""What is measured: a model that no token ends, as torch computes it and as the fastest way does, and prompts for it.

Owns the shapes, which are models of random weights: they cost what real ones do, and a machine without network has
them. Knows no clock.
"""

import atexit
import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from decoding.engines.loading import load
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.engine import engine_of
from decoding.errors import RequestError
from decoding.models.catalogue import CATALOGUE
from decoding.models.devices import disable_tf32, place
from decoding.models.loading import describe_model

PASSAGE = (
    "Transformers are the models that most people mean today when they speak of a language model. One reads a "
    "text from its beginning to its end and says, for each word that it knows, how probable it is that this word "
    "comes next. The simplest way of writing with it is to take the most probable word, to put it behind the "
    "text, and to ask again. Nothing is drawn by lot, so the same beginning always leads to the same end. What is "
    "lost on the way are all the texts whose second word would have been better, had the first been another one. "
)
"""A prompt of any length begins with it, and repeats it where it is too short."""

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2"},  # transformers' own default sizes
    "gpt2-xl": {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25},
    "starter": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
_SPREAD = 0.06
"""Three times the usual one, so that the text varies and there are probabilities to compare."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One model, as torch computes it and as this machine's fastest way does. `name` is what app.py is given, None
    where the model has no files; ids are drawn where a prompt has no text.
    """

    plain: LocalEngine
    fastest: LocalEngine
    name: str | None

    @property
    def network(self) -> Any:
        """transformers' own."""
        return reference_of(self.plain)

    def prompt(self, tokens: int) -> list[int]:
        """The ids of a prompt of so many."""
        if self.name is None:
            return random.Random(0).choices(range(self.plain.vocabulary_size), k=tokens)
        once = self.plain.vocabulary.encode(PASSAGE)
        return self.plain.vocabulary.encode(PASSAGE * (tokens // len(once) + 2))[:tokens]


def load_subject(model: str, *, shape: str | None, device: str, dtype: str) -> Subject:
    """A model of the catalogue, a folder, or a shape. Raises what loading raises."""
    if shape:
        return load_shape(shape, device=device, dtype=dtype)
    plain = load_endless(model, device=device, dtype=dtype, engine="torch")
    fastest = load_endless(model, device=device, dtype=dtype) if plain.info.device == "cpu" else plain
    return Subject(plain, fastest, model)


def load_endless(model: str, *, device: str, dtype: str, engine: str = "auto") -> LocalEngine:
    """A model that no token ends, so that every contender takes the same number of steps."""
    return _endless(load(model, device=device, dtype=dtype, engine=engine))


def reference_of(engine: LocalEngine) -> Any:
    """transformers' own network of an engine's weights."""
    assert engine.reference
    return engine.reference()


def load_shape(shape: str, *, device: str, dtype: str) -> Subject:
    """A model of that shape with random weights, the same ones every time. On a CPU it is written to a folder, for
    ONNX Runtime. Raises RequestError for a shape that there is not.
    """
    if shape not in SHAPES:
        raise RequestError(f'There is no shape "{shape}": choose one of {", ".join(SHAPES)}.', field="model")
    placement = place(f"{shape}'s shape", CATALOGUE[shape].parameters, device=device, dtype=dtype)
    config = AutoConfig.for_model(**SHAPES[shape], initializer_range=_SPREAD)
    torch.manual_seed(0)
    with torch.device(placement.device):
        network: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, placement.dtype))  # type: ignore[no-untyped-call]
    network.eval()
    disable_tf32()
    words = models.WordLevel({str(token_id): token_id for token_id in range(config.vocab_size)}, unk_token="0")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    speaks = PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]
    name = f"{shape}'s shape, random weights"
    plain = _endless(engine_of(describe_model(network, speaks, model=name, why=placement.why)))
    fastest = plain
    if placement.device == "cpu":
        folder = Path(tempfile.mkdtemp(prefix="greedyscope-shape-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # its weights are mapped until the end
        network.save_pretrained(folder)
        speaks.save_pretrained(folder)
        fastest = load_endless(str(folder), device=device, dtype=dtype)
        fastest.info = replace(fastest.info, id=name)
    return Subject(plain, fastest, None)


def _endless(engine: LocalEngine) -> LocalEngine:
    engine.end_ids = frozenset()
    return engine
