"""What if: forced picks from request to record, branches, given texts, agreement, and what is said of totals."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import decoding
from decoding.engines.local import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.transformers_greedy import network_of
from decoding.errors import FormatError, RequestError
from decoding.record.step import Step
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from decoding.requests.run_request import continuation_ids
from decoding.run import Run, check_request
from tests import tiny_models
from tests.fakes import BEGIN, END, NASTY, NOTEBOOK, ScriptedEngine

Folder = Callable[[str], Path]
PROMPT = "Transformers are the"
REFERENCE = sorted((Path(__file__).resolve().parents[1] / "reference" / "starter").glob("*.json"))


def id_of(engine: ScriptedEngine, text: str) -> int:
    return engine.vocabulary.encode(text)[0]


def run(engine: Any, steps: int = 3, choices: int = 3, forced: Any = ()) -> Trace:
    made = Run(engine, check_request("a", steps, choices, forced))
    for _ in made:
        pass
    return made.trace


def check_close(one: Trace, other: Trace) -> None:
    assert one.generated_token_ids == other.generated_token_ids
    for ours, theirs in zip(one.steps, other.steps, strict=True):
        assert ours.picked.rank == theirs.picked.rank
        for a, b in zip((*ours.candidates, ours.picked), (*theirs.candidates, theirs.picked), strict=True):
            assert a.token_id == b.token_id
            assert a.probability == pytest.approx(b.probability, abs=1e-5)
        assert ours.margin == pytest.approx(theirs.margin, abs=2e-5)


# ---- forced picks that are refused

UNFIT: dict[str, tuple[Any, str]] = {
    "None": (None, "Forced picks have to be a list of pairs [step, token id], not nothing."),
    "text": ("[[0, 1]]", "Forced picks have to be a list of pairs [step, token id], not a text."),
    "a dict": ({"0": 1}, "Forced picks have to be a list of pairs [step, token id], not an object."),
    "one pair": ([0, 1], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "a triple": ([[0, 1], [1, 2, 3]], "Forced pick 2 is not a pair of whole numbers [step, token id]."),
    "an empty pair": ([[]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "texts": ([["0", "1"]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "truths": ([[False, True]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "halves": ([[0, 1.5]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "no number": ([[math.nan, 1]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "endless": ([[0, math.inf]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "nothing": ([[0, None]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "beyond the steps": ([[3, 5]], "Forced pick 1 is at step 4, but this run has the steps 1 to 3."),
    "before the steps": ([[-1, 5]], "Forced pick 1 is at step 0, but this run has the steps 1 to 3."),
    "far beyond": (
        [[10**5000, 5]],
        "Forced pick 1 is at step one with so many digits, but this run has the steps 1 to 3.",
    ),
    "an id below 0": ([[0, 5], [1, -1]], "Forced pick 2 has the token id -1: no id is below 0."),
    "twice": ([[1, 5], [1, 6]], "Forced pick 2 is at step 2, after one at step 2; each has to come later."),
    "backwards": ([[2, 5], [0, 6]], "Forced pick 2 is at step 1, after one at step 3; each has to come later."),
    "an id too many": (
        [[1, 271]],
        "The token id 271, forced at step 2, does not exist: scripted has the ids 0 to 270.",
    ),
    "a huge id": (
        [[1, 10**5000]],
        "The token id one with so many digits, forced at step 2, does not exist: scripted has the ids 0 to 270.",
    ),
    "very many": ([[n, 5] for n in range(10**5)], "Forced pick 4 is at step 4, but this run has the steps 1 to 3."),
}  # fmt: skip


@pytest.mark.parametrize(("forced", "sentence"), UNFIT.values(), ids=UNFIT)
def test_unfit_picks_are_refused_before_anything_runs(scripted: ScriptedEngine, forced: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        Run(scripted, check_request("a", 3, 2, forced))
    assert (refused.value.field, str(refused.value)) == ("forced", sentence)
    assert scripted.begun == 0


def test_picks_as_a_browser_sends_them() -> None:
    request = check_request("a", 3, 2, [[0, 5.0], (2.0, 0)])
    assert request.forced == ((0, 5), (2, 0))
    assert {type(n) for pair in request.forced for n in pair} == {int}


# ---- forced picks


def test_a_forced_run(scripted: ScriptedEngine) -> None:
    only = id_of(scripted, " only")
    trace = run(scripted, forced=[[0, only]])
    assert trace.generated_text == " only popular toy"
    assert [step.forced for step in trace.steps] == [True, False, False]
    assert trace.steps[0].picked is trace.steps[0].candidates[1]
    assert trace.steps[0].candidates == run(ScriptedEngine()).steps[0].candidates
    assert scripted.read == [scripted.vocabulary.encode("a"), [only], [id_of(scripted, " popular")]]


def test_a_pick_far_outside_the_candidates(scripted: ScriptedEngine) -> None:
    trace = run(scripted, choices=2, forced=[[1, 270]])
    step = trace.steps[1]
    # Two ids are ahead by the script; the other 269 share what is left evenly, the lower id first.
    assert (step.picked.token_id, step.picked.text, step.picked.rank) == (270, "=1+1", 270)
    assert step.picked.probability == pytest.approx(0.125 / 269)
    assert len(step.candidates) == 2
    assert step.margin == pytest.approx(0.625)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_forcing_argmax_is_forcing(scripted: ScriptedEngine) -> None:
    trace = run(scripted, forced=[[0, id_of(scripted, " most")]])
    assert [step.forced for step in trace.steps] == [True, False, False]
    assert [replace(step, forced=False) for step in trace.steps] == list(run(ScriptedEngine()).steps)


def test_an_impossible_token_can_be_forced() -> None:
    script = [{" most": 0.5, " only": 0.5}]
    engine = ScriptedEngine(script)
    trace = run(engine, forced=[[0, id_of(engine, " toy")]])
    picked = trace.steps[0].picked
    assert (picked.probability, picked.logprob) == (0.0, -math.inf)
    assert (trace.logprob, trace.perplexity) == (-math.inf, math.inf)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_the_end_of_text_can_be_forced_and_refused() -> None:
    engine = ScriptedEngine([NOTEBOOK[0], {END: 0.9}, NOTEBOOK[2]])
    ended = run(engine, forced=[[0, END]])
    assert (len(ended.steps), ended.stop_reason) == (1, "end_of_text")
    went_on = run(engine, forced=[[1, BEGIN]])
    assert (len(went_on.steps), went_on.stop_reason, went_on.steps[1].picked.text) == (3, "steps", "<|begin|>")


def test_a_pick_after_the_end_of_text() -> None:
    made = Run(ScriptedEngine([NOTEBOOK[0], {END: 0.9}]), check_request("a", 9, 2, [[0, 5], [4, 6]]))
    lines = list(made.lines())
    sentence = "The text ended after 2 steps, before the pick forced at step 5. Undo that pick, or one before it."
    assert json.loads(lines[-1]) == {"stop_reason": "error", "message": sentence}
    assert len(Trace.from_jsonl("".join(lines)).steps) == 2  # nothing lost
    with pytest.raises(RequestError) as refused:
        list(made)
    assert refused.value.field == "forced"


def test_stopping_before_a_pick_is_no_error(scripted: ScriptedEngine) -> None:
    made = Run(scripted, check_request("a", 9, 2, [[8, 5]]))
    steps: Any = iter(made)
    next(steps)
    steps.close()
    assert made.trace.stop_reason == "stopped"


def forged(trace: Trace, step: int, **values: Any) -> str:
    lines = trace.to_jsonl().splitlines()
    record = json.loads(lines[step + 1])
    record["picked"] |= values
    lines[step + 1] = json.dumps(record)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "values",
    [
        {"rank": 1},
        {"rank": 0},
        {"token_id": 258},
        {"probability": 0.9, "logprob": math.log(0.9)},
        {"probability": 0.2501, "logprob": math.log(0.2501)},
    ],
)
def test_a_forged_pick_is_refused(scripted: ScriptedEngine, values: dict[str, Any]) -> None:
    trace = run(scripted, choices=2, forced=[[0, 270]])
    assert Trace.from_jsonl(forged(trace, 0)) == trace
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl(forged(trace, 0, **values))
    assert str(refused.value) == "Line 2 of the run cannot be right: its pick contradicts its candidates."


def test_lines_of_remembered_steps_come_one_by_one(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    parent = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    passes = []
    read = engine.network.read
    monkeypatch.setattr(engine.network, "read", lambda *asked: (passes.append(1), read(*asked))[1])
    made = Run(engine, check_request(PROMPT, 8, 3, [[6, parent.steps[6].candidates[1].token_id]]))
    counts = []
    for line in made.lines():
        assert line.count("\n") == 1
        counts.append(len(passes))
    # A header, seven remembered steps, one pass, the end.
    assert counts == [0] * 8 + [1, 1]


# ---- branches


def test_a_branch(scripted: ScriptedEngine) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    child = decoding.branch(scripted, parent, 1, id_of(scripted, " best"), max_new_tokens=6)
    assert child.generated_text == " most best toy most popular toy"
    assert [step.forced for step in child.steps] == [False, True, False, False, False, False]
    grandchild = decoding.branch(scripted, child, 3, id_of(scripted, " only"), max_new_tokens=4)
    assert grandchild.generated_text == " most best toy only"
    assert [step.index for step in grandchild.steps if step.forced] == [1, 3]
    # Before the fork of its parent, it has nothing of it.
    other = decoding.branch(scripted, child, 0, id_of(scripted, " only"), max_new_tokens=2)
    assert (other.generated_text, other.steps[1].forced) == (" only popular", False)


@pytest.mark.parametrize(
    ("step", "said"),
    [(-1, "-1"), (4, "4"), (10**5, "100000"), (1.5, "1.5"), ("1", "“1”"), (None, "nothing"), (True, "true or false")],
    ids=repr,
)
def test_a_step_that_does_not_exist(scripted: ScriptedEngine, step: Any, said: str) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    begun = scripted.begun
    with pytest.raises(RequestError) as refused:
        decoding.branch(scripted, parent, step, 5, max_new_tokens=4)
    assert str(refused.value) == (
        f"The step to branch at has to be one of this run's, counted from 0 to 3, not {said}."
    )
    assert (refused.value.field, scripted.begun) == ("forced", begun)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token_id": 271}, "The token id 271, forced at step 4, does not exist: scripted has the ids 0 to 270."),
        ({"token_id": -1}, "Forced pick 1 has the token id -1: no id is below 0."),
        ({"max_new_tokens": 3}, "Forced pick 1 is at step 4, but this run has the steps 1 to 3."),
        ({"max_new_tokens": 257}, "The number of steps has to be a whole number from 1 to 256, not 257."),
    ],
)
def test_other_unfit_branches(scripted: ScriptedEngine, options: dict[str, Any], sentence: str) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    with pytest.raises(RequestError) as refused:
        decoding.branch(scripted, parent, 3, **({"token_id": 5, "max_new_tokens": 4} | options))
    assert str(refused.value) == sentence


def altered(trace: Trace, step: int, rank: int) -> Trace:
    """The trace, claiming that greedy decoding picked another candidate."""
    steps = list(trace.steps)
    steps[step] = replace(steps[step], picked=steps[step].candidates[rank])
    return replace(trace, steps=tuple(steps))


def test_altered_traces_are_refused(scripted: ScriptedEngine) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    wrong = parent.steps[1].candidates[1].token_id
    other_info = replace(parent.model, id="gpt2")
    ids = "This run holds token ids that scripted does not write: it was altered."
    strange = replace(parent.steps[2].picked, token_id=999)
    cases = {
        "This run was made by gpt2, not by scripted. Choose that model.": replace(parent, model=other_info),
        ids: replace(parent, prompt="b"),
        f"{ids} ": replace(parent, steps=(*parent.steps[:2], replace(parent.steps[2], picked=strange))),
        f"At step 2 this run has the token id {wrong}, and scripted picks {parent.steps[1].picked.token_id}: "
        "the run was altered, or made with other numbers. Run the prompt again.": altered(parent, 1, 1),
    }
    for sentence, trace in cases.items():
        with pytest.raises(RequestError) as refused:
            decoding.branch(scripted, trace, 2, 5, max_new_tokens=4)
        assert str(refused.value) == sentence.rstrip()
    # What lies behind the fork does not matter.
    assert len(decoding.branch(scripted, altered(parent, 2, 1), 2, 5, max_new_tokens=4).steps) == 4


def test_on_the_real_starter(starter: LocalEngine) -> None:
    parent = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    token_id = parent.steps[3].candidates[2].token_id
    child = decoding.branch(starter, parent, 3, token_id, max_new_tokens=8)
    assert child.steps[:3] == parent.steps[:3]
    assert child.generated_token_ids != parent.generated_token_ids
    starter.prefix_cache = PrefixCache(starter.network)  # another process
    check_close(child, decoding.branch(starter, parent, 3, token_id, max_new_tokens=8))
    check_close(child, decoding.score(starter, PROMPT, child.generated_text, top_k=5))
    assert decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5) == parent  # bit by bit
    assert Trace.from_jsonl(child.to_jsonl()) == child
    # Two runs, step by step beside each other.
    requests = [check_request(PROMPT, 8, 5, [[3, token_id]]), check_request("Unicorns", 8, 5)]
    alone = decoding.trace(starter, "Unicorns", max_new_tokens=8, top_k=5)
    both = [Run(starter, request) for request in requests]
    for _ in zip(*both, strict=True):
        pass
    check_close(both[0].trace, child)
    assert both[1].trace == alone


# ---- a text that is already there


def test_a_given_text(scripted: ScriptedEngine) -> None:
    trace = decoding.score(scripted, "a", " most only toy", top_k=2)
    assert scripted.begun == 1
    assert scripted.read == [[*scripted.vocabulary.encode("a most only")]]
    assert [step.forced for step in trace.steps] == [False, True, False]
    assert [step.picked.rank for step in trace.steps] == [0, 260, 0]
    assert trace.steps[1].picked.probability == pytest.approx(0.125 / 269)
    assert (trace.stop_reason, trace.max_new_tokens, trace.top_k) == ("steps", 3, 2)
    assert trace.model.engine == "a given text, tests.fakes"
    assert trace.text == "a most only toy"
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


@pytest.mark.parametrize("text", [text for text in NASTY.values() if "<|end|>" not in text])
def test_nasty_texts_are_read_as_they_are(scripted: ScriptedEngine, text: str) -> None:
    trace = decoding.score(scripted, "a", text, top_k=1)
    assert trace.generated_text == text
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_a_text_that_ends(scripted: ScriptedEngine) -> None:
    assert decoding.score(scripted, "a", " most<|end|>", top_k=2).stop_reason == "end_of_text"
    trace = decoding.score(scripted, "a", "<|end|> most", top_k=2)
    assert (trace.stop_reason, len(trace.steps)) == ("steps", 2)


TOO_LONG = "The pasted text is 1,001 tokens long; at most 1,000 are read. Shorten it."
TEXTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "empty": ("", {}, "The pasted text is empty, so there is nothing to read. Paste something."),
    "None": (None, {}, "The pasted text has to be text, not nothing."),
    "NUL": ("ab\0", {}, "Character 3 of the pasted text is a NUL (U+0000): that is not text. Delete it."),
    "characters": ("x" * 50_001, {}, "The pasted text has 50,001 characters; at most 50,000 are read. Shorten it."),
    "tokens": ("x" * 1_001, {"context_length": None}, TOO_LONG),
    "context": (
        "x" * 9,
        {"context_length": 10},
        "The pasted text is 9 tokens long; at most 8 have room after the prompt's 2 in scripted. Shorten it.",
    ),
    "full": (
        "x",
        {"context_length": 1},
        "The pasted text is 1 tokens long; at most 0 have room after the prompt's 2 in scripted. Shorten it.",
    ),
}


@pytest.mark.parametrize(("text", "options", "sentence"), TEXTS.values(), ids=TEXTS)
def test_texts_that_are_refused(text: Any, options: dict[str, Any], sentence: str) -> None:
    engine = ScriptedEngine(**options)
    with pytest.raises(RequestError) as refused:
        decoding.score(engine, "ab", text, top_k=2)
    assert (refused.value.field, str(refused.value), engine.begun) == ("text", sentence, 0)


def test_the_longest_text(scripted: ScriptedEngine) -> None:
    assert len(continuation_ids(scripted, [5] * 24, "x" * 1_000)) == 1_000  # all of the context


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_scoring_a_run_gives_its_own_numbers(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    engine = decoding.load(str(tiny_folder(architecture)), device="cpu")
    written = decoding.trace(engine, PROMPT, max_new_tokens=12, top_k=3)
    passes = []
    read = engine.network.read
    monkeypatch.setattr(
        engine.network, "read", lambda *asked, **options: (passes.append(1), read(*asked, **options))[1]
    )
    readouts = list(engine.score(written.prompt_token_ids, written.generated_token_ids, top_k=3))
    assert len(passes) <= 2  # the prompt, and what is scored
    for step, readout in zip(written.steps, readouts, strict=True):
        assert readout.picked is not None
        assert (readout.picked.token_id, readout.picked.rank) == (step.picked.token_id, 0)
        assert [math.exp(x) for x in readout.logprobs] == pytest.approx(
            [c.probability for c in step.candidates], abs=1e-5
        )


def test_five_hundred_tokens_are_a_pass_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_models.save(tmp_path, tiny_models.network("llama", max_position_embeddings=512))
    engine = decoding.load(str(folder), device="cpu")
    passes = []
    read = engine.network.read
    monkeypatch.setattr(
        engine.network, "read", lambda *asked, **options: (passes.append(1), read(*asked, **options))[1]
    )
    assert len(decoding.score(engine, "a" * 12, "b" * 500, top_k=5).steps) == 500
    assert len(passes) == 2  # the prompt, and what is scored


def test_nothing_is_added_to_a_continuation(tmp_path: Path) -> None:
    network = tiny_models.network("llama")
    folder = tiny_models.save(tmp_path, network, bos_token="<|begin|>")
    engine = decoding.load(str(folder), device="cpu")
    tokenizer: Any = engine.vocabulary._tokenizer
    tokenizer.add_bos_token = True
    trace = decoding.score(engine, "ab", "cd", top_k=2)
    assert trace.generated_text == "cd"
    assert len(trace.steps) == 2


# ---- agreement


@pytest.mark.parametrize("path", REFERENCE[3:], ids=lambda path: path.stem)
def test_the_starter_agrees_with_the_library(starter: LocalEngine, path: Path) -> None:
    prompt = json.loads(path.read_text("utf-8"))["prompt"]
    trace = decoding.trace(starter, prompt, max_new_tokens=6, top_k=3)
    found = decoding.agreement(starter, trace)
    assert (found.identical, found.first, found.compared, found.first_difference) == (True, 0, 6, None)
    assert (found.ours, found.theirs, found.margin) == (None, None, None)
    assert (found.dtype, found.device, found.switched_off) == ("float32", "cpu", ())


def test_where_a_run_first_differs(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    found = decoding.agreement(engine, altered(trace, 5, 1))
    assert (found.identical, found.first_difference) == (False, 5)
    assert found.ours == trace.steps[5].candidates[1]
    assert found.theirs is not None
    assert (found.theirs.token_id, found.theirs.rank) == (trace.steps[5].picked.token_id, 0)
    assert found.theirs.probability == pytest.approx(trace.steps[5].picked.probability, abs=1e-5)
    assert found.margin == trace.steps[5].margin


def test_a_branch_agrees_after_its_last_pick(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    child = decoding.branch(engine, trace, 2, 300, max_new_tokens=8)
    found = decoding.agreement(engine, child)
    assert (found.identical, found.first, found.compared) == (True, 3, 5)
    wrong = decoding.agreement(engine, altered(child, 6, 2))
    assert (wrong.identical, wrong.first_difference) == (False, 6)
    last = decoding.branch(engine, trace, 7, 300, max_new_tokens=8)
    assert (decoding.agreement(engine, last).identical, decoding.agreement(engine, last).compared) == (True, 0)


def test_a_run_that_goes_on_after_its_end(tmp_path: Path, tiny_folder: Folder) -> None:
    plain = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(plain, PROMPT, max_new_tokens=8, top_k=3)
    plain.end_ids = frozenset({trace.generated_token_ids[4]})
    end = trace.generated_token_ids.index(trace.generated_token_ids[4])
    found = decoding.agreement(plain, trace)
    assert (found.identical, found.first_difference, found.theirs) == (False, end + 1, None)
    assert found.ours == trace.steps[end + 1].picked
    ended = decoding.trace(plain, PROMPT, max_new_tokens=8, top_k=3)
    assert (len(ended.steps), decoding.agreement(plain, ended).identical) == (end + 1, True)


BENT = {
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": list(range(0, 320, 2)),
    "bad_words_ids": [[token_id] for token_id in range(1, 320, 2)],
    "forced_eos_token_id": 7,
}


def test_the_models_own_penalties_are_switched_off(tmp_path: Path) -> None:
    network = tiny_models.network("llama")
    network.generation_config.update(**BENT)
    engine = decoding.load(str(tiny_models.save(tmp_path, network)), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=16, top_k=3)
    before = network_of(engine).generation_config.to_dict()
    found = decoding.agreement(engine, trace)
    assert (found.identical, found.compared) == (True, 16)
    assert {setting.split("=")[0] for setting in found.switched_off} == BENT.keys()
    assert "repetition_penalty=3.0" in found.switched_off
    assert network_of(engine).generation_config.to_dict() == before
    # Without switching them off, the library writes something else.
    ids = torch.tensor([trace.prompt_token_ids])
    bent = network_of(engine).generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, pad_token_id=0)
    assert bent[0, ids.shape[1] :].tolist() != list(trace.generated_token_ids)


def test_an_engine_without_a_network_cannot_be_compared(scripted: ScriptedEngine) -> None:
    trace = decoding.trace(scripted, "a", max_new_tokens=2, top_k=2)
    with pytest.raises(RequestError) as refused:
        decoding.agreement(scripted, trace)
    assert str(refused.value) == (
        "scripted does not run in this process, so transformers' own search cannot be used. "
        "Choose a model that is loaded here."
    )


def test_forged_runs_are_not_compared(tiny_folder: Folder) -> None:
    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    trace = decoding.trace(engine, PROMPT, max_new_tokens=3, top_k=3)
    for forgery in (
        replace(trace, prompt="another"),
        replace(trace, steps=trace.steps * 100),
        replace(trace, model=replace(trace.model, id="x")),
    ):
        with pytest.raises(RequestError):
            decoding.agreement(engine, forgery)


# ---- closest calls and totals


def test_the_closest_calls() -> None:
    script = [{" most": 0.5, " only": 0.3}, {" toy": 0.41, " line": 0.4}, {" best": 0.5, " only": 0.3}, {" most": 0.9}]
    trace = run(ScriptedEngine(script), steps=4)
    assert decoding.closest_calls(trace) == [1, 0, 2, 3]
    assert decoding.closest_calls(run(ScriptedEngine(script), steps=4, forced=[[1, 5]])) == [0, 2, 3]
    assert decoding.closest_calls(replace(trace, steps=())) == []


def total(*logprobs: float, engine: str = "hand", forced: bool = False) -> Trace:
    """A text of two-candidate steps with these log-probabilities."""
    info = ScriptedEngine().info
    base = run(ScriptedEngine()).steps[0]

    def step(index: int, logprob: float) -> Step:
        # Ids are distinct, so that no two texts are the same.
        token_id = 2 + abs(hash((index, logprob))) % 10**6
        candidate = replace(base.picked, token_id=token_id, logprob=logprob, probability=math.exp(logprob))
        return replace(base, index=index, picked=candidate, forced=forced)

    steps = tuple(step(index, logprob) for index, logprob in enumerate(logprobs))
    return Trace(replace(info, engine=engine), "a", (), len(steps), 2, steps, "steps")


BEAM = "beam search, 4 beams, torch"
GREEDY = total(-1.0, -3.0)


def of_model(**changes: str) -> Trace:
    return replace(GREEDY, model=replace(GREEDY.model, **changes))


SENTENCES = [
    (
        total(-1.0, -1.837, engine=BEAM),
        GREEDY,
        "Beam search's text is 3.2 times as probable: −2.84 against −4.00 nats over 2 tokens.",
    ),
    (
        total(-1.0, -3.5, engine=BEAM),
        GREEDY,
        "Greedy's text is 1.6 times as probable: −4.00 against −4.50 nats over 2 tokens.",
    ),
    (GREEDY, GREEDY, "The first text and the second text are the same: −4.00 nats over 2 tokens."),
    (
        total(-2.0, -2.0, engine=BEAM),
        GREEDY,
        "Beam search's text and greedy's text are equally probable: −4.00 nats over 2 tokens.",
    ),
    (
        total(-1.0, -3.001, forced=True),
        GREEDY,
        "Greedy's text is 0.10% more probable: −4.000 against −4.001 nats over 2 tokens.",
    ),
    (
        total(-1.0, engine="a given text, torch"),
        GREEDY,
        "−1.00 nats over 1 token against −4.00 over 2 tokens: totals of different lengths do not compare; per token it "
        "is −1.00 against −2.00.",
    ),
    (
        total(-1.0, -30.0, forced=True),
        total(-1.0, -3.0, -2.0, forced=True),
        "−31.00 nats over 2 tokens against −6.00 over 3 tokens: totals of different lengths do not compare; per token "
        "it is −15.50 against −2.00.",
    ),
    (
        total(-1.0, -30.0, forced=True),
        total(-1.0, -5.0, forced=True),
        "The second text is about 10^11 times as probable: −6.00 against −31.00 nats over 2 tokens.",
    ),
    (replace(GREEDY, prompt="b"), GREEDY, "Different prompts: their probabilities do not compare."),
    (
        replace(GREEDY, prompt_tokens=(Token(5, "a"),)),  # the same letters, read as other ids
        GREEDY,
        "Different prompts: their probabilities do not compare.",
    ),
    (of_model(id="other"), GREEDY, "Different models: their probabilities do not compare."),
    (
        replace(of_model(id="other"), prompt="b"),
        GREEDY,
        "Different models and different prompts: their probabilities do not compare.",
    ),
    (of_model(dtype="bfloat16"), GREEDY, "Different versions of a model: their probabilities do not compare."),
    (of_model(revision="1"), GREEDY, "Different versions of a model: their probabilities do not compare."),
    (total(), GREEDY, "One of the texts has no token yet, so there is nothing to compare."),
    (
        total(-1.0, -math.inf, forced=True),
        GREEDY,
        "Greedy's text is the only possible one: the other has a token of probability 0.",
    ),
    (
        total(-1.0, -9.0, forced=True),
        GREEDY,
        "Greedy's text is 403 times as probable: −4.00 against −10.00 nats over 2 tokens.",
    ),
]


@pytest.mark.parametrize(("a", "b", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_the_sentence_about_two_totals(a: Trace, b: Trace, sentence: str) -> None:
    assert decoding.compare_totals(a, b) == sentence


def test_both_impossible() -> None:
    a, b = total(-math.inf, -2.0), total(-1.0, -math.inf)
    assert decoding.compare_totals(a, b, names=("This text", "That text")) == (
        "This text and that text are equally probable: −inf nats over 2 tokens."
    )
