"""Where among a robot's records its sweeps ended: there each was forecast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agents.in_order import epoch_of
from stream.records import Binned


@dataclass(frozen=True, slots=True, eq=False)
class SweepEnd:
    """A sweep is over.

    record : of the last of its parts that came in time; at_ns : stamp of the sweep with which it was over
    """

    record: Binned
    at_ns: int


def with_ends(records: Iterable[Binned], keep_ns: int) -> Iterator[Binned | SweepEnd]:
    """Binned records, and the ends of their sweeps among them, as Perceive had them.

    records : all of one robot, in the order of ``seq``; keep_ns : how far the rolling container reaches
    A sweep ends with its last part, or before the record that leaves its missing parts behind: one of a newer
    sweep of its stream, of another epoch, or so new that the container forgets it. That its stream was
    forgotten (``limits.max_streams``) is not in the records: such a sweep ends with its epoch, or with them.
    """
    opened: dict[str, Binned] = {}
    parts: dict[str, set[int]] = {}
    epoch, newest_ns = 0, 0
    for record in records:
        begins = epoch_of(record.seq) != epoch
        epoch, newest_ns = epoch_of(record.seq), max(0 if begins else newest_ns, record.stamp_ns)
        for stream_id, last in list(opened.items()):
            passed = stream_id == record.stream_id and not record.late and record.stamp_ns > last.stamp_ns
            if begins or passed or last.stamp_ns < newest_ns - keep_ns:
                yield SweepEnd(opened.pop(stream_id), record.stamp_ns)
        yield record
        if record.late:
            continue
        known = opened.get(record.stream_id) is not None
        seen = parts[record.stream_id] = {*(parts[record.stream_id] if known else ()), record.part}
        opened[record.stream_id] = record
        if len(seen) == record.parts:
            yield SweepEnd(opened.pop(record.stream_id), record.stamp_ns)
    yield from (SweepEnd(record, newest_ns) for record in opened.values())
