"""One GGUF file of a repository of the Hub, over a small server that stands for it: fetched alone, resumed, held to its
sum, and decoded by every way that computes.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import decoding
from decoding.engines.loading import load
from decoding.engines.local_engine import LocalEngine
from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.torch.network import TorchNetwork
from decoding.errors import ModelError, RoomError
from decoding.models import download, hub
from decoding.models.catalogue import Entry, memory_of_files, parse_model_list
from decoding.models.gguf_head import check_head
from decoding.models.hub_listing import list_files
from decoding.models.known_sizes import with_known_size
from decoding.models.loading import load_without_weights
from decoding.models.model_paths import find_source, holds_gguf
from decoding.models.progress import Report, no_report
from decoding.serving.availability import local_offers
from decoding.site.model_files import write_model
from tests import gguf_files, local_hub, tiny_models
from tests.local_hub import COMMIT, Hub
from tests.machines import give_memory

FILE = "Q8_0/tiny.Q8_0.gguf"
NAME = f"org/tiny/{FILE}"
(TINY,) = parse_model_list(f"hub:{NAME}@{COMMIT}")
HALF = 600_000
"""Bytes after which a network breaks off: the file has a million."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file in a folder, beside what nobody asked for."""
    there = tmp_path_factory.mktemp("tiny")
    model = tiny_models.network("llama", hidden_size=256, intermediate_size=256, head_dim=64, initializer_range=0.1)
    (there / "Q8_0").mkdir()
    gguf_files.write(there / FILE, model, ["Q8_0"], **gguf_files.byte_tokenizer(tiny_models.VOCABULARY))
    assert (there / FILE).stat().st_size > 1.5 * HALF
    for name in ("tiny.Q8_0.gguf", "Q8_0/other.gguf", "model.safetensors", "config.json", "README.md"):
        (there / name).write_bytes(b"another file")
    return there


@pytest.fixture
def net(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub.as_the_hub({"org/tiny": folder}, tmp_path / "cache", monkeypatch) as there:
        yield there


def refusal(entry: Entry = TINY, report: Report = no_report) -> str:
    with pytest.raises(ModelError) as refused:
        hub.fetch(entry, report)
    return str(refused.value)


def label(entry: Entry) -> str:
    (offer,) = local_offers([entry], dtype="auto")(())
    return offer.label


# ---- fetched


def test_that_file_is_fetched_and_no_other_and_once(net: Hub, folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    here = find_source(TINY, lambda word, _: told.append(word))
    assert here.read_bytes() == (folder / FILE).read_bytes()
    assert here.as_posix().endswith(f"/snapshots/{COMMIT}/{FILE}")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.resolve().name for path in kept if "snapshots" in path.parts or "blobs" in path.parts} == {
        local_hub.digest(folder / FILE)
    }
    assert told[0] == f"Asking for {NAME} …"
    assert set(told[1:]) <= {f"Fetching {NAME}: {done} of 1 MB" for done in (0, 1)}
    assert net.ranges == [0]
    asked = len(net.asked)
    assert find_source(TINY) == here
    assert len(net.asked) == asked


@pytest.mark.parametrize("revision", ["", "main"])
def test_without_a_commit_it_is_looked_up_and_kept(
    net: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    entry = replace(TINY, revision=revision)
    here = hub.fetch(entry, no_report)
    local_hub.disconnect(monkeypatch, is_told=True)
    assert hub.cached(entry) == hub.cached(TINY) == here
    assert hub.fetch(entry, no_report) == here


def test_two_files_of_one_repository_are_two_models(net: Hub) -> None:
    other = replace(TINY, name="org/tiny/Q8_0/other.gguf", file="Q8_0/other.gguf")
    hub.fetch(TINY, no_report)
    assert hub.cached(other) is None
    assert hub.fetch(other, no_report).read_bytes() == b"another file"
    assert with_known_size(other).download_bytes == 12 != with_known_size(TINY).download_bytes


def test_a_broken_connection_is_resumed(net: Hub, folder: Path) -> None:
    net.break_after = HALF
    assert hub.fetch(TINY, no_report).read_bytes() == (folder / FILE).read_bytes()
    assert len(net.ranges) == 2
    assert 0 < net.ranges[1] <= HALF


def test_an_interrupted_download_resumes(net: Hub, folder: Path) -> None:
    net.hold, net.hold_after = threading.Event(), HALF

    class KilledError(Exception):
        pass

    def report(word: str, fraction: float | None) -> None:
        if fraction and fraction > 0.05:
            raise KilledError

    with pytest.raises(KilledError):
        hub.fetch(TINY, report)
    assert hub.cached(TINY) is None
    (part,) = hub.blobs_folder("org/tiny").glob("*.incomplete")
    come = part.stat().st_size
    assert 0 < come < (folder / FILE).stat().st_size
    net.hold.set()
    net.ranges.clear()
    assert hub.fetch(TINY, no_report).read_bytes() == (folder / FILE).read_bytes()
    assert net.ranges == [come]
    assert not part.exists()


def test_a_partial_download_needs_only_the_remaining_disk_space(net: Hub, folder: Path) -> None:
    blobs = hub.blobs_folder("org/tiny")
    blobs.mkdir(parents=True)
    raw = (folder / FILE).read_bytes()
    (blobs / f"{local_hub.digest(folder / FILE)}.incomplete").write_bytes(raw[:HALF])
    _, files = list_files(NAME, "org/tiny", COMMIT, FILE)
    assert download.bytes_to_fetch("org/tiny", files) == len(raw) - HALF
    download.download_model(NAME, "org/tiny", COMMIT, lambda: None, gguf=FILE)
    assert net.ranges == [HALF]


# ---- refused


def test_a_wrong_sum_is_thrown_away(net: Hub) -> None:
    net.damage = True
    assert refusal() == (
        f"A file of {NAME} did not arrive as it was sent, and was deleted. Try again to fetch it anew."
    )
    assert hub.cached(TINY) is None
    assert not [*hub.blobs_folder("org/tiny").iterdir()]


def test_a_file_whose_sum_is_not_known(net: Hub) -> None:
    net.without_sums = True
    assert refusal() == (f"{NAME} cannot be checked: the Hugging Face Hub has no sha256 for it. Choose another model.")
    assert hub.cached(TINY) is None
    assert net.ranges == []


def test_a_file_that_is_not_there(net: Hub) -> None:
    (entry,) = parse_model_list("hub:org/tiny/Q4_0/tiny.gguf")
    assert refusal(entry) == (
        "org/tiny/Q4_0/tiny.gguf cannot be fetched: its repository has no file of that name. Choose another model."
    )


def test_a_repository_of_gguf_files_is_told_how_to_name_one(net: Hub, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there" / "Q8_0").mkdir(parents=True)
    (tmp_path / "there" / FILE).write_bytes((folder / FILE).read_bytes())
    net.repositories["org/tiny"] = tmp_path / "there"
    (entry,) = parse_model_list("hub:org/tiny")
    assert refusal(entry) == (
        f"org/tiny has GGUF files: the operator has to name one of them, as hub:{NAME}. Choose another model."
    )
    assert net.ranges == []


def test_a_branch_that_moves_meanwhile(net: Hub) -> None:
    """The file that is trusted is the one whose sum was held: a newer commit is not taken in its place."""
    download.download_model(NAME, "org/tiny", "", lambda: None, gguf=FILE)
    listed, *later = net.asked
    assert listed == "/api/models/org/tiny"  # the branch
    assert later
    assert all(COMMIT in path for path in later), later


def test_too_large_for_the_disk(net: Hub, tmp_path: Path) -> None:
    net.sizes["tiny.Q8_0.gguf"] = 10**15
    said = refusal()
    assert said.startswith(f"{NAME} needs 1000000.1 GB on the disk of {tmp_path / 'cache' / 'hub'}, where ")
    assert net.ranges == []


def test_too_large_for_the_memory_before_it_is_fetched(net: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = memory_of_files((folder / FILE).stat().st_size)
    give_memory(monkeypatch, free=needed - 1, total=needed - 1)
    with pytest.raises(RoomError, match=rf"^{NAME} needs 30\d MB of memory in float32, and 30\d MB is free\."):
        load(TINY, device="cpu", dtype="float32")
    assert net.ranges == []
    assert label(TINY).startswith(f"{NAME} — needs 30")


TYPE = b"blk.0.ffn_up.weight" + (2).to_bytes(4, "little") + (256).to_bytes(8, "little") * 2
"""What stands in the file before the type of that tensor."""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"llama", b"mamba", r"^bad\.gguf holds a model of the family mamba, which is not read"),
        (b"gpt-2", b"gpt-9", r'tokenizer.*"gpt-9"'),
        (TYPE + b"\x08", TYPE + b"\x14", r"^bad\.gguf stores blk\.0\.ffn_up\.weight as IQ4_NL, which is not read"),
    ],
    ids=["family", "tokenizer", "type"],
)
def test_a_file_that_is_not_read_is_refused_before_it_is_fetched(
    net: Hub, folder: Path, tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    raw = (folder / FILE).read_bytes()
    assert old in raw
    (there := tmp_path / "there").mkdir()
    (there / "bad.gguf").write_bytes(raw.replace(old, new))
    net.repositories["org/bad"] = there
    (entry,) = parse_model_list("hub:org/bad/bad.gguf")
    ways: list[Callable[[], object]] = [
        lambda: load(entry, device="cpu"),
        lambda: load(entry, device="cpu", engine="torch"),
        lambda: write_model(entry, tmp_path / "site", {}, no_report),
    ]
    for ask in ways:
        with pytest.raises(ModelError, match=words):
            ask()
        blobs = hub.blobs_folder("org/bad")
        assert not blobs.exists() or not [*blobs.iterdir()]


def test_a_file_that_was_refused_and_then_replaced_is_looked_at_again(net: Hub, folder: Path, tmp_path: Path) -> None:
    raw = (folder / FILE).read_bytes()
    (there := tmp_path / "there").mkdir()
    (there / "m.gguf").write_bytes(raw.replace(b"llama", b"mamba"))
    net.repositories["org/m"] = there
    (entry,) = parse_model_list("hub:org/m/m.gguf")
    with pytest.raises(ModelError, match="family mamba"):
        load(entry, device="cpu")
    (there / "m.gguf").write_bytes(raw)
    assert len(steps_of(load(entry, device="cpu"))) > 1
    assert not (tmp_path / "cache" / "graphs" / "heads").exists()  # what was fetched whole needs no copy of its head


def test_a_head_is_judged_without_the_divisors_that_its_file_stores(net: Hub, tmp_path: Path) -> None:
    model = tiny_models.network("llama", head_dim=64, initializer_range=0.1)
    (there := tmp_path / "there").mkdir()
    facts = gguf_files.byte_tokenizer(tiny_models.VOCABULARY)
    gguf_files.write(
        there / "three.gguf", model, ["Q8_0"], extra={"rope_freqs.weight": [1.0] * 16 + [8.0] * 16}, **facts
    )
    net.repositories["org/three"] = there
    (entry,) = parse_model_list("hub:org/three/three.gguf")
    assert check_head(entry).vocabulary_size == tiny_models.VOCABULARY
    hub.fetch(entry, no_report)
    assert len(steps_of(load(entry, device="cpu"))) > 1


# ---- in the list


def test_the_list_says_where_it_is(net: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(TINY, repository="org/listed")  # of which nothing is known yet
    net.repositories["org/listed"] = net.repositories["org/tiny"]
    assert label(entry) == f"{NAME} · to be fetched"
    with monkeypatch.context() as patch:
        local_hub.disconnect(patch, is_told=True)
        assert label(entry) == f"{NAME} — not on disk, and no network"
    net.hold = threading.Event()

    class StoppedError(Exception):
        pass

    def stop(word: str, fraction: float | None) -> None:
        if fraction is not None:
            raise StoppedError

    with pytest.raises(StoppedError):
        hub.fetch(entry, stop)
    assert label(entry) == f"{NAME} · 1 MB to fetch"
    net.hold.set()
    hub.fetch(entry, no_report)
    local_hub.disconnect(monkeypatch, is_told=True)
    assert label(entry) == f"{NAME} · on disk"


# ---- decoded


def steps_of(engine: LocalEngine) -> list[tuple[int, float]]:
    steps = decoding.trace(engine, "the three things", max_new_tokens=8, top_k=3).steps
    return [(step.picked.token_id, step.picked.probability) for step in steps]


def test_onnx_runtime_computes_it_as_it_is_stored(net: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = load(TINY, device="cpu")
    assert isinstance(ours.network, OnnxNetwork)
    assert ours.info.engine.endswith(", eight-bit weights, computed in float32")
    assert (ours.info.id, ours.info.revision, ours.info.dtype) == (NAME, COMMIT, "float32")
    assert ours.context_length == tiny_models.CONTEXT
    assert ours.end_ids == {tiny_models.VOCABULARY - 1}
    found = steps_of(ours)
    assert len({token_id for token_id, _ in found}) > 1
    assert found == steps_of(decoding.load(str(folder / FILE), device="cpu"))
    local_hub.disconnect(monkeypatch, is_told=True)  # from the cache, as in a lesson without a network
    assert found == steps_of(load(TINY, device="cpu"))
    theirs = load(TINY, device="cpu", engine="torch")
    assert isinstance(theirs.network, TorchNetwork)
    assert theirs.info.revision == COMMIT
    assert theirs.info.engine.endswith(", eight-bit weights, computed in float32")
    assert (theirs.beginning_id, theirs.end_ids) == (ours.beginning_id, ours.end_ids) == (None, ours.end_ids)
    for (token_id, probability), (other_id, other) in zip(found, steps_of(theirs), strict=True):
        assert token_id == other_id
        assert probability == pytest.approx(other, abs=1e-4)


def test_the_words_of_a_model_that_a_server_computes(net: Hub, folder: Path) -> None:
    words = load_without_weights(TINY)
    assert (words.model, words.vocabulary_size, words.end_ids) == (NAME, 320, {319})
    assert words.context_length == tiny_models.CONTEXT
    assert words.vocabulary.encode("the") == load_without_weights(Entry(str(folder / FILE))).vocabulary.encode("the")
    assert len(words.vocabulary.encode("the")) == 2  # "th" is one
    assert {NAME, "tiny.Q8_0.gguf"} < words.names


def test_a_file_that_is_no_gguf(net: Hub) -> None:
    (entry,) = parse_model_list("hub:org/tiny/Q8_0/other.gguf")
    for ask in (lambda: load(entry, device="cpu"), lambda: load_without_weights(entry)):
        with pytest.raises(ModelError, match=r"^other\.gguf is not a GGUF file: it does not begin like one\."):
            ask()


def test_a_repository_whose_name_ends_as_a_file_does() -> None:
    (entry,) = parse_model_list("hub:org/tiny.gguf")
    assert not holds_gguf(entry)
    assert holds_gguf(TINY)
