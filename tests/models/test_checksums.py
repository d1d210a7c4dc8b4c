"""A byte that changes on the disk, in a file as long as before: it is found when the model is loaded."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from decoding.errors import ModelError
from decoding.models.catalogue import CATALOGUE
from decoding.models.checksums import CONTENTS_FILE, SUMS_FILE, is_complete, write_checksums
from decoding.models.gguf_file_tokenizer import gguf_tokenizer
from decoding.models.loading import load_without_weights
from decoding.models.model_paths import verifying_source
from decoding.models.starter import FOLDER_NAME, MODEL_FILE

STARTER = CATALOGUE["starter"]


@pytest.fixture
def folder(starter_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter's folder, copied into a cache of its own."""
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    return Path(shutil.copytree(starter_gguf.parent, tmp_path / FOLDER_NAME))


def load() -> None:
    load_without_weights(STARTER)


def load_from(folder: Path) -> None:
    """As what loads the starter does, whatever lies in its folder: else an incomplete one would be fetched again."""
    with verifying_source(STARTER, folder / MODEL_FILE):
        gguf_tokenizer(STARTER, folder / MODEL_FILE)


def flip(file: Path, place: float) -> None:
    """Another bit at a place, 0 to 1, of a file that stays as long as it was."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 0x40
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "place"), [("model.gguf", 0.9), ("tokenizer.json", 0.5), ("tokenizer_config.json", 0.5)]
)
def test_a_changed_byte_is_found_whatever_else_it_does(folder: Path, name: str, place: float) -> None:
    load()
    flip(folder / name, place)
    assert is_complete(folder)  # as far as a look at the sizes can tell
    with pytest.raises(ModelError) as refused:
        load()
    assert str(refused.value) == (
        f"The starter model on this disk was changed: {name} is not as it was written. Try again to fetch it anew."
    )
    assert not is_complete(folder)  # so that it is made again


def test_a_file_that_goes_while_it_is_loaded(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer_config\.json is not as it was written"):
        load_from(folder)


def test_a_folder_from_before_there_were_sums_is_made_again(folder: Path) -> None:
    (folder / SUMS_FILE).unlink()
    sizes = json.loads((folder / CONTENTS_FILE).read_text("utf-8"))
    del sizes[SUMS_FILE]
    (folder / CONTENTS_FILE).write_text(json.dumps(sizes), "utf-8")
    assert not is_complete(folder)
    with pytest.raises(ModelError, match="SHA256SUMS is not as it was written"):  # were it loaded all the same
        load_from(folder)


def test_sums_that_cannot_be_read_are_no_leave_to_load(folder: Path) -> None:
    sums = folder / SUMS_FILE
    sums.write_bytes(b"\xff" + sums.read_bytes()[1:])
    assert is_complete(folder)
    with pytest.raises(ModelError, match="SHA256SUMS is not as it was written"):
        load()
    assert not is_complete(folder)


def test_the_tokenizer_that_is_fetched_again_is_read_again(folder: Path) -> None:
    before = load_without_weights(STARTER).vocabulary
    (folder / CONTENTS_FILE).unlink()
    file = folder / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace("<|im_end|>", "<|im_over|>"), "utf-8")
    write_checksums(folder)
    after = load_without_weights(STARTER).vocabulary
    assert [vocabulary.token(2).text for vocabulary in (before, after)] == ["<|im_end|>", "<|im_over|>"]


def test_sha256sum_can_check_the_sums(folder: Path) -> None:
    if not (program := shutil.which("sha256sum")):
        pytest.skip("there is no sha256sum here")
    assert subprocess.run([program, "--check", "--quiet", SUMS_FILE], cwd=folder, check=False).returncode == 0
    flip(folder / "model.gguf", 0.9)
    assert subprocess.run([program, "--check", "--status", SUMS_FILE], cwd=folder, check=False).returncode == 1
