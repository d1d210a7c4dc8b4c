"""The beginning of Gradio's server: over connections that are bounded, behind the door that reads headers first, and
waited for as long as a busy machine takes. Gradio gives it five seconds to listen and three to answer, and then speaks
of a port that is taken or a localhost that cannot be reached. Knows no page.
"""

import threading
from time import sleep
from typing import Any

from gradio.exceptions import ServerFailedToStartError
from gradio.http_server import Server

from decoding.page.gradio_compat.connections import BoundedConnection, Connections, connections_that_fit
from decoding.page.http.front_door import FrontDoor

_POLL_SECONDS = 0.001


def patiently() -> dict[str, Any]:
    """Have every server of Gradio's in this process be begun by `begin`; and what else to launch one with."""
    Server.run_in_thread = begin  # type: ignore[method-assign]
    # Leaves out the question that waits three seconds. Before it Gradio asks another one, which waits for its answer.
    return {"_frontend": False}


def begin(server: Server) -> None:
    """Run it in a thread of its own until it listens. Raises ServerFailedToStartError where it ends instead."""
    _bound(server)
    if server.reloader:  # on a Space
        server.watch_thread = threading.Thread(target=server.watch, daemon=True)
        server.watch_thread.start()
    server.thread = threading.Thread(target=server.run, daemon=True)
    server.thread.start()
    while not server.started:
        if not server.thread.is_alive():
            raise ServerFailedToStartError("The server ended before it listened. Is its port free?")
        sleep(_POLL_SECONDS)


def _bound(server: Server) -> None:
    """Give uvicorn the settings that Gradio does not know of."""
    settings: Any = server.config
    settings.app = FrontDoor(settings.app)
    settings.http = type("Connection", (BoundedConnection,), {"open_ones": Connections(connections_that_fit())})
    settings.ws = "none"
    settings.proxy_headers = False  # the door reads them, once it knows whose they are
