"""Requests that no browser would send: each is refused with a sentence, and the page goes on."""

import json
from collections.abc import Iterator
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.page.http.strangers import JSON, SECRET, event, json_values, lives


@pytest.mark.parametrize(
    ("address", "size"), [("queue/join", 12 * 2**20), ("call/check", 12 * 2**20), ("reset", 2**20)]
)
def test_large_bodies_are_not_read(client: httpx.Client, address: str, size: int):
    def slowly() -> Iterator[bytes]:
        for _ in range(size // 2**16 + 1):
            yield b" " * 2**16

    answer = client.post(f"/gradio_api/{address}", content=slowly())
    assert answer.status_code == 413
    assert answer.text == f"The request is larger than {size:,} bytes; no larger one is read here."
    told = client.post(f"/gradio_api/{address}", content=b" " * (size + 1))
    assert (told.status_code, told.text) == (
        413,
        f"The request has {size + 1:,} bytes; no more than {size:,} are read here.",
    )
    lives(client)


BROKEN = {
    "no JSON": (b"{", 400),
    "deep": (b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    "deep and large": (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 413),
    "half a character": (b'{"data":["\xff"]}', 400),
    "a list": (b"[]", 422),
    "no such event": (json.dumps(event(fn_index=9999)).encode(), 404),
    "below zero": (json.dumps(event(fn_index=-1)).encode(), 404),
    "true": (json.dumps(event(fn_index=True)).encode(), 404),
    "only in the browser": (json.dumps(event(fn_index=0)).encode(), 404),
    "too few values": (json.dumps(event(data=[SECRET])).encode(), 422),
    "too many values": (json.dumps(event(data=[SECRET] * 7)).encode(), 422),
    "a model that is not on the list": (json.dumps(event(data=["a", 3, 2, SECRET, False, False])).encode(), 422),
    "a value that is a list": (json.dumps(event(data=[[SECRET], 3, 2, "scripted", False, False])).encode(), 422),
    "a long session": (json.dumps(event(session_hash="a" * 200)).encode(), 422),
    "a session that is none": (json.dumps(event(session_hash={})).encode(), 422),
}


@pytest.mark.parametrize(("body", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_an_event_that_is_none_is_refused_with_a_sentence(
    client: httpx.Client, capfd: pytest.CaptureFixture[str], body: bytes, status: int
):
    answer = client.post("/gradio_api/queue/join", content=body, headers=JSON)
    assert answer.status_code == status
    sentence = answer.json()["detail"][0]["message"] if status == 422 else answer.text  # as gradio_client reads a 422
    assert sentence.endswith(".")
    lives(client)
    assert SECRET not in "".join(capfd.readouterr())


NUMBERLESS = ("Infinity", "-Infinity", "NaN", "1e999", "-1E400")
NAMED = {"session_hash": "a", "fn_index": 1, "event_id": "b"}
ADDRESSES = ("queue/join", "call/greedy", "call/v2/branch", "run/predict", "cancel", "reset", "startup-events")


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_reads_what_json_cannot_say(client: httpx.Client, address: str):
    """What FastAPI would repeat in its answer, and fail over."""
    whole = json.dumps(event() | NAMED)
    for bad in (*NUMBERLESS, "[" * 40 + "]" * 40, '{"a":' * 30 + "0" + "}" * 30, "9" * 5000):
        for body in (bad, f"[{bad}]", f'{{"data": {bad}}}', whole[:-1] + f', "event_data": {bad}}}'):
            answer = client.post(f"/gradio_api/{address}", content=body, headers=JSON)
            assert (answer.status_code, answer.text[-1]) == (400, "."), (body[:80], answer.text)


@pytest.mark.parametrize("name", ["event_data", "trigger_id", "event_id", "batched", "simple_format", "oauth_token"])
def test_no_field_that_cannot_be_read_is_repeated(client: httpx.Client, name: str):
    for bad in ("\ud800", SECRET + "\udfff", {"\ud800": 1}, [SECRET], 2**70, 1.5):
        answer = client.post("/gradio_api/queue/join", content=json.dumps(event() | {name: bad}), headers=JSON)
        assert answer.status_code < 500
        assert SECRET not in answer.text


@pytest.mark.parametrize("address", ["cancel", "reset"])
def test_what_ends_a_run_says_which(client: httpx.Client, address: str):
    def answered(body: object) -> tuple[int, str]:
        answer = client.post(f"/gradio_api/{address}", content=json.dumps(body), headers=JSON)
        return answer.status_code, answer.text

    assert answered(NAMED) == (200, '{"success":true}')
    bad: list[object] = [[], None, "a", 1, {}]
    bad += [NAMED | {"event_id": value} for value in ({}, [], None, 1, "a" * 129, "\ud800", "a\x00", "\u202e")]
    if address == "cancel":
        bad += [NAMED | {"fn_index": value} for value in ("1", 1.5, True, None, [])]
        bad += [NAMED | {"session_hash": value} for value in ({}, None, "a" * 129, "\udfff")]
    names = "session_hash, fn_index, event_id" if address == "cancel" else "event_id"
    for body in bad:
        assert answered(body) == (422, f"What ends a run is an object that says which: {names}."), body


def test_an_event_number_of_any_type_is_refused(client: httpx.Client):
    for number in ([], {}, "1", 1.5, None):
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


def test_an_endpoint_that_is_none_is_refused(client: httpx.Client):
    for name in ("nope", "run", "ask", "v2/nope", "keep/", "%F0%9F%8E%89"):  # the fifth is no file to keep
        answer = client.post(f"/gradio_api/call/{name}", json={"data": []})
        named = unquote(name).rstrip("/").split("/")[-1]
        assert (answer.status_code, answer.text) == (404, f"There is no endpoint “{named}” here.")


FLAT = "An event's values are text and numbers: {}."
DEEP = "An event's values are text and numbers, lists of them, and lists of such lists: {}."
SENT: list[tuple[str, object, str]] = [
    ("call/greedy", [], "An event has to be a JSON object, not a list."),
    ("call/greedy", {}, 'This event takes 4 values in a list as its "data", not nothing.'),
    ("call/greedy", {"data": "Hi"}, 'This event takes 4 values in a list as its "data", not a text.'),
    ("call/greedy", {"data": ["Hi"]}, "This event takes 4 values in a list, not 1: prompt, steps, choices, model."),
    ("call/check", {"data": ["a", 1]}, "This event takes 1 value in a list, not 2: run."),
    ("call/greedy", {"data": [["a"], 3, 2, "scripted"]}, FLAT.format("prompt is a list")),
    ("call/greedy", {"data": ["a", 3, {"a": 1}, "scripted"]}, FLAT.format("choices is an object")),
    ("call/branch", {"data": ["a", [[[0]]], 3, 2, "scripted"]}, DEEP.format("forced is a list that is nested deeper")),
    ("call/branch", {"data": ["a", [[{}]], 3, 2, "scripted"]}, DEEP.format("forced is a list that is nested deeper")),
    ("call/branch", {"data": ["a", {}, 3, 2, "scripted"]}, DEEP.format("forced is an object")),
    ("call/v2/greedy", {"prompt": "a", "steps": [3]}, FLAT.format("steps is a list")),
    ("call/v2/greedy", {"promt": "a"}, "This endpoint does not take “promt”. It takes: prompt, steps, choices, model."),
    (
        "call/v2/greedy",
        {"\ud800": "a"},
        "This endpoint does not take “\\ud800”. It takes: prompt, steps, choices, model.",
    ),
    ("call/v2/lens", {"step": 0}, "This endpoint needs “run”. It takes: run, step, follow."),
    ("run/predict", {"fn_index": 9999}, "There is no such event here: its fn_index is 9999."),
    ("run/predict", {"fn_index": "1"}, "There is no such event here: its fn_index is “1”."),
    (
        "call/greedy",
        {"session_hash": 7},
        "A session is named by at most 128 characters that can be printed, not by a number.",
    ),
    (
        "call/greedy",
        {"session_hash": "a" * 200},
        "A session is named by at most 128 characters that can be printed, not by 200.",
    ),
]


@pytest.mark.parametrize(("address", "sent", "sentence"), SENT)
def test_a_refused_event_is_told_what_came_with_it(client: httpx.Client, address: str, sent: object, sentence: str):
    answer = client.post(f"/gradio_api/{address}", content=json.dumps(sent), headers=JSON)
    assert answer.text == sentence


def test_values_of_the_pages_own_events_are_counted(client: httpx.Client):
    """They have no names that anybody knows."""

    def told(**changes: object) -> str:
        answer = client.post("/gradio_api/queue/join", json=event(**changes))
        return str(answer.json()["detail"][0]["message"])

    assert told(data=["a"]) == "This event takes 6 values in a list, not 1."
    assert told(data=["a", {}, 2, "scripted", False, False]) == FLAT.format("value 2 is an object")
    assert told(data=["a", 3, 2, "gpt5", False, False]) == "The page's list has no choice “gpt5”."


def test_what_needs_the_model_cannot_skip_the_queue(client: httpx.Client):
    queued = [d["id"] for d in client.get("/config").json()["dependencies"] if d["backend_fn"] and d["queue"]]
    assert len(queued) > 5
    for number in queued:
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


events = st.fixed_dictionaries(
    {},
    optional={
        "data": json_values,
        "fn_index": json_values | st.integers(-2, 40),
        "session_hash": json_values,
        "event_data": json_values,
        "trigger_id": json_values,
        "event_id": json_values,
        "batched": json_values,
        "simple_format": json_values,
        "oauth_token": json_values,
    },
)


@settings(derandomize=True, max_examples=150)
@given(
    address=st.sampled_from(
        ["queue/join", "call/greedy", "call/branch", "call/v2/branch", "run/predict", "cancel", "reset"]
    ),
    body=events,
)
def test_whatever_is_sent_no_answer_is_a_fault_of_ours(client: httpx.Client, address: str, body: dict[str, object]):
    answer = client.post(f"/gradio_api/{address}", content=json.dumps(body), headers=JSON)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert "Traceback" not in answer.text


def test_after_all_that_the_page_still_runs(client: httpx.Client):
    lives(client)
