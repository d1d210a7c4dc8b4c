"""How many requests of one address are processed at once, and which paths have limits of their own."""

import asyncio
from typing import Any

import pytest

from decoding.page.http.concurrency import MAX_FILES, MAX_REQUESTS
from decoding.page.http.request_filter import RequestFilter
from tests.serving.visits import run

SENT = MAX_FILES + 1


def processed_at_once(path: str, root_path: str = "") -> int:
    """How many of so many requests of one address reach the application before one of them is answered."""
    reached = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached += 1
        await asyncio.Event().wait()

    async def test() -> None:
        allowed: Any = None  # asked of bodies only
        page = RequestFilter(application, allowed)
        scope = {"type": "http", "method": "GET", "path": path, "root_path": root_path, "query_string": b""}
        scope |= {"headers": [], "client": ("10.0.0.9", 1)}
        nothing: Any = None
        tasks = [asyncio.ensure_future(page(dict(scope), nothing, nothing)) for _ in range(SENT)]
        for _ in range(20):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(test)
    return reached


@pytest.mark.parametrize("root_path", ["", "/greedyscope"])
@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/", MAX_REQUESTS),
        ("/assets/index.js", MAX_REQUESTS),
        *((f"/assets{other}/../index.js", MAX_REQUESTS) for other in ("/vote", "/keep", "/healthz", "/mcp")),
        ("/assets/in-browser/../index.js", MAX_REQUESTS),
        ("/in-browser/model/weights-000.bin", MAX_FILES),
        ("/vote/news", SENT),
        ("/keep/csv", SENT),
        ("/healthz", SENT),
        ("/metrics", SENT),
        ("/gradio_api/mcp/", SENT),
    ],
)
def test_an_addresses_requests_are_limited_unless_their_path_begins_otherwise(
    path: str, most: int, root_path: str
) -> None:
    assert processed_at_once(root_path + path, root_path) == most
