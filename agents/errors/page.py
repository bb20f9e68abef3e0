"""From a run's error map to ``errors.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.care.small_files import ERROR_PAGE
from agents.errors import pictures
from agents.errors.ranking import By, enough, worst
from agents.errors.read import RunErrors
from agents.report import wording
from agents.report.html import write_page
from models.scores.region_errors import RegionErrors
from native.index64 import to_text

TEMPLATE = Path(__file__).parent / "errors.html.j2"
BESIDE = 5
"""Regions in the tables of the other measures."""

TITLES: dict[By, str] = {
    "loss": "loss", "calibration": "calibration", "coverage": "coverage", "drift": "drift"
}  # fmt: skip


def write_errors(errors: RunErrors, count: int, by: By = "loss", out: Path | None = None) -> Path:
    """Write the page and return its path, default ``errors.html`` in the run folder; replaced in one step.

    count : regions in its table and on its map, ranked by ``by``
    The same run gives the same bytes.
    """
    target = out if out is not None else errors.run.path / ERROR_PAGE
    found = worst(errors.table, count, by)
    figures = {
        "map": pictures.top_down(errors, found),
        "against": pictures.against(errors, found),
        "courses": pictures.courses(errors, found),
    }
    write_page(target, TEMPLATE, figures, _context(errors, found, by))
    return target


def _context(errors: RunErrors, found: list[RegionErrors], by: By) -> dict[str, Any]:
    table, run = errors.table, errors.run
    return {
        "title": wording.log_name(run), "folder": run.path.resolve().name, "by": TITLES[by],
        "facts": facts(errors), "horizon_s": table.horizon_ns / 1e9, "warmup": run.warmup,
        "missing": [*run.missing, *(f"{name} is cut off and was left out." for name in errors.damaged)],
        "region_width_m": 2 * table.half_edge_m, "pixel_m": table.pixels.side_m,
        "enough": round(enough(table)), "lines": len(pictures.LINES), "gap": pictures.GAP,
        "alarms": sum(errors.alarms.values()),
        "worst": [region_row(errors, region, rank) for rank, region in enumerate(found, 1)],
        "top_share": max((share(errors, region) for region in found), default=1.0) or 1.0,
        "beside": [
            (TITLES[other], [region_row(errors, region, rank) for rank, region in
                             enumerate(worst(table, BESIDE, other), 1)])
            for other in TITLES if other != by
        ],
    }  # fmt: skip


def summed(errors: RunErrors) -> tuple[float, float, int, int]:
    """Loss and expected loss of all regions, nats; forecasts with an outcome, and all that were due."""
    found = [region for region in errors.table.regions if region.observed]
    loss = sum((region.loss or 0.0) * region.observed for region in found)
    expected = sum((region.tally.entropy() or 0.0) * region.observed for region in found)
    return loss, expected, sum(r.observed for r in found), sum(r.due for r in errors.table.regions)


def share(errors: RunErrors, region: RegionErrors) -> float:
    """The region's share of the summed loss, 0..1."""
    return (region.loss or 0.0) * region.observed / (summed(errors)[0] or 1.0)


def facts(errors: RunErrors) -> list[tuple[str, str, str]]:
    """Tiles under the headline: label, figure, and a line that explains it."""
    loss, expected, observed, due = summed(errors)
    table = errors.table
    mean, hoped = (loss / observed, expected / observed) if observed else (None, None)
    return [
        ("regions", wording.whole(len(table.regions)), f"about {2 * table.half_edge_m:.1f} m wide"),
        ("sweeps judged", wording.whole(len(table.stamp_ns)),
         f"{wording.whole(table.unjudged)} more have no outcome and count nowhere"),
        ("outcomes", wording.rounded(observed), f"of {wording.rounded(due)} forecasts of these sweeps"),
        ("coverage", f"{observed / due:.0%}" if due else wording.NONE, "of forecasts have an outcome"),
        ("log loss", wording.number(mean, 3), f"the forecasts expected {wording.number(hoped, 3)}"),
        ("drift alarms", wording.whole(sum(errors.alarms.values())), "that name a region"),
    ]  # fmt: skip


def region_row(errors: RunErrors, region: RegionErrors, rank: int) -> dict[str, Any]:
    """One region as the page and the terminal show it: values, None where nothing supports one."""
    return {
        "rank": rank, "text": to_text(region.region), "x": region.x, "y": region.y, "z": region.z,
        "outcomes": region.observed, "sweeps": region.sweeps, "coverage": region.coverage,
        "loss": region.loss, "expected": region.tally.entropy(), "share": share(errors, region),
        "forecast": region.forecast, "occupied": region.occupied, "gap": region.gap,
        "ece": region.tally.ece(), "drift": region.drift, "alarms": errors.alarms[region.region],
    }  # fmt: skip
