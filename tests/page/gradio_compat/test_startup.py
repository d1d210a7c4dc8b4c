"""A page opens on a machine that is too busy for Gradio's own time limits."""

import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from gradio import http_server, networking
from gradio.exceptions import ServerFailedToStartError

import app as application
from decoding.page.gradio_compat.startup import start_server
from tests.browser import served
from tests.fakes import ScriptedEngine


@pytest.mark.usefixtures("drives_server")
def test_a_page_opens_though_it_takes_long_to_begin_and_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = SimpleNamespace(time=count(step=60).__next__, sleep=time.sleep)  # a minute from one look to the next
    monkeypatch.setattr(http_server, "time", hurried)
    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # Gradio asks once, and waits three seconds
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as url:
        assert httpx.get(f"{url}healthz", timeout=60).text == "alive\n"


def test_a_server_that_ends_at_once_is_not_waited_for() -> None:
    server: Any = SimpleNamespace(reloader=None, started=False, run=lambda: None, config=SimpleNamespace(app=None))
    with pytest.raises(ServerFailedToStartError, match="ended before it listened"):
        start_server(server)
