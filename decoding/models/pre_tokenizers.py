"""Pre-tokenizers: how a byte-level tokenizer cuts a text before merging, by the name in `tokenizer.ggml.pre`.

Owns the rules. A GGUF file names its rule but does not contain it; llama.cpp defines the names, and each rule is that
of the model after which it is named. An unknown name is refused, because another rule makes other ids. Knows no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _words(digits: str, *, contractions: bool = True, marks: str = "") -> str:
    """Llama 3's rule and its variants: a word takes one sign or space in front, signs take the newlines behind them."""
    first = _CONTRACTIONS + "|" if contractions else ""
    letters = rf"[\p{{L}}{marks}]+" if marks else r"\p{L}+"
    return rf"{first}[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}| ?[^\s\p{{L}}{marks}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased_words(digits: str, after: str = "") -> str:
    """A rule by which a word ends where a capital follows a small letter."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    before = r"[^\r\n\p{L}\p{N}]?"
    words = rf"{before}{upper}*{lower}+{after}|{before}{upper}+{lower}*{after}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


_SIGN_AND_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_DEEPSEEK_V3 = rf"{_SIGN_AND_WORD}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"


@dataclass(frozen=True, slots=True)
class Rule:
    """The patterns that cut a text, each applied to the pieces of the previous one. A match is a piece, and so is what
    is between two matches. With `whole_words` a piece that is a token is not merged. With `adds_beginning` a prompt
    starts with the beginning-of-text token, unless the file says otherwise.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_beginning: bool = False


_ONE_DIGIT, _THREE_DIGITS = r"\p{N}", r"\p{N}{1,3}"
_RULES: Mapping[Rule, str] = {
    Rule((_GPT2,)): "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert olmo mpt "
    "jais exaone4 trillion granite-docling",
    Rule((_ONE_DIGIT, _GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    Rule((_words(_THREE_DIGITS),)): "dbrx smaug-bpe chatglm-bpe",
    Rule((_words(_THREE_DIGITS),), whole_words=True): "glm4 glm5",
    Rule(
        (_words(_THREE_DIGITS),), whole_words=True, adds_beginning=True
    ): "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    Rule((_words(_ONE_DIGIT),)): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    Rule((_words(_ONE_DIGIT, contractions=False),)): "ufakzeka",
    Rule((_words(_ONE_DIGIT, marks=r"\p{M}"),)): "qwen35",
    Rule((_cased_words(_ONE_DIGIT),), whole_words=True, adds_beginning=True): "tekken",
    Rule((_cased_words(_THREE_DIGITS, f"{_CONTRACTIONS}?"),)): "gpt-4o llama4 kanana2 talkie minimax-m2",
    Rule((_THREE_DIGITS, "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK_V3)): "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    Rule((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")): "deepseek-coder",
    Rule((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")): "falcon",
    Rule((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")): "default",
}

RULES: Mapping[str, Rule] = {name: rule for rule, names in _RULES.items() for name in names.split()}
