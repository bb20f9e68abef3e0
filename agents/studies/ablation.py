"""What is each part worth: groups of features, the replay buffer, gate and guard?"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import mean, smooth
from agents.studies.result import Cell, Chart, Finding, Line, StudyResult, Table, line, number
from agents.studies.track import Runner, Track

SCRATCH = "learn.prior=none"
"""A prior has learnt with all features; what a group is worth shows without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One thing taken away or changed. part : what it belongs to"""

    name: str
    part: str
    settings: tuple[str, ...] = ()


def _without(*patterns: str) -> tuple[str, ...]:
    return (f"learn.normalisers={json.dumps(dict.fromkeys(patterns, 'dropped'))}",)


VARIANTS = (
    Variant(name="everything", part=""),
    Variant(name="no beams cast ahead", part="features", settings=_without("cast_*", "surface_*")),
    Variant(name="no coarser levels", part="features", settings=_without("coarse?_*", "height_in_block")),
    Variant(
        name="no shape in the cell", part="features",
        settings=_without(
            "offset_*", "spread_*", "normal_z", "*view_cosine", "planarity", "linearity", "curvature"
        ),
    ),
    Variant(
        name="no place", part="features",
        settings=_without(
            "x", "y", "z", "range", "elevation", "forecast_?", "forecast_range", "forecast_elevation"
        ),
    ),
    Variant(name="no neighbours' counts", part="features", settings=_without("neighbors*")),
    Variant(name="newest sweep only", part="buffer", settings=("learn.newest_share=1",)),
    Variant(name="all sweeps alike", part="buffer", settings=("learn.newest_share=0",)),
    Variant(name="hard sectors half of the time", part="buffer", settings=("learn.hard_share=0.5",)),
    Variant(name="hard sectors always", part="buffer", settings=("learn.hard_share=1",)),
    Variant(name="a buffer of 20 MB", part="buffer", settings=("learn.buffer_bytes=20000000",)),
    Variant(name="gate of 20 sweeps", part="gate", settings=("learn.gate_sweeps=20",)),
    Variant(name="no guard", part="gate", settings=("learn.guard_margin=1e9",)),
)  # fmt: skip


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return len(VARIANTS) * options.count


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay with one thing taken away after the other."""
    tracks = {
        variant: [
            runner.run(log, variant.name, options.scored_from, SCRATCH, *variant.settings)
            for log in locations(options)
        ]
        for variant in VARIANTS
    }
    losses = {variant: _mean_loss(some, options.begin) for variant, some in tracks.items()}
    whole = losses[VARIANTS[0]]
    features = {v: loss / whole - 1 for v, loss in losses.items() if v.part == "features"}
    dearest = max(features, key=lambda variant: features[variant])
    return StudyResult(
        study="ablation",
        title="Ablation",
        question="What is each part of learning worth?",
        method=(
            "Each replay leaves one thing out or changes it; the network begins from random weights, as a "
            "prior has learnt with everything. A feature that is left out is multiplied by 0 before the "
            "network sees it, in training and in serving. Scores are of the sweeps from "
            f"{options.begin} on. Differences below half a per cent on one drive are noise."
        ),
        logs=tuple(runner.logs),
        findings=(
            Finding(text=f"Of the features, leaving out most dearly costs: {dearest.name}, "
                    f"{features[dearest]:+.1%} of log loss."),
        ),
        tables=(_table(tracks, losses, whole),),
        charts=tuple(_chart(part, tracks) for part in ("features", "buffer", "gate")),
    )  # fmt: skip


def _mean_loss(some: list[Track], begin: int) -> float:
    return float(np.mean([mean(track.losses(), begin) for track in some]))


def _table(tracks: dict[Variant, list[Track]], losses: dict[Variant, float], whole: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for variant, some in tracks.items():
        precision = [track.summary["scores"]["online"]["average_precision"] for track in some]
        known = [value for value in precision if value is not None]
        rolled = sum(len(track.named("rolled_back", "held_back")) for track in some)
        rows.append((
            variant.name, variant.part, number(losses[variant]), number(losses[variant] / whole - 1),
            number(float(np.mean(known))) if known else None, rolled,
        ))  # fmt: skip
    return Table(
        title="Log loss and average precision",
        columns=("variant", "part", "log loss", "relative", "average precision", "rolled or held back"),
        rows=tuple(rows),
        note="Mean over drives. Relative to everything; 0.01 is 1 % more loss.",
    )


def _chart(part: str, tracks: dict[Variant, list[Track]]) -> Chart:
    lines: list[Line] = [
        line(variant.name, smooth(some[0].losses()))
        for variant, some in tracks.items()
        if variant.part in ("", part)
    ]
    return Chart(
        title=f"Log loss by sweep, mean of ten: {part}", x_title="sweep", y_title="log loss (nats a cell)",
        lines=tuple(lines),
    )  # fmt: skip
