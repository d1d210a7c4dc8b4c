"""The address of a server, and the key that is sent to it and never shown."""

import logging

import pytest

import decoding
from decoding.engines.vllm.connection import KEY
from decoding.errors import ModelError, RequestError
from tests.engines.vllm.engine_pair import PROMPT, Pair, engine_of


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://a", "http://", "file:///etc/passwd", "\ud800"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match=r"write it as http://127\.0\.0\.1:8000"):
        decoding.connect(url)


def test_the_key_is_sent_and_never_shown(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair.fake.key = "s3cret-key"
    with pytest.raises(ModelError, match=r"refuses the key\. Set GREEDYSCOPE_ENGINE_KEY"):
        engine_of(pair.url, pair.fake)
    monkeypatch.setenv(KEY, "wrong-s3cret")
    with pytest.raises(ModelError, match="refuses the key") as wrong:
        engine_of(pair.url, pair.fake)
    monkeypatch.setenv(KEY, " s3cret-key\n")
    engine = engine_of(pair.url, pair.fake)
    pair.fake.faults.extend([("400", 0), ("500", 0)])
    with pytest.raises(ModelError) as told:  # the server says the key, and nobody else does
        decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=2)
    assert "It said: Told to answer 400 to Bearer …" in str(told.value)
    assert decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=2).steps
    said = "".join(map(str, (wrong.value, told.value, repr(engine.info), vars(engine))))
    assert "s3cret" not in said + caplog.text


def test_a_key_in_an_address_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError) as caught:
        decoding.connect("http://me:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv(KEY, "s3c\nret")
    with pytest.raises(RequestError, match="characters that a key cannot have") as caught:
        decoding.connect("http://127.0.0.1:1")
    assert "ret" not in str(caught.value).replace("GREEDYSCOPE", "")
