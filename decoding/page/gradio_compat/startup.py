"""Startup of Gradio's server: with limited connections, behind the header filter, and without Gradio's timeouts.

Owns how the server is started. Knows no page. Gradio waits five seconds for the server to listen and three for an
answer; on a busy machine it then reports a taken port or an unreachable localhost.
"""

import threading
from functools import partialmethod
from time import sleep
from typing import Any

from gradio.exceptions import ServerFailedToStartError
from gradio.http_server import Server

from decoding.page.gradio_compat.connection_limits import (
    BoundedConnection,
    ConnectionLimits,
    connections_that_fit,
)
from decoding.page.http.address_budget import AddressBudget
from decoding.page.http.header_filter import HeaderFilter

_POLL_SECONDS = 0.001


def launch_options(limits: ConnectionLimits | None = None) -> dict[str, Any]:
    """Make Gradio start the servers of this process with `start_server`. Returns further options for `launch`."""
    Server.run_in_thread = partialmethod(start_server, limits=limits)  # type: ignore[assignment]
    # Skips a check with a timeout of three seconds. The check before it waits for its answer.
    return {"_frontend": False}


def start_server(server: Server, limits: ConnectionLimits | None = None) -> None:
    """Run a server in a thread until it listens. Raises ServerFailedToStartError if it ends first."""
    _configure(server, limits)
    if server.reloader:  # on a Space
        server.watch_thread = threading.Thread(target=server.watch, daemon=True)
        server.watch_thread.start()
    server.thread = threading.Thread(target=server.run, daemon=True)
    server.thread.start()
    while not server.started:
        if not server.thread.is_alive():
            raise ServerFailedToStartError("The server ended before it listened. Is its port free?")
        sleep(_POLL_SECONDS)


def _configure(server: Server, limits: ConnectionLimits | None) -> None:
    """Set the options of uvicorn that Gradio does not offer."""
    settings: Any = server.config
    settings.app = HeaderFilter(settings.app)
    bounds = {"open_connections": AddressBudget(connections_that_fit()), "limits": limits or ConnectionLimits()}
    settings.http = type("Connection", (BoundedConnection,), bounds)
    settings.ws = "none"
    settings.proxy_headers = False  # the header filter reads them if the peer is trusted
