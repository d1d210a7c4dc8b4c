"""What a stranger sends to the running page, and that a run goes through after it."""

import json
import re

import httpx
from hypothesis import strategies as st

from decoding.record.trace import Trace

SECRET = "a visitor's own words"
JSON = {"content-type": "application/json"}


def lives(client: httpx.Client) -> None:
    """A run goes through, whatever was sent before."""
    event = client.post("/gradio_api/call/greedy", json={"data": ["Transformers are the", 3, 2, "scripted"]}).json()
    answer = client.get(f"/gradio_api/call/greedy/{event['event_id']}").text
    last = next(line for line in reversed(answer.splitlines()) if line.startswith("data:") and line != "data: null")
    assert len(Trace.from_jsonl(json.loads(last[5:])[0]).steps) == 3


def script_address(html: str, name: str = "plotly") -> str:
    """The address of one of the page's large scripts, from the page's HTML."""
    return "/" + re.findall(rf"scripts/{name}-\w+\.js", html)[0]


def event(**changes: object) -> dict[str, object]:
    return {"data": [SECRET, 3, 2, "scripted", False, False], "fn_index": 1, "session_hash": "a"} | changes


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
