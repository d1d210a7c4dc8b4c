"""Real vLLM servers for the tests and the benchmark's, each a process with children of its own."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from decoding.engines.torch.safetensors_folder import starter_safetensors
from tests.vllm_environment import vllm_python

OPTIONS = {"--dtype": "float32", "--max-model-len": "1024", "--max-num-seqs": "32", "--max-logprobs": "50"}
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "OMP_WAIT_POLICY": "PASSIVE",  # whatever shares the cores gets on
}
START_SECONDS = 600.0


class Vllm:
    """A server of the starter model on a port; `ready` waits for it."""

    def __init__(self, port: int, log: Path, *, threads: int | None = None) -> None:
        self.url, self._log = f"http://127.0.0.1:{port}", log
        command = [str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
        command += [word for option in OPTIONS.items() for word in option]
        command += ["--model", str(starter_safetensors()), "--served-model-name", "starter"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        few = {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"} if threads else {}
        # None of the tests' own: the other environment has other versions.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, env=inherited | QUIET | few, stdout=out, stderr=out, start_new_session=True
            )

    def ready(self) -> None:
        """Wait until it answers a request: the first takes seconds more than any other."""
        ends = time.monotonic() + START_SECONDS
        body = {"model": "starter", "prompt": [5, 6], "max_tokens": 1}
        while True:
            assert self._process.poll() is None, f"vLLM ended:\n{self._tail()}"
            assert time.monotonic() < ends, f"vLLM is not up after {START_SECONDS:.0f} s:\n{self._tail()}"
            try:
                if httpx.post(f"{self.url}/v1/completions", json=body, timeout=START_SECONDS).status_code == 200:
                    return
            except httpx.TransportError:
                threading.Event().wait(0.2)

    def kill(self) -> None:
        """As a machine that loses its power: it and its children at once, without a word."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()

    def _tail(self) -> str:
        return self._log.read_text("utf-8", "replace")[-3000:]


@contextmanager
def served(ports: list[int], folder: Path, *, threads: int | None = None) -> Iterator[list[Vllm]]:
    """A server on each of the ports, started side by side."""
    servers: list[Vllm] = []
    try:
        for port in ports:
            servers.append(Vllm(port, folder / f"vllm-{port}.log", threads=threads))
        for server in servers:
            server.ready()
        yield servers
    finally:
        for server in servers:
            server.close()
