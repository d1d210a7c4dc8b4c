"""Whether this machine's GPU is lent for the length of a call: a Space on ZeroGPU. Knows the environment alone, so that
it can be asked before torch is imported.
"""

import os


def zero_gpu() -> bool:
    """Whether this is a Space whose GPU is lent for the length of a call."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
