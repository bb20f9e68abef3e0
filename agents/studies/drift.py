"""How soon do the drift detectors notice, and how often are they wrong, beside dummies?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import smooth
from agents.studies.result import Cell, Chart, Finding, Line, Mark, StudyResult, Table, line, number
from agents.studies.track import Runner, Track
from stream.config_triggers import DETECTORS, DUMMIES
from stream.sources.simulation.events import DRIFTS

ALL_ALARMS = "drift.max_alarms=100000"
SERVED = ("online", "frozen")
"""What is watched: the model that goes on learning, and one that was frozen when the drift began."""

STREAM = "stream"
WARMUP = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What one detector raised on one drive at one level, from the change on.

    delay : sweeps from the change to the first alarm, None without one; alarms : from the change on
    """

    delay: int | None
    alarms: int


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return (1 + len(DRIFTS) * len(SERVED)) * options.drives


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay calm drives for false alarms, and every drift for how long it takes."""
    watched = f"task.warmup_sweeps={min(WARMUP, options.begin // 2)}"  # detectors wait for its end
    calm = [runner.run(log, "calm", ALL_ALARMS, watched) for log in locations(options)]
    tracks: dict[tuple[str, str], list[Track]] = {}
    for event in DRIFTS:
        for served in SERVED:
            freeze = options.begin if served == "frozen" else None
            tracks[event, served] = [
                runner.run(log, f"{event}: {served}", ALL_ALARMS, watched, freeze_after=freeze)
                for log in locations(options, event)
            ]
    levels = sorted({level for track in calm for level in track.summary["drift"]["by_level"]}, reverse=True)
    return StudyResult(
        study="drift",
        title="Drift detectors",
        question="How soon do the detectors notice a change, and how often do they alarm without one?",
        method=(
            "Detectors watch the log loss of what is served, by stream and by region. False alarms are "
            "counted on calm drives, per 1,000 values watched. On drives in which something begins at sweep "
            f"{options.begin}, the delay is the number of sweeps to the first alarm after it; once with a "
            "model that goes on learning, once with one frozen at that sweep. The dummies are fed the same "
            "values: 'always' alarms at each, 'never' at none. A detector is worth something if it is much "
            "sooner than 'never' and much rarer than 'always'."
        ),
        logs=tuple(runner.logs),
        findings=tuple(_findings(calm, tracks, levels, options)),
        tables=(
            _false_table(calm, levels),
            _delay_table(tracks, levels, options),
            _count_table(tracks, options),
        ),
        charts=tuple(_charts(tracks, options)),
    )


# ---- calm ----------------------------------------------------------------------------------------------


def _rate(calm: Sequence[Track], level: str, detector: str) -> tuple[int, int]:
    """Alarms and values on calm drives."""
    counts = [track.summary["drift"]["by_level"].get(level, {}) for track in calm]
    return sum(c.get(detector, 0) for c in counts), sum(c.get("values", 0) for c in counts)


def _false_table(calm: Sequence[Track], levels: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for level in levels:
        for detector in (*DETECTORS, *DUMMIES):
            alarms, values = _rate(calm, level, detector)
            rows.append((level, detector, values, alarms, number(1000 * alarms / max(values, 1), 2)))
    return Table(
        title="Alarms on calm drives",
        columns=("level", "detector", "values", "alarms", "per 1,000 values"),
        rows=tuple(rows),
        note="Nothing changes in these drives but what the robot drives past: every alarm counts as false.",
    )


# ---- change --------------------------------------------------------------------------------------------


def _level(event: Mapping[str, Any]) -> str:
    return STREAM if "lod" not in event else f"lod {event['lod']}"


def _noticed(track: Track, level: str, detector: str, begin: int) -> Noticed:
    if detector == DUMMIES[0]:
        return Noticed(delay=0, alarms=len(track.stamp_ns) - begin)
    sweeps = [
        track.sweep_of(int(event["stamp_ns"])) - begin
        for event in track.named("drift")
        if event["detector"] == detector and _level(event) == level
    ]
    after = [sweep for sweep in sweeps if sweep >= 0]
    return Noticed(delay=min(after, default=None), alarms=len(after))


def _delay_table(
    tracks: Mapping[tuple[str, str], Sequence[Track]], levels: Sequence[str], options: StudyOptions
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (event, served), some in tracks.items():
        for level in levels:
            delays = [
                ", ".join(
                    "never" if noticed.delay is None else str(noticed.delay)
                    for noticed in (_noticed(track, level, detector, options.begin) for track in some)
                )
                for detector in (*DETECTORS, *DUMMIES)
            ]
            rows.append((event, served, level, *delays))
    return Table(
        title="Sweeps from the change to the first alarm, by drive",
        columns=("drift", "served", "level", *DETECTORS, *DUMMIES),
        rows=tuple(rows),
        note="At a level of regions, the first alarm of any of them: with many regions one of them is soon, "
        "true or not; the next table counts.",
    )


def _count_table(tracks: Mapping[tuple[str, str], Sequence[Track]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (event, served), some in tracks.items():
        cells: list[Cell] = [event, served]
        for detector in DETECTORS:
            before, after = _counts(some, detector, options.begin)
            cells += [before, after]
        rows.append(tuple(cells))
    heads = tuple(f"{detector} {when}" for detector in DETECTORS for when in ("before", "after"))
    return Table(
        title="Alarms of all places before and after the change",
        columns=("drift", "served", *heads),
        rows=tuple(rows),
    )


def _counts(some: Sequence[Track], detector: str, begin: int) -> tuple[int, int]:
    """Alarms before and from the change on; a detector is quiet during the warm-up."""
    sweeps = [
        track.sweep_of(int(event["stamp_ns"]))
        for track in some
        for event in track.named("drift")
        if event["detector"] == detector
    ]
    return sum(sweep < begin for sweep in sweeps), sum(sweep >= begin for sweep in sweeps)


def _findings(
    calm: Sequence[Track],
    tracks: Mapping[tuple[str, str], Sequence[Track]],
    levels: Sequence[str],
    options: StudyOptions,
) -> list[Finding]:
    findings = []
    for detector in DETECTORS:
        alarms = sum(_rate(calm, level, detector)[0] for level in levels)
        values = sum(_rate(calm, level, detector)[1] for level in levels)
        rate = 1000 * alarms / max(values, 1)
        seen = [
            event
            for event in DRIFTS
            if all(
                any(_noticed(track, level, detector, options.begin).delay is not None for level in levels)
                for track in tracks[event, "frozen"]
            )
        ]
        findings.append(
            Finding(
                text=f"{detector}: {rate:.2f} false alarms per 1,000 values (always: 1,000; never: 0); with "
                f"a frozen model it notices {', '.join(seen) or 'nothing'}.",
                holds=rate < 10 and len(seen) > 0,
            )
        )
    return findings


def _charts(tracks: Mapping[tuple[str, str], Sequence[Track]], options: StudyOptions) -> list[Chart]:
    charts = []
    for event in DRIFTS:
        lines: list[Line] = []
        for served in SERVED:
            track = tracks[event, served][0]
            lines.append(line(f"loss, {served}", smooth(track.losses())))
        frozen = tracks[event, "frozen"][0]
        lines += [_cumulated(f"{name} alarms / 100, frozen", frozen, name) for name in DETECTORS]
        charts.append(
            Chart(
                title=f"{event}: loss of what is served, and alarms summed up",
                x_title="sweep",
                y_title="log loss (nats a cell); alarms / 100",
                lines=tuple(lines),
                marks=(Mark(x=options.begin, text=event),),
            )
        )
    return charts


def _cumulated(name: str, track: Track, detector: str) -> Line:
    count = np.zeros(len(track.stamp_ns))
    for event in track.named("drift"):
        sweep = track.sweep_of(int(event["stamp_ns"]))
        if event["detector"] == detector and sweep < len(count):
            count[sweep] += 1
    return line(name, np.cumsum(count) / 100)
