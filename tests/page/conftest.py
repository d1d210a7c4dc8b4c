"""What most of the page's tests visit: a page over the scripted engine. A module that needs another has its own."""

from collections.abc import Iterator

import pytest

import app as application
from tests.browser import served
from tests.fakes import ScriptedEngine


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address
