"""What programs can ask over HTTP: each endpoint as the page's own view shows it, from one to the next, and refused."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, ValidationError
from playwright.sync_api import Browser, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.export import summary
from decoding.page import api
from decoding.page.api import ONES
from decoding.page.gradio_endpoints import CHOICES, PROMPT, STEPS
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut
from tests.browser import served
from tests.fakes import NASTY
from tests.readmes import block

ROOT = Path(__file__).resolve().parents[2]
ENDPOINTS = ["greedy", "branch", "sample", "past_end", "as_message", "score", "beam_search", "score_prompt"]
ENDPOINTS += ["probability", "draws", "agreement", "recompute", "lens", "leave_one_out", "check", "export"]


@pytest.fixture(scope="module")
def url(drives_server: None, starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def greedy(starter: LocalEngine) -> Trace:
    return decoding.trace(starter, PROMPT, max_new_tokens=STEPS, top_k=CHOICES)


def test_the_pages_own_view_shows_examples_that_run(url: str, browser: Browser, starter: LocalEngine, greedy: Trace):
    page = browser.new_page()  # not `visit`: Gradio's view asks for what is closed here, and says so in the console
    page.goto(url)
    page.click(".show-api")
    page.get_by_text("Python", exact=True).first.click()
    shown = page.locator("code", has_text="api_name=")
    expect(shown).to_have_count(len(ENDPOINTS))
    expect(page.get_by_text("How many tokens to write in all, 1 to 256.")).to_be_visible()
    answers = {}
    for code in shown.all_inner_texts():
        names: dict[str, Any] = {"print": lambda result: None}
        exec(code, names)
        answers[re.findall(r'api_name="/(\w+)"', code)[0]] = names["result"]
    page.close()
    assert list(answers) == ENDPOINTS
    ones = decoding.branch(starter, greedy, 0, ONES[0][1], max_new_tokens=STEPS)
    for name, ours in (("greedy", greedy), ("branch", ones)):
        run = Trace.from_jsonl(answers[name])
        assert run.generated_token_ids == ours.generated_token_ids
        assert recompute(starter, run) < 1e-5  # other threads add in another order
    assert Trace.from_jsonl(answers["score"]).generated_text == " robots in disguise"
    drawn = Trace.from_jsonl(answers["sample"])
    assert drawn.sampling == decoding.Sampling()
    assert recompute(starter, drawn) < 1e-4
    message = Trace.from_jsonl(answers["as_message"])
    ours = decoding.trace(starter, "What is a transformer?", max_new_tokens=STEPS, top_k=CHOICES, as_message=True)
    assert (message.as_message, message.prompt_tokens) == (True, ours.prompt_tokens)
    assert message.generated_token_ids == ours.generated_token_ids
    draws = json.loads(answers["draws"])
    assert draws["draws"][0]["token_ids"] == list(drawn.generated_token_ids)  # of the same seed
    assert draws["greedy"]["text"] == greedy.generated_text
    assert [token["text"] for token in json.loads(answers["probability"])["tokens"]] == [" popular"]
    assert Trace.from_jsonl(answers["beam_search"]).logprob > greedy.logprob + 1
    assert len(Trace.from_jsonl(answers["beam_search"]).beams.steps) == STEPS
    scored = decoding.score_prompt(starter, greedy)
    ranks = [score.rank for score in Trace.from_jsonl(answers["score_prompt"]).prompt_scores]
    assert ranks == [score.rank for score in scored.prompt_scores]
    assert json.loads(answers["agreement"])["sentence"] == "Identical in all 1 tokens (float32, cpu)."
    assert json.loads(answers["recompute"])["same"] is True
    assert json.loads(answers["lens"])["lens"]["layers"][30]["leader"]["text"] == " most"
    assert len(json.loads(answers["leave_one_out"])["leave_one_out"]["parts"]) == len(greedy.prompt_tokens)
    assert answers["check"].startswith("A well-formed run: 1 step (the step count was reached); log-probability -2.49")
    assert answers["export"].startswith("step,rank,token_id,text,bytes,probability")


def test_a_run_goes_from_one_endpoint_to_the_next(client: Client):
    job = client.submit("한국 🎉 <b>", [[1, 50]], 4, 2, "starter", api_name="/branch")
    run = job.result(timeout=60)
    assert all(run.startswith(earlier) for earlier in job.outputs())
    trace = Trace.from_jsonl(run)
    assert [step.forced for step in trace.steps] == [False, True, False, False]
    found = json.loads(client.predict(run, api_name="/agreement"))
    assert (found["identical"], found["first"], found["compared"], found["ours"]) == (True, 2, 2, None)
    assert json.loads(client.predict(run, api_name="/recompute"))["largest_difference"] < 1e-4
    assert client.predict(run, api_name="/check") == f"A well-formed run: {summary(trace)}."
    written = {"jsonl": run, "csv": trace.to_csv(), "md": trace.to_markdown(), "html": trace.to_html()}
    for form, text in written.items():
        assert client.predict(run, form, api_name="/export") == text
    header, _, rest = run.partition("\n")
    record = json.loads(header)
    record["prompt_token_ids"][-1] = record["prompt_tokens"][-1]["token_id"] = 7
    altered = f"{json.dumps(record)}\n{rest}"
    found = json.loads(client.predict(altered, api_name="/recompute"))
    assert (found["same"], found["sentence"]) == (False, "starter reads the prompt as other tokens than the run has.")


def test_why_a_step_picked_its_token(client: Client, starter: LocalEngine, greedy: Trace):
    run, other = greedy.to_jsonl(), greedy.steps[2].candidates[1].token_id
    lens = client.predict(run, 2, [other], api_name="/lens")
    assert json.loads(lens)["lens"]["tokens"][1]["token_id"] == other
    left_out = client.predict(run, 2, "words", other, 4, api_name="/leave_one_out")
    *lines, end = run.splitlines()
    kept = Trace.from_jsonl("\n".join([*lines, lens, left_out, end]))
    ours, theirs = decoding.leave_one_out(starter, greedy, 2, by="words", against=other, last=4), kept.why[1]
    assert isinstance(theirs, LeaveOneOut)
    assert len(ours.parts) == len(theirs.parts)
    for one, two in zip(ours.parts, theirs.parts, strict=True):
        assert (one.first, one.count, one.instead.token_id) == (two.first, two.count, two.instead.token_id)
        assert one.probability == pytest.approx(two.probability, abs=2e-5)


def test_nasty_texts_are_read_as_they_are(client: Client):
    text = "".join(NASTY.values())
    run = client.predict("a", text, 2, "starter", api_name="/score")
    assert Trace.from_jsonl(run).generated_text == text


RUN = json.loads(f'"{api._example()}"')
NO_PAIR = "Forced pick 1 is not a pair of whole numbers [step, token id]."
REFUSED: list[tuple[str, list[Any], str]] = [
    ("/greedy", ["a", 300, 5, "starter"], "The number of steps has to be a whole number from 1 to 256, not 300."),
    ("/greedy", ["a", 3, 5, "gpt5"], 'The model "gpt5" is not offered here. Choose one of: starter.'),
    ("/greedy", ["a", 3, 5, 7], "The model's name has to be text, not a number. Choose one of: starter."),
    ("/greedy", ["a", 3, 5, None], "The model's name has to be text, not nothing. Choose one of: starter."),
    ("/branch", ["a", [[0]], 3, 5, "starter"], NO_PAIR),
    ("/branch", ["a", [["the", 1]], 3, 5, "starter"], NO_PAIR),
    (
        "/branch",
        ["a", [[3, 1]], 3, 5, "starter"],
        "Forced pick 1 is at step 4 (counted from 1), but this run has the steps 1 to 3.",
    ),
    (
        "/branch",
        ["a", [[0, 10**6]], 3, 5, "starter"],
        "The token id 1000000, forced at step 1 (counted from 1), does not exist",
    ),
    ("/branch", ["a", "1", 3, 5, "starter"], "Forced picks have to be a list of pairs [step, token id], not a text."),
    (
        "/sample",
        ["a", 1, 0, 1, 0, 0, 3, 5, "starter", "no"],
        "Whether to go on past the end of the text has to be true or",
    ),
    ("/sample", ["a", 0, 0, 1, 0, 0, 3], "The temperature has to be a number from 0.01 to 100, not 0."),
    ("/as_message", ["a" * 50_000], "The chat template of this model makes a prompt of more than 50,000 characters"),
    ("/draws", ["a", 21], "The number of draws has to be a whole number from 2 to 20, not 21."),
    ("/probability", ["a", "b", [10**6]], "The picked ids have to be ids of starter, 0 to 49151, not 1000000."),
    ("/score", ["a", "", 5, "starter"], "The text is empty, so there is nothing to read."),
    ("/beam_search", ["a", 3, 9, 5, "starter"], "The number of beams has to be a whole number from 2 to 8, not 9."),
    ("/lens", [RUN, 9], "The step to ask about has to be one of this run's, counted from 0 to 0, not 9."),
    ("/lens", [RUN, 0, [10**6]], "The token id 1000000 does not exist: starter has the ids 0 to 49151."),
    ("/leave_one_out", [RUN, 0, "x"], "What is left out has to be tokens or words, not “x”."),
    (
        "/leave_one_out",
        [RUN, 0, "words", 7],
        "The token id 7 is no other candidate of step 1 (counted from 1). Choose one of its candidates, but not",
    ),
    ("/leave_one_out", [RUN, 0, "words", -1, 0], "The number of tokens to leave out has to be a whole number from 1"),
    ("/agreement", ["hello"], "It is not JSON Lines: it does not begin like a run."),
    ("/recompute", [7], "A run has to be JSON Lines in one text, not a number."),
    (
        "/check",
        ["{" * (8 * 2**20 + 1)],
        "The run has 8,388,609 bytes; at most 8,388,608 are read here. Make one of fewer steps or choices.",
    ),
    ("/check", ["{" + "\n" * 2_000], "It has 1,998 steps; at most 1,000 are read here."),
]


@pytest.mark.parametrize(("endpoint", "values", "sentence"), REFUSED)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    client: Client, endpoint: str, values: list[Any], sentence: str
):
    with pytest.raises(AppError) as refused:
        client.predict(*values, api_name=endpoint)
    assert str(refused.value).startswith(sentence)


def test_a_run_of_a_model_that_is_not_here(client: Client, greedy: Trace):
    run = greedy.to_jsonl()
    with pytest.raises(AppError, match='The model "gpt2" is not offered here'):
        client.predict(run.replace('"id":"starter"', '"id":"gpt2"'), api_name="/agreement")


UNKNOWN = "There is no such format: {}. Ask for one of: jsonl, csv, md, html."


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("docx", UNKNOWN.format("“docx”")),
        ("", UNKNOWN.format("“”")),
        ("x" * 999, UNKNOWN.format(f"“{'x' * 40}”")),
        (7, UNKNOWN.format("7")),
        (None, UNKNOWN.format("nothing")),
        ("html-plotly", "A file with plotly.js in it is not sent here: POST the run to /keep/html-plotly."),
    ],
)
def test_a_format_that_is_not_sent_is_named_with_those_that_are(client: Client, form: Any, sentence: str):
    with pytest.raises(AppError) as refused:
        client.predict(RUN, form, api_name="/export")
    assert str(refused.value) == sentence
    for other in sentence.partition("Ask for one of: ")[2].rstrip(".").split(", "):
        assert not other or client.predict(RUN, other, api_name="/export")


def asked(url: str, endpoint: str, values: dict[str, Any]) -> str:
    """The last event's data, as any HTTP client asks for it."""
    sent = {"content": json.dumps(values), "headers": {"content-type": "application/json"}}  # httpx sends no surrogate
    event = httpx.post(f"{url}gradio_api/call/v2/{endpoint}", **sent, timeout=60).json()["event_id"]
    return httpx.get(f"{url}gradio_api/call/{endpoint}/{event}", timeout=60).text.rsplit("data: ", 1)[1]


def test_programs_that_name_their_values_may_leave_some_out(url: str):
    address = f"{url}gradio_api/call/v2/branch"
    answer = asked(url, "branch", {"prompt": "a", "forced": [[0, 50]], "steps": 2})
    assert Trace.from_jsonl(json.loads(answer)[0]).generated_token_ids[0] == 50
    for body in ({"promt": "a"}, {"visitor": "a"}):
        refused = httpx.post(address, json=body, timeout=60)
        assert refused.status_code == 422
        named = "It takes: prompt, forced, steps, choices, model."
        assert refused.text == f"This endpoint does not take “{next(iter(body))}”. {named}"
    assert "The file is not text: its byte 3 is not UTF-8." in asked(url, "check", {"run": '{"\ud800'})
    refused = httpx.post(f"{url}gradio_api/call/v2/check", json={}, timeout=60)
    assert refused.text == "This endpoint needs “run”. It takes: run."


def test_a_clients_wrong_values_are_said(client: Client):
    for values, told in (
        (("a", 2, 2, "scripted", False, None, "more"), "This event takes 4 values in a list, not 7: prompt, "),
        ((["a"], 2, 2), "An event's values are text and numbers: prompt is a list."),
        (({"a": 1}, 2, 2), "An event's values are text and numbers: prompt is an object."),
    ):
        with pytest.raises(ValidationError, match=f"- request: {told}"):
            client.predict(*values, api_name="/greedy")


def test_only_these_endpoints_are_told_and_each_is_explained(client: Client):
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert [name.removeprefix("/") for name in told] == ENDPOINTS
    for name, endpoint in told.items():
        assert endpoint["description"].endswith("."), name
        assert "visitor" not in [p["parameter_name"] for p in endpoint["parameters"]]
        assert all(p["python_type"]["description"].endswith((".", '"jsonl".')) for p in endpoint["parameters"]), name
        assert endpoint["returns"][0]["python_type"]["type"] == "str"


def test_the_readmes_client_runs(url: str):
    example = block("", "client", "python")
    assert "http://127.0.0.1:7860/" in example
    code = example.replace("http://127.0.0.1:7860/", url)
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0  most 8.26%\n1  efficient 12.51%\n")
    assert done.stdout.endswith("Identical in all 8 tokens (float32, cpu).\n")


def test_the_commands_for_curl_run(url: str, greedy: Trace):
    commands = block("decoding", "curl", "sh").replace("http://127.0.0.1:7860/", url)
    done = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, timeout=300, check=True)
    data = done.stdout.rsplit("event: complete\ndata: ", 1)[1]
    assert Trace.from_jsonl(json.loads(data)[0]).generated_token_ids == greedy.generated_token_ids
