"""Why a step picked its token: leaving out and the lens over whole runs, their record, and what is refused."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

import decoding
from decoding import assets
from decoding.engines.local_engine import LocalEngine
from decoding.errors import FormatError, RequestError
from decoding.limits import MAX_RUN_LINES, MAX_WHY_LINES
from decoding.models.starter import STARTER_ID
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut, Lens, parts_of
from tests.fake_vllm import FakeVllm
from tests.fakes import BEGIN, END, ScriptedEngine
from tests.watched import watched

NOISE = 2e-5
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def run(starter: LocalEngine) -> Trace:
    return decoding.trace(starter, PROMPT, max_new_tokens=6, top_k=5)


@pytest.fixture(scope="module")
def asked(starter: LocalEngine, run: Trace) -> Trace:
    """The run with a lens on every step and two answers of leaving out."""
    against = run.steps[2].candidates[1].token_id
    lenses = [decoding.lens(starter, run, step) for step in range(6)]
    left_out = [decoding.leave_one_out(starter, run, 0, by="words")]
    left_out.append(decoding.leave_one_out(starter, run, 2, against=against, last=4))
    return replace(run, why=(*lenses, *left_out))


def lenses(trace: Trace) -> list[Lens]:
    return [one for one in trace.why if isinstance(one, Lens)]


def left_out(trace: Trace) -> list[LeaveOneOut]:
    return [one for one in trace.why if isinstance(one, LeaveOneOut)]


# ---- the lens


def test_its_last_row_is_the_step_itself(run: Trace, asked: Trace) -> None:
    """Whether the text before the step was kept, or is read again."""
    for step, lens in zip(run.steps, lenses(asked), strict=True):
        last, ids = lens.layers[-1], [token.token_id for token in lens.tokens]
        assert (last.leader.token_id, last.ranks[0], len(lens.layers)) == (step.picked.token_id, 0, 31)
        for candidate in step.candidates:
            if candidate.token_id in ids:
                logprob = last.logprobs[ids.index(candidate.token_id)]
                assert abs(math.exp(logprob) - candidate.probability) < NOISE


def test_it_follows_the_tokens_that_lead_somewhere(starter: LocalEngine, run: Trace, asked: Trace) -> None:
    for lens in lenses(asked):
        ids = [token.token_id for token in lens.tokens]
        assert ids[0] == run.steps[lens.step].picked.token_id
        assert {layer.leader.token_id for layer in lens.layers} <= set(ids)
        assert len(ids) == len(set(ids))
        for layer in lens.layers:
            assert layer.ranks[ids.index(layer.leader.token_id)] == 0
            assert layer.logprobs[ids.index(layer.leader.token_id)] == layer.leader.logprob == max(layer.logprobs)
        before = [layer.leader.token_id == ids[0] for layer in lens.layers]
        assert lens.leads_from is not None
        assert all(before[lens.leads_from :])
        assert not before[lens.leads_from - 1]
    london = run.steps[0].candidates[2].token_id
    followed = decoding.lens(starter, run, 0, follow=[london])
    assert [token.text for token in followed.tokens[:4]] == [" Paris", " London", " capital", " the"]
    assert followed.layers[-1].ranks[1] == 2
    with pytest.raises(RequestError, match=r"^The lens would follow 17 tokens; at most 16 are followed. Name fewer."):
        decoding.lens(starter, run, 0, follow=range(17))
    with pytest.raises(RequestError, match=r"^The token id 49152 does not exist: starter has the ids 0 to 49151."):
        decoding.lens(starter, run, 0, follow=[49152])


def test_a_pick_that_does_not_lead_is_followed_first(starter: LocalEngine, run: Trace) -> None:
    """And what leads in its place is named."""
    other = run.steps[0].candidates[1].token_id
    branch = decoding.branch(starter, run, 0, other, max_new_tokens=2)
    lens = decoding.lens(starter, branch, 0)
    assert (lens.tokens[0].token_id, lens.leads_from, lens.layers[-1].ranks[0]) == (other, None, 1)
    assert "argmax would pick ·Paris (77.25%)." in replace(branch, why=(lens,)).to_markdown()


def test_a_model_without_layers_here_says_so() -> None:
    engine = ScriptedEngine()
    trace = decoding.trace(engine, "a", max_new_tokens=1, top_k=2)
    with pytest.raises(RequestError, match=r"^scripted does not run in this process, so its layers cannot be read"):
        decoding.lens(engine, trace, 0)


# ---- leave one out


def test_every_part_but_the_beginning_of_text(starter: LocalEngine, run: Trace, asked: Trace) -> None:
    words, compared = left_out(asked)
    assert [(part.first, part.count) for part in words.parts] == [(n, 1) for n in range(5)]
    assert words.picked == run.steps[0].picked
    assert [part.first for part in compared.parts] == [3, 4, 5, 6]  # the last four of five and two tokens
    engine = ScriptedEngine()
    typed = decoding.trace(engine, "<|begin|>ab", max_new_tokens=1, top_k=2)
    assert [part.first for part in decoding.leave_one_out(engine, typed, 0).parts] == [1, 2]
    begun = decoding.trace(engine, "", max_new_tokens=3, top_k=2)
    assert begun.prompt_token_ids == (BEGIN,)
    assert [part.first for part in decoding.leave_one_out(engine, begun, 2).parts] == [1, 2]
    with pytest.raises(
        RequestError, match=r"^Nothing can be left out before step 1 \(counted from 1\): the text has one token there"
    ):
        decoding.leave_one_out(engine, begun, 0)


def test_a_word_counts_where_it_ends_within_the_last_tokens() -> None:
    engine = ScriptedEngine()
    one = decoding.trace(engine, "abcdef", max_new_tokens=1, top_k=2)
    with pytest.raises(RequestError) as refused:
        decoding.leave_one_out(engine, one, 0, by="words")
    assert str(refused.value) == (
        "Nothing can be left out before step 1 (counted from 1): the text is one word there. Leave out each token, or "
        "choose a later step."
    )
    for by in ("tokens", "words"):
        character = decoding.trace(engine, "한", max_new_tokens=1, top_k=2)
        assert len(character.prompt_token_ids) == 3
        with pytest.raises(RequestError, match=r"the text is one character there, of several tokens\. Choose a later"):
            decoding.leave_one_out(engine, character, 0, by=by)
    for text, last in (("a " + "b" * 70, 64), ("a bcd", 2)):
        long = decoding.trace(engine, text, max_new_tokens=1, top_k=2)
        answer = decoding.leave_one_out(engine, long, 0, by="words", last=last)
        assert [(part.first, part.count) for part in answer.parts] == [(2, len(text) - 2)]
        assert answer.progress(len(text)) == (len(text) - 2, len(text) - 2)


def test_each_answer_is_a_run_of_the_shorter_text(starter: LocalEngine, run: Trace, asked: Trace) -> None:
    for answer in left_out(asked):
        ids = [*run.prompt_token_ids, *run.generated_token_ids[: answer.step]]
        for part in answer.parts:
            text = ids[: part.first] + ids[part.first + part.count :]
            [alone] = starter.steps(text, max_new_tokens=1, top_k=2, forced={0: answer.picked.token_id})
            assert alone.picked
            assert abs(math.exp(alone.picked.logprob) - part.probability) < NOISE
            assert (alone.picked.rank, alone.token_ids[0]) == (part.rank, part.instead.token_id)
            assert abs(math.exp(alone.logprobs[0]) - part.instead.probability) < NOISE
            if answer.against:
                [other] = starter.steps(text, max_new_tokens=1, top_k=2, forced={0: answer.against.token_id})
                assert other.picked
                assert part.against_logprob is not None
                difference = alone.picked.logprob - other.picked.logprob
                whole = answer.picked.logprob - answer.against.logprob
                assert answer.change(part) == pytest.approx(difference - whole, abs=1e-3)
            else:
                assert answer.change(part) == part.probability - answer.picked.probability


def test_a_server_answers_what_it_can(starter: LocalEngine, run: Trace, asked: Trace) -> None:
    with FakeVllm(starter, name=STARTER_ID).served() as url:
        server = decoding.connect(url)
        theirs = decoding.trace(server, PROMPT, max_new_tokens=3, top_k=5)
        against = theirs.steps[2].candidates[1].token_id
        answer = decoding.leave_one_out(server, theirs, 2, against=against, last=4)
        with pytest.raises(RequestError, match="does not run in this process, so its layers cannot be read"):
            decoding.lens(server, theirs, 2)
    for one, other in zip(answer.parts, left_out(asked)[1].parts, strict=True):
        assert (one.first, one.instead.token_id, one.rank) == (other.first, other.instead.token_id, other.rank)
        assert one.probability == pytest.approx(other.probability, abs=NOISE)
        assert one.against_logprob == pytest.approx(other.against_logprob, abs=1e-3)


def test_words_are_what_belongs_together() -> None:
    def words(*texts: str | bytes) -> list[int]:
        tokens = [
            Token(n, text.decode("utf-8", "replace"), text) if isinstance(text, bytes) else Token(n, text)
            for n, text in enumerate(texts)
        ]
        return [count for _, count in parts_of(tokens, "words")]

    assert words("The", " cap", "ital", ",", " don", "'t", "\n", "x") == [1, 2, 1, 2, 1, 1]
    assert words("日", "本", "語", " 한", "국") == [1, 1, 1, 2]
    assert words(" ", b"\xed\x8a", b"\xb8", "x") == [1, 3]
    korean = (b"\xed\x95", b"\x9c", "국", "의", b" \xec", b"\x88", b"\x98", "도", "는", " ", b"\xf0\x9f", b"\x8e\x89")
    assert words(*korean) == [4, 5, 1, 2]
    assert words("नमस", "्", "त", "े", " द") == [4, 1]
    assert words("เท", "ี", "่", "ยว") == [4]
    assert words("م", "\u064f", "ح") == [3]
    assert words(" ", "3", ".", "14", ".", " 1", ",", "000") == [1, 3, 1, 3]
    assert words("ㅋ", "ㅋㅋ", "か", "\u3099", "き") == [2, 2, 1]
    assert parts_of([Token(0, "\ufffd", b"\xf0\x9f"), Token(1, "\ufffd", b"\x8e\x89")], "tokens") == [(0, 2)]
    assert parts_of([], "words") == []


@pytest.mark.parametrize(
    ("step", "options", "sentence"),
    [
        (6, {}, "The step to ask about has to be one of this run's, counted from 0 to 5, not 6."),
        (True, {}, "The step to ask about has to be one of this run's, counted from 0 to 5, not true or false."),
        (0, {"by": "lines"}, "What is left out has to be tokens or words, not “lines”."),
        (0, {"last": 257}, "The number of tokens to leave out has to be a whole number from 1 to 256, not 257."),
        (
            0,
            {"against": True},
            "What to compare with has to be a token id, a whole number such as a candidate's “token_id”, not true or "
            "false.",
        ),
        (
            0,
            {"against": 5},
            "The token id 5 is no other candidate of step 1 (counted from 1). Choose one of its candidates, but not "
            "its pick.",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(
    starter: LocalEngine, run: Trace, step: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.leave_one_out(starter, run, step, **options)
    assert str(refused.value) == sentence


def test_a_run_of_another_model_or_without_ids_is_refused(scripted: ScriptedEngine, run: Trace) -> None:
    for ask in (decoding.lens, decoding.leave_one_out):
        with pytest.raises(RequestError, match=r"^This run was made by starter, not by scripted."):
            ask(scripted, run, 0)
        printed = replace(run, prompt_tokens=())
        with pytest.raises(RequestError, match=r"^This run's source printed no token ids, so no model can be asked"):
            ask(scripted, printed, 0)


def test_asking_changes_nothing(starter: LocalEngine, run: Trace) -> None:
    """Not a bit of a run that is made again, nor of a branch, which goes on from the cache that was asked about."""
    other = run.steps[3].candidates[1].token_id

    def made(*asked: int) -> list[str]:
        engine = watched(starter)  # no branch is kept
        whole = decoding.trace(engine, PROMPT, max_new_tokens=6, top_k=5)
        for step in asked:
            decoding.lens(engine, run, step)
            decoding.leave_one_out(engine, run, step, by="words")
        branch = decoding.branch(engine, run, 3, other, max_new_tokens=6)
        again = decoding.trace(engine, PROMPT, max_new_tokens=6, top_k=5)
        return [one.to_jsonl() for one in (whole, branch, again)]

    before = made()
    assert before[0] == run.to_jsonl() == before[2]
    assert made(*range(6)) == before


# ---- the lesson


def test_the_lessons_example_of_leaving_out_makes_its_point(starter: LocalEngine) -> None:
    trace = decoding.trace(starter, "Tom and Jerry went home. Tom and", max_new_tokens=1, top_k=2)
    answer = decoding.leave_one_out(starter, trace, 0)
    parts = {trace.prompt_tokens[part.first].text: part for part in answer.parts}
    last = answer.parts[-1]
    assert last == min(answer.parts, key=lambda part: part.logprob)  # what the page leads with
    assert (trace.prompt_tokens[last.first].text, last.instead.text) == (" and", " and")
    assert f"{last.probability:.4%}" == "0.0016%"
    assert f"{trace.steps[0].picked.probability:.0%}" == "48%"
    assert (trace.generated_text, parts[" Jerry"].instead.text) == (" Jerry", " I")
    assert [f"{parts[word].probability:.0%}" for word in (" Jerry", " home")] == ["2%", "56%"]
    for language in ("en", "ko"):
        text = assets.texts()[language]["why.lesson.without"]
        assert all(
            word in text for word in (trace.prompt, "·Jerry", "48 %", "·and", "0.0016 %", "2 %", "·I", "·home", "56 %")
        )


def test_the_lessons_example_of_layers_makes_its_point(starter: LocalEngine) -> None:
    trace = decoding.trace(starter, "One, two, three,", max_new_tokens=1, top_k=2)
    lens = decoding.lens(starter, trace, 0)
    assert (lens.leads_from, len(lens.layers) - 1, trace.generated_text) == (30, 30, " four")
    assert (lens.layers[25].leader.text, f"{lens.layers[25].leader.probability:.0%}") == (" and", "99%")
    assert f"{lens.layers[30].leader.probability:.0%}" == "58%"
    for language in ("en", "ko"):
        text = assets.texts()[language]["why.lesson.layers"]
        assert all(word in text for word in (trace.prompt, "25", "30", "·and", "99 %", "·four", "58 %"))


# ---- the record


def test_it_is_kept_in_json_lines(run: Trace, asked: Trace) -> None:
    text = asked.to_jsonl()
    assert Trace.from_jsonl(text) == asked
    kept = text.splitlines()
    plain = run.to_jsonl().splitlines()
    assert [*kept[:7], kept[-1]] == plain  # a run that was not asked about is written as ever
    assert [next(iter(json.loads(line))) for line in kept[7:-1]] == ["lens"] * 6 + ["leave_one_out"] * 2


def test_infinite_numbers_too() -> None:
    engine = ScriptedEngine([{" most": 1.0}])
    trace = decoding.trace(engine, "a", max_new_tokens=2, top_k=2)
    second = trace.steps[1].candidates[1].token_id
    assert second == END
    answer = decoding.leave_one_out(engine, trace, 1, against=second)
    assert answer.parts[0].against_logprob == -math.inf
    kept = replace(trace, why=(answer,))
    assert Trace.from_jsonl(kept.to_jsonl()) == kept


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("lens", "step"), 6, "Line 8 of the run cannot be right: it is about step 6, and the run has no such step."),
        (("lens", "step"), 1, "Line 8 of the run cannot be right: its pick is not the step's."),
        (("lens", "tokens"), [], "Line 8 of the run cannot be read: lens.layers.0: it has not one number for"),
        (
            ("lens", "layers", 30, "logprobs", 0),
            -9.0,
            "Line 8 of the run cannot be right: the most probable token of a",
        ),
        (
            ("lens", "layers", 3, "ranks", 0),
            -1,
            "Line 8 of the run cannot be read: lens.layers.3.ranks.0: it has to be",
        ),
        (("lens", "more"), 1, "Line 8 of the run cannot be read: lens.more: there is no such field."),
        (
            ("leave_one_out", "by"),
            "x",
            "Line 14 of the run cannot be read: leave_one_out.by: it has to be one of tokens",
        ),
        (
            ("leave_one_out", "parts", 1, "first"),
            0,
            "Line 14 of the run cannot be right: its parts are not those of the",
        ),
        (
            ("leave_one_out", "parts", 4, "count"),
            2,
            "Line 14 of the run cannot be right: its parts are not those of the",
        ),
        (
            ("leave_one_out", "parts", 0, "against_logprob"),
            -1,
            "Line 14 of the run cannot be right: a part is compared",
        ),
        (
            ("lens", "layers", 30, "logprobs", 1),
            -0.1,
            "Line 8 of the run cannot be right: the most probable token of a",
        ),
        (("lens", "layers", 3, "leader", "rank"), 2, "Line 8 of the run cannot be right: the most probable token"),
        (("leave_one_out", "picked", "rank"), 1, "Line 14 of the run cannot be right: its pick is not the step's."),
        (("leave_one_out", "parts", 0, "rank"), 0, "Line 14 of the run cannot be right: a part contradicts the token"),
        (("leave_one_out", "parts", 0, "logprob"), 0, "Line 14 of the run cannot be right: a part contradicts the tok"),
        (("leave_one_out", "parts", 0, "instead", "rank"), 7, "Line 14 of the run cannot be right: a part contradicts"),
    ],
)
def test_an_altered_line_is_refused(asked: Trace, place: tuple[str | int, ...], value: Any, sentence: str) -> None:
    lines = asked.to_jsonl().splitlines()
    at = next(n for n, line in enumerate(lines) if place[0] in json.loads(line))
    record = json.loads(lines[at])
    target = record
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl("\n".join([*lines[:at], json.dumps(record), *lines[at + 1 :]]))
    assert str(refused.value).startswith(sentence)


def test_a_last_layer_that_is_not_the_step_is_refused(asked: Trace) -> None:
    lens = asked.why[0]
    assert isinstance(lens, Lens)
    altered = replace(lens, layers=(*lens.layers[:-1], lens.layers[3]), tokens=lens.tokens)
    with pytest.raises(FormatError, match="Line 8 of the run cannot be right: its last layer is not the step"):
        Trace.from_jsonl(replace(asked, why=(altered,)).to_jsonl())


def test_order_and_number_are_bounded(asked: Trace) -> None:
    lines = asked.to_jsonl().splitlines()
    with pytest.raises(FormatError, match="a step comes after what was asked about one"):
        Trace.from_jsonl("\n".join([*lines[:6], lines[7], lines[6], *lines[8:]]))
    with pytest.raises(FormatError, match=r"at most 512 lines about its steps"):
        Trace.from_jsonl("\n".join([*lines[:8], *[lines[7]] * MAX_WHY_LINES, lines[-1]]))
    with pytest.raises(FormatError, match=r"has at most 1,000 steps"):
        Trace.from_jsonl("\n".join([lines[0], *[lines[1]] * (MAX_RUN_LINES - 1), lines[-1]]))
