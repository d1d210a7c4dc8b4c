"""Lists a repository of the Hub: its commit, and those of its files that make up a model.

Owns the request, and what is refused after it: weights in another format, a missing file, a file without a sha256.
Downloads nothing.
"""

from fnmatch import fnmatch
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.hub import CONFIG, FILES, INDEX, SHARDS, WEIGHTS

_ASK_SECONDS = 10.0
_SHOWN_CHARACTERS = 160  # of a file name that strangers chose


def list_files(model: str, repository: str, revision: str, gguf: str) -> tuple[str, dict[str, Any]]:
    """A repository's commit, and its wanted files by name: those of a model in safetensors, or only `gguf` if it is
    named. Raises ModelError.
    """
    try:
        info = HfApi().model_info(repository, revision=revision or None, files_metadata=True, timeout=_ASK_SECONDS)
    except HfHubHTTPError as error:
        raise ModelError(Message("fetch.refused", model=model, reason=status_words(error))) from error
    except Exception as error:  # errors of the transport, for instance without a network
        raise ModelError(Message("fetch.out_of_reach", model=model)) from error
    files = {file.rfilename: file for file in info.siblings or ()}
    if gguf:
        if gguf not in files:
            raise ModelError(Message("fetch.no_file", model=model))
        if not files[gguf].lfs:
            raise ModelError(Message("fetch.no_sum", model=model))
        return str(info.sha), {gguf: files[gguf]}
    if not {WEIGHTS, INDEX} & files.keys():
        for name in sorted(files):
            if name.lower().endswith(".gguf"):
                raise ModelError(
                    Message("fetch.which_gguf", model=model, file=f"{repository}/{name}"[:_SHOWN_CHARACTERS])
                )
        raise ModelError(Message("fetch.format", model=model))
    if CONFIG not in files:
        raise ModelError(Message("fetch.no_config", model=model))
    patterns = [
        each for each in FILES if WEIGHTS not in files or each not in (INDEX, SHARDS)
    ]  # the single file or the shards, not both
    wanted = {name: file for name, file in files.items() if any(fnmatch(name, pattern) for pattern in patterns)}
    return str(info.sha), wanted


def status_words(error: HfHubHTTPError) -> str:
    reasons = {
        401: Message("fetch.reason.account"),
        403: Message("fetch.reason.account"),
        404: Message("fetch.reason.none"),
    }
    status = error.response.status_code
    return reasons.get(status, Message("engine.why.status", status=status))
