"""Where among a robot's records its sweeps ended: there each was forecast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agents.in_order import epoch_of
from stream.records import Binned


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SweepEnd:
    """A sweep is over.

    parts : those that came in time, as they were folded; seq : of the last record that was folded by then
    at_ns : stamp of the sweep with which it was over
    """

    parts: tuple[Binned, ...]
    seq: int
    at_ns: int

    @property
    def record(self) -> Binned:
        """The part that it was forecast from."""
        return self.parts[-1]


def with_ends(records: Iterable[Binned], keep_ns: int) -> Iterator[Binned | SweepEnd]:
    """Binned records, and the ends of their sweeps among them, as Perceive had them.

    records : of one robot, in the order of ``seq``; keep_ns : how far the rolling container reaches
    A sweep ends with its last part, or before the record that leaves its missing parts behind: one of a newer
    sweep of its stream, of another epoch, or so new that the container forgets it. That Perceive forgot its
    stream (``limits.max_streams``) is not in the records: such a sweep ends later here than it did.
    """
    opened: dict[str, list[Binned]] = {}  # by stream, in the order in which they came
    epoch, newest_ns, seq = 0, 0, -1
    for record in records:
        begins = epoch_of(record.seq) != epoch
        epoch, newest_ns = epoch_of(record.seq), max(0 if begins else newest_ns, record.stamp_ns)
        own = opened.setdefault(record.stream_id, [])
        for parts in opened.values():
            if parts and (begins or parts[-1].stamp_ns < newest_ns - keep_ns):
                yield _end(parts, seq, record.stamp_ns)
        if own and not record.late and record.stamp_ns > own[-1].stamp_ns:
            yield _end(own, seq, record.stamp_ns)
        yield record
        seq = record.seq
        if record.late:
            continue
        own.append(record)
        if len({part.part for part in own}) == record.parts:
            yield _end(own, seq, record.stamp_ns)
    for parts in opened.values():
        if parts:
            yield _end(parts, seq, newest_ns)


def _end(parts: list[Binned], seq: int, at_ns: int) -> SweepEnd:
    """The end of a sweep, of which nothing is open any more."""
    end = SweepEnd(parts=tuple(parts), seq=seq, at_ns=at_ns)
    parts.clear()
    return end
