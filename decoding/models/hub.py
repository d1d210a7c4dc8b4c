"""Models of the Hugging Face Hub, fetched once into the cache that all of Hugging Face's libraries share.

Owns what is fetched (one commit's safetensors, configuration and tokenizer, or one GGUF file alone; never code), what
is trusted, and how long a silent network is waited for. Knows no torch. The fetching is done by a child process,
`decoding.models.download`, that can be killed.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import repo_folder_name

from decoding.errors import ModelError
from decoding.models.catalogue import Entry
from decoding.models.starter import Report

WEIGHTS, INDEX, SHARDS = "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"
CONFIG = "config.json"
WORDS = (
    CONFIG,
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
"""The small files, which a model that is computed elsewhere needs too."""
FILES = (WEIGHTS, INDEX, SHARDS, *WORDS)
SILENCE_SECONDS = 60.0  # after which a network that says nothing is given up
QUIET_SECONDS = 5.0  # after which that is said
_LOOK_SECONDS = 3.0

OUT_OF_REACH = (
    "{model} is not on this machine yet, and the Hugging Face Hub cannot be reached. Go online once to fetch it, or "
    "choose another model."
)
BROKE_OFF = "The download of {model} broke off: {reason}. What has arrived is kept; press Run to continue from there."

Fits = Callable[[Path, int], None]
"""Is given the folder of a model's config.json and its number of parameters (0: nobody knows), before its weights are
fetched. Raises what refuses it. Of a GGUF file there is no folder yet: `learned` says how large it is.
"""

_learned: dict[tuple[str, str, str], tuple[int, int]] = {}
"""Parameters and bytes of what was asked for, by repository, revision and file."""


def cached(entry: Entry) -> Path | None:
    """The folder of a model that is here and whole, or its GGUF file, or None. Asks nobody."""
    try:
        if entry.file:
            there = try_to_load_from_cache(entry.repository, entry.file, constants.HF_HUB_CACHE, entry.revision or None)
            return Path(there) if isinstance(there, str) else None
        folder = download(entry.repository, entry.revision, local_files_only=True)
    except (EntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_whole(folder) else None


def learned(entry: Entry) -> Entry:
    """The entry with the figures that the Hub gave, if it was asked for the model before; the catalogue's own stay."""
    parameters, size = _learned.get(_key(entry), (0, 0))
    return replace(entry, parameters=entry.parameters or parameters, download_bytes=entry.download_bytes or size)


def reachable() -> bool:
    """Whether the Hub answers, as far as a moment can tell."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        asked = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(asked, timeout=_LOOK_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()  # it answers, if only that it does not like the question
    except (OSError, ValueError):
        return False
    return True


def fetch(entry: Entry, report: Report, fits: Fits | None = None) -> Path:
    """The folder of a model, or its GGUF file, fetched first where it is not here yet and `fits`. Raises ModelError
    where it cannot be had.
    """
    if found := cached(entry):
        return found
    if constants.HF_HUB_OFFLINE:
        raise ModelError(OUT_OF_REACH.format(model=entry.name))
    report(f"Asking for {entry.name} …", None)
    _fetch(entry, report, fits)
    if found := cached(entry):
        return found
    raise ModelError(BROKE_OFF.format(model=entry.name, reason="not every file has arrived"))


def fetch_words(entry: Entry, report: Report) -> Path:
    """The folder of a model's configuration and tokenizer, fetched first where they are not here yet, without weights.
    Raises ModelError where they cannot be had.
    """
    for is_local in (True, False):
        with suppress(EntryNotFoundError, OSError, ValueError):  # the transport's errors are OSErrors
            folder = download(entry.repository, entry.revision, local_files_only=is_local, files=WORDS)
            if _has_words(folder):
                return folder
        if constants.HF_HUB_OFFLINE:
            break
        report(f"Asking for {entry.name} …", None)
    raise ModelError(OUT_OF_REACH.format(model=entry.name))


def download(repository: str, revision: str, *, local_files_only: bool = False, files: Sequence[str] = FILES) -> Path:
    """The folder of a commit's files, of those in `files`. Raises what huggingface_hub raises."""
    cache = constants.HF_HUB_CACHE
    kept: Any = snapshot_download(
        repository,
        revision=revision or None,
        cache_dir=cache,
        allow_patterns=list(files),
        local_files_only=local_files_only,
        max_workers=2,
    )
    return Path(kept)


def blobs_folder(repository: str) -> Path:
    """Where the cache keeps a repository's files by their hashes; one that is half here ends in ".incomplete"."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"


def keep_name(repository: str, revision: str, commit: str) -> None:
    """Write down which commit a branch or a tag is, as the cache keeps that, so that it is found without a network."""
    if revision != commit:
        (refs := blobs_folder(repository).with_name("refs")).mkdir(exist_ok=True)
        (refs / (revision or "main")).write_text(commit, "utf-8")


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry.repository, entry.revision, entry.file


def _has_words(folder: Path) -> bool:
    tokenizer = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
    return (folder / CONFIG).exists() and any((folder / name).exists() for name in tokenizer)


def _is_whole(folder: Path) -> bool:
    if not _has_words(folder):
        return False
    if (folder / WEIGHTS).exists():
        return True
    try:
        shards = set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / name).exists() for name in shards)


def _fetch(entry: Entry, report: Report, fits: Fits | None) -> None:
    """Have a child process fetch a model, and say how far it is. However this is left, the child is dead."""
    blobs = blobs_folder(entry.repository)
    already = _bytes_in(blobs, but=".incomplete")
    child = _child(entry)
    told: dict[str, Any] = {}
    listener = threading.Thread(target=_listen, args=(child, told), daemon=True)
    listener.start()
    signs: tuple[int, ...] = ()
    agreed = False
    heard = time.monotonic()
    try:
        while child.poll() is None and time.monotonic() - heard < SILENCE_SECONDS:
            come = _bytes_in(blobs)
            if signs != (signs := (come, len(told), told.get("checked", 0), told.get("waiting", 0))):
                heard = time.monotonic()
            if "total" in told and not agreed:
                _learned[_key(entry)] = told["parameters"], told["total"]
                if fits:
                    fits(Path(told["folder"]), told["parameters"])
                agreed = True
                _go_on(child)
            if agreed and (total := told["total"]):
                _tell(entry.name, min(come - already, total), total, time.monotonic() - heard, report)
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.25)
    finally:
        child.kill()
        child.wait()
        listener.join()
        if child.stdin:
            child.stdin.close()
    if "refused" in told:
        raise ModelError(told["refused"])
    if child.returncode:
        silent = (
            f"nothing arrived for {SILENCE_SECONDS:.0f} seconds" if child.returncode < 0 else "see the server's log"
        )
        raise ModelError(BROKE_OFF.format(model=entry.name, reason=silent))


def _child(entry: Entry) -> "subprocess.Popen[bytes]":
    extra = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_OFFLINE": "0"}
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
    extra |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    extra |= {"HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "decoding.models.download", entry.name, *_key(entry)]
    return subprocess.Popen(command, env=os.environ | extra, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _tell(model: str, done: int, total: int, quiet: float, report: Report) -> None:
    word = f"Fetching {model}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
    report(word if quiet < QUIET_SECONDS else f"{word}; nothing has arrived for {quiet:.0f} seconds", done / total)


def _go_on(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin
    with suppress(OSError):  # it has just ended
        os.write(child.stdin.fileno(), b".")


def _listen(child: "subprocess.Popen[bytes]", told: dict[str, Any]) -> None:
    """Keep the child's last word on each thing."""
    assert child.stdout
    with child.stdout as lines:
        for line in lines:
            with suppress(ValueError):  # the last line of one that was killed
                told |= json.loads(line)


def _bytes_in(folder: Path, *, but: str = "?") -> int:
    """Bytes of the files in a folder, without those whose names end in `but`. Files come and go."""
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.endswith(but):
                with suppress(OSError):
                    total += path.stat().st_size
    return total
