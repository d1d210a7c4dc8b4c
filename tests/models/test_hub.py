"""Models of the Hub, over a small server that stands for it: slow, broken off, damaged, silent, not there."""

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from transformers import AutoConfig, AutoModel

import decoding
from decoding.engines.torch.engine import load as load_engine
from decoding.errors import ModelError, RoomError
from decoding.models import download, hub
from decoding.models.catalogue import Entry, format_bytes, memory_needed
from decoding.models.hub_listing import list_files
from decoding.models.known_sizes import with_known_size
from decoding.models.progress import Report, no_report
from tests import local_hub, tiny_models
from tests.local_hub import COMMIT, Hub
from tests.machines import give_memory

Folder = Callable[[str], Path]
TINY = Entry("tiny", "org/tiny", COMMIT)
MEGABYTE = 1_000_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of seven megabytes: some hundred pieces of a network."""
    network = tiny_models.network("llama", hidden_size=256, intermediate_size=1024)
    return tiny_models.save(tmp_path_factory.mktemp("tiny"), network)


@pytest.fixture
def net(drives_server: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub.as_the_hub({"org/tiny": folder}, tmp_path / "cache", monkeypatch) as there:
        yield there


def refusal(entry: Entry = TINY, report: Report = no_report, patience: hub.Patience | None = None) -> str:
    with pytest.raises(ModelError) as refused:
        hub.fetch(entry, report, patience=patience)
    assert refused.value.field == "model"
    return str(refused.value)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# ---- fetched once


def test_a_slow_network_shows_its_progress_and_the_model_decodes(net: Hub, folder: Path):
    net.hold, net.hold_after = threading.Event(), 0
    told: list[tuple[str, float | None]] = []

    def report(word: str, fraction: float | None) -> None:
        """The network goes on when it was told how far it is: at the beginning, and in the middle."""
        told.append((word.partition("; nothing has arrived")[0], fraction))  # a busy machine is quiet
        if fraction is None or net.hold is None:
            return
        if fraction < 0.2:
            held, net.hold, net.hold_after = net.hold, threading.Event(), 3 * MEGABYTE
            held.set()
        else:
            net.hold.set()

    engine = load_engine(TINY, device="cpu", report=report)
    (asking, *fetching, loading) = told
    assert asking == ("Asking for tiny …", None)
    assert loading == ("Loading tiny …", None)
    total = sum(path.stat().st_size for path in folder.iterdir())
    fractions = [fraction for _, fraction in fetching if fraction is not None]
    of = f"of {total / 1e6:.0f} MB"
    assert [word for word, _ in fetching] == [f"Fetching tiny: {f * total / 1e6:.0f} {of}" for f in fractions]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1
    assert engine.info.id == "tiny"
    assert engine.info.revision == COMMIT
    plain = decoding.load(str(folder), device="cpu")
    ours, theirs = (decoding.trace(e, "A prompt", max_new_tokens=6, top_k=3) for e in (engine, plain))
    assert ours.steps == theirs.steps
    asked = len(net.asked)
    assert hub.fetch(TINY, no_report).name == COMMIT
    assert len(net.asked) == asked  # the second time, nobody is asked


def test_only_weights_configuration_and_tokenizer_are_fetched(net: Hub, folder: Path, tmp_path: Path):
    more = Path(shutil.copytree(folder, tmp_path / "more"))
    for name in ("modeling_tiny.py", "pytorch_model.bin", "flax_model.msgpack", "README.md"):
        (more / name).write_text("no")
    net.repositories["org/tiny"] = more
    here = {path.name for path in hub.fetch(TINY, no_report).iterdir()}
    assert here == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_without_a_pin_the_commit_is_looked_up_and_kept(net: Hub):
    entry = Entry("tiny", "org/tiny")
    assert hub.fetch(entry, no_report).name == COMMIT
    assert hub.cached(entry) == hub.cached(TINY)


def test_weights_in_several_files(net: Hub, tmp_path: Path):
    network = tiny_models.network("llama", hidden_size=64)
    network.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    tiny_models.tokenizer().save_pretrained(tmp_path / "sharded")
    shards = sorted((tmp_path / "sharded").glob("model-*-of-*.safetensors"))
    assert len(shards) > 1
    net.repositories["org/tiny"] = tmp_path / "sharded"
    here = hub.fetch(TINY, no_report)
    assert [(here / shard.name).read_bytes() for shard in shards] == [shard.read_bytes() for shard in shards]
    (here / shards[0].name).unlink()
    assert hub.cached(TINY) is None


# ---- broken off


def test_a_broken_connection_is_resumed(net: Hub, folder: Path):
    net.break_after = 2 * MEGABYTE
    here = hub.fetch(TINY, no_report)
    assert len(net.ranges) == 2
    assert 0 < net.ranges[1] <= 2 * MEGABYTE
    assert weights(here) == weights(folder)


def test_an_interrupted_download_is_incomplete_and_resumes(net: Hub, folder: Path):
    """The fetching process dies in the middle, as when the server is stopped or the machine loses its power."""
    net.hold, net.hold_after = threading.Event(), 2 * MEGABYTE

    class KilledError(Exception):
        pass

    def report(word: str, fraction: float | None) -> None:
        if fraction and fraction > 0.2:
            raise KilledError

    with pytest.raises(KilledError):
        hub.fetch(TINY, report)
    assert hub.cached(TINY) is None
    (part,) = hub.blobs_folder("org/tiny").glob("*.incomplete")
    come = part.stat().st_size
    assert 0 < come < len(weights(folder))
    net.hold.set()
    net.ranges.clear()
    told: list[float] = []
    here = hub.fetch(TINY, lambda _, fraction: told.append(fraction or 0))
    assert net.ranges == [come]
    assert weights(here) == weights(folder)
    assert not list(hub.blobs_folder("org/tiny").glob("*.incomplete"))


def test_the_child_process_ends_with_its_parent(net: Hub, tmp_path: Path):
    """Nothing goes on by itself after the server was killed."""
    net.hold = threading.Event()
    code = (
        "from decoding.models import hub; from decoding.models.catalogue import Entry\n"
        f"hub.fetch(Entry('tiny', 'org/tiny', '{COMMIT}'), lambda *_: None)"
    )
    where = {"HF_ENDPOINT": net.url, "HF_HUB_CACHE": str(tmp_path / "cache" / "hub"), "HF_HUB_OFFLINE": "0"}
    server = psutil.Popen([sys.executable, "-c", code], cwd=ROOT, env=os.environ | where)
    try:
        while not net.ranges:
            with pytest.raises(psutil.TimeoutExpired):  # it is still at it
                server.wait(0.1)
        (child,) = server.children()
    finally:
        server.kill()
        server.wait()
    assert psutil.wait_procs([child], timeout=300) == ([child], [])


def test_a_quiet_network_is_reported(net: Hub):
    net.hold, net.hold_after = threading.Event(), 0
    told: list[str] = []

    def report(word: str, fraction: float | None) -> None:
        told.append(word)
        if net.hold and "nothing" in word:
            net.hold.set()

    hub.fetch(TINY, report, patience=hub.Patience(quiet_seconds=0.5))
    quiet = next(word for word in told if "nothing" in word)
    assert re.fullmatch(r"Fetching tiny: 0 of \d MB; nothing has arrived for \d+ seconds", quiet)


def test_a_silent_network_is_given_up(net: Hub):
    net.hold, patience = threading.Event(), hub.Patience()

    def impatient(_: str, fraction: float | None) -> None:
        if fraction is not None:  # how long a process takes to start, nobody knows
            patience.silence_seconds = 2.0

    assert refusal(report=impatient, patience=patience) == (
        "The download of tiny broke off: nothing arrived for 2 seconds. What has arrived is kept; try again to "
        "continue from there."
    )
    assert hub.cached(TINY) is None


def test_a_damaged_file_is_thrown_away(net: Hub):
    net.damage = True
    assert refusal() == ("A file of tiny did not arrive as it was sent, and was deleted. Try again to fetch it anew.")
    assert hub.cached(TINY) is None
    net.damage = False
    assert hub.fetch(TINY, no_report)


# ---- not to be had


def test_no_network(net: Hub, monkeypatch: pytest.MonkeyPatch):
    assert hub.is_reachable()
    local_hub.disconnect(monkeypatch)
    assert not hub.is_reachable()
    assert refusal() == (
        "tiny is not on this machine yet, and the Hugging Face Hub cannot be reached. Go online once to fetch it, or "
        "choose another model."
    )


def test_no_network_is_one_sentence_without_the_librarys_lines(
    net: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    local_hub.disconnect(monkeypatch)
    began = time.monotonic()
    assert refusal().startswith("tiny is not on this machine yet")
    with pytest.raises(ModelError, match="tiny is not on this machine yet"):
        hub.fetch_tokenizer(TINY, no_report)
    assert time.monotonic() - began < 20
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith("huggingface_hub")] == []


def test_offline_mode_makes_no_requests(net: Hub, monkeypatch: pytest.MonkeyPatch):
    local_hub.disconnect(monkeypatch, is_told=True)
    assert not hub.is_reachable()
    assert refusal().startswith("tiny is not on this machine yet")
    assert net.asked == []


def test_a_model_that_is_here_needs_no_network(net: Hub, monkeypatch: pytest.MonkeyPatch):
    here = hub.fetch(TINY, no_report)
    local_hub.disconnect(monkeypatch, is_told=True)
    assert hub.fetch(TINY, no_report) == here


@pytest.mark.parametrize(
    "entry", [Entry("nope", "org/nope"), Entry("nope", "org/tiny", "f" * 40)], ids=["repository", "commit"]
)
def test_a_missing_repository_is_refused(net: Hub, entry: Entry):
    assert refusal(entry) == (
        "The Hugging Face Hub does not give out nope (there is no such repository or commit). Choose another model."
    )


def test_pickled_weights_are_not_fetched(net: Hub, folder: Path, tmp_path: Path):
    pickled = Path(shutil.copytree(folder, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    net.repositories["org/tiny"] = pickled
    assert refusal() == "tiny has no weights as safetensors, and other formats are not opened. Choose another model."
    assert net.ranges == []


def test_a_private_repository_is_refused(net: Hub):
    net.gated = True
    assert refusal() == "The Hugging Face Hub does not give out tiny (it asks for an account). Choose another model."


def test_weights_of_nothing(net: Hub, folder: Path, tmp_path: Path):
    net.repositories["org/tiny"] = Path(shutil.copytree(folder, tmp_path / "bare"))
    (tmp_path / "bare" / "config.json").unlink()
    assert refusal() == "tiny has no config.json, so it is unknown what its weights belong to. Choose another model."
    assert net.ranges == []


@pytest.mark.parametrize("in_shards", [False, True])
def test_too_large_for_the_memory(net: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_shards: bool):
    """Of a repository that is in no catalogue, the beginnings of its files say how large the model is."""
    network = tiny_models.network("llama")
    network.save_pretrained(tmp_path / "there", max_shard_size="20KB" if in_shards else "5GB")
    tiny_models.tokenizer().save_pretrained(tmp_path / "there")
    assert (len(list((tmp_path / "there").glob("*.safetensors"))) > 1) == in_shards
    net.repositories["org/tiny"] = tmp_path / "there"
    needed = memory_needed(sum(weights.numel() for weights in network.parameters()), "float32")
    give_memory(monkeypatch, needed - 1)
    told: list[str] = []

    def ask() -> None:
        load_engine(Entry("tiny", "org/tiny"), device="cpu", dtype="float32", report=lambda word, _: told.append(word))

    with pytest.raises(RoomError) as refused:
        ask()
    assert str(refused.value) == (
        f"tiny needs {format_bytes(needed)} of memory in float32, and {format_bytes(needed - 1)} is free. Choose a "
        "smaller model, or free some memory."
    )
    assert (net.ranges, told) == ([], ["Asking for tiny …"])
    here = sum(path.stat().st_size for path in (tmp_path / "there").iterdir())
    figures = with_known_size(Entry("tiny", "org/tiny"))  # which the list of models says from now on
    assert figures.memory_needed("float32") == needed
    assert figures.download_bytes == here
    give_memory(monkeypatch, needed)
    ask()
    assert net.ranges


def test_an_encoder_is_refused_by_its_configuration(net: Hub, tmp_path: Path):
    config = AutoConfig.for_model("bert", hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    net.repositories["org/tiny"] = tiny_models.save(tmp_path / "there", AutoModel.from_config(config))
    with pytest.raises(ModelError) as refused:
        load_engine(TINY, device="cpu")
    assert str(refused.value) == "tiny is an encoder model (bert); greedy decoding needs a causal one."
    assert net.ranges == []


def test_a_header_that_cannot_be_read_is_left_to_the_loader(net: Hub, tmp_path: Path):
    there = tiny_models.save(tmp_path / "there", tiny_models.network("llama"))
    (there / "model.safetensors").write_bytes(b"x" * 10_000)
    net.repositories["org/tiny"] = there
    with pytest.raises(ModelError, match=r"^tiny could not be loaded\. Its files may be missing or damaged"):
        load_engine(Entry("tiny", "org/tiny"), device="cpu")


def test_too_large_for_the_disk(net: Hub, tmp_path: Path):
    """The Hub says how large a file is before it is fetched."""
    net.sizes["model.safetensors"] = 10**15
    sentence = refusal()
    assert sentence.startswith(f"tiny needs 1000000.1 GB on the disk of {tmp_path / 'cache' / 'hub'}, where ")
    assert sentence.endswith(" GB is free. Free some, or set HF_HOME to a folder on a larger disk.")
    assert net.ranges == []


def test_a_partial_download_needs_only_the_remaining_disk_space(net: Hub, folder: Path):
    blobs = hub.blobs_folder("org/tiny")
    blobs.mkdir(parents=True)
    come = 5 * MEGABYTE
    part = blobs / f"{local_hub.digest(folder / 'model.safetensors')}.incomplete"
    part.write_bytes(weights(folder)[:come])
    _, files = list_files("tiny", "org/tiny", COMMIT, "")
    needed = download.bytes_to_fetch("org/tiny", files)
    assert needed == sum(path.stat().st_size for path in folder.iterdir()) - come
    download.download_model("tiny", "org/tiny", COMMIT, lambda: None)
    assert net.ranges == [come]


def test_a_cache_from_elsewhere_is_trusted_only_where_it_is_whole(net: Hub, folder: Path):
    """As other programs leave it, or a person who copied some of it."""
    there = hub.blobs_folder("org/tiny").parent / "snapshots" / COMMIT
    there.parent.mkdir(parents=True)
    shutil.copytree(folder, there)
    assert hub.cached(TINY) == there
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        away = there.parent / name
        (there / name).rename(away)
        assert hub.cached(TINY) is None
        away.rename(there / name)
    (there / "model.safetensors").unlink()
    for index in (
        {"weight_map": {"a": "model-1-of-1.safetensors"}},
        [],
        {"weight_map": [{}]},
        {"weight_map": {"a": 5}},
    ):
        (there / "model.safetensors.index.json").write_text(json.dumps(index))
        assert hub.cached(TINY) is None
