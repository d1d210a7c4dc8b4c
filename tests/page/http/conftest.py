"""The page that strangers ask."""

from collections.abc import Iterator

import httpx
import pytest

import app as application
from tests.browser import served
from tests.fakes import ScriptedEngine


@pytest.fixture(scope="module")
def client(drives_server: None) -> Iterator[httpx.Client]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url, httpx.Client(base_url=url, timeout=300) as client:
        yield client
