"""A small server that stands for the Hugging Face Hub: it gives out the folders of tiny models as the Hub does.

Owns what a network does to people: it can be slow, break off in the middle, send a damaged file, or stay silent. Knows
nothing of this project.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

PATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": "600"}
"""For processes that fetch. A file that is held may stand still for more than ten seconds, where a busy machine takes
that long to start the next process; huggingface_hub would ask for it anew.
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The repositories by name, and how the network is today.

    `break_after` ends a large file's connection after so many bytes, once for each time it is set; `damage` changes a
    byte of large files; `gated` gives files to nobody; `without_sums` names no file's sha256; `hold` keeps large files
    waiting after `hold_after` bytes, until it is set. `sizes` are lies about files' sizes, by name. `asked` keeps the
    paths, `ranges` where large files began; a look at no more than their beginning is answered as it is, and not kept.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.break_after: int | None = None
        self.damage = False
        self.gated = False
        self.without_sums = False
        self.hold: threading.Event | None = None
        self.hold_after = 0
        self.sizes: dict[str, int] = {}
        self.asked: list[str] = []
        self.ranges: list[int] = []
        self.url = ""

    @property
    def template(self) -> str:
        """What huggingface_hub makes of its endpoint when it is imported: every file's address."""
        return f"{self.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"

    def find(self, path: str) -> tuple[str, str, str] | None:
        """What a path asks for: kind, repository, the rest."""
        for name in self.repositories:
            for kind, start in (("api", f"/api/models/{name}"), ("file", f"/{name}/resolve")):
                if path == start or path.startswith(f"{start}/"):
                    return kind, name, path.removeprefix(start)
        return None


def is_large(file: Path) -> bool:
    return file.suffix in (".safetensors", ".gguf")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever asked has read enough
            super().handle()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(path)
        found = self.hub.find(path)
        if path == "/":
            self._answer(200, b"the Hub")
        elif not found:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif found[0] == "api":
            self._api(self.hub.repositories[found[1]], found[1], found[2])
        else:
            commit, _, name = found[2].lstrip("/").partition("/")
            file = self.hub.repositories[found[1]] / name
            if commit not in ("main", COMMIT) or not file.is_file():
                self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            elif self.hub.gated:
                self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            else:
                self._file(file)

    def _api(self, folder: Path, name: str, rest: str) -> None:
        revision = rest.removeprefix("/revision/")
        if rest.startswith("/tree/"):
            self._json([self._described(file, folder, "path") for file in self._files(folder)])
        elif revision in ("", "main", COMMIT):
            siblings = [self._described(file, folder, "rfilename") for file in self._files(folder)]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings})
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})

    def _files(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def _described(self, file: Path, folder: Path, name: str) -> dict[str, Any]:
        size, sha256 = self.hub.sizes.get(file.name, file.stat().st_size), digest(file)
        told = {
            name: file.relative_to(folder).as_posix(),
            "type": "file",
            "size": size,
            "oid": sha256[:40],
            "blobId": sha256[:40],
        }
        if is_large(file) and not self.hub.without_sums:
            told["lfs"] = {"oid": sha256, "sha256": sha256, "size": size, "pointerSize": 130}
        return told

    def _file(self, file: Path) -> None:
        content, sha256 = file.read_bytes(), digest(file)
        etag = sha256 if is_large(file) else sha256[:40]
        first, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) + 1, len(content)) if last else len(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if is_part := bool(begin or last):
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        # All the rest of it, and no look at its beginning.
        is_whole = is_large(file) and (not last or int(last) >= len(content) > 100_000)
        if is_whole and self.command == "GET":
            self.hub.ranges.append(begin)
            if self.hub.damage:
                content = bytes([content[0] ^ 1]) + content[1:]
        self._answer(206 if is_part else 200, content[begin:end], headers, large=is_whole)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, large: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self._send(body) if large else self.wfile.write(body)
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def _send(self, body: bytes) -> None:
        """A large file, a piece at a time."""
        sent, hub = 0, self.hub
        while sent < len(body):
            if hub.hold and sent >= hub.hold_after:
                hub.hold.wait(600)
            piece = body[sent : sent + 16384]
            if hub.break_after is not None and sent + len(piece) > hub.break_after:
                self.wfile.write(piece[: hub.break_after - sent])
                hub.break_after = None
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(piece)
            self.wfile.flush()
            sent += len(piece)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a port that the operating system picks."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        if hub.hold:
            hub.hold.set()
        server.shutdown()
        server.server_close()


def take_for_the_hub(there: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have huggingface_hub, which read its settings when it was imported, take this one for the Hub, with a cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", there.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", there.template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def disconnect(monkeypatch: pytest.MonkeyPatch, *, is_told: bool = False) -> None:
    """The network goes: nobody answers any more. With `is_told`, huggingface_hub is told so, and asks nobody."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_told)


@contextmanager
def as_the_hub(repositories: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with these repositories, which huggingface_hub takes for the Hub, with a cache of its own and another one
    for graphs.
    """
    with serving() as there:
        there.repositories |= repositories
        take_for_the_hub(there, cache / "hub", monkeypatch)
        monkeypatch.setenv("GREEDYSCOPE_CACHE", str(cache / "graphs"))
        for name, value in PATIENT.items():
            monkeypatch.setenv(name, value)
        yield there
