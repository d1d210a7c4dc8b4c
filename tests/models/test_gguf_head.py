"""The head of a GGUF file of the Hub, for a model that a server computes: fetched without the weights, kept, and read
as the whole file is.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from decoding.errors import ModelError
from decoding.models import hub
from decoding.models.catalogue import parse_model_list
from decoding.models.gguf_head import head_of
from decoding.models.loading import load_without_weights
from decoding.models.progress import no_report
from tests import gguf_files, local_hub, tiny_models
from tests.local_hub import COMMIT, Hub

FILE = "Q8_0/tiny.gguf"
(TINY,) = parse_model_list(f"hub:org/tiny/{FILE}@{COMMIT}")
HEAD = 300_000
"""Bytes after which the Hub waits: the head is shorter, and the file has some millions."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("tiny")
    network = tiny_models.network("llama", hidden_size=512, intermediate_size=1024, head_dim=128)
    (there / "Q8_0").mkdir()
    gguf_files.write(there / FILE, network, ["Q8_0"], **gguf_files.byte_tokenizer(tiny_models.VOCABULARY))
    assert (there / FILE).stat().st_size > 10 * HEAD
    (there / "other.gguf").write_bytes(b"another file")
    return there


@pytest.fixture
def net(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub.as_the_hub({"org/tiny": folder}, tmp_path / "cache", monkeypatch) as there:
        yield there


def test_the_weights_are_not_waited_for_and_not_kept(net: Hub, tmp_path: Path) -> None:
    net.hold, net.hold_after = threading.Event(), HEAD  # whoever reads on would wait for ten minutes
    told: list[str] = []
    words = load_without_weights(TINY, lambda word, _: told.append(word))
    assert (words.vocabulary_size, words.end_ids, words.context_length) == (320, {319}, tiny_models.CONTEXT)
    assert words.vocabulary.encode("the")
    assert told == [f"Asking for {TINY.name} …"]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= HEAD


def test_it_says_what_the_whole_file_says(net: Hub, folder: Path) -> None:
    head = head_of(TINY)
    hub.fetch(TINY, no_report)
    whole = head_of(TINY)
    assert whole.path.exists()
    assert head.metadata == whole.metadata
    assert head.tensors == whole.tensors


@pytest.mark.parametrize("revision", [COMMIT, "main", ""])
def test_it_is_asked_for_once_and_is_there_without_a_network(
    net: Hub, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    entry = replace(TINY, revision=revision)
    first = head_of(entry)
    asked = len(net.asked)
    assert head_of(entry) == first
    assert len(net.asked) == asked
    local_hub.disconnect(monkeypatch, is_told=True)
    assert head_of(entry) == first
    other = replace(TINY, name="org/tiny/other.gguf", file="other.gguf")
    with pytest.raises(ModelError, match="is not on this machine yet, and the Hugging Face Hub cannot be reached"):
        head_of(other)


def test_a_head_that_was_damaged_on_the_disk_is_fetched_anew(net: Hub, tmp_path: Path) -> None:
    first = head_of(TINY)
    (kept,) = (tmp_path / "cache" / "graphs" / "heads").iterdir()
    for content in (b"", b"{}\n", b"[1]\n", kept.read_bytes()[:500], b"x" * 5000):
        kept.write_bytes(content)
        assert head_of(TINY) == first


def test_what_is_refused_is_refused_in_a_sentence(net: Hub) -> None:
    other = replace(TINY, name="org/tiny/other.gguf", file="other.gguf")
    with pytest.raises(ModelError, match=r"^other\.gguf is not a GGUF file: it does not begin like one\."):
        head_of(other)
    with pytest.raises(ModelError, match=r"^org/tiny/none\.gguf cannot be fetched: its repository has no file of"):
        head_of(replace(TINY, name="org/tiny/none.gguf", file="none.gguf"))
    net.gated = True
    with pytest.raises(ModelError, match=r"does not give out org/tiny/Q8_0/tiny\.gguf \(it asks for an account\)"):
        head_of(TINY)


def test_a_network_that_breaks_off_is_said(net: Hub) -> None:
    net.break_after = 2000
    with pytest.raises(
        ModelError, match=r"^The download of org/tiny/Q8_0/tiny\.gguf broke off: the connection was cut\."
    ):
        head_of(TINY)
    assert head_of(TINY).metadata["general.architecture"] == "llama"
