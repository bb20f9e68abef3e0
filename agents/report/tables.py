"""The report's tables, as rows of text for the template."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from agents.report.curves import by_horizon
from agents.report.figure import ordered, style
from agents.report.source import RunEvent, RunFolder, section
from agents.report.timeline import Lineage
from agents.report.wording import MINUS, NONE, number, whole
from models.scores.histogram import ScoreHistogram

COLUMNS = (
    ("average_precision", "AP", 1), ("average_precision_per_sweep", "AP by sweep", 1),
    ("log_loss", "log loss", -1),
    ("brier", "Brier", -1), ("brier_reliability", "reliability", -1), ("brier_resolution", "resolution", 1),
    ("ece", "ECE", -1), ("freed_average_precision", "freed AP", 1),
    ("appeared_average_precision", "appeared AP", 1),
)  # fmt: skip
"""Key, heading and direction (1: higher is better) of the score table."""
_DIGEST = re.compile("[0-9a-f]{64}")
MAX_EVENTS = 300
MAX_MODELS = 500
DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One name: its colour token, its scores as (text, is best) and its number of outcomes."""

    name: str
    colour: str
    cells: list[tuple[str, bool]]
    n: str


def with_parts(summary: dict[str, Any], primary_ns: int) -> dict[str, Any]:
    """Scores at the primary horizon, with the parts of the Brier score beside it."""
    parts = section(section(summary, "brier_parts"), str(primary_ns))
    return {
        name: {**row, **{f"brier_{key}": value for key, value in section(parts, name).items()}}
        for name in section(summary, "scores")
        for row in [section(section(summary, "scores"), name)]
    }


def score_rows(scores: dict[str, Any]) -> list[ScoreRow]:
    """One row a name; equal best values at the shown digits are all marked."""
    names = ordered(scores)
    table = [[number(section(scores, name).get(key)) for key, _, _ in COLUMNS] for name in names]
    best = [_best([row[i] for row in table], COLUMNS[i][2]) for i in range(len(COLUMNS))]
    return [
        ScoreRow(
            name, style(name, names)[0].lstrip("@"),
            [(text, text == best[i]) for i, text in enumerate(row)], whole(section(scores, name).get("n")),
        )
        for name, row in zip(names, table, strict=True)
    ]  # fmt: skip


def _best(texts: list[str], direction: int) -> str | None:
    given = [text for text in texts if text != NONE]
    if len(given) < 2:
        return None
    return max(given, key=lambda text: direction * float(text.replace(MINUS, "-")))


def horizon_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Horizon, name, average precision, log loss, Brier, ECE, n."""
    keys = ("average_precision", "log_loss", "brier", "ece")
    scores = by_horizon(summary)
    return [
        [f"{horizon / 1e9:g} s", name, *(number(row.get(key)) for key in keys), whole(row.get("n"))]
        for name in ordered(scores)
        for horizon, row in sorted(scores[name].items())
    ]


def range_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Band of range, name, average precision, log loss, Brier, ECE, n."""
    keys = ("average_precision", "log_loss", "brier", "ece")
    bands = section(summary, "scores_by_range")
    return [
        [f"{band} m", name, *(number(row.get(key)) for key in keys), whole(row.get("n"))]
        for band in bands
        for name in ordered(section(bands, band))
        for row in [section(section(bands, band), name)]
    ]


def late_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Name, then average precision and log loss of the whole run, of the last sweeps, and fading."""
    views = [section(summary, "scores")]
    views += [section(section(summary, f"scores_{name}"), "scores") for name in ("windowed", "fading")]
    if not all(views):
        return []
    keys = ("average_precision", "log_loss")
    return [
        [name, *(number(section(view, name).get(key)) for key in keys for view in views)]
        for name in ordered(views[0])
    ]


def event_rows(run: RunFolder, *names: str) -> list[tuple[str, str, str, str]]:
    """Time, event, model and the remaining fields as text, in order of time.

    names : only these events; all when empty. At most MAX_EVENTS of each, so that the many hide no rare one
    """
    rows = []
    shown: Counter[str] = Counter()
    first_ns = int(run.stamp_ns[0]) if len(run.stamp_ns) else 0
    for event in sorted(run.events, key=lambda event: event.seconds):
        if (names and event.name not in names) or shown[event.name] == MAX_EVENTS:
            continue
        shown[event.name] += 1
        rest = {key: value for key, value in event.fields.items() if key != "model_id"}
        text = ", ".join(_field(key, value, first_ns) for key, value in rest.items())
        time = f"{event.seconds:.2f}" if event.stamp_ns else NONE
        rows.append((time, event.name, str(event.fields.get("model_id", "")), text))
    return rows


def _field(key: str, value: Any, first_ns: int) -> str:
    """A field as a reader wants it: stamps as time in the run, floats short."""
    if key.endswith("stamp_ns") and str(value).isdigit() and first_ns:
        return f"{key.removesuffix('_ns')} {(int(value) - first_ns) / 1e9:.2f} s"
    if isinstance(value, float):
        return f"{key} {value:.5g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{key} {text[:12]}\u2026" if _DIGEST.fullmatch(text) else f"{key} {text}"


def drift_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Level, values watched, alarms by detector and dummy, below a row of headings; empty without any."""
    levels = section(section(summary, "drift"), "by_level")
    rows = [section(levels, name) for name in levels]
    if not rows:
        return []
    columns = list(rows[0])
    return [["level", *columns]] + [
        [name, *(whole(row.get(column)) for column in columns)]
        for name, row in zip(levels, rows, strict=True)
    ]


def event_counts(events: list[RunEvent]) -> list[tuple[str, int]]:
    """Number of events by name, most first."""
    return Counter(event.name for event in events).most_common()


def model_rows(models: list[Lineage]) -> list[list[str]]:
    """Time, model, kind, parent, state, sweeps, loss, steps, examples; at most MAX_MODELS."""
    return [
        [f"{m.seconds:.2f}", m.model_id, m.kind, m.parent_id or NONE, m.state, whole(m.sweeps),
         number(m.loss), whole(m.steps), whole(m.examples)]
        for m in models[:MAX_MODELS]
    ]  # fmt: skip


def digest_rows(run: RunFolder) -> list[tuple[str, str]]:
    """What identifies the run and proves that its features can be rebuilt."""
    rebuild = section(run.summary, "rebuild")
    checked, identical = rebuild.get("checked"), rebuild.get("identical")
    proof = NONE if not checked else f"{whole(identical)} of {whole(checked)} checked cells identical"
    rows = [
        ("run digest", str(run.summary.get("run_digest") or NONE)),
        ("features rebuilt from records", proof),
    ]
    counted = [key for key in ("feature_skew", "outcomes_missed", "duplicates") if key in run.summary]
    rows += [(key.replace("_", " "), _counts(run.summary[key])) for key in counted]
    if run.prediction_id:
        rows += [("last prediction", run.prediction_id[-1]),
                 ("its feature digest", run.feature_digest[-1] or NONE),
                 ("its state digest", run.state_digest[-1] or NONE)]  # fmt: skip
    return rows


def _counts(value: Any) -> str:
    """A count, or counts by horizon in nanoseconds."""
    if isinstance(value, dict):
        return ", ".join(
            f"{whole(n)} at {int(key) / 1e9:g} s" for key, n in value.items() if str(key).isdigit()
        )
    return whole(value)


def recomputed(summary: dict[str, Any], scores: dict[str, ScoreHistogram]) -> str:
    """One sentence on whether the stored rows give the scores that the summary states."""
    stated = section(summary, "scores")
    worst, name, compared = 0.0, "", 0
    for other, histogram in scores.items():
        row = section(stated, other)
        for key, value in (
            ("average_precision", histogram.average_precision()),
            ("log_loss", histogram.log_loss()),
        ):
            if value is None or not isinstance(row.get(key), int | float):
                continue
            compared += 1
            if abs(value - row[key]) > worst:
                worst, name = abs(value - row[key]), f"{key.replace('_', ' ')} of {other}"
    if not compared:
        return ""
    if worst <= 1e-6:
        return (
            f"Recomputed from predictions, outcomes and shadows for this page: all {compared} values agree."
        )
    return (f"Recomputed from predictions, outcomes and shadows for this page, the values differ from "
            f"summary.json by up to {worst:.2g} ({name}).")  # fmt: skip
