"""What the fuzzer of decoders is given, and some thousand changed inputs without it."""

from __future__ import annotations

import random
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from stream import sources
from stream.codecs.inputs import decode_sweep
from tests.decoders import messages
from tests.decoders.__main__ import limits_of
from tests.decoders.listed import called, decoders
from tests.decoders.messages import KINDS, foreign_message
from tests.decoders.names import LOGS, MESSAGES
from tests.decoders.parts import join, split
from tests.decoders.seeds import seeds_of
from tests.decoders.targets import TARGETS

CHANGED = 60
"""Inputs a target."""

_TYPED = "a person types it"
_OWN = "Arrow reads it, which this program wrote, and its checksums are looked at first"
_STATE = "it is behind a sha256 in a snapshot, and who can write that can say anything"
_PASSES_ON = "it chooses among those that are reached"
_CONNECTS = "it opens a connection, whose messages are fuzzed"
_WRITES = "it writes"
LEFT_OUT = {
    "agents/archive.py Archive.restore": _STATE,
    "agents/care/rows.py read_rows": _OWN,
    "agents/care/subject.py parse_time": _TYPED,
    "agents/cell.py read": _TYPED,
    "agents/cluster_options.py TopicOptions.open": _CONNECTS,
    "agents/errors/read.py read_errors": _OWN,
    "agents/judge.py Judge.restore": _STATE,
    "agents/kafka/bridge.py open_live": _CONNECTS,
    "agents/kafka/retained.py open_retained": _CONNECTS,
    "agents/kafka/stretch.py Cut.parse": _TYPED,
    "agents/kafka/stretch.py Location.parse": _TYPED,
    "agents/labels/project.py open_annotations": _PASSES_ON,
    "agents/learn.py Learn.restore": _STATE,
    "agents/objects/examples.py open_drive": _PASSES_ON,
    "agents/options.py LogOptions.open": _PASSES_ON,
    "agents/paint.py open_speaker": _PASSES_ON,
    "agents/perceive.py Perceive.restore": _STATE,
    "agents/predict.py open_served": "it opens a registry of models; their manifests are fuzzed",
    "agents/protocol.py Agent.restore": _STATE,
    "agents/recording.py open_sinks": _WRITES,
    "agents/report/source.py read_run": _OWN,
    "agents/web/frame.py decode_frame": "the same process has encoded it",
    "models/training/checkpoint.py read": "torch reads it, weights only",
    "stream/codecs/state.py unpack_fields": _STATE,
    "stream/sinks/foxglove.py open_foxglove": _WRITES,
    "stream/sinks/ros2.py open_ros2": _WRITES,
    "stream/sources/simulation/events.py parse_events": _TYPED,
    "stream/sources/simulator.py open_simulator": _TYPED,
    "stream/sources/simulator.py parse_location": _TYPED,
    "stream/sweep_rows.py read_sweeps": _OWN,
}
"""Decoders that no target reaches, and why."""


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
def test_a_whole_input_is_decoded(target: str) -> None:
    """A refusal would mean that nothing behind it is ever reached."""
    seeds = seeds_of(target)
    assert seeds
    for data in seeds:
        assert TARGETS[target](data) is True, data[:80]


@pytest.mark.parametrize("target", TARGETS)
def test_changed_inputs_come_to_a_record_or_an_error_for_people(target: str) -> None:
    seeds, dice = seeds_of(target), random.Random(3)
    for _ in range(CHANGED):
        TARGETS[target](changed(dice.choice(seeds), dice))
    TARGETS[target](b"")


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_seeds_of_every_kind(kind: int) -> None:
    found = [data[1:] for data in seeds_of(MESSAGES["octa.sweep.received.v1"]) if data[0] == kind]
    assert found
    for data in found:
        headers = [("content-type", KINDS[kind][0].encode())]
        assert decode_sweep(data, headers, b"robot").stamp_ns > 0


@pytest.mark.parametrize("target", TARGETS)
def test_no_seed_is_cut(target: str) -> None:
    (limit,) = (int(text.partition("=")[2]) for text in limits_of(target, 1, 1) if "max_len" in text)
    assert limit >= max(map(len, seeds_of(target)))


# ---- nothing is left out


def give_all() -> None:
    for target in TARGETS:
        for data in seeds_of(target):
            TARGETS[target](data)


def test_no_decoder_is_left_out() -> None:
    """A new one needs a target, or a reason."""
    seeds_of("config")  # making seeds decodes, too
    missing = decoders() - called(give_all)
    assert missing == set(LEFT_OUT)


def test_every_suffix_of_a_log_has_a_target() -> None:
    modules = [
        import_module(f"stream.sources.{path.stem}") for path in Path(sources.__path__[0]).glob("*.py")
    ]
    found = {
        suffix
        for module in modules
        for suffix in (getattr(module, "SUFFIX", None), *getattr(module, "SUFFIXES", ()))
    }
    assert found - {None} <= set(LOGS) and len(found) > 5


def test_a_decoder_that_is_not_reached_is_found() -> None:
    reached = called(partial(TARGETS["log-pcd"], seeds_of("log-pcd")[0]))
    assert "stream/sources/pcd.py decode_pcd" in reached
    assert "stream/sources/ply.py read_ply" in decoders() - reached


# ---- the harness itself


def test_parts_come_back() -> None:
    assert split(join([b"a", None, b"", b"bc"])) == [b"a", None, b"", b"bc"]
    assert split(b"\xff\x00ab") == [b"ab"], "the last one is as long as there are bytes"


def test_a_message_of_parts() -> None:
    message = foreign_message(join([b"\1", b"ant", b"part", b"2", b"octa_sensor", None, b"payload"]))
    assert (message.place[0], message.key, message.value) == (
        "octa.transform.received.v1",
        b"ant",
        b"payload",
    )
    assert message.headers == (("part", b"2"), ("octa_sensor", None))
    assert foreign_message(b"").value is None


def test_an_error_that_is_not_for_people_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(messages, "unpack", decode)
    with pytest.raises(KeyError):
        TARGETS["state"](b"")
