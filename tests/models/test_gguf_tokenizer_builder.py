"""Tokenizers made of a GGUF's metadata: held against llama.cpp's ids, against another program, and by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from decoding.errors import ModelError
from decoding.models import starter
from decoding.models.gguf_tokenizer_builder import Kind, save_tokenizer, special_id, tokenizer_from_gguf
from decoding.models.pre_tokenizers import RULES
from decoding.models.tokenizer import FileTokenizer, read_tokenizer
from tests.models.pre_tokenizer_rules import CUTS, WHOLE_WORDS
from tests.models.tokenizer_rules import TEXTS, first_difference, rule_of, sample_texts

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "starter_ids_llama_cpp.json"
Metadata = dict[str, Any]


def metadata_with(**values: Any) -> Metadata:
    """Keys as a GGUF has them."""
    return {f"tokenizer.ggml.{name}": value for name, value in values.items()}


@pytest.fixture(scope="module")
def starters() -> Metadata:
    """What the starter's GGUF says, read back from what was made of it."""
    said = json.loads((starter.ensure_starter() / "tokenizer.json").read_text("utf-8"))
    words = sorted(said["model"]["vocab"], key=said["model"]["vocab"].get)
    special = {token["id"] for token in said["added_tokens"]}
    kinds = [Kind.CONTROL if n in special else Kind.NORMAL for n in range(len(words))]
    merges = [" ".join(pair) for pair in said["model"]["merges"]]
    made = metadata_with(model="gpt2", pre="smollm", tokens=words, token_type=kinds, merges=merges)
    return made | metadata_with(bos_token_id=1, eos_token_id=2, unknown_token_id=0, add_bos_token=False)


def test_the_starter_reads_what_llama_cpp_reads(starters: Metadata) -> None:
    ours, rule = read_tokenizer(starter.ensure_starter()), rule_of(starters)
    texts = json.loads(REFERENCE.read_text("utf-8"))["texts"]
    assert len(texts) == 36
    for said in texts:
        assert ours(said["text"])["input_ids"] == said["token_ids"], said["text"]
        assert rule(said["text"]) == said["token_ids"], said["text"]


def test_a_list_is_read_digit_by_digit() -> None:
    ids = read_tokenizer(starter.ensure_starter())("Ingredients:\n\n1. Flour\n\n2.")["input_ids"]
    assert len(ids) == 10


@pytest.mark.parametrize("drop", ["rule", "merges", "special"])
def test_the_samples_show_what_a_conversion_drops(starters: Metadata, drop: str) -> None:
    changed = {
        "rule": metadata_with(pre="gpt-2"),  # as transformers converts it
        "merges": metadata_with(merges=starters["tokenizer.ggml.merges"][:-5_000]),
        "special": metadata_with(token_type=[Kind.NORMAL] * len(starters["tokenizer.ggml.tokens"])),
    }
    assert first_difference(tokenizer_from_gguf(starters | changed[drop]), starters)


@pytest.mark.parametrize("name", ["smollm", "gpt-2", "llama-bpe", "qwen2"])
def test_two_programs_read_alike(starters: Metadata, name: str) -> None:
    metadata = starters | metadata_with(pre=name)
    assert first_difference(tokenizer_from_gguf(metadata), metadata) is None


def test_the_sample_is_broad_and_always_the_same(starters: Metadata) -> None:
    texts = list(sample_texts(starters))
    assert texts == list(sample_texts(starters))
    assert len(texts) == TEXTS
    joined = "".join(texts)
    assert all(part in joined for part in ("2024", "한", "🎉", "\n\n", "<|im_start|>", "don't", "\t", "def f"))


def test_every_checked_rule_is_a_known_rule() -> None:
    assert CUTS.keys() <= RULES.keys()
    assert {name for name in CUTS if RULES[name].whole_words} == WHOLE_WORDS


def test_every_rule_makes_a_tokenizer(starters: Metadata) -> None:
    names = ("tokens", "token_type", "merges")
    few = {f"tokenizer.ggml.{name}": starters[f"tokenizer.ggml.{name}"][:300] for name in names}  # bytes, some pairs
    few["tokenizer.ggml.merges"] = few["tokenizer.ggml.merges"][: 300 - 256 - 17]
    for name in RULES:
        made = FileTokenizer(tokenizer_from_gguf(starters | few | metadata_with(pre=name)))
        text = "In 2024, Straße'S  고양이\n\n#2 e\u0301 🎉HelloWorld"
        ids = made(text, add_special_tokens=False)["input_ids"]
        assert made.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text, name


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("smollm", "a 2024", ["a", " ", "2", "0", "2", "4"]),
        ("gpt-2", "a 2024", ["a", " 2024"]),
        ("llama-bpe", "a 2024", ["a", " ", "202", "4"]),
        ("qwen2", "a 2024", ["a", " ", "2", "0", "2", "4"]),
        ("tekken", "a 20HelloWorld", ["a", " ", "2", "0", "Hello", "World"]),
        ("gpt-4o", "don't HelloWorld", ["don't", " Hello", "World"]),
        ("llama-bpe", "DON'T x", ["DON", "'T", " x"]),
        ("gpt-2", "DON'T x", ["DON", "'", "T", " x"]),
        ("qwen2", "a!!\n\nb", ["a", "!!\n\n", "b"]),
        ("gpt-2", "a!!\n\nb", ["a", "!!", "\n", "\n", "b"]),
        ("llama-bpe", "a   b \n\n c", ["a", "  ", " b", " \n\n", " c"]),
        ("falcon", "x=12345", ["x", "=", "123", "45"]),
        ("default", "x+12345", ["x", "+", "123", "45"]),
    ],
)
def test_words_are_cut_as_each_family_cuts(starters: Metadata, name: str, text: str, pieces: list[str]) -> None:
    made = tokenizer_from_gguf(starters | metadata_with(pre=name))
    assert [text[start:end] for _, (start, end) in made.pre_tokenizer.pre_tokenize_str(text)] == pieces
    if name in CUTS:
        assert list(CUTS[name](text)) == pieces


# ---- SentencePiece's


def sentencepiece(**changes: Any) -> Metadata:
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * 256]
    pieces = ["▁the", "▁t", "he", "▁th", "▁", "t", "h", "e", "▁▁", "x", "한"]
    scores = [0.0] * len(words) + [-float(n) for n in range(len(pieces))]
    words, kinds = [*words, *pieces, "<tool>"], [*kinds, *[Kind.NORMAL] * len(pieces), Kind.USER_DEFINED]
    made = metadata_with(model="llama", tokens=words, token_type=kinds, scores=[*scores, 0.0], bos_token_id=1)
    return made | metadata_with(eos_token_id=2, unknown_token_id=0) | metadata_with(**changes)


def pieces_of(metadata: Metadata, text: str) -> list[str]:
    return [metadata["tokenizer.ggml.tokens"][n] for n in tokenizer_from_gguf(metadata).encode(text).ids]


@pytest.mark.parametrize(
    ("changes", "text", "pieces"),
    [
        ({}, "the", ["<s>", "▁the"]),
        ({}, "the  the", ["<s>", "▁the", "▁", "▁the"]),
        ({}, "xthe", ["<s>", "▁", "x", "t", "he"]),  # the best score first, not the longest piece
        ({}, "é한", ["<s>", "▁", "<0xC3>", "<0xA9>", "한"]),
        ({}, "x\n", ["<s>", "▁", "x", "<0x0A>"]),
        ({}, "x<tool>the", ["<s>", "▁", "x", "<tool>", "▁the"]),  # a space after a token that is found first
        ({}, "<s>the", ["<s>", "<s>", "▁the"]),
        ({}, "<0x41>", ["<s>", "▁", "<0x3C>", "<0x30>", "x", "<0x34>", "<0x31>", "<0x3E>"]),
        ({"add_bos_token": False}, "the", ["▁the"]),
        ({"add_eos_token": True}, "the", ["<s>", "▁the", "</s>"]),
        ({"add_space_prefix": False}, "the the", ["<s>", "t", "he", "▁the"]),
    ],
)
def test_scores_decide_what_is_merged(changes: Metadata, text: str, pieces: list[str]) -> None:
    metadata = sentencepiece(**changes)
    assert pieces_of(metadata, text) == pieces
    if not metadata.get("tokenizer.ggml.add_eos_token"):
        assert rule_of(metadata)(text) == tokenizer_from_gguf(metadata).encode(text).ids


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_is_held_against_its_rule(prefix: bool) -> None:
    metadata = sentencepiece(add_space_prefix=prefix)
    made = tokenizer_from_gguf(metadata)
    assert first_difference(made, metadata) is None
    # Behind a token that is found first, llama.cpp too puts another space.
    for text in [t for t in sample_texts(metadata) if not any(word in t for word in ("<s>", "</s>", "<tool>"))]:
        assert made.decode(made.encode(text, add_special_tokens=False).ids, False) == text


def test_gemma_4_merges_over_spaces_and_cuts_at_lines() -> None:
    words = ["<bos>", *(f"<0x{byte:02X}>" for byte in range(256)), "a", "b", "▁", "▁a", "b▁", "\n", "\n\n"]
    kinds = [Kind.CONTROL, *[Kind.BYTE] * 256, *[Kind.NORMAL] * 7]
    metadata = metadata_with(model="gemma4", tokens=words, token_type=kinds, merges=["▁ a", "b ▁", "\n \n"])
    metadata |= metadata_with(bos_token_id=0, add_bos_token=True)
    assert pieces_of(metadata, "b a\n\n\nb") == ["<bos>", "b", "▁a", "\n\n", "\n", "b"]
    assert first_difference(tokenizer_from_gguf(metadata), metadata) is None


def test_phi_3_swallows_the_space_behind_a_special_token() -> None:
    metadata = sentencepiece(add_space_prefix=False)
    assert pieces_of(metadata, "<tool> the") == ["<s>", "<tool>", "▁the"]
    phi3 = metadata | {"general.name": "Phi3 mini"}
    assert pieces_of(phi3, "<tool>  the") == ["<s>", "<tool>", "t", "he"]
    assert first_difference(tokenizer_from_gguf(phi3), phi3) is None


# ---- what is written, and what is refused


def test_it_is_written_as_a_repository_has_it(starters: Metadata, tmp_path: Path) -> None:
    template = "{{ messages }}"
    metadata = starters | metadata_with(add_bos_token=True) | {"tokenizer.chat_template": template}
    made = save_tokenizer(metadata, tmp_path)
    read = read_tokenizer(tmp_path)
    assert read.bos_token_id == 1
    assert read("a 2024")["input_ids"] == made.encode("a 2024").ids == rule_of(metadata)("a 2024")
    assert json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))["chat_template"] == template
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("a 2024").ids[0] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pre": "mystery"}, 'of the kind "mystery", which is not known here'),
        ({"pre": None}, "has no tokenizer.ggml.pre"),
        ({"model": "rwkv"}, 'of the kind "rwkv"'),
        ({"model": None}, "has no tokenizer.ggml.model"),
        ({"merges": None}, "has no tokenizer.ggml.merges"),
        ({"merges": ["ab"]}, "'ab' is no merge"),
        ({"merges": ["a zzzz"]}, "is damaged: "),
        ({"tokens": ["a", "b", "ab"], "token_type": [1, 1, 1], "merges": ["ab ab"]}, "is damaged: "),  # a panic in Rust
        (
            {"tokens": ["a", "x" * 600_000], "token_type": [1, 1], "merges": []},
            "the token 1 of 600,000 characters, and at most 2,000 are read",
        ),
        ({"tokens": ["a", "b", "a"], "token_type": [1, 1, 1], "merges": []}, "has the token 'a' twice"),
        ({"token_type": [1]}, "tokens have 1 types"),
    ],
)
def test_unknown_kinds_are_refused(starters: Metadata, changes: Metadata, words: str) -> None:
    with pytest.raises(ModelError, match="Choose another model") as caught:
        tokenizer_from_gguf(starters | metadata_with(**changes))
    assert words in str(caught.value)


OTHER_KINDS: dict[str, dict[str, object]] = {
    "token_type": {
        "its token_type are no list of whole numbers": [
            ["x"] * 3,
            [1.5] * 3,
            [None] * 3,
            [2, 1, "1"],
            "x",
            1,
            {"a": 1},
        ],
        "3 tokens have 0 types": [[]],
        "3 tokens have 4 types": [[2, 1, 1, 1]],
    },
    "tokens": {
        "its tokens are no list of texts": [[1.5] * 3, ["a", "b", 3], "abc", 3],
        "has the token 'x' twice": [["x"] * 3],
        "is damaged": [[]],
    },
    "scores": {
        "its scores are no list of numbers": [["x"] * 3, [None] * 3, "x", 1.5],
        "3 tokens have 0 scores": [[]],
    },
    "merges": {
        "its merges are no list of texts": [[1.5], "a b", 3],
        "'x' is no merge": [["x"]],
    },
}
CASES = [(name, words, value) for name, cases in OTHER_KINDS.items() for words, some in cases.items() for value in some]


@pytest.mark.parametrize(("name", "words", "value"), CASES, ids=str)
def test_values_of_other_kinds_are_refused_in_a_sentence(name: str, words: str, value: object) -> None:
    said = metadata_with(tokens=["a", "b", "ab"], token_type=[1, 1, 1], scores=[0.0, 1.0, 2.0], merges=["a b"])
    kind = {"merges": "gpt2", "scores": "llama"}.get(name, "gpt2")
    with pytest.raises(ModelError) as refused:
        tokenizer_from_gguf(said | metadata_with(model=kind, pre="gpt-2") | {f"tokenizer.ggml.{name}": value})
    assert words in str(refused.value)


@pytest.mark.parametrize("word", ["$A", "$B", "$0", "a:1", "x:y", ":"])
def test_an_end_may_be_written_like_a_rule_of_a_template(word: str) -> None:
    said = metadata_with(model="gpt2", pre="gpt-2", tokens=["b", word], token_type=[1, 3], merges=[])
    said |= metadata_with(bos_token_id=1, add_bos_token=True, eos_token_id=1, add_eos_token=True)
    assert tokenizer_from_gguf(said).encode("b").ids == [1, 0, 1]


@pytest.mark.parametrize("scores", [[0.0, 1.5, 2.5], [0, 1, 2]], ids=str)
def test_numbers_are_scores_whole_or_not(scores: list[float]) -> None:
    said = metadata_with(model="llama", tokens=["<unk>", "a", "b"], token_type=[2, 1, 1], scores=scores)
    assert tokenizer_from_gguf(said).encode("b").tokens[-1] == "b"


def test_a_file_without_types_has_words_alone() -> None:
    said = metadata_with(model="gpt2", pre="gpt-2", tokens=["a", "b", "<x>"], merges=[])
    assert tokenizer_from_gguf(said).get_added_tokens_decoder() == {}


def test_an_id_that_is_no_number_is_none() -> None:
    said = metadata_with(model="llama", tokens=["<unk>", "a", "b"], token_type=[2, 1, 1], scores=[0.0, 1.0, 2.0])
    said |= metadata_with(bos_token_id="x", eos_token_id=[1])
    assert special_id(said, "bos") is None
    assert special_id(said, "eos") is None
    assert tokenizer_from_gguf(said).encode("b").tokens[-1] == "b"


def test_scores_that_are_missing_are_refused() -> None:
    for scores, words in ((None, "has no tokenizer.ggml.scores"), ([0.0], "tokens have 1 scores")):
        with pytest.raises(ModelError, match=words):
            tokenizer_from_gguf(sentencepiece(scores=scores))
