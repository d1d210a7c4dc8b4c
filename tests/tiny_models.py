"""Tiny random models of many architectures, saved as `decoding.load` finds real ones.

Each is seeded, and spread so wide that its output varies: at its usual initialisation a tiny model repeats one token,
and then any two loops agree.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
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

MORE_FAMILIES: dict[str, dict[str, Any]] = {
    # As SmolLM2 and Qwen3-0.6B have it: one matrix for both ends.
    "llama, tied": _GROUPED | {"tie_word_embeddings": True},
    "qwen3, tied": _GROUPED | {"tie_word_embeddings": True},
    # Its queries, keys and values have biases.
    "qwen2": _GROUPED,
    # The logits, and the scores of the attention, are squeezed by a tanh.
    "gemma2": _GROUPED
    | {"sliding_window": WINDOW, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 10.0}
    | {"query_pre_attn_scalar": 8},
    "phi3": _GROUPED,
    "cohere": _GROUPED,
    "mixtral": _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "falcon": {name: value for name, value in _PLAIN.items() if name != "intermediate_size"},
    "opt": {name: value for name, value in _PLAIN.items() if name != "intermediate_size"}
    | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": CONTEXT}
    | {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW, "intermediate_size": 64},
    "mamba2": _RECURRENT | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "expand": 2, "chunk_size": 16},
}
"""Families of which nothing is asked but that every route gives the same answer."""


def network(architecture: str, **changes: Any) -> Any:
    """A random model of an architecture, with no token that ends a text."""
    torch.manual_seed(0)
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    options = (
        (ARCHITECTURES | MORE_FAMILIES)[architecture]
        | ends
        | {"vocab_size": VOCABULARY, "initializer_range": 0.5}
        | changes
    )
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture.split(",")[0], **options))
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


def sentencepiece() -> PreTrainedTokenizerFast:
    """A tokenizer as SentencePiece makes them: words that bring their space as "▁", and bytes for what has no piece."""
    words = ["▁", "▁the", "▁are", "▁Trans", "former", "form", "er", "s", *"abcdefghijklmnopqrstuvwxyz", "▁어", "머"]
    pieces = [("<unk>", 0.0), ("<s>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256))]
    pieces += [(word, -2.0 - 1 / len(word)) for word in dict.fromkeys(words)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.add_special_tokens(["<unk>", "<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>")


def wordpiece() -> PreTrainedTokenizerFast:
    """A tokenizer as BERT's: whole words without their spaces, parts of words as "##ing", small letters alone."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "play", "##ing", "##ed"]
    words += ["transform", "##ers", "are", ".", "中", "国", "人"]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def word_ends() -> PreTrainedTokenizerFast:
    """A tokenizer as the first GPT's: the piece that ends a word says so, and words have no spaces of their own."""
    pieces = ["<unk>", *"abcdehrst", "the</w>", "cat</w>", "s</w>", "t</w>", "th", "ca"]
    merges = [("t", "h"), ("c", "a"), ("ca", "t</w>"), ("th", "e</w>")]
    pieces += ["e</w>"]
    model = models.BPE({p: n for n, p in enumerate(pieces)}, merges, unk_token="<unk>", end_of_word_suffix="</w>")
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def save(folder: Path, model: Any, speaks: PreTrainedTokenizerFast | None = None, **specials: str) -> Path:
    """Write a model and its tokenizer (the bytes', unless told otherwise) as transformers writes them: config,
    safetensors, tokenizer.json.
    """
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    (speaks or tokenizer(**specials)).save_pretrained(folder)
    return folder
