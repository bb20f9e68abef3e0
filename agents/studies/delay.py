"""What does it cost when labels reach the trainer late?"""

from __future__ import annotations

import numpy as np

from agents.studies.doubles import DelayedLearn, made_of
from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import Series, mean, smooth
from agents.studies.result import Cell, Chart, Finding, StudyResult, Table, line, number
from agents.studies.track import Runner

DELAYS = (0, 5, 20)
"""Labelled sweeps; at 10 Hz 0, half a second and two seconds on top of the horizon itself."""


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return len(DELAYS) * options.count


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay with labels delayed on their way to the trainer; gate and guard see outcomes at once."""
    losses: dict[int, list[Series]] = {}
    for delay in DELAYS:
        learn = made_of(DelayedLearn, delay=delay)
        losses[delay] = [
            runner.run(log, f"labels {delay} sweeps late", options.scored_from, learn=learn).losses()
            for log in locations(options)
        ]
    means = {
        delay: float(np.mean([mean(loss, options.begin) for loss in some])) for delay, some in losses.items()
    }
    rows: list[tuple[Cell, ...]] = [
        (delay, number(value), number(value / means[0] - 1)) for delay, value in means.items()
    ]
    worst = max(DELAYS)
    return StudyResult(
        study="delay",
        title="Label delay",
        question="What does it cost when labels reach the trainer late?",
        method=(
            "Labels wait for so many labelled sweeps on their way to the trainer, beyond the horizon at "
            "which they are revealed. All else is as in a replay; gate and guard see outcomes at once. "
            f"Scores are of the sweeps from {options.begin} on."
        ),
        logs=tuple(runner.logs),
        findings=(
            Finding(text=f"Labels {worst} sweeps late cost {means[worst] / means[0] - 1:+.1%} of log loss."),
        ),
        tables=(
            Table(
                title="Log loss by delay",
                columns=("sweeps late", "log loss", "relative to none"),
                rows=tuple(rows),
                note="Nats a cell, mean over drives.",
            ),
        ),
        charts=(
            Chart(
                title="Log loss by sweep, mean of ten",
                x_title="sweep",
                y_title="log loss (nats a cell)",
                lines=tuple(line(f"{delay} late", smooth(some[0])) for delay, some in losses.items()),
            ),
        ),
    )
