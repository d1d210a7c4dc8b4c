"""The folder that keeps what was fetched or made once: the starter, graphs, heads of files, the static site's files."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder: `$GREEDYSCOPE_CACHE`, or a folder of our own in the user's cache."""
    if chosen := os.environ.get("GREEDYSCOPE_CACHE"):
        return Path(os.path.expanduser(chosen)).absolute()
    base = Path(os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "greedyscope"
