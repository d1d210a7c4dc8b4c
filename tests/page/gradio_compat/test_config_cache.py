"""A visitor costs the server little: what is the same for all is worked out once."""

from typing import Any

import pytest
from gradio.blocks import Block
from gradio.state_holder import SessionState

import app as application
from tests.fakes import ScriptedEngine


def test_components_are_asked_once_and_each_visitor_has_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    for block in page.blocks.values():
        kind: Any = type(block)
        assert block.get_config() == kind.get_config(block)
    panel: Any = next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == "panel")
    asked: list[object] = []
    honest = Block.get_config

    def counted(block: Block, *kind: Any) -> dict[str, Any]:
        asked.append(block)
        return honest(block, *kind)

    monkeypatch.setattr(Block, "get_config", counted)
    one, other = SessionState(page), SessionState(page)
    assert not asked
    before = other.config_values[panel._id]["props"]["value"]
    one.config_values[panel._id]["props"]["value"] = "one's run"
    assert other.config_values[panel._id]["props"]["value"] == before == panel.value
    assert SessionState(page).config_values[panel._id]["props"]["value"] == before


def test_what_an_update_goes_through_is_short() -> None:
    """Gradio searches the script of a component that is updated for events, and the browser compiles its template."""
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    panel: Any = next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == "panel")
    assert panel.html_template == ""
    assert len(panel.js_on_load) < 300
    assert panel.branch.func  # an event that it names
    assert not hasattr(panel, "nothing_like_it")
