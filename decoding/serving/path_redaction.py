"""Removes file paths from sentences that strangers read. Owns the pattern of a path, and no sentence."""

import re
from collections.abc import Sequence

_PATH = re.compile(r"(?<![\w/:.])(?:[A-Za-z]:\\|/)(?:[^\s/\\'\"()]+[/\\])+([^\s/\\'\"():]*)")


def redact_paths(sentence: str, keep: Sequence[str]) -> str:
    """`sentence` with each path cut to its last part. Paths in `keep`, which visitors see anyway, stay whole."""
    return _PATH.sub(lambda found: found[0] if found[0] in keep else f"…/{found[1]}", sentence)
