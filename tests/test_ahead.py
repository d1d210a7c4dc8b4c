"""A run is written ahead of whoever reads it, and ends with it."""

import threading
from collections.abc import Generator

import pytest

from decoding.page import ahead as module
from decoding.page.ahead import ahead


def test_every_line_arrives_in_order() -> None:
    assert "".join(ahead(f"{n}\n" for n in range(1000))) == "".join(f"{n}\n" for n in range(1000))


def test_lines_that_came_meanwhile_arrive_together() -> None:
    written = threading.Event()

    def lines() -> Generator[str, None, None]:
        yield "a"
        yield "b"
        yield "c"
        written.set()

    reader = ahead(lines())
    first = next(reader)
    assert written.wait(5)
    assert [first, *reader] == [first, "abc"[len(first) :]] or first == "abc"


def test_after_the_first_two_lines_come_in_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60)
    step = threading.Semaphore(0)

    def lines() -> Generator[str, None, None]:
        for line in "abcd":
            step.acquire()
            yield line

    reader = ahead(lines())
    for line in "ab":
        step.release()
        assert next(reader) == line
    threading.Timer(0.05, step.release, [2]).start()
    assert list(reader) == ["cd"]


def test_closing_stops_the_writer_after_the_step_under_way() -> None:
    step, closed = threading.Semaphore(1), threading.Event()
    begun = 0

    def lines() -> Generator[str, None, None]:
        nonlocal begun
        try:
            while True:
                step.acquire()
                begun += 1
                yield "x"
        finally:
            closed.set()

    reader = ahead(lines())
    assert next(reader) == "x"
    reader.close()
    step.release()
    assert closed.wait(5)
    assert begun == 2


def test_an_error_arrives_after_the_lines_before_it() -> None:
    def lines() -> Generator[str, None, None]:
        yield "a"
        raise ValueError("b")

    reader = ahead(lines())
    assert next(reader) == "a"
    with pytest.raises(ValueError, match="b"):
        next(reader)
