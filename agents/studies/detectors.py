"""How soon do the drift detectors notice, and how often are they wrong, beside dummies?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.studies.measure import smooth
from agents.studies.result import Cell, Chart, Finding, Line, Mark, Table, line, number
from agents.studies.track import Track
from stream.config_triggers import DETECTORS, DUMMIES

METHOD = (
    "Detectors watch the log loss of what is served, by stream and by region. False alarms are counted on "
    "calm drives, per 1,000 values watched. Their delay is the number of sweeps from the change to the first "
    "alarm after it; once with a model that goes on learning, once with the frozen one. The dummies are fed "
    "the same values: 'always' alarms at each, 'never' at none. A detector is worth something if it is much "
    "sooner than 'never' and much rarer than 'always'."
)

STREAM = "stream"

Watched = Mapping[tuple[str, str], Sequence[Track]]
"""By what began and what was served (``online`` or ``frozen``): one track a drive."""


def tables(calm: Sequence[Track], watched: Watched, begin: int) -> tuple[Table, ...]:
    """False alarms on calm drives, delays by level, and alarms of all places."""
    levels = _levels(calm)
    return _false_table(calm, levels), _delay_table(watched, levels, begin), _count_table(watched, begin)


def findings(calm: Sequence[Track], watched: Watched, begin: int) -> list[Finding]:
    """One a detector: how often it is false, and what it notices where the model is frozen."""
    levels = _levels(calm)
    events = list(dict.fromkeys(event for event, _ in watched))
    return [_finding(detector, calm, watched, events, levels, begin) for detector in DETECTORS]


def charts(watched: Watched, begin: int) -> list[Chart]:
    """One a drift, of the first drive."""
    return [_chart(event, watched, begin) for event in dict.fromkeys(event for event, _ in watched)]


def _levels(calm: Sequence[Track]) -> list[str]:
    return sorted({level for track in calm for level in track.summary["drift"]["by_level"]}, reverse=True)


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


def _delay(track: Track, level: str, detector: str, begin: int) -> int | None:
    """Sweeps from the change to a detector's first alarm at a level, None without one."""
    if detector == DUMMIES[0]:
        return 0
    sweeps = (
        track.sweep_of(int(event["stamp_ns"])) - begin
        for event in track.named("drift")
        if event["detector"] == detector and _level(event) == level
    )
    return min((sweep for sweep in sweeps if sweep >= 0), default=None)


def _delay_table(watched: Watched, levels: Sequence[str], begin: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (event, served), some in watched.items():
        for level in levels:
            delays = [
                ", ".join(
                    "never" if delay is None else str(delay)
                    for delay in (_delay(track, level, detector, begin) for track in some)
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


def _count_table(watched: Watched, begin: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (event, served), some in watched.items():
        cells: list[Cell] = [event, served]
        for detector in DETECTORS:
            before, after = _counts(some, detector, begin)
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


def _finding(
    detector: str,
    calm: Sequence[Track],
    watched: Watched,
    events: Sequence[str],
    levels: Sequence[str],
    begin: int,
) -> Finding:
    counts = [_rate(calm, level, detector) for level in levels]
    rate = 1000 * sum(alarms for alarms, _ in counts) / max(sum(values for _, values in counts), 1)
    seen = [
        event
        for event in events
        if all(
            any(_delay(track, level, detector, begin) is not None for level in levels)
            for track in watched[event, "frozen"]
        )
    ]
    text = (
        f"{detector}: {rate:.2f} false alarms per 1,000 values (always: 1,000; never: 0); with a frozen "
        f"model it notices {', '.join(seen) or 'nothing'}."
    )
    return Finding(text=text, holds=rate < 10 and len(seen) > 0)


def _chart(event: str, watched: Watched, begin: int) -> Chart:
    online, frozen = (watched[event, served][0] for served in ("online", "frozen"))
    lines: list[Line] = [
        line("online", smooth(online.losses())),
        line("frozen", smooth(frozen.losses())),
        *(_cumulated(f"{name} alarms / 100, frozen", frozen, name) for name in DETECTORS),
    ]
    return Chart(
        title=f"{event}: loss of what is served, and alarms summed up",
        x_title="sweep",
        y_title="log loss (nats a cell); alarms / 100",
        lines=tuple(lines),
        marks=(Mark(x=begin, text=event),),
    )


def _cumulated(name: str, track: Track, detector: str) -> Line:
    count = np.zeros(len(track.stamp_ns))
    for event in track.named("drift"):
        sweep = track.sweep_of(int(event["stamp_ns"]))
        if event["detector"] == detector and sweep < len(count):
            count[sweep] += 1
    return line(name, np.cumsum(count) / 100)
