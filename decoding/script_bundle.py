"""Joins ES modules into one script, for pages that should not send fifty requests and for files that have no server.

Owns the order, and what makes a join safe: imports without a circle, of names that exist, and no name defined twice,
since all modules then share one scope. Knows two statements of JavaScript and nothing else:
`import { a, b } from "./c.js";`, and `export` before a declaration. Renames nothing.
"""

import os.path
import re
from collections import Counter
from functools import cache
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)
_DEFINED = re.compile(r"^(export )?(?:async )?(?:function\*?|const|let|class) +(\w+)", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\n|/\*\* @(?:[^*\n]|\*(?!/))*\*/ ?", re.MULTILINE)
"""Lines of comments, and the types within a line."""


class BundleError(ValueError):
    """Modules that cannot be joined: a mistake in the code of assets/."""


@cache
def bundle(entry: Path) -> str:
    """The module `entry` and all that it imports as one script, without comments. Raises BundleError."""
    modules = modules_of(entry)
    texts = {path: path.read_text("utf-8") for path in modules}
    exported = {path: {name for export, name in _DEFINED.findall(text) if export} for path, text in texts.items()}
    for path, text in texts.items():
        for names, where in _IMPORT.findall(text):
            there = exported[_resolve(path, where)]
            for name in re.findall(r"\w+", names):
                if name not in there:
                    raise BundleError(f"{path.name} imports {name}, which {where} does not export.")
    counts = Counter(name for text in texts.values() for _, name in _DEFINED.findall(text))
    if twice := [name for name, count in counts.items() if count > 1]:
        raise BundleError(f"{', '.join(twice)}: defined in two modules, which share one scope. Rename one.")
    return "\n".join(_plain(path, text) for path, text in texts.items())


def modules_of(entry: Path) -> list[Path]:
    """The paths of `entry` and of all that it imports, each behind those that it imports. Raises BundleError."""
    done: dict[Path, None] = {}

    def add(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            circle = [*above[above.index(path) :], path]
            raise BundleError(f"A circle of imports: {' → '.join(each.name for each in circle)}.")
        if path in done:
            return
        for _, where in _IMPORT.findall(path.read_text("utf-8")):
            add(_resolve(path, where), (*above, path))
        done[path] = None

    add(entry.resolve(), ())
    return list(done)


def _resolve(path: Path, where: str) -> Path:
    return Path(os.path.normpath(path.parent / where))  # `resolve` would ask the disk for each folder


def _plain(path: Path, text: str) -> str:
    """A module's text without its imports, the word `export` and comments."""
    plain = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", text))).strip("\n")
    if other := _OTHER.search(plain):
        raise BundleError(f"{path.name}: `{other[0]}` is neither `import {{ … }} from` nor `export` of a declaration.")
    return plain
