"""What all addresses hold at once, and the share of one."""

import pytest

from decoding.page.http.address_budget import AddressBudget


def test_one_address_has_half() -> None:
    budget = AddressBudget(10)
    assert [budget.reserve("8.8.8.8") for _ in range(6)] == [True] * 5 + [False]
    assert [budget.reserve("9.9.9.9") for _ in range(5)] == [True] * 5
    assert not budget.reserve(None)
    budget.release("8.8.8.8")
    assert [budget.reserve(None), budget.reserve(None)] == [True, False]  # a proxy has no share of its own


@pytest.mark.parametrize(("count", "fits"), [(3, True), (4, False)])
def test_what_is_asked_for_at_once_counts_whole(count: int, fits: bool) -> None:
    budget = AddressBudget(10, 3)
    assert budget.reserve("8.8.8.8", count) == fits
    assert budget.total == budget.held_by("8.8.8.8") == count * fits
    budget.release("8.8.8.8", count * fits)
    assert budget.reserve("8.8.8.8", 3)
