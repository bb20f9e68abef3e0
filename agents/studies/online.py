"""What is learning on the way worth, beside frozen, periodic and oracle networks and simple rules?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.studies.doubles import Capture, CapturedLearn, made_of
from agents.studies.drives import StudyError, StudyOptions, locations
from agents.studies.measure import WINDOW, Series, block_interval, mean, smooth
from agents.studies.oracle import loss_of, oracle_losses
from agents.studies.result import Cell, Chart, Finding, StudyResult, Table, line, number
from agents.studies.track import Runner, Track
from stream.config import Config

RULES = ("persistence", "frequency", "linear", "frozen")
"""Scored in shadow by every replay."""
SEEDS = (0, 1, 2)
"""Of training; tables hold means over them."""
EARLY_SWEEPS, EARLY_EVERY = 5, 5
"""Forgetting is measured on the first sweeps learnt from, with every so-manieth network."""
CONTESTANTS = (*RULES, "periodic", "online", "learner", "oracle")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Contest:
    """One log and one seed: the replay that learnt, and log losses by sweep of all contestants.

    early : of the networks made one after the other, on the first sweeps that were learnt from, float64 (T,)
    """

    online: Track
    losses: Mapping[str, Series]
    early: Series


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return (len(SEEDS) + 1) * options.count


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay each log with every seed, and once retrained now and then; train oracles."""
    found = {
        name: [_contest(log, seed, options, runner) for seed in SEEDS]
        for name, log in _named(locations(options)).items()
    }
    return StudyResult(
        study="online",
        title="Learning on the way",
        question="What is learning on the way worth?",
        method=(
            f"Scores are of the sweeps from {options.begin} on, means over sweeps and {len(SEEDS)} seeds of "
            "training. Online is what was served; learner is the newest network that existed when a sweep "
            "was predicted, whether gate and guard let it serve or not. Frozen is the model that served when "
            f"scores begin. Periodic takes as many steps, every {options.periodic} sweeps (one seed). The "
            f"oracle is the same network, trained for {options.oracle_steps:,} steps on the outcomes that it "
            "is scored on. Intervals hold 95 % of circular block bootstraps over sweeps, blocks of "
            f"{WINDOW}, paired where two are compared; none where there are fewer than two blocks."
        ),
        logs=tuple(runner.logs),
        findings=tuple(_findings(found, options)),
        tables=(
            _loss_table(found, options),
            _precision_table(found, options),
            _against_table(found, options),
            _not_better_table(found),
            _forgetting_table(found),
        ),
        charts=tuple(
            Chart(
                title=f"{log}: log loss, mean of ten sweeps",
                x_title="sweep",
                y_title="log loss (nats a cell)",
                lines=tuple(line(name, smooth(contests[0].losses[name])) for name in CONTESTANTS[1:]),
            )
            for log, contests in found.items()
        ),
    )


def _named(logs: Sequence[str]) -> dict[str, str]:
    """Logs by what tables call them: the last parts of their paths, where these differ."""
    short = {log if log.startswith("sim:") else Path(log).name: log for log in logs}
    return short if len(short) == len(logs) else {log: log for log in logs}


def _contest(log: str, seed: int, options: StudyOptions, runner: Runner) -> Contest:
    settings = (options.scored_from, f"seed={runner.config(log).seed + seed}")
    capture = Capture()
    learn = made_of(CapturedLearn, capture=capture)
    online = runner.run(log, f"online, seed {seed}", *settings, learn=learn)
    if len(online.stamp_ns) <= options.begin:
        raise StudyError(
            f"--begin {options.begin}: {log} has {len(online.stamp_ns)} sweeps, so none would be scored"
        )
    config = runner.config(log, *settings)
    losses = {name: online.losses(name) for name in (*RULES, "online")}
    losses["learner"] = _learner(config, capture, online, options.begin)
    losses["oracle"] = oracle_losses(config, capture, online, options.begin, options.oracle_steps, runner)
    if seed == SEEDS[0]:
        periodic = options.periodic_trigger(config.learn.steps_per_sweep)
        losses["periodic"] = runner.run(log, "periodic", *settings, periodic).losses()
    early = _early(config, capture)
    capture.clear()
    return Contest(online=online, losses=losses, early=early)


def _learner(config: Config, capture: Capture, track: Track, begin: int) -> Series:
    """Log loss by sweep of the newest network there was when each sweep was predicted."""
    losses = np.full(len(track.stamp_ns), np.nan)
    made = [newest for newest, _ in capture.trained]
    for example in capture.examples.values():
        sweep, place = track.sweep_of(example.stamp_ns), int(np.searchsorted(made, example.stamp_ns))
        if sweep >= begin and place > 0:
            losses[sweep] = loss_of(capture.trained[place - 1][1], example, capture, config)
    return losses


def _early(config: Config, capture: Capture) -> Series:
    """Loss of every ``EARLY_EVERY``-th network on the same first sweeps: what rises there is forgotten."""
    first = [example for name, example in capture.examples.items() if name in capture.labels][:EARLY_SWEEPS]
    return np.array([
        mean(np.array([loss_of(model, example, capture, config) for example in first]))
        for _, model in capture.trained[::EARLY_EVERY]
    ])  # fmt: skip


# ---- tables --------------------------------------------------------------------------------------------


def _mean_series(contests: Sequence[Contest], name: str) -> Series:
    """Mean over the seeds that a contestant has, by sweep."""
    series: Series = np.mean([c.losses[name] for c in contests if name in c.losses], axis=0)
    return series


def _precision(contests: Sequence[Contest], name: str) -> Series:
    series: Series = np.mean([c.online.scores[name]["average_precision"] for c in contests], axis=0)
    return series


def _interval(values: Series, digits: int = 4) -> str | None:
    low, high = block_interval(values, seed=0)
    return f"{low:+.{digits}f} to {high:+.{digits}f}" if np.isfinite(low) else None


def _spread(values: Sequence[float]) -> float | None:
    return number(float(np.std(values, ddof=1))) if len(values) > 1 else None


def _loss_table(found: Mapping[str, Sequence[Contest]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for log, contests in found.items():
        for name in CONTESTANTS:
            series = _mean_series(contests, name)[options.begin :]
            seeds = [mean(c.losses[name], options.begin) for c in contests if name in c.losses]
            rows.append((log, name, number(mean(series)), _interval(series), _spread(seeds)))
    return Table(
        title="Log loss",
        columns=("log", "contestant", "log loss", "95 %", "spread over seeds"),
        rows=tuple(rows),
        note="Nats a cell; spread: standard deviation.",
    )


def _precision_table(found: Mapping[str, Sequence[Contest]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for log, contests in found.items():
        for name in (*RULES, "online"):
            series = _precision(contests, name)[options.begin :]
            seeds = [mean(c.online.scores[name]["average_precision"], options.begin) for c in contests]
            score = contests[0].online.summary["scores"][name]
            rows.append((
                log, name, number(mean(series)), _interval(series), _spread(seeds),
                *(number(score[key]) for key in ("brier", "ece", "freed_average_precision",
                                                 "appeared_average_precision")),
            ))  # fmt: skip
    return Table(
        title="Average precision and other scores of what serves and of rules",
        columns=(
            "log",
            "contestant",
            "AP",
            "95 %",
            "spread over seeds",
            "Brier",
            "ECE",
            "freed AP",
            "appeared AP",
        ),
        rows=tuple(rows),
        note="AP is the mean over sweeps; the four on the right are pooled, of the first seed.",
    )


def _against_table(found: Mapping[str, Sequence[Contest]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for log, contests in found.items():
        online = _mean_series(contests, "online")[options.begin :]
        for name in CONTESTANTS:
            if name == "online":
                continue
            more = online - _mean_series(contests, name)[options.begin :]
            known = more[np.isfinite(more)]
            better = float(np.mean(known < 0)) if len(known) else None
            precise: tuple[Cell, ...] = (None, None)
            if name in RULES:
                gain = (_precision(contests, "online") - _precision(contests, name))[options.begin :]
                precise = (number(mean(gain)), _interval(gain))
            rows.append((log, name, number(mean(more)), _interval(more), number(better, 3), *precise))
    return Table(
        title="Online minus the others, sweep by sweep",
        columns=("log", "against", "log loss", "95 %", "sweeps with less", "AP", "95 % of AP"),
        rows=tuple(rows),
        note="Negative log loss and positive AP are better.",
    )


def _not_better_table(found: Mapping[str, Sequence[Contest]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for log, contests in found.items():
        summary = contests[0].online.summary
        parts: dict[str, Mapping[str, Mapping[str, Any]]] = {"all cells": summary["scores"]}
        parts |= {f"{band} m": scores for band, scores in summary["scores_by_range"].items()}
        for part, scores in parts.items():
            rows += [(log, part, *row) for row in _not_better(scores)]
    return Table(
        title="Where online is not better",
        columns=("log", "cells", "metric", "online", "better", "its value"),
        rows=tuple(rows),
        note="By range from the sensor, every metric that is known, pooled, first seed. No row: nowhere.",
    )


def _forgetting_table(found: Mapping[str, Sequence[Contest]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for log, contests in found.items():
        early = np.mean([contest.early for contest in contests], axis=0)
        if np.isfinite(early).any():
            best, last = float(np.nanmin(early)), float(early[-1])
            rows.append((log, number(float(early[0])), number(best), number(last), number(last / best - 1)))
    return Table(
        title=f"Forgetting: log loss on the first {EARLY_SWEEPS} sweeps learnt from",
        columns=("log", "first network", "best network", "last network", "last over best"),
        rows=tuple(rows),
        note=f"Every {EARLY_EVERY}th network, mean over seeds. They were trained on these sweeps: only "
        "a rise says something.",
    )


METRICS = {
    "average_precision": True, "log_loss": False, "brier": False, "ece": False,
    "freed_average_precision": True, "appeared_average_precision": True,
}  # fmt: skip
"""Whether more is better."""


def _not_better(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for metric, more in METRICS.items():
        values = {name: part[metric] for name, part in scores.items() if part.get(metric) is not None}
        own = values.pop("online", None)
        for name, value in values.items():
            if own is not None and (value >= own if more else value <= own):
                rows.append((metric.replace("_", " "), number(own), name, number(value)))
    return rows


def _findings(found: Mapping[str, Sequence[Contest]], options: StudyOptions) -> list[Finding]:
    findings = []
    for log, contests in found.items():
        online = _mean_series(contests, "online")[options.begin :]
        more = online - _mean_series(contests, "frozen")[options.begin :]
        over = online - _mean_series(contests, "oracle")[options.begin :]
        _, high = block_interval(more, seed=0)
        text = (
            f"{log}: online has {mean(more):+.4f} log loss against frozen "
            f"({_interval(more) or 'too few sweeps'}), {mean(over):+.4f} against the oracle."
        )
        findings.append(Finding(text=text, holds=bool(high < 0) if np.isfinite(high) else None))
    return findings
