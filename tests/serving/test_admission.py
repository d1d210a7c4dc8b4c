"""The line: who is served, who waits where, and how many places a page and an address may take."""

from types import SimpleNamespace

import gradio as gr
import pytest

from decoding.errors import BusyError
from decoding.page.gradio_compat.liveness import visitor_of
from decoding.serving.admission import MAX_PER_SESSION, AdmissionQueue, Visitor
from decoding.serving.stream import stream_updates
from tests.serving.visits import NOBODY, Held, heard, quick, run, to_the_end, visit


def test_waiting_visitors_see_their_position_and_move_up() -> None:
    async def test() -> None:
        queue, first = AdmissionQueue(runs=1, waiting=2), Held()
        async with visit(queue, first) as served, visit(queue, quick) as next_one, visit(queue, quick) as last:
            first.go.release()
            assert await heard(served) == "x"
            assert "You are next" in (await anext(next_one))["said"]
            assert "number 2 in line, 1 before you" in (await anext(last))["said"]
            with pytest.raises(BusyError, match="The server is full: it serves 1 at once and lets 2 wait"):
                await anext(stream_updates(queue, quick, notice=str, heartbeat=str, visitor=NOBODY))
            await next_one.aclose()
            assert "You are next" in (await anext(last))["said"]
            await served.aclose()
            first.go.release()
            assert (await to_the_end(last))[-1] == {"notice": "done"}

    run(test)


def test_a_session_has_a_few_tickets_and_an_address_half() -> None:
    queue = AdmissionQueue(runs=2, waiting=10)
    mine = [queue.enter(Visitor("mine", "8.8.8.8")) for _ in range(MAX_PER_SESSION)]
    with pytest.raises(BusyError, match="This page has 4 runs under way or waiting, and no page may have more"):
        queue.enter(Visitor("mine", "8.8.8.8"))
    queue.enter(Visitor("a classmate's", "8.8.8.8"))
    queue.enter(Visitor(None, "8.8.8.8"))
    with pytest.raises(
        BusyError, match="6 runs from your network's address are under way or waiting, which is half of what"
    ):
        queue.enter(Visitor("another classmate's", "8.8.8.8"))
    for place in mine[:2]:
        queue.leave(place)
    queue.enter(Visitor("mine", "8.8.8.8"))
    for n in range(7):  # to the last place: whoever cannot be told apart has no share
        queue.enter(Visitor(f"behind a proxy {n}"))
    with pytest.raises(BusyError, match="The server is full"):
        queue.enter(Visitor("new", "9.9.9.9"))


def test_forty_visitors_behind_one_address_are_admitted() -> None:
    queue = AdmissionQueue()
    for pupil in range(40):
        queue.enter(Visitor(f"pupil {pupil}", "8.8.8.8"))
    assert queue.served + queue.waiting == 40


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2001:4860:4860:1:2:3:4:5", "2001:4860:4860:0001"),  # one customer's network
        ("127.0.0.1", None),  # where a proxy may be, with everybody behind it
        ("::1", None),
        ("127.0.0.2", "127.0.0.2"),
        ("10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("testclient", None),
        ("", None),
    ],
)
def test_which_address_counts(host: str, address: str | None) -> None:
    request = gr.Request(session_hash="s", client=SimpleNamespace(host=host))
    assert visitor_of(request) == Visitor("s", address)
    assert visitor_of(gr.Request(session_hash="s")) == Visitor("s")


def test_one_address_leaves_places_to_others_and_long_work_has_lanes() -> None:
    queue = AdmissionQueue(runs=8, waiting=20)
    theirs = [queue.enter(Visitor(f"they {n}", "8.8.8.8")) for n in range(8)]
    assert [place.number for place in theirs] == [0] * 6 + [1, 2]
    mine = queue.enter(Visitor("me", "9.9.9.9"))
    assert mine.number == 0  # past those who have their share
    queue.leave(theirs[0])
    assert (theirs[6].number, theirs[7].number) == (0, 1)
    for place in (*theirs, mine):
        queue.leave(place)

    searches = [queue.enter(Visitor(f"they {n}", "8.8.8.8"), is_long=True) for n in range(2)]
    assert [place.number for place in searches] == [0, 1]  # one at a time for an address
    other = queue.enter(Visitor("me", "9.9.9.9"), is_long=True)
    third = queue.enter(Visitor("a third", "7.7.7.7"), is_long=True)
    assert (other.number, third.number) == (0, 2)
    assert queue.enter(Visitor("a run", "7.7.7.7")).number == 0
    queue.leave(searches[0])
    assert (searches[1].number, third.number) == (0, 1)


def test_a_visitor_without_an_address_has_one_long_question_at_a_time_too() -> None:
    queue = AdmissionQueue()
    first, second = (queue.enter(Visitor("me"), is_long=True) for _ in range(2))
    other = queue.enter(Visitor("another"), is_long=True)
    assert (first.number, second.number, other.number) == (0, 1, 0)
    queue.leave(first)
    assert second.number == 0
