"""Ids to text for people: the alphabet of bytes, partial characters, spaces, specials, and prompts as they are."""

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from decoding.engines.local_engine import LocalEngine
from decoding.models.starter import ensure_starter
from decoding.models.tokenizer import FileTokenizer, tokenizer_of
from decoding.record import tokens
from decoding.record.tokens import Token, Vocabulary, join_tokens, piece_bytes, visible
from tests import tiny_models
from tests.fakes import NASTY, FakeTokenizer

FAMILY = "👩‍👩‍👧"
PLAIN: dict[str, bool] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}


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
    assert join_tokens(parts) == "한"
    assert join_tokens(parts[:1]) == "\ufffd"


def test_a_whole_character_keeps_no_bytes(starter_tokenizer: Any) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    [token] = vocabulary.tokens(vocabulary.encode(" most"))
    assert token == Token(768, " most", None)
    assert vocabulary.token(2) == Token(2, "<|im_end|>", None)


def test_a_whole_replacement_character_is_itself(starter_tokenizer: Any) -> None:
    vocabulary = Vocabulary(starter_tokenizer)
    assert join_tokens(vocabulary.tokens(vocabulary.encode("a\ufffdb"))) == "a\ufffdb"


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
    assert (
        join_tokens(vocabulary.tokens(vocabulary.encode(text))) == text
    )  # without the space that Llama's puts in front


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
    assert join_tokens(vocabulary.tokens(ids)) == whole == prompt


def test_specials_that_a_person_types_are_recognised(starter_tokenizer: Any) -> None:
    assert Vocabulary(starter_tokenizer).encode("a<|im_end|>") == [*starter_tokenizer("a").input_ids, 2]


def test_specials_that_the_tokenizer_adds_are_kept() -> None:
    class Adding(FakeTokenizer):
        def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
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
    assert join_tokens(starter.vocabulary.tokens(ids)) == as_the_tokenizer_decodes(starter, ids)


@given(ids=st.lists(st.integers(0, 49151), max_size=12))
def test_any_ids_join_as_the_tokenizer_decodes_them(starter: LocalEngine, ids: list[int]) -> None:
    assert join_tokens(starter.vocabulary.tokens(ids)) == as_the_tokenizer_decodes(starter, ids)


# ---- the tokens of a text add up to it


def with_added_tokens() -> PreTrainedTokenizerFast:
    made = tiny_models.tokenizer()
    made.add_tokens(["ilÖveyou", "đem", "café", "한국어", " tab\u0120x"])
    return made


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte level": tiny_models.tokenizer,
    "byte level, added tokens": with_added_tokens,
    "as Llama's": partial(sentencepiece_like, dropping=True),
    "as Gemma's": partial(sentencepiece_like, dropping=False),
    "SentencePiece": tiny_models.sentencepiece,
    "WordPiece": tiny_models.wordpiece,
    "ends of words": tiny_models.word_ends,
}


@cache
def of_kind(kind: str) -> tuple[FileTokenizer, Vocabulary, list[list[int]]]:
    """A tokenizer, and its ids in groups that are whole characters: bytes of their own come in whole ones only, since
    the library makes a whole run of them U+FFFD where one is missing.
    """
    speaks = tokenizer_of(KINDS[kind]())
    pieces = {n: speaks.convert_ids_to_tokens(n) for n in range(speaks._tokenizer.get_vocab_size())}
    of_bytes = {piece: n for n, piece in pieces.items() if piece and piece.startswith("<0x")}
    groups = [[n] for n, piece in pieces.items() if piece not in of_bytes]
    if of_bytes:
        groups += [[of_bytes[f"<0x{byte:02X}>"] for byte in c.encode()] for c in " a\n한é🎉\ufffd"]
    return speaks, Vocabulary(speaks), groups


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_tokens_add_up_to_what_the_tokenizer_decodes(kind: str, data: st.DataObject) -> None:
    speaks, vocabulary, groups = of_kind(kind)
    ids = [n for group in data.draw(st.lists(st.sampled_from(groups), max_size=24)) for n in group]
    whole = speaks.decode(ids, **PLAIN)
    assert join_tokens(vocabulary.tokens(ids)) == whole
    # As a run has them: a prompt's, and then one at a time.
    cut = data.draw(st.integers(0, len(ids)))
    steps = [vocabulary.decoder_after(ids[:n]).token(ids[n]) for n in range(cut, len(ids))]
    assert join_tokens([*vocabulary.tokens(ids[:cut]), *steps]) == whole
    assert vocabulary.tokens(ids[cut:], ids[:cut]) == tuple(steps)
    assert [token.token_id for token in vocabulary.tokens(ids)] == ids


@pytest.mark.parametrize("kind", KINDS)
def test_other_ways_to_make_the_same_tokenizer_add_up_too(kind: str) -> None:
    speaks, vocabulary = KINDS[kind](), Vocabulary(KINDS[kind]())  # transformers' own
    for text in ("the cat sat.", "a b", " the  cats", "한 é"):
        ids = speaks(text).input_ids
        assert join_tokens(vocabulary.tokens(ids)) == speaks.decode(ids, **PLAIN)


@pytest.mark.parametrize(
    ("kind", "text", "pieces"),
    [
        ("WordPiece", "The cat playing", ["[CLS]", " the", " cat", " play", "ing", " [SEP]"]),
        ("ends of words", "the cats the", ["the", " ca", "t", "s", " the"]),
        ("SentencePiece", "the are", ["<s>", " the", " are"]),
        ("as Llama's", "a b", ["", "a", " ", "b"]),
        ("as Gemma's", "a b", ["a", " ", "b"]),
        ("byte level, added tokens", "café đem", ["café", " ", "đem"]),
    ],
)
def test_a_token_brings_the_space_that_it_has_in_the_text(kind: str, text: str, pieces: list[str]) -> None:
    speaks, vocabulary, _ = of_kind(kind)
    assert [token.text for token in vocabulary.tokens(speaks(text)["input_ids"])] == pieces


def test_bytes_stay_bytes_after_other_tokens() -> None:
    speaks, vocabulary, _ = of_kind("as Llama's")
    ids = [speaks._tokenizer.token_to_id(piece) for piece in ("▁a", "<0xED>", "<0x95>", "<0x9C>", "<0xE2>", "▁b")]
    tokens_of_it = vocabulary.tokens(ids)
    assert [token.bytes for token in tokens_of_it] == [None, b"\xed", b"\x95", b"\x9c", b"\xe2", None]
    assert join_tokens(tokens_of_it) == "a한\ufffd b"


# ---- a text that goes on from another


@pytest.mark.parametrize(
    ("kind", "prompt", "text"),
    [
        *(("SentencePiece", *pair) for pair in (("Trans", "formers"), ("Transform", "er"), ("트", "랜스"))),
        *(("SentencePiece", *pair) for pair in (("Transformers", " are the"), ("the ", "the"), ("the", "  the"))),
        *(
            ("as Llama's", *pair)
            for pair in (("a", "b"), ("a", " b"), ("a", "  b"), ("a ", "b"), ("a\n", "\nb"), ("한", "é"))
        ),
        *(("as Gemma's", *pair) for pair in (("a", "b"), ("a", " b"), ("a", "\n b"))),
        *(("WordPiece", *pair) for pair in (("the cat", " sat on the mat"), ("the", " transformers are"))),
        *(("ends of words", *pair) for pair in (("the", " cat"), ("cats", " the cat"))),
        *(("byte level", *pair) for pair in (("a", "b"), ("한", "국 어"), ("a ", " b"), ("a", "\n\n"))),
    ],
)
def test_what_is_read_is_the_prompt_and_the_text(kind: str, prompt: str, text: str) -> None:
    speaks, vocabulary, _ = of_kind(kind)
    before = speaks(prompt)["input_ids"]
    ids = vocabulary.encode_continuation(text, before, prompt)
    assert vocabulary.text_after(before, ids) == text
    whole, start = (speaks.decode(n, **PLAIN) for n in ([*before, *ids], before))
    assert whole == start + text


def test_a_word_goes_on_where_the_whole_begins_with_the_prompt() -> None:
    speaks = of_kind("WordPiece")[0]
    before = speaks("the play", add_special_tokens=False)["input_ids"]
    bare = Vocabulary(_Bare(speaks))
    assert bare.text_after(before, bare.encode_continuation("ing", before, "the play")) == "ing"


class _Bare:
    """A tokenizer without special tokens around a text."""

    def __init__(self, speaks: FileTokenizer) -> None:
        self._speaks = speaks

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any:
        return self._speaks(text, add_special_tokens=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._speaks, name)


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
        ("\U000e0062", None, "\\u{e0062}"),
        ("👩‍👩‍👧 ❤️‍🔥 a\u200db", None, "👩‍👩‍👧·❤️‍🔥·a\\u200db"),
        ("\u05b7a\u0301", None, "\u25cc\u05b7a\u0301"),
        ("\ufe0f", None, "\u25cc\ufe0f"),
        ("<b>&amp;", None, "<b>&amp;"),
        ("", None, ""),
    ],
)
def test_labels_hide_nothing(text: str, data: bytes | None, label: str) -> None:
    assert visible(text, data) == label


@given(text=st.text())
def test_labels_are_printable(text: str) -> None:
    assert visible(text).replace("\u200d", "").isprintable()  # the joiner between two emoji
    assert " " not in visible(text)


def test_bytes_are_hexadecimal_in_json() -> None:
    from pydantic import TypeAdapter

    token = Token(5, "\ufffd", b"\xe2\x80")
    assert json.loads(TypeAdapter(Token).dump_json(token)) == {"token_id": 5, "text": "\ufffd", "bytes": "e280"}
