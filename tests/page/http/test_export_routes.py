"""A run over HTTP as a file, and a file as a run: the library's own words, and what is refused; without a browser."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import decoding
from decoding.export import to_csv_file
from decoding.limits import MAX_RUN_BYTES, MAX_RUN_LINES, MAX_TEXT_TOKENS, MAX_WHY_LINES
from decoding.page.http.export_routes import FORMATS, export_routes
from tests.fakes import NASTY, ScriptedEngine


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=export_routes())) as client:
        yield client


@pytest.fixture(scope="module")
def trace() -> decoding.Trace:
    words = tuple(NASTY.values())
    engine = ScriptedEngine([{word: 0.5, "other": 0.2} for word in words], words=(*words, "other"))
    run = decoding.trace(engine, words[0], max_new_tokens=len(words), top_k=2)
    return replace(run, why=(decoding.leave_one_out(engine, run, 3),))


def test_each_form_is_the_librarys_own(http: TestClient, trace: decoding.Trace) -> None:
    written = {
        "jsonl": trace.to_jsonl().encode(),
        "csv": to_csv_file(trace),
        "md": trace.to_markdown().encode(),
        "html": trace.to_html().encode(),
        "html-plotly": trace.to_html(plotly=True).encode(),
    }
    assert written.keys() == FORMATS.keys()
    for form, content in written.items():
        answer = http.post(f"/keep/{form}", content=trace.to_jsonl().encode())
        assert (answer.status_code, answer.content) == (200, content)
        # What a stranger wrote must never be shown as a page of this server's.
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_of_another_system_is_the_same_run(http: TestClient, trace: decoding.Trace) -> None:
    text = "\ufeff" + trace.to_jsonl().replace("\n", "\r\n")
    assert http.post("/keep/jsonl", content=text.encode()).text == trace.to_jsonl()


REFUSED = {
    "nothing": (b"", "It is not JSON Lines: it does not begin like a run."),
    "a picture": (b"\x89PNG\r\n", "It is not JSON Lines: it does not begin like a run."),
    "another JSON": (b'{"a": 1}\n{"b": 2}\n', "Line 1 of the run cannot be read: format: it is missing."),
    "half a character": (b'{"\xff', "The file is not text: its byte 3 is not UTF-8."),
    "blank lines": (b"{" + b"\n" * 2_000, "It has 1,998 steps; at most 1,000 are read here."),
    "far too large": (
        b"{" * (MAX_RUN_BYTES + 1),
        "The run is larger than 8 MB, which is the limit. Make one of fewer steps or choices.",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_run_gets_a_sentence(http: TestClient, content: bytes, sentence: str) -> None:
    answer = http.post("/keep/jsonl", content=content)
    assert answer.status_code in (413, 422)
    assert answer.text.startswith(sentence)
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_run_that_is_cut_altered_or_of_another_version_gets_a_sentence(http: TestClient) -> None:
    text = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl()
    for broken, sentence in (
        (text[:-10], "Line 5 of the run cannot be read"),
        (text.replace('"index":1', '"index":2'), "Line 3 of the run cannot be right: its index is 2, not 1."),
        (text.replace('"version":1', '"version":2'), "Line 1 of the run has another version of the format than 1"),
    ):
        answer = http.post("/keep/csv", content=broken.encode())
        assert answer.status_code == 422
        assert answer.text.startswith(sentence)


def test_a_caller_that_accepts_json_gets_the_message_with_its_code(http: TestClient) -> None:
    asked = {"content": b'{"format": "greedyscope"}\n{}\n', "headers": {"accept": "application/json"}}
    answer = http.post("/keep/csv", **asked).json()
    assert answer["code"] == "read.line"
    assert answer["parameters"]["reason"]["code"] == "read.field.missing"
    assert answer["text"] == http.post("/keep/csv", content=asked["content"]).text
    assert http.post("/keep/doc", **asked).json()["code"] == "file.form"


def test_a_table_of_hundreds_of_megabytes_is_not_begun(http: TestClient) -> None:
    run = decoding.trace(ScriptedEngine(), "a", max_new_tokens=200, top_k=2)
    run = replace(run, prompt="a" * 30_000, prompt_tokens=run.prompt_tokens * 30_000)
    answer = http.post("/keep/md", content=run.to_jsonl().encode())
    assert answer.status_code == 422
    assert answer.text.startswith("This run's Markdown table would repeat the text to 6,")
    assert http.post("/keep/csv", content=run.to_jsonl().encode()).status_code == 200


def test_a_form_that_does_not_exist(http: TestClient) -> None:
    answer = http.post("/keep/docx", content=b"")
    assert answer.status_code == 404
    assert answer.text == "There is no such format: “docx”. Ask for one of: jsonl, csv, md, html, html-plotly."
    assert http.get("/keep/csv").status_code == 405


def test_the_longest_run_with_the_most_answers_is_kept(http: TestClient) -> None:
    engine = ScriptedEngine()
    run = decoding.score(engine, "ab", "c" * MAX_TEXT_TOKENS, top_k=2)
    answers = tuple(decoding.leave_one_out(engine, run, step, last=2) for step in range(MAX_WHY_LINES))
    run = replace(decoding.score_prompt(engine, run), why=answers)
    assert len(run.to_jsonl().splitlines()) == MAX_RUN_LINES
    answer = http.post("/keep/jsonl", content=run.to_jsonl().encode())
    assert (answer.status_code, answer.text) == (200, run.to_jsonl())
    assert http.post("/keep/csv", content=run.to_jsonl().encode()).content == to_csv_file(run)
