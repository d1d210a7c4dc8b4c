"""Lists a repository of the Hub: its commit, and those of its files that make up a model.

Owns the request, and what is refused after it: weights in another format, a missing file, a file without a sha256.
Downloads nothing.
"""

from fnmatch import fnmatch
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from decoding.errors import ModelError
from decoding.models.hub import CONFIG, FILES, INDEX, OUT_OF_REACH, SHARDS, WEIGHTS

_ASK_SECONDS = 10.0
_SHOWN_CHARACTERS = 160  # of a file name that strangers chose
_NO_SAFETENSORS = "{model} has no weights as safetensors, and other formats are not opened. Choose another model."
_WHICH_GGUF = "{model} has GGUF files: the operator has to name one of them, as hub:{file}. Choose another model."
_NO_CONFIG = "{model} has no config.json, so it is unknown what its weights belong to. Choose another model."
_NO_FILE = "{model} cannot be fetched: its repository has no file of that name. Choose another model."
_NO_SUM = "{model} cannot be checked: the Hugging Face Hub has no sha256 for it. Choose another model."
REFUSED = "The Hugging Face Hub does not give out {model} ({reason}). Choose another model."


def list_files(model: str, repository: str, revision: str, gguf: str) -> tuple[str, dict[str, Any]]:
    """A repository's commit, and its wanted files by name: those of a model in safetensors, or only `gguf` if it is
    named. Raises ModelError.
    """
    try:
        info = HfApi().model_info(repository, revision=revision or None, files_metadata=True, timeout=_ASK_SECONDS)
    except HfHubHTTPError as error:
        raise ModelError(REFUSED.format(model=model, reason=status_words(error))) from error
    except Exception as error:  # errors of the transport, for instance without a network
        raise ModelError(OUT_OF_REACH.format(model=model)) from error
    files = {file.rfilename: file for file in info.siblings or ()}
    if gguf:
        if gguf not in files:
            raise ModelError(_NO_FILE.format(model=model))
        if not files[gguf].lfs:
            raise ModelError(_NO_SUM.format(model=model))
        return str(info.sha), {gguf: files[gguf]}
    if not {WEIGHTS, INDEX} & files.keys():
        for name in sorted(files):
            if name.lower().endswith(".gguf"):
                raise ModelError(_WHICH_GGUF.format(model=model, file=f"{repository}/{name}"[:_SHOWN_CHARACTERS]))
        raise ModelError(_NO_SAFETENSORS.format(model=model))
    if CONFIG not in files:
        raise ModelError(_NO_CONFIG.format(model=model))
    patterns = [
        each for each in FILES if WEIGHTS not in files or each not in (INDEX, SHARDS)
    ]  # the single file or the shards, not both
    wanted = {name: file for name, file in files.items() if any(fnmatch(name, pattern) for pattern in patterns)}
    return str(info.sha), wanted


def status_words(error: HfHubHTTPError) -> str:
    said = {401: "it asks for an account", 403: "it asks for an account", 404: "there is no such repository or commit"}
    status = error.response.status_code
    return said.get(status, f"it answered with status {status}")
