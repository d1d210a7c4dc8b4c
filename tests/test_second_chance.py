"""Which tests are run again when they fail: what drives a browser, a server or a process, and no truth."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.conftest import SERVERS_AND_PROCESSES, has_a_second_chance


def test_what_drives_a_browser_a_server_or_a_process_has_one() -> None:
    assert has_a_second_chance("test_page", ["visit", "browser"])
    assert has_a_second_chance("test_closing", [])


@pytest.mark.parametrize(
    "truth", ["reference", "greedy", "forced", "batch", "trace", "round_trips", "links", "tokens", "whatif", "server"]
)
def test_a_truth_has_to_hold_at_once(truth: str) -> None:
    assert (Path(__file__).parent / f"test_{truth}.py").is_file()
    assert not has_a_second_chance(f"test_{truth}", ["starter", "tiny_folder"])


def test_the_modules_that_are_named_are_there() -> None:
    assert {path.stem for path in Path(__file__).parent.glob("test_*.py")} >= SERVERS_AND_PROCESSES


def test_the_plain_run_draws_no_lots_and_the_hunt_does() -> None:
    assert settings.get_profile("patient").derandomize
    assert not settings.get_profile("explore").derandomize
