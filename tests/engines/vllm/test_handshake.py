"""Meeting a server: its model, its limits, and what is no server of this model."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import decoding
from decoding.__main__ import main
from decoding.engines.vllm.client import ServerClient
from decoding.engines.vllm.connection import KEY
from decoding.engines.vllm.handshake import list_models
from decoding.engines.vllm.responses import BrokenAnswerError
from decoding.errors import AddressError, ModelError, RequestError
from decoding.messages import Message
from decoding.models.catalogue import CATALOGUE
from decoding.serving.model_registry import ModelRegistry
from decoding.serving.model_setup import EngineOptions, make_loader
from tests import tiny_models
from tests.engines.vllm.engine_pair import HASTY, PROMPT, Pair, engine_of
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
        with pytest.raises(ModelError, match=f'has the model "llama", not {tiny_folder("gpt2")}. Write --model'):
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


# ---- an address at which no vLLM server answers


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a web server that is no vLLM server: pages of HTML, and one answer in JSON."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind = self.path.split("/")[1]
            status, data = {"html": (200, b"<h1>Hello</h1>"), "json": (200, b'{"hello": 1}')}.get(
                kind, (404, b"<!DOCTYPE HTML><h1>Error response</h1>")
            )
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if kind != "json" else "application/json")
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["", "/html", "/json"])
def test_a_server_that_is_no_vllm_is_named_and_its_page_is_not_printed(site: str, path: str) -> None:
    with pytest.raises(AddressError) as caught:
        list_models(ServerClient(site + path, HASTY))
    assert str(caught.value) == (
        f"The server at {site}{path} is no vLLM server: it has no OpenAI-compatible {site}{path}/v1/models. "
        "Correct the address."
    )


def test_a_page_of_html_is_not_repeated(site: str) -> None:
    with pytest.raises(ModelError) as caught:
        ServerClient(site, HASTY).complete({})
    assert str(caught.value) == (
        "The model's server refuses the request (404). Perhaps it was started anew with other settings: run again, or "
        "tell the server's operator. It said: Not Found"
    )


def test_an_address_where_nobody_answers_is_named_with_the_cause(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
    encrypted = pair.url.replace("http:", "https:")
    said = {
        gone: f"Nothing listens at {gone}: the connection was refused. Start the vLLM server there, or correct the "
        "host or the port.",
        "http://no-such-host.invalid:8000": "The host of http://no-such-host.invalid:8000 is not known. Correct its "
        "name, or check that this machine can look names up.",
        encrypted: f"The server at {encrypted} does not speak TLS. Write http:// instead of https://, or correct the "
        "port.",
    }
    for address, sentence in said.items():
        with pytest.raises(AddressError) as caught:
            list_models(ServerClient(f"{address}/v1", HASTY))
        assert str(caught.value) == sentence


def test_a_server_that_only_fails_is_named(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenAnswerError(Message("engine.why.status", status=503))

    client = ServerClient(pair.url, HASTY)
    monkeypatch.setattr(client, "get", fail)
    with pytest.raises(AddressError) as caught:
        list_models(client)
    assert str(caught.value) == (
        f"The vLLM server at {pair.url} does not answer: it answered with status 503. Check that it runs, and whether "
        "its address begins with http or https."
    )


def test_the_terminal_says_the_address_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "--engine", "http://127.0.0.1:1"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("Nothing listens at http://127.0.0.1:1: ")
    assert err.count("\n") == 1


def test_the_pages_log_names_the_address_in_one_line_and_its_visitors_do_not_read_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = {"starter": CATALOGUE["starter"]}
    how = EngineOptions("http://127.0.0.1:1", "auto", "auto")
    registry = ModelRegistry(make_loader(entries, how), ["starter"])
    with pytest.raises(ModelError) as caught:
        registry.engine("starter")
    assert str(caught.value) == (
        "The model's server cannot be reached. Nothing of yours is lost. Try again in a minute, or tell the server's "
        "operator."
    )
    (named,) = [record for record in caplog.records if "http://127.0.0.1:1" in record.getMessage()]
    assert "Nothing listens at http://127.0.0.1:1: " in named.getMessage()
    assert not any(record.exc_info for record in caplog.records)


# ---- a model that the server does not have


def test_a_model_that_is_not_served_is_refused_before_the_hub_is_asked(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("decoding.engines.vllm.engine.load_without_weights", asked)
    for name, write in {
        "openai-community/gpt2": "--model gpt2",
        "Qwen/Qwen2-7B": "--model hub:Qwen/Qwen2-7B",
        "mine": "--model with the folder of a copy of that model",
    }.items():
        pair.fake.name = pair.fake.root = name
        for ours in ("gpt2-medium", "hub:owner/name@v1", "hub:owner/name/a.gguf", "starter"):
            with pytest.raises(ModelError) as caught:
                decoding.connect(pair.url, model=ours)
            asked_for = ours.removeprefix("hub:").removesuffix("@v1")
            assert str(caught.value) == (
                f'The server has the model "{name}", not {asked_for}. Write {write}, or start the server with '
                f"--served-model-name {asked_for}."
            )


@pytest.mark.parametrize("name", ["starter", "gpt2", "distilgpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_the_name_that_the_server_gives_is_advised_before_the_path_of_its_files(
    pair: Pair, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    pair.fake.name, pair.fake.root = name, str(folder)
    with pytest.raises(ModelError, match=f"Write --model {name}, or start"):
        decoding.connect(pair.url, model="hub:owner/name")


@pytest.mark.parametrize(
    ("ours", "served"),
    [
        ("gpt2", "gpt2"),
        ("gpt2", "openai-community/gpt2"),
        ("gpt2", f"/cache/models--openai-community--gpt2/snapshots/{CATALOGUE['gpt2'].revision}"),
        ("hub:owner/name", "/cache/models--owner--name/snapshots/0123"),
        ("hub:owner/name/q8/a.gguf", "/models/a.gguf"),
        ("hub:owner/name@v1", "name"),
    ],
)
def test_a_name_that_may_be_this_model_is_read_further(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, ours: str, served: str
) -> None:
    class ReadError(Exception):
        pass

    def read(*_: object) -> None:
        raise ReadError

    monkeypatch.setattr("decoding.engines.vllm.engine.load_without_weights", read)
    pair.fake.name, pair.fake.root = "alias", served
    with pytest.raises(ReadError):
        decoding.connect(pair.url, model=ours)
