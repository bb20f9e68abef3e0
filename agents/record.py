"""Recording logs, runs and topics into files: which files, from what, and what became of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.outfolder import holds_run
from agents.recorded_run import RecordedRun
from agents.recording import RecordError, Recording, open_sinks
from agents.stop import stop_signals
from stream.config import Config
from stream.progress import Progress
from stream.records import Binned
from stream.sinks.base import Sink
from stream.sinks.foxglove import open_foxglove
from stream.sources.base import Damage, Source
from stream.sweep import Sweep
from stream.transform import Transform

if TYPE_CHECKING:
    from agents.kafka.settings import KafkaSettings


Openers = Mapping[Path, Callable[[Path], Sink]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was recorded.

    counts : by what it is; left_out : what messages have no place for, by what it is
    damage : what cut a log short, empty for nothing; stopped : somebody said so
    """

    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    damage: str
    stopped: bool

    def lines(self, files: Iterable[Path]) -> list[str]:
        """For people: what is in which files, and what is not."""
        size = [f"{path}: {path.stat().st_size / 1e6:.1f} MB" for path in files]
        lines = [*size, _counted(self.counts)]
        return [*lines, f"left out: {_counted(self.left_out)}"] if self.left_out else lines


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def openers_of(out: Path | None, rerun: Path | None) -> Openers:
    """How to open the files that were asked for.

    Raises RecordError for none, for one name for both, and where a package is missing that writes them
    """
    if out is None and rerun is None:
        raise RecordError("nothing to write: give --out FILE.mcap, --rerun FILE.rrd, or both")
    if out == rerun:
        raise RecordError(f"--rerun {rerun}: --out is to be written there, too; name another file")
    found: dict[Path, Callable[[Path], Sink]] = {}
    if out is not None:
        found[out] = open_foxglove
        _require("stream.codecs.foxglove", "formats")
    if rerun is not None:
        found[rerun] = _require("stream.sinks.rerun", "rerun").RerunSink
    return found


def _require(module: str, extra: str) -> Any:
    """A module whose packages an extra brings.  Raises RecordError that names the extra"""
    from importlib import import_module

    try:
        found = import_module(module)
        getattr(found, "require", lambda: None)()
    except ModuleNotFoundError as error:
        raise RecordError(f"this file needs {error.name}: pip install 'octastream[{extra}]'") from error
    return found


def place_of(location: str, open_log: Callable[[str], Source]) -> Source | RecordedRun:
    """A run folder, or else a log."""
    return RecordedRun(Path(location)) if holds_run(Path(location)) else open_log(location)


def record_places(
    places: Sequence[Source | RecordedRun], openers: Openers, *, force: bool, progress: Progress
) -> Recorded:
    """Record logs and runs until they end, or somebody says so; files are whole in both cases.

    A log beside its run gives both in one file. Poses of a run have frames of their own, so they do not
    contradict the log's.
    Raises RecordError where nothing was there to record, SourceError, TableError, OSError (disk full)
    """
    totals = [place.sweeps if isinstance(place, RecordedRun) else place.info().sweeps for place in places]
    total = None if None in totals else sum(count or 0 for count in totals)
    config = next((place.config for place in places if isinstance(place, RecordedRun)), None)
    done, damages = 0, [place.damage for place in places if isinstance(place, RecordedRun)]
    with stop_signals() as stop, open_sinks(openers, force=force) as sinks:
        recording = Recording(sinks, _map_frame(places, config), config)
        for lane, record in stop.until(_merged(places)):
            if isinstance(record, Damage):
                damages.append(f"{record.location}: {record.detail}")
                continue
            recording.add(record, lane)
            if isinstance(record, Binned):
                recording.add_pose(record)
            done += isinstance(record, Sweep | Binned)
            progress(done, total, "")
        recording.finish()
    return _recorded(recording, "; ".join(filter(None, damages)), stop.told)


def _merged(places: Iterable[Iterable[Any]]) -> Iterator[tuple[str, Any]]:
    """All things with their place's lane: each place in its own order, one beside the other by stamps.

    Readers need not sort what is sorted already
    """

    def timed(number: int, items: Iterable[Any]) -> Iterator[tuple[int, str, Any]]:
        newest_ns = 0
        for item in items:
            if not (isinstance(item, Damage) or (isinstance(item, Transform) and item.static)):
                newest_ns = max(newest_ns, item.stamp_ns)
            yield newest_ns, f"place {number}", item

    streams = [timed(number, items) for number, items in enumerate(places)]
    return ((lane, item) for _, lane, item in heapq.merge(*streams, key=itemgetter(0)))


def record_cluster(
    settings: KafkaSettings,
    config: Config,
    openers: Openers,
    *,
    begin: str | None,
    end: str | None,
    force: bool,
    progress: Progress,
    on_start: Callable[[], None],
) -> Recorded:
    """Record the topics of a cluster; as ``agents.kafka.record.record_topics``."""
    from agents.kafka.admin import run
    from agents.kafka.record import record_topics

    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, None, "")

    with stop_signals() as stop, open_sinks(openers, force=force) as sinks:
        recording = Recording(sinks, config.grid.map_frame, config)
        try:
            run(
                record_topics(
                    settings, recording, stop, begin=begin, end=end, on_start=on_start, on_message=count
                )
            )
        finally:
            recording.finish()
    return _recorded(recording, "", stop.told)


def _map_frame(places: Sequence[Source | RecordedRun], config: Config | None) -> str | None:
    if config is not None:
        return config.grid.map_frame
    roots = [place.info().root_frame for place in places if not isinstance(place, RecordedRun)]
    return next((root for root in roots if root is not None), None)


def _recorded(recording: Recording, damage: str, stopped: bool) -> Recorded:
    if not recording.counts:
        raise RecordError("nothing to record: no sweep, transform or record came")
    return Recorded(
        counts=dict(recording.counts), left_out=recording.left_out, damage=damage, stopped=stopped
    )
