"""One message with a wrong stamp is not a clock that jumped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.clock_guard import MAX_SUSPECTS, ClockGuard

JUMP = 60


def admit(stamps: list[int]) -> tuple[list[int], list[int], ClockGuard[int]]:
    guard: ClockGuard[int] = ClockGuard(JUMP)
    accepted: list[int] = []
    refused: list[int] = []
    for stamp in stamps:
        yes, no = guard.admit(stamp, stamp)
        accepted += yes
        refused += no
    return accepted, refused, guard


def test_a_message_far_ahead_is_refused_by_the_next_one() -> None:
    assert admit([100, 110, 5000, 120])[:2] == ([100, 110, 120], [5000])


def test_two_that_agree_are_believed() -> None:
    assert admit([100, 5000, 5010, 5020])[:2] == ([100, 5000, 5010, 5020], [])


def test_the_same_stamp_twice_is_one_witness() -> None:
    accepted, refused, guard = admit([100, 5000, 5000])
    assert (accepted, refused) == ([100], [])
    assert guard.admit(110, 110) == ([110], [5000, 5000])


def test_late_ones_pass() -> None:
    assert admit([1000, 10, 990])[:2] == ([1000, 10, 990], [])


@given(st.lists(st.integers(1, 10_000), max_size=60))
def test_every_message_is_accepted_refused_or_held(stamps: list[int]) -> None:
    accepted, refused, guard = admit(stamps)
    held = [item for _, item in guard.suspects]
    assert sorted(accepted + refused + held) == sorted(stamps)
    assert len(held) <= MAX_SUSPECTS


def test_what_is_still_suspect_in_the_end_is_given_up() -> None:
    _, _, guard = admit([100, 5000])
    assert (guard.give_up(), guard.give_up()) == ([5000], [])
    assert guard.admit(5010, 5010) == ([], [])  # no witness is left
