"""The head of a GGUF file of the Hub: its metadata and the list of its tensors. A model that a server computes needs no
more of it, and any other is judged by it before the file is fetched.

Owns how no more than the head is fetched, and how a server's is kept for when there is no network. Knows no engine.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models import hub
from decoding.models.cache import cache_folder
from decoding.models.catalogue import Entry
from decoding.models.gguf import GgufFile, read_gguf, read_head
from decoding.models.gguf_file_tokenizer import tokenizer_of_file
from decoding.models.hub_listing import list_files, status_words
from decoding.models.progress import Report, no_report
from decoding.models.spec import ModelSpec
from decoding.models.spec_gguf import DIVISORS, spec_of_gguf

_PIECE = 2**18
_MOST_BYTES = 2**28
"""Of a head; `decoding.models.gguf` refuses a longer one."""


def check_head(entry: Entry, report: Report = no_report) -> ModelSpec:
    """The facts of a GGUF file of the Hub, from its head. Raises ModelError if its family, a type of its tensors or its
    tokenizer is not supported: it need not be fetched to say so.
    """
    whole = hub.cached(entry)
    head = read_gguf(whole) if whole else _fetch(entry, report)[0]
    tensors = {name: tensor for name, tensor in head.tensors.items() if name != DIVISORS}  # its values are not here
    spec = spec_of_gguf(replace(head, tensors=tensors))
    tokenizer_of_file(head)
    return spec


def head_of(entry: Entry, report: Report = no_report) -> GgufFile:
    """What a GGUF file of the Hub says of its model. Its head is fetched where neither it nor the whole file is here.
    Raises ModelError where it cannot be had, and for a file that is damaged.
    """
    if whole := hub.cached(entry):
        return read_gguf(whole)
    kept = _place(entry)
    with suppress(OSError, ValueError, KeyError, TypeError, ModelError):  # then it is fetched anew
        return _kept(entry, kept)
    if constants.HF_HUB_OFFLINE:
        raise ModelError(Message("fetch.out_of_reach", model=entry.name))
    found, size, head = _fetch(entry, report)
    _keep(kept, size, head)
    return found


def _fetch(entry: Entry, report: Report) -> tuple[GgufFile, int, bytes]:
    """A file's head as the Hub has it now, the size of the file, and the bytes that were read."""
    report(Message("fetch.asking", model=entry.name), None)
    commit, files = list_files(entry.name, entry.repository, entry.revision, entry.file)
    size, url = int(files[entry.file].size), hf_hub_url(entry.repository, entry.file, revision=commit)
    try:
        with closing(_Stream(url)) as stream:
            return read_head(Path(entry.file), stream.read, size), size, stream.taken
    except ModelError:
        raise
    except HfHubHTTPError as error:
        raise ModelError(Message("fetch.refused", model=entry.name, reason=status_words(error))) from error
    except Exception as error:  # whatever the transport says
        raise ModelError(Message("fetch.broke_off", model=entry.name, reason=Message("engine.why.cut"))) from error


class _Stream:
    """A file's bytes from its beginning, as they come; what was not asked for is not waited for."""

    def __init__(self, url: str) -> None:
        headers = build_hf_headers() | {"Range": f"bytes=0-{_MOST_BYTES - 1}"}
        limits: dict[str, Any] = {"follow_redirects": True, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
        self._open = ExitStack()
        answer = self._open.enter_context(get_session().stream("GET", url, headers=headers, **limits))
        with ExitStack() as undone:
            undone.callback(self._open.close)
            hf_raise_for_status(answer)
            undone.pop_all()
        self._pieces: Iterator[bytes] = answer.iter_bytes(_PIECE)
        self.taken = b""

    def read(self, count: int) -> bytes:
        """The next bytes, `count` of them or what comes at once; none at the end."""
        piece = next(self._pieces, b"")
        self.taken += piece
        return piece

    def close(self) -> None:
        self._open.close()


def _place(entry: Entry) -> Path:
    """Where a head is kept, by what it was asked for."""
    asked = f"{entry.repository}@{entry.revision}/{entry.file}"
    return cache_folder() / "heads" / hashlib.sha256(asked.encode()).hexdigest()[:32]


def _kept(entry: Entry, place: Path) -> GgufFile:
    with place.open("rb", buffering=0) as opened:
        head: dict[str, Any] = json.loads(_line(opened.read))
        return read_head(Path(entry.file), opened.read, head["size"])


def _line(read: Callable[[int], bytes]) -> bytes:
    line = b""
    while len(line) < 100 and (byte := read(1)) not in (b"", b"\n"):
        line += byte
    return line


def _keep(place: Path, size: int, head: bytes) -> None:
    """A disk that is full or read-only costs the next start another look."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_name(f"{place.name}.half")
        half.write_bytes(json.dumps({"size": size}).encode() + b"\n" + head)
        half.replace(place)
