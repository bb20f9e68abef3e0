"""Partitions of which nothing is heard."""

from __future__ import annotations

from agents.kafka.silence import SILENT_SECONDS, Silence

ONE, OTHER = ("a", 0), ("b", 1)


def test_a_partition_is_silent_once_its_broker_has_not_answered_for_a_while() -> None:
    silence = Silence()
    for second in range(int(SILENT_SECONDS)):
        silence.look({ONE: 7.0, OTHER: float(second)}, second)
        assert not silence.of(ONE) and silence.reason() == ""
    silence.look({ONE: 7.0, OTHER: -1.0}, SILENT_SECONDS)
    assert silence.of(ONE) and not silence.of(OTHER)
    assert silence.reason() == "nothing was heard of a-0 for 10 s; has it a leader?"
    silence.look({ONE: 8.0, OTHER: -2.0}, SILENT_SECONDS + 1)
    assert not silence.of(ONE) and silence.reason() == ""


def test_one_that_never_answered_is_silent_and_the_longest_is_named() -> None:
    silence = Silence()
    silence.look({ONE: None, OTHER: 1.0}, 0.0)
    for second in range(1, 14):
        silence.look({ONE: None, OTHER: 2.0}, second)
    assert silence.reason() == "nothing was heard of a-0 for 13 s, nor of 1 more; has it a leader?"


def test_who_did_not_listen_has_not_heard_that_there_was_nothing() -> None:
    silence = Silence()
    silence.look({ONE: 1.0}, 0.0)
    silence.look({ONE: 1.0}, 3600.0)
    assert not silence.of(ONE)
