"""The GGUF parser: what it reads, and one sentence for whatever is wrong with a file that nobody vouches for."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import decoding
from decoding.errors import ModelError
from decoding.models.gguf import read_gguf
from decoding.models.gguf_text import context_length
from decoding.models.loading import load_without_weights
from decoding.models.model_paths import entry_of
from decoding.models.spec import MAX_CONTEXT
from decoding.models.spec_gguf import spec_of_gguf


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, *shape: int, kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def whole(pairs: list[bytes], tensors: list[bytes], data: int = 64, *, version: int = 3, counts: Any = None) -> bytes:
    head = b"GGUF" + struct.pack("<I", version) + struct.pack("<QQ", *(counts or (len(tensors), len(pairs))))
    head += b"".join(pairs + tensors)
    return head + bytes(-len(head) % 32 + data)


ARCHITECTURE = pair("general.architecture", 8, text("llama"))
GOOD = whole([ARCHITECTURE, pair("a.list", 9, struct.pack("<IQ3i", 5, 3, 1, -2, 3))], [tensor("t", 8, 2)])


def refusal(path: Path, raw: bytes) -> str:
    (path / "m.gguf").write_bytes(raw)
    with pytest.raises(ModelError) as caught:
        read_gguf(path / "m.gguf")
    return str(caught.value)


def test_metadata_and_tensors(tmp_path: Path) -> None:
    raw = GOOD[:-64] + np.arange(16, dtype="<f4").tobytes()
    (tmp_path / "m.gguf").write_bytes(raw)
    file = read_gguf(tmp_path / "m.gguf")
    assert file.metadata == {"general.architecture": "llama", "a.list": [1, -2, 3]}
    (found,) = file.tensors.values()
    assert (found.name, found.kind.name, found.shape) == ("t", "F32", (2, 8))
    assert file.read(found).view("<f4").tolist() == list(range(16))


def test_the_starter_as_the_gguf_package_reads_it(starter_gguf: Path) -> None:
    ours, theirs = read_gguf(starter_gguf), gguf.GGUFReader(starter_gguf)
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.metadata == fields
    assert [(t.name, t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs.tensors] == [
        (one.name, one.kind.name, one.offset, one.size) for one in ours.tensors.values()
    ]


BROKEN = {
    "no GGUF": (b"PK\3\4" + bytes(60), "m.gguf is not a GGUF file: it does not begin like one. Choose another file."),
    "empty": (b"", "m.gguf is not a GGUF file"),
    "version 1": (
        whole([], [], version=1),
        "is a GGUF file of version 1, and versions 2 and 3 are read, little-endian.",
    ),
    "big-endian": (whole([], [], version=3 << 24), "is a big-endian GGUF file, and only little-endian"),
    "cut in the header": (
        GOOD[:30],
        "m.gguf is cut short or damaged: it has no room for 1 tensors. Download it again.",
    ),
    "cut in the data": (GOOD[:-1], "t lies beyond its end"),
    "a count of tensors": (whole([], [], counts=(2**63, 0)), "it has no room for 9223372036854775808 tensors"),
    "a count of entries": (whole([], [], counts=(0, 2**40)), "it has no room for 1099511627776 entries"),
    "a length of a text": (whole([pair("a", 8, struct.pack("<Q", 2**62))], []), "its beginning does not end"),
    "a length of a name": (whole([struct.pack("<Q", 2**30) + bytes(20)], []), "a name has 1073741824 bytes"),
    "a count of items": (whole([pair("a", 9, struct.pack("<IQ", 0, 2**50))], []), "no room for 1125899906842624 items"),
    "a nested list": (whole([pair("a", 9, struct.pack("<IQIQ", 9, 1, 0, 0))], []), "a is a list of a kind that is not"),
    "an unknown kind": (whole([pair("a", 13, bytes(8))], []), "a is of a kind that is unknown (13)"),
    "an entry twice": (whole([ARCHITECTURE, ARCHITECTURE], []), "it says general.architecture twice"),
    "no UTF-8": (whole([pair("a", 8, text(b"\xff\xfe"))], []), "a text in it is no UTF-8"),
    "a tensor twice": (whole([], [tensor("t", 8), tensor("t", 8, offset=32)]), "it has t twice"),
    "tensors that overlap": (whole([], [tensor("t", 8), tensor("u", 8, offset=16)]), "u lies within another tensor"),
    "alignment 0": (whole([pair("general.alignment", 4, bytes(4))], []), "its alignment is 0"),
    "alignment 3": (whole([pair("general.alignment", 4, b"\3\0\0\0")], []), "its alignment is 3"),
    "alignment of a text": (whole([pair("general.alignment", 8, text("32"))], []), "its alignment is 32"),
    "no dimensions": (whole([], [tensor("t")]), "t has 0 dimensions"),
    "five dimensions": (whole([], [tensor("t", 1, 1, 1, 1, 1)]), "t has 5 dimensions"),
    "no values": (whole([], [tensor("t", 0, 8)]), "t has rows of 0 values"),
    "a row of half a block": (whole([], [tensor("t", 48, kind=8)]), "t has rows of 48 values, and Q8_0 blocks of 32"),
    "a shape beyond all numbers": (whole([], [tensor("t", 2**63, 2**63)]), "t lies beyond its end"),
    "an offset beyond all numbers": (whole([], [tensor("t", 8, offset=2**64 - 8)]), "t lies beyond its end"),
    "a type that is not read": (whole([], [tensor("t", 256, kind=23)]), "m.gguf stores t as IQ4_XS, which is not read"),
    "a type that is unknown": (
        whole([], [tensor("t", 256, kind=999)]),
        "m.gguf stores t as type 999, which is not read",
    ),
    "a name of markup": (whole([], [tensor("<b>\n" * 40, 0)]), r"<b>\n<b>\n"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_one_sentence_for_each_fault(tmp_path: Path, fault: str) -> None:
    raw, sentence = BROKEN[fault]
    found = refusal(tmp_path, raw)
    assert sentence in found
    assert len(found) < 300
    assert found.isprintable()


def test_a_part_of_a_split_file_is_said_to_be_one(tmp_path: Path) -> None:
    count = pair("split.count", 2, struct.pack("<H", 3))
    said = "m.gguf is no whole GGUF file: it is one of several parts. Name a file that is whole."
    assert refusal(tmp_path, whole([ARCHITECTURE, count], [])) == said
    (tmp_path / "m.gguf").write_bytes(whole([ARCHITECTURE, pair("split.count", 2, struct.pack("<H", 1))], []))
    assert read_gguf(tmp_path / "m.gguf").metadata["split.count"] == 1


def test_more_items_than_any_vocabulary(tmp_path: Path) -> None:
    count = 2**23 + 1
    raw = whole([pair("a", 9, struct.pack("<IQ", 0, count) + bytes(count))], [])
    assert "its lists have more than 8388608 items" in refusal(tmp_path, raw)


def test_a_file_that_is_gone_or_cut_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    with pytest.raises(ModelError, match=r"m\.gguf is cut short or damaged: it cannot be read"):
        read_gguf(path)
    path.write_bytes(GOOD)
    file = read_gguf(path)
    path.write_bytes(GOOD[:-10])
    with pytest.raises(ModelError, match="t is cut"):
        file.read(file.tensors["t"])


SAID = {
    "llama.block_count": 1,
    "llama.embedding_length": 8,
    "llama.context_length": 16,
    "llama.feed_forward_length": 8,
    "llama.attention.head_count": 2,
}
FACTS = [pair(name, 4, struct.pack("<I", value)) for name, value in SAID.items()]
FACTS += [pair("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))]
TOKENS = pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
COMPLETE = whole([ARCHITECTURE, TOKENS, *FACTS], [tensor("token_embd.weight", 8, 2)])


def described(path: Path, raw: bytes) -> str:
    (path / "m.gguf").write_bytes(raw)
    with pytest.raises(ModelError) as caught:
        spec_of_gguf(read_gguf(path / "m.gguf"))
    return str(caught.value)


def test_a_model_that_is_described(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(COMPLETE)
    spec = spec_of_gguf(read_gguf(tmp_path / "m.gguf"))
    assert (spec.family, spec.layers, spec.head_width, spec.kv_heads, spec.vocabulary_size) == ("llama", 1, 4, 2, 2)


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("value", [struct.pack("<I", 0), struct.pack("<I", 2**32 - 1)], ids=["0", "most"])
def test_facts_that_make_no_sense(tmp_path: Path, name: str, value: bytes) -> None:
    facts = [pair(one, 4, value if one == name else struct.pack("<I", said)) for one, said in SAID.items()]
    raw = whole([ARCHITECTURE, *facts, FACTS[-1]], [tensor("token_embd.weight", 8, 2)])
    short = name.removeprefix("llama.")
    assert f"m.gguf does not say what its model is: {short} is missing or makes no sense." in described(tmp_path, raw)


@pytest.mark.parametrize("value", [2**20, 2**31 - 1])
def test_more_layers_than_tensors_and_heads_wider_than_any(tmp_path: Path, value: int) -> None:
    for name in ("llama.block_count", "llama.attention.key_length"):
        facts = [pair(one, 4, struct.pack("<I", said)) for one, said in (SAID | {name: value}).items()]
        raw = whole([ARCHITECTURE, *facts, FACTS[-1]], [tensor("token_embd.weight", 8, 2)])
        assert f"{name.removeprefix('llama.')} is missing or makes no sense." in described(tmp_path, raw)


NAMED = pair("tokenizer.ggml.model", 8, text("llama"))
THREE = pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3) + text("a") + text("b") + text("c"))


@pytest.mark.parametrize(
    ("said", "ends", "beginning"),
    [
        ({}, {2}, 1),  # SentencePiece's own, which llama.cpp takes too
        ({"eos": 0}, {0}, 1),
        ({"bos": 0, "eot": 1}, {1, 2}, 0),
        ({"bos": 2**32 - 1, "eos": 2**32 - 1}, set(), None),
        ({"eos": 3}, set(), 1),  # beyond the last
    ],
    ids=str,
)
def test_where_a_text_of_sentencepieces_begins_and_ends(
    tmp_path: Path, said: dict[str, int], ends: set[int], beginning: int | None
) -> None:
    named = [pair(f"tokenizer.ggml.{name}_token_id", 4, struct.pack("<I", n)) for name, n in said.items()]
    raw = whole([ARCHITECTURE, NAMED, THREE, *named, *FACTS], [tensor("token_embd.weight", 8, 3)], 96)
    (tmp_path / "m.gguf").write_bytes(raw)
    file = read_gguf(tmp_path / "m.gguf")
    spec = spec_of_gguf(file)
    assert (spec.end_ids, spec.beginning_id) == (ends, beginning)
    assert (spec.vocabulary_size, spec.context_length, context_length(file)) == (3, 16, 16)


def test_another_tokenizer_that_names_no_end_has_none(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(COMPLETE)
    spec = spec_of_gguf(read_gguf(tmp_path / "m.gguf"))
    assert (spec.end_ids, spec.beginning_id) == (set(), None)


def test_a_context_beyond_what_is_ever_read_is_prepared_no_further(tmp_path: Path) -> None:
    facts = [pair(one, 4, struct.pack("<I", n)) for one, n in (SAID | {"llama.context_length": 2**31 - 1}).items()]
    (tmp_path / "m.gguf").write_bytes(whole([ARCHITECTURE, *facts, FACTS[-1]], [tensor("token_embd.weight", 8, 2)]))
    assert spec_of_gguf(read_gguf(tmp_path / "m.gguf")).context_length == MAX_CONTEXT


@pytest.mark.parametrize(
    ("name", "kind", "value", "said"),
    [
        ("attention.causal", 7, b"\0", "attention.causal = False"),
        ("expert_count", 4, struct.pack("<I", 8), "expert_count = 8"),
        ("logit_scale", 6, struct.pack("<f", 2), "logit_scale = 2.0"),
        ("final_logit_softcapping", 6, struct.pack("<f", 30), "final_logit_softcapping = 30.0"),
        ("attention.sliding_window_pattern", 4, struct.pack("<I", 2), "attention.sliding_window_pattern = 2"),
        ("attention.shared_kv_layers", 4, struct.pack("<I", 1), "attention.shared_kv_layers = 1"),
        ("rope.global.freq_base", 6, struct.pack("<f", 1e6), "rope.global.freq_base = 1000000.0"),
        ("rope.scaling.alpha", 6, struct.pack("<f", 2), "rope.scaling.alpha = 2.0"),
        ("a key of tomorrow", 8, text("<b>\n"), r"a key of tomorrow = <b>\n…"),
    ],
)
def test_metadata_that_needs_another_computation_is_refused(
    tmp_path: Path, name: str, kind: int, value: bytes, said: str
) -> None:
    raw = whole([ARCHITECTURE, TOKENS, *FACTS, pair(f"llama.{name}", kind, value)], [tensor("token_embd.weight", 8, 2)])
    assert described(tmp_path, raw).startswith(f"m.gguf says {said}, and such a model is not computed here.")


@pytest.mark.parametrize(
    ("name", "value"), [("rope.freq_base", 1e-38), ("rope.freq_base", 1e13), ("attention.scale", 1e-20)]
)
def test_a_number_that_float32_has_no_room_for_is_refused(tmp_path: Path, name: str, value: float) -> None:
    said = pair(f"llama.{name}", 12, struct.pack("<d", value))
    raw = whole([ARCHITECTURE, TOKENS, *FACTS, said], [tensor("token_embd.weight", 8, 2)])
    words = f"m.gguf says {name} = {value:g}, which has to lie between 1e-12 and 1e+12. Convert it again, or choose"
    assert described(tmp_path, raw) == f"{words} another file."


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("vocab_size", 4, struct.pack("<I", 2)),
        ("rope.scaling.original_context_length", 4, struct.pack("<I", 8)),
        ("expert_used_count", 4, struct.pack("<I", 0)),
        ("a key of tomorrow", 7, b"\0"),
        ("rope.scaling.attn_factor", 6, struct.pack("<f", 1)),
        ("rope.scaling.factor", 6, struct.pack("<f", 0)),
    ],
)
def test_metadata_that_changes_nothing_is_read_over(tmp_path: Path, name: str, kind: int, value: bytes) -> None:
    raw = whole([ARCHITECTURE, TOKENS, *FACTS, pair(f"llama.{name}", kind, value)], [tensor("token_embd.weight", 8, 2)])
    (tmp_path / "m.gguf").write_bytes(raw)
    assert spec_of_gguf(read_gguf(tmp_path / "m.gguf")).ropes[0].divisors == ()


def test_a_list_says_nothing_of_every_how_many_layers_see_all(tmp_path: Path) -> None:
    facts = [pair("general.architecture", 8, text("gemma3")), TOKENS]
    facts += [pair(n.replace("llama", "gemma3"), 4, struct.pack("<I", v)) for n, v in SAID.items()]
    facts += [pair("gemma3.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))]
    facts += [pair("gemma3.attention.sliding_window", 4, struct.pack("<I", 8))]
    listed = pair("gemma3.attention.sliding_window_pattern", 9, struct.pack("<IQI", 4, 1, 1))
    said = described(tmp_path, whole([*facts, listed], [tensor("token_embd.weight", 8, 2)]))
    assert "attention.sliding_window_pattern is missing or makes no sense." in said


def test_another_family_another_vocabulary_and_no_embedding(tmp_path: Path) -> None:
    mamba = whole([pair("general.architecture", 8, text("mamba")), *FACTS], [])
    assert "m.gguf holds a model of the family mamba, which is not read" in described(tmp_path, mamba)
    hostile = described(tmp_path, whole([pair("general.architecture", 8, text("\x1b[31m\n" + "x" * 2**20))], []))
    assert r"a model of the family \x1b[31m\nxxx" in hostile
    assert len(hostile) < 300
    assert hostile.isprintable()
    other = whole([ARCHITECTURE, TOKENS, *FACTS], [tensor("token_embd.weight", 8, 2**0)])
    assert "m.gguf has 2 tokens and an embedding of 1 rows" in described(tmp_path, other)
    none = whole([ARCHITECTURE, *FACTS], [])
    assert "m.gguf lacks the tensor token_embd.weight" in described(tmp_path, none)


F32, F16, BF16, Q8_0, Q4_K, Q6_K = 0, 1, 30, 8, 12, 14


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({F32: 4}, "float32"),
        ({F16: 9, F32: 1}, "float16 weights, computed in float32"),
        ({BF16: 1}, "bfloat16 weights, computed in float32"),
        ({BF16: 1, F16: 1}, "float16 and bfloat16 weights, computed in float32"),
        ({Q4_K: 4, Q8_0: 1}, "four-bit weights, computed in float32"),  # the starter's mix
        ({Q4_K: 4, Q6_K: 2}, "four-bit and six-bit weights, computed in float32"),
        ({Q4_K: 2, Q8_0: 3}, "four-bit and eight-bit weights, computed in float32"),  # Gemma 3 270M's embedding
        ({Q4_K: 2, F16: 3}, "four-bit and float16 weights, computed in float32"),
        ({Q4_K: 1, F32: 9}, "four-bit and float32 weights, computed in float32"),
        ({Q4_K: 1, F32: 4, F16: 4}, "four-bit and float32 weights, computed in float32"),
    ],
    ids=str,
)
def test_how_a_mix_of_weights_is_called(tmp_path: Path, rows: dict[int, int], words: str) -> None:
    sizes = {F32: 1024, F16: 512, BF16: 512, Q8_0: 272, Q4_K: 144, Q6_K: 210}
    tensors, at = [tensor("token_embd.weight", 8, 2)], 64
    for kind, count in rows.items():
        tensors.append(tensor(f"m.{kind}", 256, count, kind=kind, offset=at))
        at += -(-sizes[kind] * count // 32) * 32
    (tmp_path / "m.gguf").write_bytes(whole([ARCHITECTURE, TOKENS, *FACTS], tensors, at))
    assert spec_of_gguf(read_gguf(tmp_path / "m.gguf")).description == words


@given(st.binary(max_size=300), st.data())
def test_no_bytes_raise_anything_else(tmp_path_factory: Any, noise: bytes, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([GOOD, COMPLETE, b"GGUF\3\0\0\0" + noise])))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        change = data.draw(st.sampled_from(["set", "count", "cut", "insert"]))
        if change == "set":
            raw[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        elif change == "count":
            raw[at : at + 8] = struct.pack("<Q", data.draw(st.sampled_from([0, 1, 2**16, 2**31, 2**40, 2**64 - 1])))
        elif change == "insert":
            raw[at:at] = noise[:20]
        else:
            del raw[at:]
    path = tmp_path_factory.getbasetemp() / "fuzz.gguf"
    path.write_bytes(bytes(raw))
    with suppress(ModelError):
        file = read_gguf(path)
        for one in file.tensors.values():
            assert len(file.read(one)) == one.size
        spec_of_gguf(file)


@pytest.mark.parametrize(("number", "name"), [(31, "Q4_0_4_4"), (33, "Q4_0_8_8"), (37, "IQ4_NL_4_8"), (40, "NVFP4")])
def test_a_type_that_is_not_read_has_a_name(tmp_path: Path, number: int, name: str) -> None:
    (path := tmp_path / "m.gguf").write_bytes(whole([ARCHITECTURE], [tensor("a", 32, kind=number)]))
    with pytest.raises(ModelError, match=f"stores a as {name}, which is not read here"):
        read_gguf(path)


@pytest.mark.parametrize("kind", ["adapter", "imatrix", "mmproj"])
def test_what_lies_beside_models_is_no_model(tmp_path: Path, kind: str) -> None:
    """Its tokenizer is missing, and that is not what is wrong with it."""
    said = [pair("general.type", 8, text(kind)), ARCHITECTURE]
    (path := tmp_path / "m.gguf").write_bytes(whole(said, [tensor("blk.0.attn_q.weight.lora_a", 4)]))
    said = rf"^m\.gguf is no model, but a file that goes with one \({kind}\)\. Choose"
    with pytest.raises(ModelError, match=said):
        decoding.load(str(path), device="cpu")
    with pytest.raises(ModelError, match=said):
        load_without_weights(entry_of(str(path)))  # as for vLLM


def test_the_family_is_judged_before_the_tokenizer(tmp_path: Path) -> None:
    said = [pair("general.architecture", 8, text("clip"))]
    (path := tmp_path / "m.gguf").write_bytes(whole(said, [tensor("v.patch_embd.weight", 4)]))
    with pytest.raises(ModelError, match=r"m\.gguf holds a model of the family clip, which is not read"):
        decoding.load(str(path), device="cpu")
