"""The files of assets/ whose places are filled in."""

import pytest

from decoding import assets


def test_every_place_is_filled_in_and_nothing_that_was_filled_in() -> None:
    parts = {"style": "{script}", "script": "a", "noscript": "b"}
    page = assets.filled("vote/page.html", parts)
    assert page.count("{script}") == 1
    assert "{style}" not in page
    with pytest.raises(KeyError, match="noscript"):
        assets.filled("vote/page.html", {"style": "", "script": ""})


def test_braces_of_a_script_are_no_places() -> None:
    worker = assets.filled("browser/service_worker.js", {"version": "123", "shell": "[]"})
    assert "`${SITE}123`" in worker
    assert "JSON.parse('[]')" in worker
