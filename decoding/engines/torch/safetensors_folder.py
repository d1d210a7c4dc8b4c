"""Writes the starter as transformers' files with float32 safetensors, for a vLLM server and other tools.

Owns that folder beside the starter's: written once, under a lock, and renamed into place when it is complete. Nothing
else in this program needs it.
"""

import shutil
import tempfile
from pathlib import Path

from decoding.engines.torch.gguf_network import gguf_network
from decoding.messages import Message
from decoding.models.cache import acquire_lock, cache_folder
from decoding.models.checksums import CONTENTS_FILE, SUMS_FILE, is_complete, sync_to_disk, write_checksums
from decoding.models.gguf import read_gguf
from decoding.models.progress import Report, no_report
from decoding.models.resources import check_disk
from decoding.models.starter import MODEL_FILE, SAFETENSORS_NAME, STARTER_ID, ensure_starter

BYTES_NEEDED = 700_000_000


def starter_safetensors(report: Report = no_report) -> Path:
    """The folder, written first if it does not exist. Raises ModelError if it cannot be written."""
    source, ready = ensure_starter(report), cache_folder().absolute() / SAFETENSORS_NAME
    with acquire_lock(ready.with_suffix(".lock"), lambda: report(Message("starter.waiting"), None)):
        if not is_complete(ready):
            check_disk(STARTER_ID, BYTES_NEEDED, ready.parent)
            report(Message("starter.writing"), None)
            with tempfile.TemporaryDirectory(prefix="writing-", dir=ready.parent) as work:
                made = Path(work, "model")
                gguf_network(read_gguf(source / MODEL_FILE)).save_pretrained(made)
                for file in source.iterdir():
                    if file.name not in (MODEL_FILE, CONTENTS_FILE, SUMS_FILE):
                        shutil.copy(file, made)
                write_checksums(made)
                shutil.rmtree(ready, ignore_errors=True)
                made.rename(ready)
            sync_to_disk(ready.parent)
    return ready
