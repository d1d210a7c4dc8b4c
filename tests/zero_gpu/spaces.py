"""ZeroGPU emulated for `tests/engines/test_zero_gpu.py`, which puts this folder on the path of fresh processes: what
Hugging Face's `spaces` does with a decorated generator, without a GPU.

Each call runs in a fork of the process that was decorated in, in a thread of its own there. Arguments and what is
yielded are pickled. Whether the caller has gone is looked at after each yield. An exception arrives as its bare name.
`SPACES_LOG` names a file that takes a line a call, "duration pid", a line a yield, "yield", and "left"
when the caller has all or goes.
"""

import functools
import inspect
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor


class Error(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.message = message


def _log(line):
    with open(os.environ["SPACES_LOG"], "a", encoding="utf-8") as file:
        file.write(line + "\n")


def GPU(task=None, *, duration=60):  # noqa: N802
    if task is None:
        return functools.partial(GPU, duration=duration)
    assert inspect.isgeneratorfunction(task), "sync generators only"
    context = multiprocessing.get_context("fork")

    def child(arguments, results, stop):
        def run():
            try:
                args = pickle.loads(arguments.recv_bytes())
                for value in task(*args):
                    _log("yield")
                    results.send_bytes(pickle.dumps(("value", value)))
                    if stop.is_set():
                        break
                results.send_bytes(pickle.dumps(("end", None)))
            except Exception as error:
                results.send_bytes(pickle.dumps(("error", type(error).__name__)))

        with ThreadPoolExecutor(1) as executor:
            executor.submit(run).result()

    @functools.wraps(task)
    def call(*args):
        seconds = duration(*args)
        theirs, arguments = context.Pipe(duplex=False)
        results, ours = context.Pipe(duplex=False)
        stop = context.Event()
        process = context.Process(target=child, args=(theirs, ours, stop), daemon=True)
        process.start()
        _log(f"{seconds} {process.pid}")
        arguments.send_bytes(pickle.dumps(args))
        try:
            while True:
                kind, value = pickle.loads(results.recv_bytes())
                if kind == "end":
                    break
                if kind == "error":
                    raise Error(f"ZeroGPU worker error: {value}.")
                yield value
        finally:
            stop.set()
            _log("left")
            process.join()

    return call
