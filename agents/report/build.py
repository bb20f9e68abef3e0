"""From a run folder to ``report.html``: one pass over the stored rows, then one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.report import curves, space, tables, timeline, wording
from agents.report.figure import Figure
from agents.report.html import HERE, write_page
from agents.report.path import ego_path
from agents.report.scored import scored_sweeps
from agents.report.source import RunFolder, read_run, section
from agents.report.tally import RunTally

WORST = 12


def build_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run and return its path.

    run_dir : a run folder; nothing else is read
    out : the file to write, default ``report.html`` in the run folder; replaced in one step
    Raises ReportError where ``run_dir`` is not a run folder. What a run lacks is said in the report.
    The same folder gives the same bytes. Memory does not grow with the number of rows.
    """
    run = read_run(Path(run_dir))
    missing = list(run.missing)
    tally = _tally(run, missing)
    ego = ego_path(run.path)
    models = timeline.lineage(run)
    found = space.regions(tally, run.half_edge_m)
    target = Path(out) if out is not None else Path(run_dir) / "report.html"
    write_page(
        target,
        HERE / "page.html.j2",
        _figures(run, tally, models, found, ego),
        _context(run, tally, models, found, missing),
    )
    return target


def _tally(run: RunFolder, missing: list[str]) -> RunTally:
    tally = RunTally(run.region_levels)
    place: dict[str, int] = {}
    number = []
    for stream in run.stream_id:  # the warm-up counts sweeps of a stream, not of the run
        number.append(place.setdefault(stream, 0))
        place[stream] += 1
    for sweep in scored_sweeps(run, missing):
        try:
            tally.add(sweep, counts=number[sweep.index] >= run.warmup)
        except ValueError as error:
            missing.append(f"sweep {sweep.index}: its rows cannot be scored: {error}.")
    return tally


def _context(run: RunFolder, tally: RunTally, models: list[timeline.Lineage], found: list[space.Region],
             missing: list[str]) -> dict[str, Any]:  # fmt: skip
    return {
        "title": wording.log_name(run),
        "verdict": wording.verdict(run, tally.curves), "facts": wording.facts(run),
        "streams": sorted(set(filter(None, run.stream_id))), "folder": run.path.resolve().name,
        "grid": section(run.summary, "grid"), "half_edge_m": run.half_edge_m,
        "primary_s": run.primary_ns / 1e9,
        "missing": missing, "warmup": run.warmup,
        "damage": [event.fields for event in run.events if event.name == "damage"],
        "columns": tables.COLUMNS,
        "scores": tables.score_rows(tables.with_parts(run.summary, run.primary_ns)),
        "recomputed": tables.recomputed(run.summary, tally.scores),
        "ranges": tables.range_rows(run.summary), "late": tables.late_rows(run.summary),
        "window": section(run.summary, "scores_windowed").get("sweeps"),
        "half_life": section(run.summary, "scores_fading").get("half_life_sweeps"),
        "horizons": tables.horizon_rows(run.summary), "regions": found[:WORST], "region_count": len(found),
        "region_width_m": run.half_edge_m * 2.0 ** (run.region_levels + 1), "kept": tally.cells.kept,
        "latency": section(run.summary, "latency_ms"), "period_ms": wording.period_ms(run),
        "models": tables.model_rows(models), "model_total": len(models),
        "model_counts": section(run.summary, "models"),
        "event_counts": tables.event_counts(run.events), "events": tables.event_rows(run),
        "event_total": len(run.events), "dead_letters": sorted(section(run.summary, "dead_letters").items()),
        "drift": tables.event_rows(run, "drift"), "drift_counts": tables.drift_rows(run.summary),
        "digests": tables.digest_rows(run),
        "config": run.config_text,
    }  # fmt: skip


def _figures(run: RunFolder, tally: RunTally, models: list[timeline.Lineage], found: list[space.Region],
             ego: NDArray[np.float64]) -> dict[str, Figure | None]:  # fmt: skip
    scene = None
    if tally.last is not None:
        scene = space.error_map(tally.last, tally.cells, ego, run.half_edge_m)
    return {
        "curves": curves.score_curves(run, tally.curves),
        "horizon": curves.horizon_chart(run.summary, run.primary_ns),
        "range": curves.range_chart(run.summary),
        "reliability": curves.reliability(tally.scores),
        "scene": scene,
        "regions": space.region_map(found, ego),
        "latency": timeline.latency_bars(run),
        "latency-time": timeline.latency_curves(run),
        "lineage": timeline.lineage_chart(models, run),
    }
