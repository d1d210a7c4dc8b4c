"""The catalogue: the models to choose from, with the facts that a person wants before choosing.

Owns names, figures and pinned revisions, and parses the operator's list of models. Knows no network and no torch, and
asks the disk only whether a list is the path of one model. Figures are the publishers' own; the download is the size of
the files that are fetched, in bytes.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from decoding.errors import RequestError
from decoding.messages import Message
from decoding.models.starter import GGUF_BYTES, STARTER_ID, STARTER_REVISION, WHEEL_BYTES

BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "float16": 2}
WORKING_BYTES = 300_000_000
"""Bytes that a run takes beside the weights: logits, and keys and values of about a thousand positions."""
_SPARE = 1.15  # allocators round up, and some buffers are no parameters
_SPARE_OF_FILES = 1.3  # for packed weights and rows of the embedding


@dataclass(frozen=True, slots=True)
class Entry:
    """A model to choose from. 0 and "" stand for unknown facts.

    Without a `repository` it is the starter, or a local folder of that name. If the model is a single GGUF file of a
    repository, `file` is its path there.
    """

    name: str
    repository: str = ""
    revision: str = ""
    parameters: int = 0
    download_bytes: int = 0
    context: int = 0
    licence: str = ""
    file: str = ""
    packed_bytes: int = 0
    """Of weights that a CPU computes from as they are packed in a GGUF file."""

    def memory_needed(self, dtype: str) -> int:
        """Bytes of memory that the model takes in a dtype, a GGUF file as it is stored; 0 where nobody knows."""
        if packed := self.packed_bytes or (self.download_bytes if self.file else 0):
            return memory_of_files(packed)
        return self.memory_unpacked(dtype)

    def memory_unpacked(self, dtype: str) -> int:
        """The same of weights that all take what the dtype does, as a GPU has them; 0 where nobody knows."""
        return memory_needed(self.parameters, dtype) if self.parameters else 0


def memory_needed(parameters: int, dtype: str) -> int:
    """Bytes that this number of parameters takes in `dtype`, plus what a run takes beside them."""
    return int(parameters * BYTES_PER_PARAMETER[dtype] * _SPARE) + WORKING_BYTES


def memory_of_files(size: int) -> int:
    """Bytes of memory that weights take that are stored in `size` bytes, plus what a run takes beside them."""
    return int(size * _SPARE_OF_FILES) + WORKING_BYTES


# The pinned revisions are commits of the Hub's repositories; each holds safetensors.
_ENTRIES = (
    Entry(
        STARTER_ID,
        revision=STARTER_REVISION,
        parameters=134_515_008,
        download_bytes=WHEEL_BYTES,
        context=8192,
        licence="Apache-2.0",
        packed_bytes=GGUF_BYTES,
    ),
    # The notebook's family; gpt2-xl is the notebook's own.
    Entry(
        "distilgpt2",
        "distilbert/distilgpt2",
        "2290a62682d06624634c1f46a6ad5be0f47f38aa",
        parameters=81_912_576,
        download_bytes=352_824_413,
        context=1024,
        licence="Apache-2.0",
    ),
    Entry(
        "gpt2",
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        parameters=124_439_808,
        download_bytes=548_105_171,
        context=1024,
        licence="MIT",
    ),
    Entry(
        "gpt2-medium",
        "openai-community/gpt2-medium",
        "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
        parameters=354_823_168,
        download_bytes=1_520_000_000,
        context=1024,
        licence="MIT",
    ),
    Entry(
        "gpt2-large",
        "openai-community/gpt2-large",
        "32b71b12589c2f8d625668d2335a01cac3249519",
        parameters=774_030_080,
        download_bytes=3_250_000_000,
        context=1024,
        licence="MIT",
    ),
    Entry(
        "gpt2-xl",
        "openai-community/gpt2-xl",
        "15ea56dee5df4983c59b2538573817e1667135e2",
        parameters=1_557_611_200,
        download_bytes=6_430_000_000,
        context=1024,
        licence="MIT",
    ),
    # Current small ones.
    Entry(
        "SmolLM2-360M",
        "HuggingFaceTB/SmolLM2-360M",
        "f8027fd0eaeea54caa13c31d31b9fdc459c38b49",
        parameters=361_821_120,
        download_bytes=724_000_000,
        context=8192,
        licence="Apache-2.0",
    ),
    Entry(
        "Qwen3-0.6B",
        "Qwen/Qwen3-0.6B",
        "c1899de289a04d12100db370d81485cdf75e47ca",
        parameters=596_049_920,
        download_bytes=1_500_000_000,
        context=40_960,
        licence="Apache-2.0",
    ),
    # Korean.
    Entry(
        "polyglot-ko-1.3b",
        "EleutherAI/polyglot-ko-1.3b",
        "557e162cf6e944fdbae05bab2e45d066a125eacb",
        parameters=1_331_810_304,
        download_bytes=2_770_000_000,
        context=2048,
        licence="Apache-2.0",
    ),
)

CATALOGUE = {entry.name: entry for entry in _ENTRIES}

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@\w[\w.-]*)?")
_FILE = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)/((?:\w[\w.+-]*/)*\w[\w.+-]*(?i:\.gguf))(?:@(\w[\w.-]*))?")
"""No part of the path begins with a dot, so the path cannot leave the repository's folder."""
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


def parse_model_list(models: str) -> tuple[Entry, ...]:
    """Parse the operator's list of models, separated by commas; a path that has commas stands alone.

    Each is a name of the catalogue, a local folder, "hub:owner/name@revision" for a repository of the Hub, or
    "hub:owner/name/folder/file.gguf@revision" for a GGUF file. A list that begins with "+" extends the catalogue, any
    other replaces it. Raises RequestError for an empty list and for a malformed repository or file.
    """
    listed = [models] if os.path.exists(os.path.expanduser(models)) else models.removeprefix("+").split(",")
    names = [name.strip() for name in listed if name.strip()]
    entries = {name: _entry(name) for name in ([*CATALOGUE] if models.startswith("+") else []) + names}
    if not entries:
        raise RequestError(
            f'"{models}" names no model. Name at least one of {", ".join(CATALOGUE)}, or a local folder.',
            field="model",
        )
    return tuple(entries.values())


def _entry(name: str) -> Entry:
    if not name.startswith("hub:"):
        return CATALOGUE.get(name) or Entry(name)
    if (name := name.removeprefix("hub:")).count("/") > 1:
        return _file_entry(name)
    if not _REPOSITORY.fullmatch(name):
        raise RequestError(f'"hub:{name}" is no repository: write hub:owner/name, or hub:owner/name@revision.')
    repository, _, revision = name.partition("@")
    return Entry(repository, repository, revision)


def _file_entry(name: str) -> Entry:
    """A GGUF file of a repository, named by its whole path, because a repository may have several."""
    if not (found := _FILE.fullmatch(name)):
        raise RequestError(
            f'"hub:{name}" is no GGUF file of a repository: write hub:owner/name/file.gguf, with its folders before it '
            "where it lies in some, and @revision after it."
        )
    repository, file, revision = found.groups(default="")
    if _PART.search(file):
        raise RequestError(
            f'"hub:{name}" is no whole GGUF file: it is one of several parts. Name a file that is whole.'
        )
    return Entry(f"{repository}/{file}", repository, revision, file=file)


def describe_models(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Facts about each model, by name: parameters, context, licence, download, memory by dtype."""
    return {entry.name: _describe(entry) for entry in entries}


def describe_served(entry: Entry, context_length: int | None) -> list[str]:
    """Facts about a model that a vLLM server computes: it decides the context, and nothing is fetched or held here."""
    return _describe(replace(entry, context=context_length or 0), is_here=False)


def _describe(entry: Entry, *, is_here: bool = True) -> list[str]:
    parts: list[str] = []
    if entry.parameters:
        parts.append(Message("facts.parameters", count=format_count(entry.parameters)))
    if entry.context:
        parts.append(Message("facts.context", count=f"{entry.context:,}"))
    if entry.licence:
        parts.append(entry.licence)
    if entry.download_bytes and is_here:
        parts.append(Message("facts.download", size=format_bytes(entry.download_bytes)))
    if entry.parameters and is_here:
        exact, half = format_bytes(entry.memory_unpacked("float32")), format_bytes(entry.memory_unpacked("bfloat16"))
        packed = format_bytes(entry.memory_needed("float32"))
        parts.append(
            Message("facts.memory.packed", packed=packed, float32=exact, bfloat16=half)
            if entry.packed_bytes
            else Message("facts.memory", float32=exact, bfloat16=half)
        )
    if entry.repository:
        parts.append(entry.repository + (f" at {entry.revision[:7]}" if entry.revision else ""))
    return parts


def format_count(count: int) -> str:
    """A number of parameters for people: 82 M, 1.56 B."""
    return f"{count / 1e9:.2f} B" if count >= 999.5e6 else f"{count / 1e6:.0f} M"


def format_bytes(count: int) -> str:
    """A number of bytes for people: 93 MB, 6.4 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"
