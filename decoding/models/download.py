"""Downloads one model; the child process of `decoding.models.hub`, which decides what is downloaded and trusted. Prints
JSON, one line per message.

First it reports `total`, the bytes to download, `folder`, where the config.json is, and `parameters`, their number (0
for a GGUF file). It downloads the weights only after it has read a byte from its input. `checked` reports the bytes
that were hashed, `refused` a message for people, `cause` the error behind it for the log. Owns resuming: a large file
continues where it broke off, and enters the cache only when it is complete and has the sha256 that the Hub names. If
several processes want one file, one downloads it, and the others wait for the lock, which the system releases however
that process ends.
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
from itertools import count
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and exported lazily

from decoding.errors import ModelError
from decoding.messages import Message, reason_of, to_json
from decoding.models.cache import acquire_lock
from decoding.models.hub import CONFIG, INDEX, SHARDS, WEIGHTS, blobs_folder, download, save_ref
from decoding.models.hub_listing import list_files, status_words
from decoding.models.json_files import read_json
from decoding.models.resources import check_disk

SPARE_BYTES = 100_000_000  # for whatever else is written to the disk meanwhile
_HEADERS_AT_ONCE = 8
_HASHED_BYTES = 2**26
_WRITTEN_BYTES = 2**18  # the library's ten million would look like silence on a slow network

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_KEPT = (errno.EROFS, errno.EACCES)


def download_model(
    model: str, repository: str, revision: str, wait_for_approval: Callable[[], object], *, gguf: str = ""
) -> None:
    """Download a model into the cache, in this process: its weights after `wait_for_approval`, or the file `gguf` alone
    if one is named. Raises ModelError.
    """
    commit, files = list_files(model, repository, revision, gguf)
    missing = {name: file for name, file in files.items() if not _is_cached(repository, commit, name)}
    total, blobs = sum(file.size or 0 for file in missing.values()), blobs_folder(repository)
    check_disk(model, bytes_to_fetch(repository, missing) + SPARE_BYTES, Path(constants.HF_HUB_CACHE))
    try:
        if gguf:
            _send(total=total, folder="", parameters=0)
        else:
            folder = download(repository, revision, files=(CONFIG, INDEX))
            _send(
                total=total,
                folder=str(folder),
                parameters=_count_parameters(repository, commit, _weight_files(folder, files)),
            )
    except HfHubHTTPError as error:
        raise ModelError(Message("fetch.refused", model=model, reason=status_words(error))) from error
    except OSError as error:
        raise download_error(model, error) from error
    wait_for_approval()
    try:
        for name, file in missing.items():
            if file.lfs:
                _fetch_large(model, hf_hub_url(repository, name, revision=commit), blobs, file.lfs)
        if gguf:  # the checked commit, even if its branch has moved meanwhile
            download(repository, commit, files=[gguf])
            save_ref(repository, revision, commit)
        else:
            download(repository, revision, files=[*files])
    except HfHubHTTPError as error:
        raise ModelError(Message("fetch.broke_off", model=model, reason=status_words(error))) from error
    except OSError as error:
        raise download_error(model, error) from error


def bytes_to_fetch(repository: str, files: Mapping[str, Any]) -> int:
    """Bytes of these `files` of a repository that are not here yet. `files` are by name, as `list_files` lists them."""
    blobs = blobs_folder(repository)
    partly_here = sum(_file_size(_partial_file(blobs, file.lfs)) for file in files.values() if file.lfs)
    return sum(file.size or 0 for file in files.values()) - partly_here


def _weight_files(folder: Path, names: Collection[str]) -> list[str]:
    """The files that hold the weights, as the index names them if there are several."""
    if WEIGHTS in names:
        return [WEIGHTS]
    try:
        return sorted({str(file) for file in read_json(folder / INDEX)["weight_map"].values()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return [name for name in names if fnmatch(name, SHARDS)]


def _count_parameters(repository: str, commit: str, weights: Sequence[str]) -> int:
    """The number of parameters of a repository's weights, from the headers of its files; 0 if they cannot be read.
    Raises what the transport raises.
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


def download_error(model: str, error: OSError) -> ModelError:
    """The ModelError for an error of the disk or of the transport, whose own message is only logged."""
    cache = constants.HF_HUB_CACHE
    if error.errno in _FULL:
        return ModelError(Message("fetch.full", model=model, cache=cache))
    if error.errno in _NOT_KEPT:
        return ModelError(Message("fetch.not_kept", model=model, cache=cache, reason=reason_of(error)))
    of_transport = not error.errno or isinstance(error, (ConnectionError, TimeoutError))
    reason = Message("engine.why.cut") if of_transport else _first_line(error)
    return ModelError(Message("fetch.broke_off", model=model, reason=reason))


def _partial_file(blobs: Path, stored: Mapping[str, Any]) -> Path:
    """The file that holds what has been downloaded of a large file."""
    return blobs / f"{stored['sha256']}.incomplete"


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_large(model: str, url: str, blobs: Path, stored: Mapping[str, Any]) -> None:
    """Download a file to its place in the cache, resuming where it broke off, or wait for another process that does."""
    sha256 = str(stored["sha256"])
    blobs.mkdir(parents=True, exist_ok=True)
    locks = Path(constants.HF_HUB_CACHE) / ".locks" / blobs.parent.name  # as huggingface_hub's own downloads lock it
    locks.mkdir(parents=True, exist_ok=True)
    waits = count(1)
    with acquire_lock(locks / f"{sha256}.lock", lambda: _send(waiting=next(waits))):
        if not (blobs / sha256).exists():  # the previous holder of the lock may have downloaded it
            _fetch_locked(model, url, _partial_file(blobs, stored), int(stored["size"]), sha256)


def _fetch_locked(model: str, url: str, part: Path, size: int, sha256: str) -> None:
    """Download a file. The caller holds its lock, so nobody else writes to the partial file."""
    with part.open("ab", buffering=0) as file:
        if file.tell() > size:
            file.truncate(0)
        if file.tell() < size:
            try:
                http_get(url, file, resume_size=file.tell(), headers=build_hf_headers(), expected_size=size)
            except (ModelError, OSError):
                raise
            except Exception as error:  # the transport's own errors
                raise OSError(_first_line(error)) from error
    if _sha256(part) != sha256:
        part.unlink()
        raise ModelError(Message("fetch.damaged", model=model))
    part.rename(part.with_name(sha256))


def _sha256(path: Path) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
            _send(checked=(done := done + len(block)))
    return digest.hexdigest()


def _is_cached(repository: str, commit: str, name: str) -> bool:
    return isinstance(try_to_load_from_cache(repository, name, constants.HF_HUB_CACHE, commit), str)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _send(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _watch_parent(approved: threading.Event) -> None:
    """Set `approved` at the first byte of our input. When the input closes, the parent has ended, and so does this
    process.
    """
    while os.read(sys.stdin.fileno(), 1):
        approved.set()
    os._exit(1)


def _main() -> int:
    approved = threading.Event()
    threading.Thread(target=_watch_parent, args=(approved,), daemon=True).start()
    constants.DOWNLOAD_CHUNK_SIZE = _WRITTEN_BYTES
    try:
        model, repository, revision, gguf = sys.argv[1:]
        download_model(model, repository, revision, approved.wait, gguf=gguf)
    except ModelError as error:
        if error.__cause__:
            _send(cause=repr(error.__cause__))
        _send(refused=to_json(error.message))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
