"""A model as the files that a browser fetches: two graphs, their weights in pieces, the tokenizer, the vocabulary.

Owns their names, each of which holds the file's sum, so that a file that a browser keeps is never an old one; and what
the browser has to know of the model. Knows no page.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.engines.onnx.graph_files import WEIGHTS_FILE
from decoding.engines.onnx.network import max_read
from decoding.engines.onnx.unpacking import packed_graph, unpacked_graph
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.gguf_file_tokenizer import gguf_tokenizer
from decoding.models.gguf_head import check_head
from decoding.models.model_paths import find_source, revision_of
from decoding.models.progress import Report
from decoding.models.spec import NoGraphError
from decoding.record.tokens import Token, Vocabulary
from decoding.site.npm_packages import ONNX_RUNTIME

NO_SITE = "{model} cannot be computed in a browser here: {reason}. Choose a GGUF file of a small model, or the starter."
RUNTIME = "ort-wasm-simd-threaded.wasm"
GPU_RUNTIME = "ort-wasm-simd-threaded.asyncify.wasm"
GPU_SCRIPT = "ort.webgpu.bundle.min.mjs"
WITH_MODEL = (RUNTIME, GPU_RUNTIME, GPU_SCRIPT)
"""The libraries' files that a browser fetches with the model's. The last two are for one with a GPU alone."""
NO_GGUF = "its weights are not a GGUF file"
PIECE_BYTES = 4 * 2**20
"""Of the weights. A browser shows what it has after each piece; file hosts take files of 50 MB and more."""

CHECKED_TEXT = "Once upon a time, there was a"
"""After this, WebGPU has to say what WebAssembly says, or it is not used: assets/browser/engine/gpu_check.js."""

# What a run in a browser says of itself. The names in braces are filled in there.


class ModelFiles:
    """Writes into the folder `model` of a site, and keeps what a browser has to know of each file."""

    def __init__(self, site: Path) -> None:
        self._site = site
        (site / "model").mkdir()

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Write a file under its name and its sum."""
        digest = hashlib.sha256(data)
        stem, _, ending = name.rpartition(".")
        path = f"model/{stem}-{digest.hexdigest()[:12]}.{ending}"
        (self._site / path).write_bytes(data)
        return {"path": path, "bytes": len(data), "sha256": b64encode(digest.digest()).decode()}

    def add_pieces(self, name: str, pieces: Iterable[bytes]) -> list[dict[str, Any]]:
        stem, _, ending = name.rpartition(".")
        return [self.add(f"{stem}-{number:03}.{ending}", piece) for number, piece in enumerate(pieces)]


def write_model(entry: Entry, site: Path, libraries: Mapping[str, bytes], report: Report) -> dict[str, Any]:
    """Write the files of a model, and those of its runtime, and return what a browser has to know. Raises ModelError
    for a model that no browser computes here.
    """
    name = entry.name
    if entry.repository and not entry.file:
        raise ModelError(NO_SITE.format(model=name, reason=NO_GGUF))
    source = find_source(entry, report, lambda *_: check_head(entry, report))
    if source.is_dir():
        raise ModelError(NO_SITE.format(model=name, reason=NO_GGUF))
    try:
        graph = ensure_graph(source, report=report)
        if not graph.is_proven:
            raise NoGraphError("its graph has not been compared with transformers' network yet: too little memory")
        unpacked, recipes = unpacked_graph(graph)
    except NoGraphError as error:
        raise ModelError(NO_SITE.format(model=name, reason=str(error))) from error
    tokenizer = gguf_tokenizer(entry, source)
    if not tokenizer.is_byte_level:
        raise ModelError(NO_SITE.format(model=name, reason="its tokens look different in different places"))
    spec, files = graph.spec, ModelFiles(site)
    with (graph.folder / WEIGHTS_FILE).open("rb") as weights:
        pieces = files.add_pieces("weights.bin", iter(lambda: weights.read(PIECE_BYTES), b""))
    return {
        "model": {
            "id": entry.name,
            "revision": revision_of(entry, source),
            "dtype": "float32",
            "device": Message("browser.device", threads="{threads}"),
            "engine": f"{ONNX_RUNTIME.name} {ONNX_RUNTIME.version}, {spec.description}",
        },
        "why": {"unpacked": Message("browser.unpacked"), "packed": Message("browser.packed")},
        "vocabularySize": spec.vocabulary_size,
        "context": spec.context_length,
        "endIds": sorted(spec.end_ids),
        "beginningId": spec.beginning_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id,
        "firstIds": tokenizer.first_ids,
        "layers": spec.layers,
        "kvHeads": spec.kv_heads,
        "headWidth": spec.head_width,
        "maxRead": max_read(spec),
        "weights": {"name": WEIGHTS_FILE, "pieces": pieces},
        "packed": files.add("packed.onnx", packed_graph(graph)),
        "unpacked": files.add("unpacked.onnx", unpacked),
        "recipes": files.add("recipes.json", _json(recipes)),
        "tokenizer": files.add("tokenizer.json", _json(json.loads(tokenizer.to_json()))),
        "vocabulary": files.add("vocabulary.json", _json(_table(Vocabulary(tokenizer), spec.vocabulary_size))),
        "runtime": files.add("onnxruntime.wasm", libraries[RUNTIME]),
        "webgpu": {
            "runtime": files.add("webgpu.wasm", libraries[GPU_RUNTIME]),
            "library": files.add("webgpu.js", libraries[GPU_SCRIPT]),
        },
        "checkedIds": Vocabulary(tokenizer).encode(CHECKED_TEXT),
    }


def _table(vocabulary: Vocabulary, size: int) -> list[str | list[str]]:
    """Every token as the library writes it: its text, or its text and its bytes."""
    return [_written(vocabulary.token(token_id)) for token_id in range(size)]


def _written(token: Token) -> str | list[str]:
    return token.text if token.bytes is None else [token.text, token.bytes.hex()]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
