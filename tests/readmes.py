"""The READMEs of the project, and the blocks of code in them that tests run. Knows no test."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READMES = sorted(path for path in ROOT.rglob("README.md") if not re.search(r"/(\.|node_modules/)", path.as_posix()))
FENCE = re.compile(r"(?:^<!-- ([\w ]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(readme: Path, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language: the name that stands before each in a comment, "" without one, and its text."""
    found = FENCE.findall(readme.read_text("utf-8"))
    return [(name, text) for name, written, text in found if written == language]


def block(folder: str, name: str, language: str) -> str:
    """The one block of that name in a folder's README. Raises ValueError where there is none, or more than one."""
    (text,) = [text for called, text in blocks(ROOT / folder / "README.md", language) if called == name]
    return text


def commands(readme: Path) -> list[list[str]]:
    """Every command in a README's shell blocks, as words: comments and lines that go on are put together, pipes and
    loops are taken apart.
    """
    found = []
    for _, text in blocks(readme, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|&", line):
                words = shlex.split(re.sub(r"\$port\b", "7861", part), comments=True)
                found.append([word for word in words if word not in ("do", "done", "for")])
    return [words for words in found if words]
