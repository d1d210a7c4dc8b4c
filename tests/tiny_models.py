"""Tiny random models of many architectures, saved as `decoding.load` finds real ones.

Each is seeded, and spread so wide that its output varies: at its usual initialisation a tiny model repeats one token,
and then any two loops agree.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

VOCABULARY = 320
"""More than the tokenizer's 258, as in many real models."""
CONTEXT = 96
WINDOW = 8
"""Positions that a sliding window holds: fewer than the prompt's."""

_PLAIN = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
}
_GROUPED = _PLAIN | {"num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": False}
_RECURRENT = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT},
    "llama": _GROUPED,
    "qwen3": _GROUPED,
    "gemma3_text": _GROUPED | {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "mistral": _GROUPED | {"sliding_window": WINDOW},
    "gpt_neox": _PLAIN,
    "mamba": _RECURRENT,
    "rwkv": {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "context_length": CONTEXT},
    # Takes a cache and returns none.
    "recurrent_gemma": _PLAIN | {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": WINDOW},
}


def network(architecture: str, **changes: Any) -> Any:
    """A random model of an architecture, with no token that ends a text."""
    torch.manual_seed(0)
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    options = ARCHITECTURES[architecture] | ends | {"vocab_size": VOCABULARY, "initializer_range": 0.5} | changes
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **options))
    if spread := {"rwkv": 1.0, "recurrent_gemma": 0.5}.get(architecture):  # these take no initializer_range
        for weights in model.parameters():
            torch.nn.init.normal_(weights, std=spread)
    return model


def tokenizer(**specials: str) -> PreTrainedTokenizerFast:
    """The 256 bytes, a token each, and two specials: <|end|> 256, <|begin|> 257."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_alone = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    bytes_alone.add_special_tokens(["<|end|>", "<|begin|>"])
    return PreTrainedTokenizerFast(tokenizer_object=bytes_alone, **specials)


def save(folder: Path, model: Any, **specials: str) -> Path:
    """Write a model and its tokenizer as transformers writes them: config, safetensors, tokenizer.json."""
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer(**specials).save_pretrained(folder)
    return folder
