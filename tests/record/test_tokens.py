"""Ids to text for people: the alphabet of bytes, partial characters, spaces, specials, and prompts as they are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from decoding.engines.local import LocalEngine
from decoding.models.starter import ensure_starter
from decoding.record import tokens
from decoding.record.tokens import Token, Vocabulary, join, piece_bytes, visible
from tests import tiny_models
from tests.fakes import NASTY, FakeTokenizer

FAMILY = "👩‍👩‍👧"


@pytest.fixture(scope="module")
def starter_tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(ensure_starter())


def sentencepiece_like(*, dropping: bool) -> PreTrainedTokenizerFast:
    """A tokenizer as Llama's (which drops the first space again) or as Gemma's (which adds and drops none)."""
    bytes_alone = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["<unk>", "<s>", "</s>", *bytes_alone, "▁", "a", "b", "é", "▁a", "▁b", "▁▁", "▁▁▁", "▁▁▁▁"]
    model = models.BPE(vocab={p: n for n, p in enumerate(pieces)}, merges=[], byte_fallback=True, unk_token="<unk>")
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend("▁")] if dropping else []), normalizers.Replace(" ", "▁")]
    )
    strip = [decoders.Strip(content=" ", left=1, right=0)] if dropping else []
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    made.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


# ---- bytes


def test_the_alphabet_of_bytes_is_the_libraries() -> None:
    alphabet = tokens._byte_alphabet()
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    encode = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    for text in ("".join(map(chr, range(0x80))), "éß한🎉\u07ff\uffff"):
        written = "".join(piece for piece, _ in encode(text))
        assert piece_bytes(written) == text.encode()


@pytest.mark.parametrize(
    ("piece", "data"),
    [
        ("<0xE2>", b"\xe2"),
        ("<0x0a>", b"\n"),
        ("<0x0>", b"<0x0>"),
        ("<0xE2> ", None),
        ("Ġmost", b" most"),
        ("ðŁĺ", b"\xf0\x9f\x98"),
        ("한", None),
        ("▁a", None),
        ("", b""),
    ],
)
def test_bytes_of_a_piece(piece: str, data: bytes | None) -> None:
    assert piece_bytes(piece) == data


# ---- one token


def test_a_partial_character_keeps_its_bytes(starter_tokenizer: Any) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    parts = vocabulary.tokens(vocabulary.encode("한"))
    assert len(parts) > 1
    assert all("\ufffd" in part.text and part.bytes for part in parts)
    assert b"".join(part.bytes or b"" for part in parts) == "한".encode()
    assert join(parts) == "한"
    assert join(parts[:1]) == "\ufffd"


def test_a_whole_character_keeps_no_bytes(starter_tokenizer: Any) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    [token] = vocabulary.tokens(vocabulary.encode(" most"))
    assert token == Token(768, " most", None)
    assert vocabulary.token(2) == Token(2, "<|im_end|>", None)


def test_a_whole_replacement_character_is_itself(starter_tokenizer: Any) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    assert join(vocabulary.tokens(vocabulary.encode("a\ufffdb"))) == "a\ufffdb"


@pytest.mark.parametrize("dropping", [True, False], ids=["as Llama's", "as Gemma's"])
@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("▁a", Token(0, " a")),
        ("a", Token(0, "a")),
        ("▁", Token(0, " ")),
        ("▁▁", Token(0, "  ")),
        ("▁▁▁▁", Token(0, "    ")),
        ("é", Token(0, "é")),
        ("<0xE2>", Token(0, "\ufffd", b"\xe2")),
        ("<0x0A>", Token(0, "\n")),
        ("<s>", Token(0, "<s>")),
    ],
)
def test_sentencepiece_tokens(piece: str, expected: Token, dropping: bool) -> None:
    tokenizer = sentencepiece_like(dropping=dropping)
    token = Vocabulary(tokenizer).token(tokenizer.convert_tokens_to_ids(piece))
    assert (token.text, token.bytes) == (expected.text, expected.bytes)


@pytest.mark.parametrize("dropping", [True, False], ids=["as Llama's", "as Gemma's"])
@pytest.mark.parametrize("text", [" a b", "  ab", "a🎉b", "한é", "a\n b"])
def test_byte_fallback_joins_to_the_text(text: str, dropping: bool) -> None:
    vocabulary = Vocabulary(sentencepiece_like(dropping=dropping))
    assert join(vocabulary.tokens(vocabulary.encode(text))) == text  # without the space that Llama's puts in front


def test_ids_beyond_the_tokenizers_own_have_no_text() -> None:
    for tokenizer in (tiny_models.tokenizer(), FakeTokenizer()):
        vocabulary = Vocabulary(tokenizer)
        for token_id in (tiny_models.VOCABULARY - 1, 10**6):
            assert vocabulary.token(token_id) == Token(token_id, "")
        assert visible(vocabulary.token(10**6).text) == ""


def test_each_token_is_decoded_once() -> None:
    class Counting(FakeTokenizer):
        decoded = 0

        def decode(self, token_ids: list[int], **options: Any) -> str:
            self.decoded += 1
            return super().decode(token_ids, **options)

    tokenizer = Counting()
    vocabulary = Vocabulary(tokenizer)
    first, second = vocabulary.tokens([258, 258])
    assert first is second
    assert tokenizer.decoded == 1


# ---- a prompt, exactly as the tokenizer takes it


@pytest.mark.parametrize("prompt", [*NASTY.values(), ""], ids=[*NASTY, "empty"])
def test_nasty_prompts(starter_tokenizer: Any, prompt: str) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    ids = vocabulary.encode(prompt)
    assert ids == starter_tokenizer(prompt).input_ids
    assert all(type(token_id) is int for token_id in ids)
    whole = starter_tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert join(vocabulary.tokens(ids)) == whole == prompt


def test_specials_that_a_person_types_are_recognised(starter_tokenizer: Any) -> None:
    assert Vocabulary(starter_tokenizer).encode("a<|im_end|>") == [*starter_tokenizer("a").input_ids, 2]


def test_specials_that_the_tokenizer_adds_are_kept() -> None:
    class Adding(FakeTokenizer):
        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [1, *super().__call__(text)["input_ids"]]}

    assert Vocabulary(Adding()).encode(" most") == [1, 258]
    assert Vocabulary(Adding()).encode("") == [1]


def as_the_tokenizer_decodes(engine: LocalEngine, ids: list[int]) -> str:
    tokenizer: Any = engine.vocabulary._tokenizer
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


# Not always the text itself: the starter's tokenizer drops the bytes it has no token for, 0x06 or 0xF1.
@given(text=st.text())
def test_any_text_joins_as_the_tokenizer_decodes_it(starter: LocalEngine, text: str) -> None:
    ids = starter.vocabulary.encode(text)
    assert join(starter.vocabulary.tokens(ids)) == as_the_tokenizer_decodes(starter, ids)


@given(ids=st.lists(st.integers(0, 49151), max_size=12))
def test_any_ids_join_as_the_tokenizer_decodes_them(starter: LocalEngine, ids: list[int]) -> None:
    assert join(starter.vocabulary.tokens(ids)) == as_the_tokenizer_decodes(starter, ids)


# ---- labels


@pytest.mark.parametrize(
    ("text", "data", "label"),
    [
        (" most", None, "·most"),
        ("\n\t\r", None, "↵⇥␍"),
        ("a\u200bb\u202e", None, "a\\u200bb\\u202e"),
        ("\x00\x1b", None, "\\u0000\\u001b"),
        ("\u00a0", None, "\\u00a0"),
        ("한🎉", None, "한🎉"),
        (" \ufffd", b" \xed\x95", "·\\xed\\x95"),
        ("<b>&amp;", None, "<b>&amp;"),
        ("", None, ""),
    ],
)
def test_labels_hide_nothing(text: str, data: bytes | None, label: str) -> None:
    assert visible(text, data) == label


@given(text=st.text())
def test_labels_are_printable(text: str) -> None:
    assert visible(text).isprintable()
    assert " " not in visible(text)


def test_bytes_are_hexadecimal_in_json() -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(Token)
    token = Token(5, "\ufffd", b"\xe2\x80")
    assert json.loads(adapter.dump_json(token)) == {"token_id": 5, "text": "\ufffd", "bytes": "e280"}
    assert adapter.validate_json(adapter.dump_json(token)) == token
