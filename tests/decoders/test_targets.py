"""What the fuzzer of decoders is given, and some thousand changed inputs without it."""

from __future__ import annotations

import random

import pytest

from stream.codecs.inputs import decode_sweep
from tests.decoders import targets
from tests.decoders.names import MESSAGES
from tests.decoders.seeds import seeds_of
from tests.decoders.targets import KINDS, TARGETS

CHANGED = 60
"""Inputs a target."""


def changed(data: bytes, dice: random.Random) -> bytes:
    """An input with a few bytes turned, cut off or put in."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place, kind = dice.randrange(len(found) + 1), dice.randrange(4)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << dice.randrange(8)
        elif kind == 1 and place < len(found):
            found[place] = dice.choice((0, 127, 128, 255))
        elif kind == 2:
            del found[place + 1 :]
        else:
            found[place:place] = dice.randbytes(dice.randint(1, 9))
    return bytes(found)


@pytest.mark.parametrize("target", TARGETS)
def test_whole_and_changed_inputs_come_to_a_record_or_an_error_for_people(target: str) -> None:
    seeds, dice = seeds_of(target), random.Random(3)
    assert seeds
    for data in seeds:
        TARGETS[target](data)
    for _ in range(CHANGED):
        TARGETS[target](changed(dice.choice(seeds), dice))
    TARGETS[target](b"")


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_seeds_are_whole(kind: int) -> None:
    """Else everything would be refused at its first byte."""
    found = [data[1:] for data in seeds_of(MESSAGES["octa.sweep.received.v1"]) if data[0] == kind]
    assert found
    for data in found:
        headers = [("content-type", KINDS[kind][0].encode())]
        assert decode_sweep(data, headers, b"robot").stamp_ns > 0


def test_an_error_that_is_not_for_people_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(targets, "unpack", decode)
    with pytest.raises(KeyError):
        TARGETS["state"](b"")
