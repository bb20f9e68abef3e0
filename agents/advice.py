"""What a diagnosis means for a replay: findings, options that help, and what it would cost."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agents.doctor import Diagnosis
from stream.config import Config

CROWDED = 0.05
"""A larger share of the points than this at the farthest range is no accident."""

WHOLE = 0.99
"""A map of which a smaller share than this lies in range is cut off."""

ENOUGH_SCORED = 10
"""Fewer scored sweeps than this are worth a warning."""

Level = Literal["problem", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to know before a replay.

    level : ``problem`` (a replay would be useless), ``warning`` (it would be worse than need be) or ``note``
    flags : arguments of ``octastream replay`` that help
    """

    level: Level
    text: str
    flags: tuple[str, ...] = ()


def advise(diagnosis: Diagnosis, config: Config) -> tuple[Finding, ...]:
    """Findings, worst first; pure."""
    found = [finding for rule in RULES for finding in rule(diagnosis, config)]
    order = ("problem", "warning", "note")
    return tuple(sorted(found, key=lambda finding: order.index(finding.level)))


def replay_command(location: str, arguments: list[str], findings: tuple[Finding, ...]) -> str:
    """The command that replays this log, with every option that the findings suggest.

    arguments : options that were given to the doctor and that the replay needs too
    """
    words = ["octastream", "replay", location, "--out", f"runs/{_name_of(location) or 'log'}", *arguments]
    for finding in findings:
        words += finding.flags
    return shlex.join(words)


def _name_of(location: str) -> str:
    """A name for the run of a log."""
    if not location.startswith(("sim:", "kafka://")):
        return Path(location).stem
    return re.sub("[:/]+", "-", location.partition("?")[0])


def _set(key: str, value: object) -> tuple[str, str]:
    return "--set", f"{key}={value}"


def _contents(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    if not diagnosis.sweeps:
        yield Finding(level="problem", text="no sweep in this log can be decoded")
    elif diagnosis.points is None:
        yield Finding(level="problem", text="no sweep in this log holds a point")
    if diagnosis.damage:
        yield Finding(level="warning", text=f"damaged, and read up to the damage: {diagnosis.damage}")
    if len(diagnosis.streams) > 1:
        yield Finding(level="note", text=f"{len(diagnosis.streams)} streams share one map and one window")
    if diagnosis.timed_points:
        yield _deskewed(diagnosis, config)
    yield from _hits_only(diagnosis)


def _deskewed(diagnosis: Diagnosis, config: Config) -> Finding:
    if config.sweep.deskew == "off":
        return Finding(
            level="note", text="points carry their own time, but sweep.deskew is off: motion smears a sweep"
        )
    failed = diagnosis.events.get("not_deskewed")
    if failed:
        return Finding(
            level="warning" if failed > 1 else "note",
            text=f"{failed} of {diagnosis.timed_points} sweeps keep their motion, though their points carry "
            f"their own time: {diagnosis.event_details['not_deskewed']}",
        )
    return Finding(level="note", text="points carry their own time, by which motion within a sweep is undone")


def _hits_only(diagnosis: Diagnosis) -> Iterator[Finding]:
    if not diagnosis.hits_only:
        return
    all_of_them = diagnosis.hits_only == diagnosis.sweeps
    share = "all" if all_of_them else f"{diagnosis.hits_only:,} of"
    text = (
        f"{share} {diagnosis.sweeps:,} sweeps are hits only: from where they were seen is not known, "
        "so no ray makes a cell free"
    )
    if all_of_them:
        text += ", every outcome is occupied, and scores say nothing"
    if diagnosis.info.format == "las":
        text += "; --poses FILE says where the sensor stood, for scans from one place each"
    yield Finding(level="warning" if all_of_them else "note", text=text)


def _frames(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    if diagnosis.map_frame is None:
        yield Finding(
            level="problem",
            text="no transforms, so no sweep has a pose; give them with --poses FILE "
            "(KITTI format: 12 numbers a line), or have them made of the sweeps with --odometry",
            flags=("--odometry",),
        )
    if diagnosis.info.odometry:
        yield _odometry(diagnosis)
    refused = diagnosis.events.get("transform_refused")
    if refused:
        yield Finding(
            level="warning",
            text=f"{refused} transforms are refused: {diagnosis.event_details['transform_refused']}",
        )


def _odometry(diagnosis: Diagnosis) -> Finding:
    """Odometry is wrong without a word where it slips, but a person knows how fast a robot is."""
    way_m = sum(edge.way_m for edge in diagnosis.edges)
    seconds = sum(edge.last_ns - edge.first_ns for edge in diagnosis.edges) * 1e-9
    pace = f", {way_m / seconds:.1f} m/s on average" if seconds else ""
    return Finding(
        level="note",
        text=f"poses are made of the sweeps and drift: a way of {way_m:.1f} m in {seconds:.1f} s{pace}; "
        "if the robot was not as fast, they are wrong",
    )


def _rejected(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    count = sum(diagnosis.rejected.values())
    if count and diagnosis.map_frame is not None:
        reasons = ", ".join(f"{reason} {number}" for reason, number in diagnosis.rejected.items())
        yield Finding(
            level="warning" if diagnosis.predicted else "problem",
            text=f"{count} of {count + diagnosis.binned} sweeps would be rejected: {reasons}",
        )


def _stamps(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    period = diagnosis.period
    if period is None:
        return
    if period.backward or period.repeated:
        yield Finding(
            level="warning",
            text=f"{period.backward} stamps go back in time and {period.repeated} repeat: "
            "late sweeps are binned without a prediction, repeated ones are dropped",
        )
    if period.gaps:
        yield Finding(
            level="warning",
            text=f"{period.gaps} gaps between sweeps, the longest {period.longest_ns / 1e6:.0f} ms: "
            "predictions just before a gap have no outcome",
        )
    if period.jitter_ns > 0.2 * period.median_ns:
        yield Finding(
            level="note", text=f"irregular: sweeps are off their period by {period.jitter_ns / 1e6:.0f} ms"
        )
    yield from _horizons(period.median_ns, config)


def _horizons(period_ns: float, config: Config) -> Iterator[Finding]:
    if period_ns > 1.5 * config.window.bin_ns:
        yield Finding(
            level="warning",
            text=f"a sweep every {period_ns / 1e6:.0f} ms leaves most of the window's bins of "
            f"{config.window.bin_ns / 1e6:.0f} ms empty",
            flags=_set("window.bin_ns", round(period_ns / 1e6) * 1_000_000),
        )
    off = max(_miss_ns(horizon, period_ns) for horizon in config.task.horizons_ns)
    if off > config.task.tolerance_ns:
        yield Finding(
            level="warning",
            text=f"at this period a horizon's nearest sweep is {off / 1e6:.0f} ms away, "
            f"and outcomes count within {config.task.tolerance_ns / 1e6:.0f} ms",
            flags=_set("task.tolerance_ns", round(0.6 * period_ns / 1e6) * 1_000_000),
        )


def _miss_ns(horizon_ns: int, period_ns: float) -> float:
    """Distance from a horizon to the nearest later sweep."""
    return abs(max(1, round(horizon_ns / period_ns)) * period_ns - horizon_ns)


def _warmup(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    if diagnosis.period is None or not diagnosis.complete or not diagnosis.predicted:
        return
    wait = max(1, round(config.task.primary_horizon_ns / diagnosis.period.median_ns))
    scored = diagnosis.predicted - config.task.warmup_sweeps - wait
    if scored >= ENOUGH_SCORED:
        return
    shorter = (diagnosis.predicted - wait) // 3
    yield Finding(
        level="warning",
        text=f"{diagnosis.predicted} sweeps leave {max(scored, 0)} to score after a warm-up of "
        f"{config.task.warmup_sweeps} and a horizon of {wait}",
        flags=_set("task.warmup_sweeps", shorter) if 0 < shorter < config.task.warmup_sweeps else (),
    )


def _intensity(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    if diagnosis.points is None or diagnosis.points.intensity is None:
        return
    least, most = diagnosis.points.intensity
    if most > config.grid.intensity_max:
        scale = next((top for top in (1, 255, 65535) if most <= top), round(most))
        yield Finding(
            level="warning",
            text=f"intensity reaches {most:g}, but everything above {config.grid.intensity_max:g} is clamped",
            flags=_set("grid.intensity_max", scale),
        )
    elif least == most:
        yield Finding(level="note", text=f"intensity is {least:g} everywhere and says nothing")


def _ranges(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    points = diagnosis.points
    if points is None:
        return
    whole = diagnosis.hits_only == diagnosis.sweeps  # a map has no place that is too near
    if points.in_range < (WHOLE if whole else 0.2):
        yield Finding(
            level="warning",
            text=f"only {points.in_range:.0%} of the points lie {config.grid.range_min_m:g} to "
            f"{config.grid.range_max_m:g} m from the {'middle' if whole else 'sensor'} "
            "(grid.range_min_m, grid.range_max_m)",
            flags=_all_ranges(points.farthest_m) if whole else (),
        )
    if 0.5 < points.not_finite <= config.grid.max_not_finite_share:
        yield Finding(level="note", text=f"{points.not_finite:.0%} of the points are not finite, and dropped")


def _all_ranges(farthest_m: float) -> tuple[str, ...]:
    return *_set("grid.range_min_m", 0), *_set("grid.range_max_m", math.floor(farthest_m) + 1)


def _evidence(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    points = diagnosis.points
    if points and config.mask.miss_beyond_m is None and CROWDED < points.at_farthest < 1 - CROWDED:
        yield Finding(
            level="note",
            text=f"{points.at_farthest:.0%} of the points lie {points.farthest_m:g} m away and none farther: "
            "if that is how the driver writes rays without return, set mask.miss_beyond_m a little below",
        )
    if points and diagnosis.masked > 0.5 * (points.count + diagnosis.misses):
        yield Finding(
            level="warning",
            text=f"the mask drops {diagnosis.masked:,} of {points.count:,} points "
            "(mask.ego_box_m, mask.drop_sectors_deg)",
        )


def _cells(diagnosis: Diagnosis, config: Config) -> Iterator[Finding]:
    tested = diagnosis.cells_tested
    if tested and tested.most > config.window.max_cells:
        yield Finding(
            level="warning",
            text=f"up to {tested.most:,.0f} cells, above the cap of {config.window.max_cells:,}: "
            "the oldest sweeps would be evicted",
            flags=_set("window.max_cells", 2 * int(tested.most)),
        )


RULES: tuple[Callable[[Diagnosis, Config], Iterator[Finding]], ...] = (
    _contents,
    _frames,
    _rejected,
    _stamps,
    _warmup,
    _intensity,
    _ranges,
    _evidence,
    _cells,
)
