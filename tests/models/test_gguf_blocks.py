"""Every block type against the gguf package's own reading of it, an independent program."""

import gguf
import numpy as np
import pytest

from decoding.models.gguf_blocks import BLOCK_TYPES, BlockType, floats

TYPES = pytest.mark.parametrize("kind", BLOCK_TYPES.values(), ids=lambda kind: kind.name)


def test_the_types_are_those_of_ggml() -> None:
    for kind in BLOCK_TYPES.values():
        theirs = gguf.GGMLQuantizationType(kind.number)
        assert (theirs.name, *gguf.GGML_QUANT_SIZES[theirs]) == (kind.name, kind.block, kind.block_bytes)


@TYPES
def test_weights_are_the_gguf_packages_own(kind: BlockType) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (64, 8 * kind.block_bytes), np.uint8)
    with np.errstate(all="ignore"):  # bytes drawn at random make infinities too
        theirs = gguf.dequantize(raw, gguf.GGMLQuantizationType(kind.number))
        ours = floats(kind, raw.reshape(-1))
    assert len(np.unique(ours)) > 400
    np.testing.assert_array_equal(ours, theirs.reshape(-1))


@TYPES
def test_numbers_have_the_bits_that_they_say(kind: BlockType) -> None:
    if kind.read is None:
        assert kind.name in ("F32", "F16", "BF16")
        return
    blocks = kind.read(np.full((2, kind.block_bytes), 255, np.uint8))
    assert blocks.numbers.max() == 2**blocks.bits - 1 or kind.name == "Q8_0"
    assert blocks.numbers.size == 2 * kind.block
    assert 0 <= blocks.zero < 2**blocks.bits
