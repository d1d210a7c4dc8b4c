"""A Space on ZeroGPU, to be imported first in a fresh process: the real `spaces` package, whose patches, workers, forks
and queues are its own. Only its scheduler is a server of ours, and CUDA's start and the move of the weights to the GPU
are replaced, because this machine has none: there the weights come back from where `spaces` has packed them.

What the scheduler is asked stands in the file of `SPACES_LOG`, a line a call; it lends a new worker each time, or once
`IDLE` is set the one that has become idle.
"""

import http.server
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # it looks for what a torch with CUDA has, and finds it below

IDLE = threading.Event()


class Scheduler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        with open(os.environ["SPACES_LOG"], "a", encoding="utf-8") as log:
            log.write(self.path + "\n")
        lent = {"idle": IDLE.is_set(), "nvidiaIndex": 0, "nvidiaUUID": "GPU-x", "allowToken": "t"}
        body = json.dumps(lent if self.path.startswith("/schedule") else {}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def from_the_pack(callback: Any = None) -> None:
    """What `spaces` does to move the weights to the GPU, to the memory of this process instead."""
    from spaces.zero.torch import patching

    for pack in patching.tensor_packs:
        with open(pack.path(), "rb") as file:
            for batch in pack.batches:
                for tensor, size, aligned in batch:
                    raw = torch.frombuffer(bytearray(file.read(aligned)[:size]), dtype=torch.uint8)
                    for fake in pack.fakes[tensor]:
                        fake.data = raw.view(tensor.dtype).reshape(tensor.shape)


def begin() -> None:
    """Become such a Space."""
    folder = Path(tempfile.mkdtemp())
    (folder / "cgroup").write_text("0::/x\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_port}",
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"),
        "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
    }
    backend: Any = torch._C
    torch.version.cuda = "13.0"
    backend._cuda_init = lambda: None
    torch.cuda._is_in_bad_fork = bool  # type: ignore[assignment]
    import spaces.zero.wrappers

    backend._cuda_getDeviceCount = lambda: 1
    torch.cuda._cudart = object()  # type: ignore[attr-defined]
    spaces.zero.wrappers.torch.init = lambda uuid: None
    spaces.zero.wrappers.torch.move = from_the_pack


begin()
