"""What the command line shows: tables and progress for people, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table
from rich.text import Text

from stream.config_triggers import DUMMIES
from stream.progress import Progress as Told

if TYPE_CHECKING:
    from agents.advice import Finding
    from agents.doctor import Diagnosis
    from agents.measures import Spread
    from stream.sources.base import SourceInfo

SCORES = {
    "average_precision": "AP",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "freed_average_precision": "freed AP",
    "appeared_average_precision": "appeared AP",
}
PREDICTORS = ("persistence", "frequency", "linear", "frozen", "online")
LEVELS = {"problem": "bold red", "warning": "yellow", "note": "cyan"}

PIPE_WIDTH = 120
"""Columns where nobody's window sets them: nothing is cut off in a file or a pipe."""

CRS_WIDTH = 90
"""Characters that name a coordinate system; its definition in WKT goes on for a page."""


class _Rate(ProgressColumn):
    """Units a second since the start."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {task.fields['unit']}/s" if task.speed else "", style="cyan")


@contextmanager
def progress_bar(title: str, unit: str = "sweeps") -> Iterator[Told]:
    """A bar on stderr with count, rate and time left; silent where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        Remaining(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=None, note="", unit=unit)

        def update(done: int, total: int | None, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=escape(note))

        yield update


def show(*parts: RenderableType) -> None:
    """Print tables and marked-up lines to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def grid(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, escape(value))
    return table


def log_rows(info: SourceInfo) -> list[tuple[str, str]]:
    """What ``SourceInfo`` says, as names and values."""
    rows = [("log", info.location), ("format", info.format)]
    rows.append(("sweeps", "unknown until read" if info.sweeps is None else f"{info.sweeps:,}"))
    if info.start_ns is not None and info.end_ns is not None:
        rows.append(("duration", f"{(info.end_ns - info.start_ns) / 1e9:.2f} s"))
    topics = sorted(info.topics.items())
    rows += _block("topics", [f"{topic}  {kind}  {count:,}" for topic, (kind, count) in topics])
    rows.append(("sensor frames", ", ".join(info.sensor_frames) or "none"))
    rows.append(("root frame", info.root_frame or "none: no transforms"))
    if info.odometry is not None:
        rows.append(("poses", f"odometry, by {info.odometry}"))
    if info.origin is not None:
        x, y, z = info.origin
        rows.append(("origin", f"the map's zero is {x:,.0f} {y:,.0f} {z:,.0f} of the log"))
    if info.crs is not None:
        rows.append(("coordinates", _cut(info.crs)))
    return rows


def _cut(text: str) -> str:
    return text if len(text) <= CRS_WIDTH else f"{text[:CRS_WIDTH]}…"


def diagnosis_rows(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """The measurements of a dry run, as names and values."""
    rows = [("map frame", diagnosis.map_frame or "none")]
    rows += _block("transforms", _edges(diagnosis))
    rows += _block("streams", [f"{name}  {count:,} sweeps" for name, count in diagnosis.streams.items()])
    rows.append(("would predict", f"{diagnosis.predicted:,} of {diagnosis.sweeps:,} sweeps"))
    rejected = [f"{item.stamp_ns}  {item.reason}: {item.detail}" for item in diagnosis.rejections]
    rest = sum(diagnosis.rejected.values()) - len(rejected)
    rows += _block("would reject", rejected + ([f"and {rest:,} more"] if rest else []))
    return rows + _signals(diagnosis) + _cost(diagnosis)


def _block(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(name if not index else "", line) for index, line in enumerate(lines)]


def _edges(diagnosis: Diagnosis) -> list[str]:
    lines = []
    for edge in diagnosis.edges:
        span = (edge.last_ns - edge.first_ns) / 1e9
        rate = f" at {(edge.count - 1) / span:.0f} Hz" if span > 0 and edge.count > 1 else ""
        kind = "static" if edge.static else f"{edge.count:,}{rate}"
        lines.append(f"{edge.parent} to {edge.child}  {kind}")
    return lines


def _signals(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    rows = []
    if diagnosis.period is not None:
        period = diagnosis.period
        rows.append(
            (
                "period",
                f"{period.median_ns / 1e6:.1f} ms, jitter {period.jitter_ns / 1e6:.1f} ms (95 %), "
                f"{period.gaps} gaps, {period.backward} backward, {period.repeated} repeated",
            )
        )
    if diagnosis.sizes is not None:
        rows.append(("points a sweep", spread_text(diagnosis.sizes)))
    if diagnosis.misses or diagnosis.masked:
        rows.append(("rays without return", f"{diagnosis.misses:,} of {diagnosis.rays:,} rays"))
        rows.append(("masked", f"{diagnosis.masked:,} points and rays without return"))
    if diagnosis.points is not None:
        points = diagnosis.points
        rows.append(
            (
                "points",
                f"{points.in_range:.1%} in range, {points.nearer:.1%} nearer, {points.farther:.1%} farther, "
                f"{points.not_finite:.1%} not finite",
            )
        )
        if points.intensity is not None:
            rows.append(("intensity", f"{points.intensity[0]:.3g} to {points.intensity[1]:.3g}"))
    for name, cells in (
        ("cells hit", diagnosis.cells_hit),
        ("cells in window", diagnosis.cells_window),
        ("cells tested", diagnosis.cells_tested),
    ):
        if cells is not None:
            rows.append((name, spread_text(cells)))
    return rows


def _cost(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    if not diagnosis.stage_ms:
        return []
    total = sum(diagnosis.stage_ms.values())
    stages = ", ".join(f"{name} {value:.1f}" for name, value in diagnosis.stage_ms.items())
    return _block("cost a sweep", [f"{total:.0f} ms on this machine, learning not included", f"ms: {stages}"])


def spread_text(spread: Spread) -> str:
    """``median (least to most)``."""
    return f"{spread.median:,.0f} ({spread.least:,.0f} to {spread.most:,.0f})"


def findings_text(findings: Sequence[Finding]) -> list[str]:
    """One marked-up line a finding."""
    lines = []
    for finding in findings:
        style = LEVELS[finding.level]
        way_out = f" [dim]→ {escape(' '.join(finding.flags))}[/dim]" if finding.flags else ""
        lines.append(f"[{style}]{finding.level:>7}[/{style}]  {escape(finding.text)}{way_out}")
    return lines


def command_text(command: str) -> str:
    """A command to copy, on a line of its own."""
    return f"\nreplay it:\n  {escape(command)}"


def scores(summary: Mapping[str, Any]) -> RenderableType:
    """Scores of every predictor at the primary horizon, or a line that says why there are none."""
    found: Mapping[str, Mapping[str, float | None]] = summary["scores"]
    if any(values.get("n") for values in found.values()):
        return _score_table(found)
    return (
        f"nothing to score: {summary['sweeps']:,} sweeps, and scores begin after a warm-up of "
        f"{summary['warmup_sweeps']} (--set task.warmup_sweeps=N)"
    )


def _score_table(scores: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = Table(title="scores on what later sweeps revealed", title_justify="left", title_style="bold")
    table.add_column("predictor")
    for title in SCORES.values():
        table.add_column(title, justify="right")
    names = [name for name in PREDICTORS if name in scores] + sorted(set(scores) - set(PREDICTORS))
    best = {key: _best(key, [scores[name].get(key) for name in names]) for key in SCORES}
    for name in names:
        cells = [_score(scores[name].get(key), best[key]) for key in SCORES]
        table.add_row(f"[bold]{name}[/bold]" if name == "online" else name, *cells)
    return table


def _best(key: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if key.endswith("average_precision") else min(known)


def _score(value: float | None, best: float | None) -> str:
    if value is None:
        return "[dim]-[/dim]"
    return f"[green]{value:.3f}[/green]" if value == best else f"{value:.3f}"


def run_lines(summary: Mapping[str, Any], report: Path) -> list[str]:
    """A run in a few lines: what was read, what was learned, where the report is."""
    letters: Mapping[str, int] = summary["dead_letters"]
    rejected = ", ".join(f"{count} {reason}" for reason, count in letters.items()) or "none"
    models: Mapping[str, int] = summary["models"]
    lines = [
        f"{summary['sweeps']:,} sweeps, {summary['points']:,} points, rejected: {rejected}",
        "models: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in models.items()),
    ]
    total = summary["latency_ms"]["total"]
    if total["p50"] is not None:
        lines.append(f"latency: {total['p50']:.0f} ms a sweep (median), {total['p99']:.0f} ms (99 %)")
    spent = summary.get("learning_ms", {})
    if spent.get("budget") and spent["p50"] is not None:
        lines.append(
            f"paced: learning took {spent['p50']:.0f} ms a sweep (median), {spent['p99']:.0f} ms (99 %), "
            f"of a budget of {spent['budget']:g} ms"
        )
    if alarms := _alarms(summary.get("drift", {})):
        lines.append(alarms)
    comparison = _comparison(summary["scores"])
    if comparison:
        lines.append(comparison)
    return [*lines, f"report: {escape(str(report))}"]


def _alarms(drift: Mapping[str, Any]) -> str:
    """Drift alarms by detector, and how many values were watched; dummies are for comparison elsewhere."""
    names = [name for name in drift if name not in ("values", "by_level", *DUMMIES)]
    if not names:
        return ""
    counts = ", ".join(f"{drift[name]:,} by {escape(name)}" for name in names)
    return f"drift alarms: {counts}, of {drift['values']:,} values"


def _comparison(scores: Mapping[str, Mapping[str, float | None]]) -> str:
    online = scores.get("online", {}).get("average_precision")
    rivals = {
        name: value
        for name in ("persistence", "frequency", "linear")
        if (value := scores.get(name, {}).get("average_precision")) is not None
    }
    if online is None or not rivals:
        return ""
    name = max(rivals, key=lambda rival: rivals[rival])
    return f"online {online:.3f} AP, best baseline {name} {rivals[name]:.3f} ({online - rivals[name]:+.3f})"
