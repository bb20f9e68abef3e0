"""What the report says in words: the verdict, the facts, numbers in a reader's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.report.figure import ordered
from agents.report.scored import ONLINE
from agents.report.source import RunFolder, section
from agents.report.tally import Curve

LEVEL_AP = 0.001
LEVEL_LOSS = 0.002
"""Smaller differences are noise between runs on one drive and are called level."""

NONE = "\u2013"
MINUS = "\u2212"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The headline. ``tone`` is ``good``, ``mixed``, ``bad`` or ``none``; it colours a mark, no more."""

    tone: str
    title: str
    detail: str


def number(value: Any, digits: int = 4) -> str:
    """A score at fixed digits; a dash where there is none."""
    return NONE if not _given(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def whole(value: Any) -> str:
    """A count with thin spaces between thousands; a dash where there is none."""
    return NONE if not _given(value) else f"{int(value):,}".replace(",", "\u2009")


def rounded(value: Any) -> str:
    """A large count in millions or thousands."""
    if not _given(value):
        return NONE
    for scale, unit in ((1e9, "\u202fG"), (1e6, "\u202fM"), (1e4, "\u202fk")):
        if abs(value) >= scale:
            return f"{value / (1e3 if scale == 1e4 else scale):.3g}{unit}"
    return whole(value)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """A time span in the unit a reader would use."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _given(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def verdict(run: RunFolder, curves: dict[str, Curve]) -> Verdict:
    """Online against the best other name, without flattery."""
    scores = section(run.summary, "scores")
    ours = section(scores, ONLINE)
    if not _given(ours.get("average_precision")):
        return Verdict(tone="none", title="Nothing was scored", detail=_why_unscored(run))
    rivals = {name: section(scores, name) for name in ordered(scores) if name != ONLINE}
    rivals = {name: row for name, row in rivals.items() if _given(row.get("average_precision"))}
    if not rivals:
        own = f"average precision {number(ours['average_precision'], 3)}"
        return Verdict(tone="none", title="Scored, but with nothing to compare to",
                       detail=f"The served model reached {own}; no baseline has a score.")  # fmt: skip
    return _compared(run, curves, ours, rivals)


def _compared(run: RunFolder, curves: dict[str, Curve], ours: dict[str, Any],
              rivals: dict[str, dict[str, Any]]) -> Verdict:  # fmt: skip
    best = max(rivals, key=lambda name: rivals[name]["average_precision"])
    with_loss = [name for name in rivals if _given(rivals[name].get("log_loss"))]
    lowest = min(with_loss, key=lambda name: rivals[name]["log_loss"], default=best)
    gain = ours["average_precision"] - rivals[best]["average_precision"]
    parts = [
        f"Average precision {number(ours['average_precision'], 3)} online, "
        f"{number(rivals[best]['average_precision'], 3)} {best} ({signed(gain)})"
    ]
    saved = 0.0
    if with_loss and _given(ours.get("log_loss")):
        saved = rivals[lowest]["log_loss"] - ours["log_loss"]
        parts.append(f"log loss {number(ours['log_loss'], 3)} online, "
                     f"{number(rivals[lowest]['log_loss'], 3)} {lowest} ({signed(-saved)})")  # fmt: skip
    tone, title = _title(gain, saved, best, lowest)
    if not run.learned & set(run.model_id):
        tone, title = "none", "No learned model served: online is the built-in model"
    return Verdict(tone=tone, title=title, detail="; ".join(parts) + "." + _wins(run, curves, best))


def _title(gain: float, saved: float, best: str, lowest: str) -> tuple[str, str]:
    ahead, behind = (gain > LEVEL_AP, saved > LEVEL_LOSS), (gain < -LEVEL_AP, saved < -LEVEL_LOSS)
    if all(ahead):
        return "good", "Online learning beat every baseline"
    if any(ahead) and not any(behind):
        metric, other = ("average precision", "log loss") if ahead[0] else ("log loss", "average precision")
        return "good", f"Online learning led on {metric} and was level on {other}"
    if any(ahead):
        metric, name = ("log loss", best) if ahead[1] else ("average precision", lowest)
        return "mixed", f"Mixed: online learning led on {metric} but lost to {name} on the other score"
    if not any(behind):
        return "mixed", f"Online learning was level with {best}: no gain beyond noise"
    return "bad", f"Online learning did not beat {best if behind[0] else lowest}"


def _wins(run: RunFolder, curves: dict[str, Curve], rival: str) -> str:
    if ONLINE not in curves or rival not in curves:
        return ""
    ours, theirs = (
        dict(zip(curves[n].index, curves[n].average_precision, strict=True)) for n in (ONLINE, rival)
    )
    both = [index for index in ours if index in theirs and index >= run.warmup]
    wins = sum(ours[index] > theirs[index] for index in both)
    return (
        f" Against {rival}, online had the higher average precision in {wins} of {len(both)} scored sweeps."
    )


def _why_unscored(run: RunFolder) -> str:
    sweeps = len(run.stamp_ns)
    if not run.summary:
        return "summary.json is missing, so the run has not finished or was cut off."
    if sweeps <= run.warmup:
        return (f"The run has {sweeps} sweep{'s' * (sweeps != 1)} and the first {run.warmup} are warm-up: "
                "replay a longer log, or lower task.warmup_sweeps.")  # fmt: skip
    horizon = run.primary_ns / 1e9
    return f"No forecast after the warm-up met a sweep {horizon:g} s later that observed its cells."


def log_name(run: RunFolder) -> str:
    """The log that was replayed, as the configuration names it, else the streams."""
    for key in ("logs", "log", "inputs", "source", "sources"):
        found = run.config.get(key) or section(run.config, "run").get(key)
        if isinstance(found, str):
            found = [found]
        if isinstance(found, list) and found:
            return ", ".join(str(part).rstrip("/").rsplit("/", 1)[-1] for part in found)
    return ", ".join(sorted(set(filter(None, run.stream_id)))) or run.path.name


def facts(run: RunFolder) -> list[tuple[str, str, str]]:
    """Tiles under the headline: label, figure, and a line that explains it."""
    summary = run.summary
    sweeps = summary.get("sweeps", len(run.stamp_ns))
    scored = max(0, len(run.stamp_ns) - run.warmup)
    span = float(run.seconds[-1]) if len(run.seconds) else 0.0
    due, observed = summary.get("cells_due"), summary.get("cells_observed")
    per_sweep = run.cells.mean() if len(run.cells) else None
    share = f"{observed / due:.0%}" if due and _given(observed) else NONE
    trained = whole(section(summary, "models").get("trained"))
    return [
        ("sweeps", whole(sweeps), f"over {duration(span)}, {scored} after warm-up"),
        ("points", rounded(summary.get("points")), "LiDAR returns in"),
        ("cells a sweep", rounded(per_sweep), f"{rounded(due)} met a later sweep"),
        ("observed later", share, f"at {run.primary_ns / 1e9:g} s; the rest has no outcome"),
        ("models served", whole(len(run.learned & set(run.model_id))), f"learned; {trained} trained"),
        _latency_fact(run),
        ("dead letters", whole(sum(section(summary, "dead_letters").values())), "sweeps rejected"),
    ]  # fmt: skip


def period_ms(run: RunFolder) -> float | None:
    """Median time between sweeps of one stream, milliseconds."""
    if len(set(run.stream_id)) != 1 or len(run.stamp_ns) < 2:
        return None
    return float(np.median(np.diff(run.stamp_ns)) / 1e6)


def _latency_fact(run: RunFolder) -> tuple[str, str, str]:
    total = section(section(run.summary, "latency_ms"), "total")
    middle, high, period = total.get("p50"), total.get("p99"), period_ms(run)
    text = NONE if not _given(middle) else f"{middle:.1f}\u202fms"
    rest = f"median; p99 {high:.1f} ms" if _given(high) else "median"
    return "latency", text, rest + (f", period {period:.0f} ms" if period else "")
