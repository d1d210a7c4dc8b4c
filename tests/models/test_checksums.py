"""A byte that changes on the disk, in a file as long as before: it is found when the model is loaded."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import decoding
from decoding.errors import ModelError
from decoding.models import checksums
from decoding.models.catalogue import CATALOGUE
from decoding.models.checksums import CONTENTS_FILE, SUMS_FILE, is_whole, look_ahead, seal
from decoding.models.loading import load_words
from tests import tiny_models


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    tiny_models.save(folder, tiny_models.network("llama"), bos_token="<|begin|>")
    seal(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed folder, which is the starter's."""
    copy = Path(shutil.copytree(written, tmp_path / "starter"))
    monkeypatch.setattr("decoding.models.loading.ensure_starter", lambda report: copy)
    return copy


def flip(file: Path, place: float) -> None:
    """Another bit at a place, 0 to 1, of a file that stays as long as it was."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 0x40
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "place"),
    [("model.safetensors", 0.9), ("model.safetensors", 0.0001), ("tokenizer.json", 0.5), ("config.json", 0.5)],
)
def test_a_changed_byte_is_found_whatever_else_it_does(folder: Path, name: str, place: float) -> None:
    assert decoding.trace(decoding.load("starter", device="cpu"), "abc", max_new_tokens=2, top_k=2).steps
    flip(folder / name, place)
    assert is_whole(folder)  # as far as a look at the sizes can tell
    with pytest.raises(ModelError) as refused:
        decoding.load("starter", device="cpu")
    assert str(refused.value) == (
        f"The starter model on this disk was changed: {name} is not as it was written. Press Run to fetch it again."
    )
    assert not is_whole(folder)  # so that it is made again


@pytest.mark.parametrize("when", ["before the look", "after it"])
def test_a_look_ahead_finds_it_and_says_nothing_of_what_changed_since(folder: Path, when: str) -> None:
    if when == "before the look":
        flip(folder / "model.safetensors", 0.9)
    look_ahead(folder)
    if when == "after it":
        checksums._looks[folder].found()
        flip(folder / "model.safetensors", 0.9)
    with pytest.raises(ModelError, match=r"model\.safetensors is not as it was written"):
        decoding.load("starter", device="cpu")


def test_a_look_ahead_is_for_one_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    sha256 = checksums._sha256
    monkeypatch.setattr(checksums, "_sha256", lambda path: (read.append(path), sha256(path))[1])
    look_ahead(folder)
    decoding.load("starter", device="cpu")
    once = len(read)
    assert once == len(set(read)) > 3
    decoding.load("starter", device="cpu")
    assert len(read) == 2 * once


def test_a_look_that_begins_while_a_folder_is_loaded_is_not_for_the_next_time(folder: Path) -> None:
    with checksums.unchanged(folder, "{file}"):
        look_ahead(folder)
    assert folder not in checksums._looks


def test_a_file_that_goes_while_it_is_loaded(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    with pytest.raises(ModelError, match=r"generation_config\.json is not as it was written"):
        decoding.load("starter", device="cpu")


def test_a_folder_from_before_there_were_sums_is_made_again(folder: Path) -> None:
    (folder / SUMS_FILE).unlink()
    sizes = json.loads((folder / CONTENTS_FILE).read_text("utf-8"))
    del sizes[SUMS_FILE]
    (folder / CONTENTS_FILE).write_text(json.dumps(sizes), "utf-8")
    assert not is_whole(folder)
    with pytest.raises(ModelError, match="SHA256SUMS is not as it was written"):  # were it loaded all the same
        decoding.load("starter", device="cpu")


def test_sums_that_cannot_be_read_are_no_leave_to_load(folder: Path) -> None:
    sums = folder / SUMS_FILE
    sums.write_bytes(b"\xff" + sums.read_bytes()[1:])
    assert is_whole(folder)
    with pytest.raises(ModelError, match="SHA256SUMS is not as it was written"):
        decoding.load("starter", device="cpu")
    assert not is_whole(folder)


def test_the_words_alone_are_held_to_the_sums_too(folder: Path) -> None:
    entry = CATALOGUE["starter"]
    assert load_words(entry).model == "starter"
    flip(folder / "tokenizer.json", 0.5)
    with pytest.raises(ModelError, match=r"tokenizer\.json is not as it was written"):
        load_words(entry)


def test_the_tokenizer_that_is_fetched_again_is_read_again(folder: Path) -> None:
    before = decoding.load("starter", device="cpu").vocabulary
    (folder / CONTENTS_FILE).unlink()
    file = folder / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace("<|end|>", "<|over|>"), "utf-8")
    seal(folder)
    after = decoding.load("starter", device="cpu").vocabulary
    assert [vocabulary.token(256).text for vocabulary in (before, after)] == ["<|end|>", "<|over|>"]


def test_anybody_can_check_the_sums(folder: Path) -> None:
    if not (program := shutil.which("sha256sum")):
        pytest.skip("there is no sha256sum here")
    assert subprocess.run([program, "--check", "--quiet", SUMS_FILE], cwd=folder, check=False).returncode == 0
    flip(folder / "model.safetensors", 0.9)
    assert subprocess.run([program, "--check", "--status", SUMS_FILE], cwd=folder, check=False).returncode == 1
