"""How a byte-level tokenizer cuts a text before it merges: the rules behind the names of `tokenizer.ggml.pre`.

Owns the rules. A GGUF names its rule and does not hold it; llama.cpp gives the names, and each rule is the one of the
model that the name stands for. A name that is not here is refused, because another rule makes other ids. Knows no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _words(digits: str, *, contractions: bool = True, marks: str = "") -> str:
    """Llama 3's rule and those derived from it: a word takes one sign or space in front, a sign the newlines behind."""
    first = _CONTRACTIONS + "|" if contractions else ""
    letters = rf"[\p{{L}}{marks}]+" if marks else r"\p{L}+"
    return rf"{first}[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}| ?[^\s\p{{L}}{marks}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased_words(digits: str, after: str = "") -> str:
    """A word ends where a capital follows a small letter."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    before = r"[^\r\n\p{L}\p{N}]?"
    words = rf"{before}{upper}*{lower}+{after}|{before}{upper}+{lower}*{after}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


_SIGN_AND_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_DEEPSEEK_V3 = rf"{_SIGN_AND_WORD}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"


@dataclass(frozen=True, slots=True)
class Rule:
    """The patterns that cut a text, each within the pieces of the one before it; a match is a piece, and so is what
    lies between two. `whole_words` says that a piece which is a token is one without being merged, `begins` that a
    prompt has the beginning token in front where the file does not say.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False


_ONE_DIGIT, _THREE_DIGITS = r"\p{N}", r"\p{N}{1,3}"
_RULES: Mapping[Rule, str] = {
    Rule((_GPT2,)): "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert olmo mpt "
    "jais exaone4 trillion granite-docling",
    Rule((_ONE_DIGIT, _GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    Rule((_words(_THREE_DIGITS),)): "dbrx smaug-bpe chatglm-bpe",
    Rule((_words(_THREE_DIGITS),), whole_words=True): "glm4 glm5",
    Rule(
        (_words(_THREE_DIGITS),), whole_words=True, begins=True
    ): "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    Rule((_words(_ONE_DIGIT),)): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    Rule((_words(_ONE_DIGIT, contractions=False),)): "ufakzeka",
    Rule((_words(_ONE_DIGIT, marks=r"\p{M}"),)): "qwen35",
    Rule((_cased_words(_ONE_DIGIT),), whole_words=True, begins=True): "tekken",
    Rule((_cased_words(_THREE_DIGITS, f"{_CONTRACTIONS}?"),)): "gpt-4o llama4 kanana2 talkie minimax-m2",
    Rule((_THREE_DIGITS, "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK_V3)): "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    Rule((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")): "deepseek-coder",
    Rule((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")): "falcon",
    Rule((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")): "default",
}

RULES: Mapping[str, Rule] = {name: rule for rule, names in _RULES.items() for name in names.split()}
