"""The child process of `decoding.hub`: fetches one model, and prints JSON, a line a thing.

`total` is the bytes to fetch, `checked` the bytes whose hash was computed, `refused` a sentence for people. Owns what
comes in pieces: a large file that broke off goes on where it stopped, and becomes part of the cache only when it is
whole and its sha256 is the one that the Hub names.
"""

import errno
import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and exported lazily

from decoding.errors import ModelError
from decoding.hub import BROKE_OFF, FILES, INDEX, OUT_OF_REACH, WEIGHTS, blobs_folder, download
from decoding.room import check_disk

_ASK_SECONDS = 10.0
_SPARE_BYTES = 100_000_000  # what else may want room on the disk meanwhile
_HASHED_BYTES = 2**26
_WRITTEN_BYTES = 2**18  # the library's ten million would look like silence where the network is slow

_NO_SAFETENSORS = "{model} has no weights as safetensors, and no others are opened. Choose another model."
_REFUSED = "The Hugging Face Hub does not give out {model} ({reason}). Choose another model."
_DAMAGED = "A file of {model} did not arrive as it was sent, and was thrown away. Press Run to fetch it again."
_FULL = "The disk is full: {model} needs more room in {cache}. Free some, or set HF_HOME to a folder elsewhere."
_NOT_KEPT = "{model} cannot be kept in {cache} ({reason}): set HF_HOME to a writable folder, or choose another model."
_OF_THE_DISK = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _NOT_KEPT, errno.EACCES: _NOT_KEPT}


def fetch_here(model: str, repository: str, revision: str) -> None:
    """Fetch a model into the cache, in this process. Raises ModelError."""
    try:
        info = HfApi().model_info(repository, revision=revision or None, files_metadata=True, timeout=_ASK_SECONDS)
    except HfHubHTTPError as error:
        raise ModelError(_REFUSED.format(model=model, reason=_status(error))) from error
    except Exception as error:  # whatever the transport says where there is no network
        raise ModelError(OUT_OF_REACH.format(model=model)) from error
    files = {file.rfilename: file for file in info.siblings or ()}
    if not {WEIGHTS, INDEX} & files.keys():
        raise ModelError(_NO_SAFETENSORS.format(model=model))
    commit = str(info.sha)
    wanted = {name: file for name, file in files.items() if any(fnmatch(name, pattern) for pattern in FILES)}
    missing = {name: file for name, file in wanted.items() if not _is_here(repository, commit, name)}
    total = sum(file.size or 0 for file in missing.values())
    check_disk(model, total + _SPARE_BYTES, Path(constants.HF_HUB_CACHE))
    _say(total=total)
    try:
        for name, file in missing.items():
            if file.lfs:
                _fetch_large(model, hf_hub_url(repository, name, revision=commit), blobs_folder(repository), file.lfs)
        download(repository, revision)
    except HfHubHTTPError as error:
        raise ModelError(BROKE_OFF.format(model=model, reason=_status(error))) from error
    except OSError as error:
        if sentence := _OF_THE_DISK.get(error.errno or 0):
            raise ModelError(
                sentence.format(model=model, cache=constants.HF_HUB_CACHE, reason=error.strerror)
            ) from error
        raise ModelError(BROKE_OFF.format(model=model, reason=_first_line(error))) from error


def _fetch_large(model: str, url: str, blobs: Path, stored: Mapping[str, Any]) -> None:
    """Fetch a file to where the cache keeps it, from where it broke off."""
    size, sha256 = int(stored["size"]), str(stored["sha256"])
    ready, part = blobs / sha256, blobs / f"{sha256}.incomplete"
    if ready.exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
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
    part.rename(ready)


def _sha256(path: Path) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
            _say(checked=(done := done + len(block)))
    return digest.hexdigest()


def _is_here(repository: str, commit: str, name: str) -> bool:
    return isinstance(try_to_load_from_cache(repository, name, constants.HF_HUB_CACHE, commit), str)


def _status(error: HfHubHTTPError) -> str:
    said = {401: "it asks for an account", 403: "it asks for an account", 404: "there is no such repository or commit"}
    status = error.response.status_code
    return said.get(status, f"it answered {status}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def _follow_parent() -> None:
    """End with whoever started this process, however that ends: then nobody holds the other end of our input."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _main() -> int:
    threading.Thread(target=_follow_parent, daemon=True).start()
    constants.DOWNLOAD_CHUNK_SIZE = _WRITTEN_BYTES
    try:
        fetch_here(*sys.argv[1:4])
    except ModelError as error:
        _say(refused=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
