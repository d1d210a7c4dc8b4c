"""Links come back as they went, are short, and whatever else is in the address is refused with a sentence."""

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding.errors import FormatError
from decoding.record.permalink import Link, from_link, to_link
from tests.fakes import NASTY

PAIRS = st.lists(st.lists(st.integers(0, 10**6), min_size=2, max_size=2), max_size=8)
SAMPLING = {"temperature": 0.7, "top_k": 40, "top_p": 1, "seed": 2**32 - 1, "first": 3}
LINKS = st.builds(
    Link,
    model=st.text(st.characters(codec="utf-8"), max_size=30),
    prompt=st.text(st.characters(codec="utf-8"), max_size=300),
    steps=st.integers(1, 256),
    choices=st.integers(1, 50),
    forced=PAIRS,
    step=st.integers(0, 255),
    language=st.sampled_from(["", "en", "ko", "pt-BR", "zh-Hant"]),
    how=st.sampled_from([{}, {"past_end": True}, {"sampling": SAMPLING}, {"past_end": True, "sampling": SAMPLING}]),
)


@given(LINKS)
def test_a_link_comes_back(link: Link) -> None:
    assert from_link(to_link(link)) == link


@pytest.mark.parametrize("prompt", NASTY.values(), ids=NASTY.keys())
def test_nasty_prompts_come_back(prompt: str) -> None:
    link = Link("starter", prompt, 8, 5, [[1, 2378]], 3)
    value = to_link(link)
    assert from_link(value) == link
    assert value.isascii()
    assert value.replace("-", "").replace("_", "").isalnum()


# Letters in no order: the worst to pack.
KOREAN = "".join(chr(0xAC00 + (n * 7919) % 11172) for n in range(500))
EMOJI = "".join(chr(0x1F300 + (n * 7919) % 0x400) for n in range(500))
PROMPTS = {
    "English": "The quick brown fox jumps over the lazy dog, and so on. " * 9,
    "Korean": KOREAN,
    "emoji": EMOJI,
    "both": "".join(map("".join, zip(KOREAN[:250], EMOJI[:250], strict=True))),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_a_prompt_of_500_characters_fits(prompt: str) -> None:
    value = to_link(Link("starter", prompt[:500], 256, 50, [[n, 49151 - n] for n in range(10)], 200, "ko"))
    assert len(value) < 2_000 - len("https://someones-long-name-greedyscope.hf.space/?run=")


def test_a_link_from_before_there_were_languages_opens() -> None:
    link = from_link(packed('["m","p",8,5,[[1,2]],3]'))
    assert link == Link("m", "p", 8, 5, [[1, 2]], 3, "")
    assert to_link(link) == packed('["m","p",8,5,[[1,2]],3]')  # and is the link of a page that has one language


@pytest.mark.parametrize(
    "value",
    ["1", "1!!!", "1abc", "1" + "A" * 50, to_link(Link("m", "a longer prompt", 8, 5, []))[:-4]],
)
def test_a_broken_link_is_refused(value: str) -> None:
    with pytest.raises(FormatError, match="This link is broken: it is cut short or altered"):
        from_link(value)


@pytest.mark.parametrize(
    "how",
    [
        "[]",
        '{"past_end":1}',
        '{"noise":1}',
        *('{"sampling":[]}', '{"sampling":{"top_k":1.5}}', '{"sampling":{"seed":-1}}', '{"sampling":{"beams":1}}'),
        *('{"sampling":{"temperature":NaN}}', '{"sampling":{"temperature":"1"}}', '{"sampling":{"top_p":true}}'),
        '{"sampling":{"seed":4294967296}}',
    ],
)
def test_a_link_that_picks_in_no_way_there_is_is_refused(how: str) -> None:
    assert from_link(packed('["m","p",8,5,[],0,"",{"past_end":true}]')).how == {"past_end": True}
    with pytest.raises(FormatError, match="This link is broken"):
        from_link(packed(f'["m","p",8,5,[],0,"",{how}]'))


def test_a_link_of_another_version_is_refused() -> None:
    with pytest.raises(FormatError, match="of a version that this page does not know"):
        from_link("2" + to_link(Link("m", "p", 8, 5, []))[1:])


def packed(text: str) -> str:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return "1" + base64.urlsafe_b64encode(packer.compress(text.encode()) + packer.flush()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        '["m","p",8,5,[]]',
        '["m","p","8",5,[],0]',
        '["m","p",8,5,[[1]],0]',
        '["m","p",8,5,[[1,2,3]],0]',
        '["m","p",8,5,{},-1]',
        '["m",["p"],8,5,[],0]',
        '["m","p",8,5,[],0,1]',
        '["m","p",8,5,[],0,"<b>"]',
        '["m","p",8,5,[],0,"ko\\n"]',
        '["m","p",8,5,[],0,"ko",0]',
        "[" * 100_000,
        '"' + "a" * 10_000_000 + '"',
    ],
    ids=lambda text: text[:24],
)
def test_a_forged_link_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="This link is"):
        from_link(packed(text))
