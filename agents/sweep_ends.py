"""Where among a robot's records its sweeps ended: there each was forecast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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
    A sweep ends once: with its last part, or before the record that leaves its missing parts behind, which is
    of a newer sweep of its stream, of another epoch, or so new that the container forgets the sweep. That
    Perceive forgot its stream (``limits.max_streams``) is not in the records: such a sweep ends later here.
    """
    streams: dict[str, _Stream] = {}
    opened: dict[int, _Stream] = {}  # those with a sweep that is not over, by number
    epoch, newest_ns, seq = 0, 0, -1
    for record in records:
        begins = epoch_of(record.seq) != epoch
        epoch, newest_ns = epoch_of(record.seq), max(0 if begins else newest_ns, record.stamp_ns)
        own = streams.setdefault(record.stream_id, _Stream(len(streams)))
        for number in [n for n in sorted(opened) if begins or opened[n].stamp_ns < newest_ns - keep_ns]:
            yield opened.pop(number).end(seq, record.stamp_ns)
        if own.parts and not record.late and record.stamp_ns > own.stamp_ns:
            yield opened.pop(own.number).end(seq, record.stamp_ns)
        yield record
        seq = record.seq
        if record.late or record.stamp_ns <= own.ended_ns:
            continue
        own.parts.append(record)
        opened[own.number] = own
        if len({part.part for part in own.parts}) == record.parts:
            yield opened.pop(own.number).end(seq, record.stamp_ns)
    for _, stream in sorted(opened.items()):
        yield stream.end(seq, newest_ns)


@dataclass(slots=True)
class _Stream:
    """A stream on the way through its records: parts of the sweep that is not over, and how far it has got.

    number : its place among the streams, as they came
    """

    number: int
    ended_ns: int = -1
    parts: list[Binned] = field(default_factory=list)

    @property
    def stamp_ns(self) -> int:
        """Of the sweep that is not over."""
        return self.parts[-1].stamp_ns

    def end(self, seq: int, at_ns: int) -> SweepEnd:
        """The sweep is over."""
        self.ended_ns, parts, self.parts = self.stamp_ns, tuple(self.parts), []
        return SweepEnd(parts=parts, seq=seq, at_ns=at_ns)
