"""Meeting a server: its model, its limits, and what is no server of this model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import decoding
from decoding.engines.vllm.client import ServerClient
from decoding.engines.vllm.connection import KEY
from decoding.engines.vllm.handshake import list_models
from decoding.errors import ModelError, RequestError
from tests import tiny_models
from tests.engines.vllm.engine_pair import PROMPT, Pair, engine_of
from tests.fake_vllm import FakeVllm

Folder = Callable[[str], Path]


@pytest.fixture
def llama(tiny_folder: Folder) -> Path:
    return tiny_folder("llama")


@pytest.mark.parametrize("most", [2, 3, 20, 49, 50, 64])
def test_the_servers_limit_is_found(pair: Pair, most: int) -> None:
    pair.fake.most = most
    engine = engine_of(pair.url, pair.fake)
    assert engine.max_top_k == min(most, 50)
    assert len(pair.fake.asked) < 12
    if most < 50:
        with pytest.raises(RequestError, match=f"gives at most {most} choices at a step, not {most + 1}") as caught:
            decoding.greedy_search(engine, PROMPT, max_new_tokens=1, top_k=most + 1)
        assert caught.value.field == "choices"
        with pytest.raises(RequestError, match=f"gives at most {most} choices"):
            decoding.score(engine, PROMPT, "a", top_k=most + 1)
    assert decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=min(most, 50)).steps


def test_a_real_model_by_its_folder(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = decoding.load(str(llama), device="cpu")
    monkeypatch.setenv(KEY, "s3cret")
    fake = FakeVllm(local, root=str(llama), context=64, key="s3cret")
    with fake.served() as url:
        for address in (url, f"{url}/", f"{url}/v1", f"{url}/v1/"):
            engine = decoding.connect(address, dtype="float32")
        assert engine.context_length == 64
        assert (engine.end_ids, engine.beginning_id) == (local.end_ids, local.beginning_id)
        ours, theirs = (decoding.trace(e, "트랜스포머 🎉", max_new_tokens=12, top_k=5) for e in (local, engine))
    assert theirs.generated_token_ids == ours.generated_token_ids
    for step, other in zip(theirs.steps, ours.steps, strict=True):
        assert step.rest == pytest.approx(other.rest, abs=1e-4)
    assert theirs.model == decoding.ModelInfo(
        id=str(llama),
        revision="",
        dtype="float32",
        device="server",
        engine="vLLM 0.0.fake",
        why="computed by a server, which gives only the top candidates: no logits, no entropy",
    )


def test_without_its_dtype_nothing_is_claimed(pair: Pair) -> None:
    assert pair.server.info.dtype == "unknown dtype"
    with pytest.raises(RequestError, match='There is no dtype "int4"'):
        decoding.connect(pair.url, dtype="int4")


def test_another_model_is_refused(llama: Path, tiny_folder: Folder) -> None:
    fake = FakeVllm(decoding.load(str(llama), device="cpu"), name="llama", root="/models/llama")
    with fake.served() as url:
        with pytest.raises(ModelError, match=f'has the model "llama", not {tiny_folder("gpt2")}. Choose that one'):
            decoding.connect(url, model=str(tiny_folder("gpt2")))
        with pytest.raises(RequestError, match='has the model "llama", which has no tokenizer here'):
            decoding.connect(url)
        fake.name = "starter"  # it says so, and is not
        with pytest.raises(ModelError, match="reads a text as different token ids than starter does"):
            decoding.connect(url)


def test_a_larger_vocabulary_than_the_servers_is_refused(llama: Path, tmp_path: Path) -> None:
    larger = tiny_models.save(tmp_path, tiny_models.network("llama", vocab_size=321))
    fake = FakeVllm(decoding.load(str(llama), device="cpu"), name=str(larger))
    with fake.served() as url, pytest.raises(ModelError, match="it has another vocabulary, so it serves another model"):
        decoding.connect(url)


def test_a_server_that_is_no_vllm_is_refused(pair: Pair) -> None:
    class Other(ServerClient):
        def get(self, path: str) -> Any:
            return {"hello": 1}

    with pytest.raises(ModelError, match=r"serves no models\. It has to be a vLLM"):
        list_models(Other(pair.url))
