"""The files of assets/: those whose places are filled in, and the style sheets."""

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


def test_breakpoints_follow_the_readers_font() -> None:
    """In pixels, a browser with larger letters would keep a row of fields that no longer fits, and cut it off."""
    sheets = list(assets.ASSETS.rglob("*.css"))
    queries = [line for sheet in sheets for line in sheet.read_text("utf-8").splitlines() if line.startswith("@media")]
    assert len(queries) > 20
    assert not [query for query in queries if "px" in query]
