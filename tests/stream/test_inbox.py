"""Messages between two threads: their order, the cap, what goes first, and that all of it is counted."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.sources.inbox import SAY_SECONDS, Inbox, Losses
from stream.sources.logged_message import LoggedMessage
from stream.sources.message_types import POINTS_TYPE, TF_TYPE

CAP = 100


def message(number: int, size: int, *, cloud: bool) -> LoggedMessage:
    topic, kind = ("/points", POINTS_TYPE) if cloud else ("/tf", TF_TYPE)
    return LoggedMessage(number, topic, kind, bytes(size))


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans(), st.booleans()), max_size=60))
def test_it_is_a_queue_that_keeps_its_cap_and_counts_what_it_drops(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """Against a plain list of what should be in it."""
    inbox, held, dropped = Inbox(CAP), list[LoggedMessage](), 0
    reader = iter(inbox)
    for number, (size, cloud, read) in enumerate(steps):
        new = message(number, size, cloud=cloud)
        while held and sum(len(item.data) for item in held) + size > CAP:
            clouds = [item for item in held if item.kind == POINTS_TYPE]
            held.remove((clouds or held)[0])
            dropped += 1
        held.append(new)
        inbox.put(new)
        assert inbox.dropped.total() == dropped
        if read:
            assert next(reader) == held.pop(0)
    inbox.close()
    assert list(reader) == held


def test_transforms_outlast_clouds() -> None:
    inbox = Inbox(CAP)
    for number in range(10):
        inbox.put(message(number, 1, cloud=False))
        inbox.put(message(number, 60, cloud=True))
    inbox.close()
    left = list(inbox)
    assert [item.log_time_ns for item in left if item.kind == TF_TYPE] == list(range(10))
    assert [item.log_time_ns for item in left if item.kind == POINTS_TYPE] == [9]
    assert inbox.dropped == {"/points": 9}


def test_a_reader_that_waits_is_woken_and_ends_with_the_inbox() -> None:
    inbox, found = Inbox(), list[LoggedMessage]()
    thread = threading.Thread(target=lambda: found.extend(inbox))
    thread.start()
    sent = [message(number, 3, cloud=number % 2 == 0) for number in range(100)]
    for item in sent:
        inbox.put(item)
    inbox.close()
    thread.join(10)
    assert found == sent
    assert inbox.put(sent[0]) == 0  # closed
    assert list(inbox) == []


def test_how_it_was_closed_first_is_how_it_ends() -> None:
    inbox = Inbox()
    inbox.put(message(1, 1, cloud=True))
    inbox.close(ValueError("gone"))
    inbox.close()
    reader = iter(inbox)
    assert next(reader).log_time_ns == 1
    with pytest.raises(ValueError, match="gone"):
        next(reader)


def test_losses_are_said_at_once_and_then_now_and_then() -> None:
    said, now = list[str](), 0.0
    losses = Losses(Inbox(CAP), said.append, clock=lambda: now)
    for number in range(4):
        losses.put(message(number, 60, cloud=True))
    assert said == ["too slow: 1 messages dropped, the oldest clouds first; in all /points 1"]
    now = SAY_SECONDS
    losses.put(message(5, 1, cloud=False))
    assert said[1:] == ["too slow: 2 messages dropped, the oldest clouds first; in all /points 3"]
    now = 2 * SAY_SECONDS
    losses.put(message(6, 1, cloud=False))
    assert len(said) == 2
