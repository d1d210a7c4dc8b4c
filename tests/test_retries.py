"""Which tests are run again when they fail: what drives a browser, a server or a process, and no truth."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.conftest import SERVERS_AND_PROCESSES, has_a_second_chance, module_of


def test_tests_with_a_browser_server_or_process_are_retried() -> None:
    assert has_a_second_chance("test_page", ["visit", "browser"])
    assert has_a_second_chance("page/gradio_compat/test_shutdown", [])


@pytest.mark.parametrize(
    "truth",
    [
        "engines/test_reference",
        "test_greedy",
        "test_softmax",
        "engines/batching/test_scheduler",
        "record/test_trace",
        "record/test_round_trips",
        "record/test_permalink",
        "record/test_tokens",
        "questions/test_branches",
        "engines/vllm/test_engine",
    ],
)
def test_tests_of_numbers_are_not_retried(truth: str) -> None:
    assert (Path(__file__).parent / f"{truth}.py").is_file()
    assert not has_a_second_chance(truth, ["starter", "tiny_folder"])


def test_the_modules_that_are_named_are_there() -> None:
    assert {module_of(path) for path in Path(__file__).parent.rglob("test_*.py")} >= SERVERS_AND_PROCESSES


def test_the_plain_run_draws_no_lots_and_the_hunt_does() -> None:
    assert settings.get_profile("patient").derandomize
    assert not settings.get_profile("explore").derandomize
