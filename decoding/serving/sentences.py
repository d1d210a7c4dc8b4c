"""What a server's faults may say to strangers. Owns no sentence, only what is taken out of one."""

import re
from collections.abc import Sequence

_PATH = re.compile(r"(?<![\w/:.])(?:[A-Za-z]:\\|/)(?:[^\s/\\'\"()]+[/\\])+([^\s/\\'\"():]*)")


def without_paths(sentence: str, but: Sequence[str]) -> str:
    """A sentence for strangers: of each path only its last part, except of the names in `but`, which they are shown."""
    return _PATH.sub(lambda found: found[0] if found[0] in but else f"…/{found[1]}", sentence)
