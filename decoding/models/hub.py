"""Models of the Hugging Face Hub, downloaded once into the cache that Hugging Face's libraries share.

Owns what is downloaded (one commit's safetensors, configuration and tokenizer, or one GGUF file; never code), what is
trusted, and how long a silent network is waited for. Knows no torch. A child process, `decoding.models.download`,
downloads, because it can be killed.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils.logging import set_verbosity_error

from decoding.errors import ModelError
from decoding.messages import Message, from_json
from decoding.models.catalogue import Entry
from decoding.models.known_sizes import record_size
from decoding.models.progress import Report
from decoding.models.safetensors import weight_files

WEIGHTS, INDEX, SHARDS = "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"
CONFIG = "config.json"
TOKENIZER_FILES = (
    CONFIG,
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
)
"""The small files, which are enough for a model that a server computes."""
FILES = (WEIGHTS, INDEX, SHARDS, *TOKENIZER_FILES)
_TIMEOUT_SECONDS = 3.0

CheckFits = Callable[[Path, int], object]
"""Called with the folder of config.json (an empty path for GGUF) and the number of parameters (0: unknown) before
weights are downloaded. Raises to refuse the model.
"""


@dataclass(slots=True)
class Patience:
    """How long a silent network is waited for. It may be changed while a download runs."""

    quiet_seconds: float = 5.0  # without data, until the progress message mentions the silence
    silence_seconds: float = 60.0  # without data, until the download is given up


def cached(entry: Entry) -> Path | None:
    """The folder of a model that is complete on this machine, or its GGUF file; None if it is not. Uses no network."""
    try:
        if entry.file:
            there = try_to_load_from_cache(entry.repository, entry.file, constants.HF_HUB_CACHE, entry.revision or None)
            return Path(there) if isinstance(there, str) else None
        folder = download(entry.repository, entry.revision, local_files_only=True)
    except (EntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_complete(folder) else None


def is_reachable() -> bool:
    """Whether the Hub answers within `_TIMEOUT_SECONDS`."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        asked = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(asked, timeout=_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()  # it answers, even if with an error
    except (OSError, ValueError):
        return False
    return True


def fetch(
    entry: Entry, report: Report, check_fits: CheckFits | None = None, *, patience: Patience | None = None
) -> Path:
    """The folder of a model, or its GGUF file, downloaded first if it is not complete here and `check_fits` does not
    refuse it. Raises ModelError if it cannot be downloaded.
    """
    if found := cached(entry):
        return found
    if constants.HF_HUB_OFFLINE:
        raise ModelError(Message("fetch.out_of_reach", model=entry.name))
    report(Message("fetch.asking", model=entry.name), None)
    _fetch(entry, report, check_fits, patience or Patience())
    if found := cached(entry):
        return found
    raise ModelError(Message("fetch.broke_off", model=entry.name, reason=Message("fetch.incomplete")))


def fetch_tokenizer(entry: Entry, report: Report) -> Path:
    """The folder of a model's configuration and tokenizer, downloaded if need be. Raises ModelError if it fails."""
    for is_local in (True, False):
        with suppress(EntryNotFoundError, OSError, ValueError):  # errors of the transport are OSErrors
            folder = download(entry.repository, entry.revision, local_files_only=is_local, files=TOKENIZER_FILES)
            if _has_tokenizer(folder):
                return folder
        if not is_reachable():
            break
        report(Message("fetch.asking", model=entry.name), None)
    raise ModelError(Message("fetch.out_of_reach", model=entry.name))


def download(repository: str, revision: str, *, local_files_only: bool = False, files: Sequence[str] = FILES) -> Path:
    """Download a commit's files that match `files`; returns their folder. Raises what huggingface_hub raises."""
    set_verbosity_error()  # type: ignore[no-untyped-call]  # what fails is raised, and said in our own words
    kept: Any = snapshot_download(
        repository,
        revision=revision or None,
        cache_dir=constants.HF_HUB_CACHE,
        allow_patterns=list(files),
        local_files_only=local_files_only,
        max_workers=2,
    )
    return Path(kept)


def blobs_folder(repository: str) -> Path:
    """The cache's folder of a repository's files by their hashes; incomplete ones end in ".incomplete"."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"


def save_ref(repository: str, revision: str, commit: str) -> None:
    """Record a branch's or tag's commit in the cache, so that the model is found without a network."""
    if revision != commit:
        (refs := blobs_folder(repository).with_name("refs")).mkdir(exist_ok=True)
        (refs / (revision or "main")).write_text(commit, "utf-8")


def _has_tokenizer(folder: Path) -> bool:
    tokenizer = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
    return (folder / CONFIG).exists() and any((folder / name).exists() for name in tokenizer)


def _is_complete(folder: Path) -> bool:
    if not _has_tokenizer(folder):
        return False
    try:
        return all(file.exists() for file in weight_files(folder))
    except (OSError, ValueError):
        return False


def _fetch(entry: Entry, report: Report, check_fits: CheckFits | None, patience: Patience) -> None:
    """Run the child process that downloads a model, and report progress. It has ended on return."""
    blobs = blobs_folder(entry.repository)
    already = _bytes_in(blobs, but=".incomplete")
    child = _start_child(entry)
    messages: dict[str, Any] = {}
    listener = threading.Thread(target=_read_messages, args=(child, messages), daemon=True)
    listener.start()
    signs: tuple[int, ...] = ()
    agreed = False
    last_sign = time.monotonic()
    try:
        while child.poll() is None and time.monotonic() - last_sign < patience.silence_seconds:
            received = _bytes_in(blobs)
            if signs != (signs := (received, len(messages), messages.get("checked", 0), messages.get("waiting", 0))):
                last_sign = time.monotonic()
            if "total" in messages and not agreed:
                record_size(entry, parameters=messages["parameters"], download_bytes=messages["total"])
                if check_fits:
                    check_fits(Path(messages["folder"]), messages["parameters"])
                agreed, last_sign = True, time.monotonic()  # the check may have used the network itself
                _approve(child)
            if agreed and (total := messages["total"]):
                quiet = time.monotonic() - last_sign
                told = quiet if quiet >= patience.quiet_seconds else None
                _report_progress(entry.name, min(received - already, total), total, told, report)
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.25)
    finally:
        child.kill()
        child.wait()
        listener.join()
        if child.stdin:
            child.stdin.close()
    if "cause" in messages:
        logging.getLogger(__name__).info("fetching %s: %s", entry.name, messages["cause"])
    if "refused" in messages:
        raise ModelError(from_json(messages["refused"]))
    if child.returncode:
        silent = Message("fetch.silent", seconds=f"{patience.silence_seconds:.0f}")
        reason = silent if child.returncode < 0 else Message("fetch.log")
        raise ModelError(Message("fetch.broke_off", model=entry.name, reason=reason))


def _start_child(entry: Entry) -> "subprocess.Popen[bytes]":
    extra = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_OFFLINE": "0"}
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
    extra |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    extra["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    model = entry.name, entry.repository, entry.revision, entry.file
    command = [sys.executable, "-m", "decoding.models.download", *model]
    return subprocess.Popen(command, env=os.environ | extra, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _report_progress(model: str, done: int, total: int, quiet: float | None, report: Report) -> None:
    word = Message("fetch.progress", model=model, done=f"{done / 1000000.0:.0f}", total=f"{total / 1000000.0:.0f}")
    report(word if quiet is None else Message("fetch.quiet", word=word, seconds=f"{quiet:.0f}"), done / total)


def _approve(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin
    with suppress(OSError):  # the child has just ended
        os.write(child.stdin.fileno(), b".")


def _read_messages(child: "subprocess.Popen[bytes]", messages: dict[str, Any]) -> None:
    """Keep the last value of each thing that the child reports."""
    assert child.stdout
    with child.stdout as lines:
        for line in lines:
            with suppress(ValueError):  # the last line of a killed child
                messages |= json.loads(line)


def _bytes_in(folder: Path, *, but: str = "?") -> int:
    """Bytes of a folder's files, except those whose names end in `but`; files may vanish meanwhile."""
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.endswith(but):
                with suppress(OSError):
                    total += path.stat().st_size
    return total
