"""The scores of answers: a typed one is the candidate that the panel takes it for."""

import math

from decoding.requests.vote_request import Answer, Option, Reveal
from decoding.serving.vote_scores import count_votes, match_typed
from tests import node

TYPED = ("most", " most", "MOST", "Most ", "mos", "", " ", "only", "자", "é", "e\u0301", "<b>Bold</b>", "İ", "\n")


def test_a_typed_answer_is_the_candidate_that_the_panel_takes_it_for() -> None:
    texts = [" most", "most", " only", None, " 자", "e\u0301", "<b>bold</b>", "\n", " ", "Most"]
    options = tuple(Option(text, rank, 0.05) for rank, text in enumerate(texts))
    code = """async ([texts, every], load) => {
        const { matchingOption } = await load("core/guesses.js");
        const options = texts.map((text, rank) => (text === null ? { rank, text: "", bytes: "f0" } : { rank, text }));
        return every.map((typed) => matchingOption(options, typed)?.rank ?? null);
    }"""
    found = [match_typed(options, typed) for typed in TYPED]
    assert found == node.run(code, [texts, TYPED])
    assert len({*found}) > 5


def test_a_probability_of_nothing_has_a_finite_logarithm() -> None:
    reveal = Reveal(0, (Option("a", 0, 1.0), Option("b", 1, 0.0)), picked=0, beyond=0.0)
    result = count_votes(1, ("a", "b"), reveal, [Answer(0, 1), Answer(0, None, "c")])
    assert math.isfinite(result.score.bits)
