"""A visitor costs the server little: what is the same for all is worked out once."""

from typing import Any

import gradio as gr
import pytest
from gradio.blocks import Block, BlocksConfig, postprocess_update_dict
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


def test_a_word_beside_a_run_searches_the_script_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    panel: Any = next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == "panel")
    searched: list[str] = []
    honest = gr.HTML.__getattr__

    def counted(component: gr.HTML, name: str) -> Any:
        if component.__dict__.get("js_on_load"):
            searched.append(name)
        return honest(component, name)

    monkeypatch.setattr(gr.HTML, "__getattr__", counted)
    options = panel.constructor_args | {"render": False, "words": "a place in line"}
    options.pop("value")
    for _ in range(2):
        searched.clear()
        made = panel.__class__(**options)  # as Gradio does at each word
        config = BlocksConfig.config_for_block(panel._id, [], made)
        update = postprocess_update_dict(made, {"words": "a place in line"})
    assert not searched
    assert update == {"props": {"words": "a place in line"}, "__type__": "update"}  # and no event of that name
    assert config["type"] == "html"
    known = panel.get_config()
    assert {name for name in known if config["props"].get(name) != known[name]} <= {"props", "value"}
    assert made.branch.func  # what the script names is still found
    assert not hasattr(made, "nothing_like_it")
    assert searched == ["branch", "nothing_like_it"]
