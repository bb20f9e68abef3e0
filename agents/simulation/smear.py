"""Rules about maps: when localisation jumps a new one begins, and nothing belongs to two."""

from __future__ import annotations

from collections.abc import Iterator

from agents.in_order import epoch_of
from agents.simulation.evidence import Evidence
from agents.simulation.world import MapJump
from stream.records import Binned
from stream.topics import ALARMS, BINNED, OUTCOMES

BELOW_M, ABOVE_M = 100.0, 200.0
"""Where no robot is before, and after, its map has jumped by 300 m to the side."""


def smeared(e: Evidence) -> Iterator[str]:
    """No container holds sweeps of two maps, no sweep lies between them, no outcome joins them.

    Of robots whose messages are out of order, only jumps that are seen in every pose can be told.
    """
    window = e.world.config.window
    reach_ns = (window.bins + e.world.config.keep_bins) * window.bin_ns
    for robot, jump in e.world.jumps.items():
        if jump.declared and robot in e.world.disordered:
            continue
        records = [record for record in e.first(BINNED).values() if record.robot_id == robot]
        for record in records:
            if _after(record, jump) is None:
                yield f"binned record {record.prediction_id} lies between two maps"
        near = [
            (one, two)
            for one in records
            for two in records
            if _after(one, jump) is False and _after(two, jump) and two.stamp_ns - one.stamp_ns <= reach_ns
        ]
        for one, two in near:
            if epoch_of(one.seq) == epoch_of(two.seq):
                yield f"{one.prediction_id} and {two.prediction_id} are of two maps, and in one epoch"
        begun = any(
            event.kind == "map_reset" and event.robot_id == robot for event in e.first(ALARMS).values()
        )
        if near and not begun:
            yield f"{robot}: another map began without a word"
        yield from _joined(e, records, jump)


def _joined(e: Evidence, records: list[Binned], jump: MapJump) -> Iterator[str]:
    sides = {(record.stream_id, record.stamp_ns): _after(record, jump) for record in records}
    for outcome in e.first(OUTCOMES).values():
        made = sides.get((outcome.stream_id, outcome.stamp_ns))
        seen = sides.get((outcome.stream_id, outcome.observed_stamp_ns))
        if made is not None and made != seen:
            yield f"outcome of {outcome.prediction_id} at {outcome.horizon_ns} was seen in another map"


def _after(record: Binned, jump: MapJump) -> bool | None:
    """Whether a sweep lies in the later map; None for one that lies in neither."""
    if not jump.declared:
        y = float(record.pose[7])
        return None if BELOW_M < y < ABOVE_M else y > BELOW_M
    if jump.before_ns < record.stamp_ns < jump.at_ns:
        return None
    return record.stamp_ns >= jump.at_ns
