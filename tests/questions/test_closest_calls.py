"""The steps at which the second candidate was nearly picked."""

from dataclasses import replace
from typing import Any

import decoding
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import ScriptedEngine


def run(engine: Any, steps: int = 3, choices: int = 3, forced: Any = ()) -> Trace:
    made = Run(engine, check_request("a", steps, choices, forced))
    for _ in made:
        pass
    return made.trace


def test_the_closest_calls() -> None:
    script = [{" most": 0.5, " only": 0.3}, {" toy": 0.41, " line": 0.4}, {" best": 0.5, " only": 0.3}, {" most": 0.9}]
    trace = run(ScriptedEngine(script), steps=4)
    assert decoding.closest_calls(trace) == [1, 0, 2, 3]
    assert decoding.closest_calls(run(ScriptedEngine(script), steps=4, forced=[[1, 5]])) == [0, 2, 3]
    assert decoding.closest_calls(replace(trace, steps=())) == []
