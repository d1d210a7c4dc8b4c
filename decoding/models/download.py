"""The child process of `decoding.models.hub`: fetches one model, and prints JSON, a line a thing.

First it says what the model is: `total`, the bytes to fetch, `folder`, where its config.json is, and `parameters`, how
many it has (a GGUF file says that itself, once it is here). Only when it hears a byte does it fetch the weights.
`checked` is the bytes whose hash was computed, `refused` a sentence for people. Owns what comes in pieces: a large file
that broke off goes on where it stopped, and becomes part of the cache only when it is whole and its sha256 is the one
that the Hub names. Of several processes that want one file, one fetches it, and the others wait for that one's end,
however it comes: the lock is the system's.
"""

import errno
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and exported lazily

from decoding.errors import ModelError
from decoding.models.hub import BROKE_OFF, CONFIG, INDEX, SHARDS, WEIGHTS, blobs_folder, download, keep_name
from decoding.models.hub_listing import REFUSED, list_files, status_words
from decoding.models.resources import check_disk

SPARE_BYTES = 100_000_000  # what else may want room on the disk meanwhile
_HEADERS_AT_ONCE = 8
_HASHED_BYTES = 2**26
_WRITTEN_BYTES = 2**18  # the library's ten million would look like silence where the network is slow
_LOOK_SECONDS = 0.5  # how often a process that waits for another's download says that it does

_DAMAGED = "A file of {model} did not arrive as it was sent, and was deleted. Press Run to fetch it again."
_FULL = "The disk is full: {model} needs more room in {cache}. Free some, or set HF_HOME to a folder elsewhere."
_NOT_KEPT = "{model} cannot be kept in {cache} ({reason}): set HF_HOME to a writable folder, or choose another model."
_OF_THE_DISK = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _NOT_KEPT, errno.EACCES: _NOT_KEPT}


def fetch_here(model: str, repository: str, revision: str, go_on: Callable[[], object], *, gguf: str = "") -> None:
    """Fetch a model into the cache, in this process: its weights after `go_on`, or the GGUF file alone where one is
    named. Raises ModelError.
    """
    commit, files = list_files(model, repository, revision, gguf)
    missing = {name: file for name, file in files.items() if not _is_here(repository, commit, name)}
    total, blobs = sum(file.size or 0 for file in missing.values()), blobs_folder(repository)
    has_come = sum(_bytes_of(_part(blobs, file.lfs)) for file in missing.values() if file.lfs)
    check_disk(model, total - has_come + SPARE_BYTES, Path(constants.HF_HUB_CACHE))
    try:
        if gguf:
            _say(total=total, folder="", parameters=0)
        else:
            folder = download(repository, revision, files=(CONFIG, INDEX))
            _say(total=total, folder=str(folder), parameters=_parameters(repository, commit, _weights(folder, files)))
    except HfHubHTTPError as error:
        raise ModelError(REFUSED.format(model=model, reason=status_words(error))) from error
    except OSError as error:
        raise _broken_off(model, error) from error
    go_on()
    try:
        for name, file in missing.items():
            if file.lfs:
                _fetch_large(model, hf_hub_url(repository, name, revision=commit), blobs, file.lfs)
        if gguf:  # of the commit whose sum was held, though its branch may have moved meanwhile
            download(repository, commit, files=[gguf])
            keep_name(repository, revision, commit)
        else:
            download(repository, revision, files=[*files])
    except HfHubHTTPError as error:
        raise ModelError(BROKE_OFF.format(model=model, reason=status_words(error))) from error
    except OSError as error:
        raise _broken_off(model, error) from error


def _weights(folder: Path, names: Collection[str]) -> list[str]:
    """The files that the weights are loaded from, as the index says where there are several."""
    if WEIGHTS in names:
        return [WEIGHTS]
    try:
        return sorted(set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError):
        return [name for name in names if fnmatch(name, SHARDS)]


def _parameters(repository: str, commit: str, weights: Sequence[str]) -> int:
    """How many parameters a repository's weights have, by the beginnings of their files alone; 0 where those cannot be
    read. Raises what the transport raises.
    """

    def in_file(name: str) -> int:
        header = HfApi().parse_safetensors_file_metadata(repository, name, revision=commit)
        return sum(header.parameter_count.values())

    try:
        with ThreadPoolExecutor(_HEADERS_AT_ONCE) as several:
            return sum(several.map(in_file, weights))
    except OSError:
        raise
    except Exception:  # an odd header: the loader names it; or the transport's own: it has its say in fetching
        return 0


def _broken_off(model: str, error: OSError) -> ModelError:
    """What is said of an error of the disk, or of the transport, whose own words are for the log."""
    if sentence := _OF_THE_DISK.get(error.errno or 0):
        return ModelError(sentence.format(model=model, cache=constants.HF_HUB_CACHE, reason=error.strerror))
    of_transport = not error.errno or isinstance(error, (ConnectionError, TimeoutError))
    reason = "the connection was cut" if of_transport else _first_line(error)
    return ModelError(BROKE_OFF.format(model=model, reason=reason))


def _part(blobs: Path, stored: Mapping[str, Any]) -> Path:
    """Where a large file is while it is half here."""
    return blobs / f"{stored['sha256']}.incomplete"


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_large(model: str, url: str, blobs: Path, stored: Mapping[str, Any]) -> None:
    """Fetch a file to where the cache keeps it, from where it broke off, or wait for another process that does."""
    sha256 = str(stored["sha256"])
    blobs.mkdir(parents=True, exist_ok=True)
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / blobs.parent.name  # as huggingface_hub's own downloads lock it
    locks.mkdir(parents=True, exist_ok=True)
    lock, waited = FileLock(locks / f"{sha256}.lock"), 0
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
        except Timeout:
            _say(waiting=(waited := waited + 1))
    with lock:
        if not (blobs / sha256).exists():  # only now: whoever held the lock may have fetched it
            _fetch_locked(model, url, _part(blobs, stored), int(stored["size"]), sha256)


def _fetch_locked(model: str, url: str, part: Path, size: int, sha256: str) -> None:
    """For the holder of the file's lock, to whom alone its part belongs."""
    with part.open("ab", buffering=0) as file:
        if file.tell() > size:
            file.truncate(0)
        if file.tell() < size:
            try:
                http_get(url, file, resume_size=file.tell(), headers=build_hf_headers(), expected_size=size)
            except (ModelError, OSError):
                raise
            except Exception as error:  # the transport's own
                raise OSError(_first_line(error)) from error
    if _sha256(part) != sha256:
        part.unlink()
        raise ModelError(_DAMAGED.format(model=model))
    part.rename(part.with_name(sha256))


def _sha256(path: Path) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
            _say(checked=(done := done + len(block)))
    return digest.hexdigest()


def _is_here(repository: str, commit: str, name: str) -> bool:
    return isinstance(try_to_load_from_cache(repository, name, constants.HF_HUB_CACHE, commit), str)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def _follow_parent(told_to_go_on: threading.Event) -> None:
    """Hear a byte as the word to go on. End with whoever started this process, however that ends: then nobody holds the
    other end of our input.
    """
    while os.read(sys.stdin.fileno(), 1):
        told_to_go_on.set()
    os._exit(1)


def _main() -> int:
    told_to_go_on = threading.Event()
    threading.Thread(target=_follow_parent, args=(told_to_go_on,), daemon=True).start()
    constants.DOWNLOAD_CHUNK_SIZE = _WRITTEN_BYTES
    try:
        model, repository, revision, gguf = sys.argv[1:]
        fetch_here(model, repository, revision, told_to_go_on.wait, gguf=gguf)
    except ModelError as error:
        if error.__cause__:
            print(repr(error.__cause__), file=sys.stderr)
        _say(refused=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
