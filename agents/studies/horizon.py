"""How far ahead is a forecast worth something, and does a network of its own for each horizon help?"""

from __future__ import annotations

from typing import Any

from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import smooth
from agents.studies.result import Cell, Chart, Finding, Line, StudyResult, Table, line, number
from agents.studies.track import Runner, Track

HORIZONS_NS = (200_000_000, 500_000_000, 1_000_000_000)
"""Those of the shipped prior, so that all begin there."""

NAMES = ("persistence", "frequency", "linear", "frozen", "online")


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return len(HORIZONS_NS) * options.count


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay with each horizon as the primary one, on which training puts the most weight."""
    tracks: dict[int, list[Track]] = {}
    for horizon in HORIZONS_NS:
        tracks[horizon] = [
            runner.run(
                log, f"{horizon / 1e9:g} s ahead", options.scored_from,
                f"task.primary_horizon_ns={horizon}", *_prior(options),
            )
            for log in locations(options)
        ]  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for horizon, some in tracks.items():
        for name in NAMES:
            scores = [track.summary["scores"][name] for track in some]
            rows.append(
                (f"{horizon / 1e9:g} s", name, _mean(scores, "log_loss"), _mean(scores, "average_precision"))
            )
    return StudyResult(
        study="horizon",
        title="Horizons",
        question="How far ahead is a forecast worth something beside simple rules?",
        method=(
            "Each horizon in turn is the primary one, on which training puts the most weight and at which "
            f"baselines are scored. Scores are of the sweeps from {options.begin} on. The feature schema "
            "names the primary horizon, so every network begins from random weights."
        ),
        logs=tuple(runner.logs),
        findings=tuple(_findings(tracks)),
        tables=(
            Table(
                title="Scores by primary horizon",
                columns=("horizon", "predictor", "log loss", "average precision"),
                rows=tuple(rows),
                note="Mean over drives.",
            ),
        ),
        charts=(_chart(tracks),),
    )


def _prior(options: StudyOptions) -> tuple[str, ...]:
    """A prior is of one primary horizon; what was asked for by the user counts."""
    asked = any(setting.startswith("learn.prior=") for setting in options.settings)
    return () if asked else ("learn.prior=none",)


def _mean(scores: list[dict[str, Any]], key: str) -> float | None:
    values = [score[key] for score in scores if score[key] is not None]
    return number(sum(values) / len(values)) if values else None


def _findings(tracks: dict[int, list[Track]]) -> list[Finding]:
    findings = []
    for horizon, some in tracks.items():
        losses = {
            name: _mean([track.summary["scores"][name] for track in some], "log_loss")
            for name in ("online", "frequency", "linear")
        }
        known = {name: value for name, value in losses.items() if value is not None and name != "online"}
        if losses["online"] is None or not known:
            continue
        best = min(known, key=lambda name: known[name])
        gain = losses["online"] / known[best] - 1
        text = (
            f"{horizon / 1e9:g} s ahead online has {gain:+.1%} log loss against {best}, the best simple rule."
        )
        findings.append(Finding(text=text, holds=gain < 0))
    return findings


def _chart(tracks: dict[int, list[Track]]) -> Chart:
    lines: list[Line] = []
    for horizon, some in tracks.items():
        lines.append(line(f"online {horizon / 1e9:g} s", smooth(some[0].losses())))
        lines.append(line(f"frequency {horizon / 1e9:g} s", smooth(some[0].losses("frequency"))))
    return Chart(
        title="Log loss by sweep, mean of ten", x_title="sweep", y_title="log loss (nats a cell)",
        lines=tuple(lines),
    )  # fmt: skip
