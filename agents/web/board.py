"""What the live page shows beside cells: scores against the baselines, reliability, models, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.web.news import ModelFacts, is_alarm
from agents.web.world import World
from models.scores.prequential import NAMES
from models.scores.regions import RegionError
from native.errors import OctaError
from native.index64 import decode, to_text
from stream.config import GridConfig

POINTS = 240
"""Of each curve."""
SWEEPS = 20
"""Curves are means over so many sweeps."""
WORST, WORST_ROWS = 12, 200
"""Regions that are listed, each with so many scored rows at least."""
MOST_MODELS = 120
ERRS = "errs"
"""Reason of a region that nobody has asked for, but where the log loss is highest."""
MOST_EVENTS = 500
METRICS = ("average_precision", "log_loss")


class Board:
    """Makes what is shown of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._grid = world.config.grid

    def scores(self) -> dict[str, Any]:
        """Running scores, curves, reliability, the worst regions, models; some 50 ms of work."""
        world = self._world
        summary = world.scoreboard.summary()
        return {
            "kind": "board",
            "scores": summary["scores"],
            "scores_by_horizon": summary["scores_by_horizon"],
            "primary_ns": world.config.task.primary_horizon_ns,
            "outcomes": world.scoreboard.outcomes,
            "curves": curves_of(world.scoreboard.series()),
            "reliability": asdict(world.scoreboard.reliability()),
            "worst": (worst := [self._region(item) for item in world.scoreboard.worst(WORST, WORST_ROWS)]),
            "wanted": self._wanted(worst),
            "models": [_model(facts) for facts in world.news.models()[-MOST_MODELS:]],
            "serving": world.news.serving(),
        }

    def news(self, after: int) -> dict[str, Any]:
        """Events after a number, with the place of the region or cell that they name."""
        events = self._world.news.events(after)[-MOST_EVENTS:]
        return {
            "kind": "news",
            "pass": self._world.passes,
            "after": after,
            "events": [self._event(number, event) for number, event in events],
        }

    def _event(self, number: int, event: dict[str, Any]) -> dict[str, Any]:
        shown = {key: _plain(value) for key, value in event.items()}
        shown |= {"number": number, "alarm": is_alarm(event["event"]), "stamp_ns": str(event["stamp_ns"])}
        for key in ("region", "cell", "cell_id"):
            place = place_of(event.get(key), self._grid)
            if place is not None:
                return shown | {"place": place}
        return shown

    def _wanted(self, worst: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Regions to label: those that were asked for, then those where forecasts err most."""
        asked = [
            {"region": str(region), "name": request.region, "reason": request.reason,
             "value": request.value, "place": place_of(region, self._grid)}
            for region, request in self._world.wanted.list()
        ]  # fmt: skip
        known = {item["region"] for item in asked}
        return asked + [
            {"region": item["region"], "name": item["name"], "reason": ERRS,
             "value": item["log_loss"], "place": item["place"]}
            for item in worst
            if item["region"] not in known
        ]  # fmt: skip

    def _region(self, region: RegionError) -> dict[str, Any]:
        return asdict(region) | {
            "region": str(region.region),
            "name": to_text(region.region),
            "place": place_of(region.region, self._grid),
        }


def place_of(cell: Any, grid: GridConfig) -> dict[str, Any] | None:
    """Centre and radius in metres of a cell that an event names, as a number or digits; None for no cell."""
    try:
        parts = decode(np.array([int(cell)], np.uint64))
    except (TypeError, ValueError, OverflowError, OctaError):
        return None
    half_edge_m = grid.half_edge_lod0_m / 2.0 ** int(parts.lod[0])
    return {"centre": (parts.sites[0] * half_edge_m).tolist(), "radius_m": half_edge_m}


def curves_of(series: Mapping[str, Any]) -> dict[str, Any]:
    """Curves over time: stamps, and by name and metric the mean over the last sweeps; None for no support."""
    stamps: NDArray[np.int64] = series["stamp_ns"]
    rows = np.unique(np.linspace(0, max(len(stamps) - 1, 0), POINTS).astype(np.intp))[: len(stamps)]
    curves: dict[str, Any] = {"stamp_ns": [str(stamps[row]) for row in rows], "names": {}}
    for name in NAMES:
        if not np.isnan(series[name]["log_loss"]).all():
            curves["names"][name] = {
                metric: [_rounded(value) for value in _running_mean(series[name][metric])[rows]]
                for metric in METRICS
            }
    return curves


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each value and those before it, SWEEPS at most, without the NaN among them."""
    known = ~np.isnan(values)
    sums = np.cumsum(np.where(known, values, 0.0))
    counts = np.cumsum(known)
    sums[SWEEPS:], counts[SWEEPS:] = sums[SWEEPS:] - sums[:-SWEEPS], counts[SWEEPS:] - counts[:-SWEEPS]
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _model(facts: ModelFacts) -> dict[str, Any]:
    values = asdict(facts)
    values["published_ns"] = str(facts.published_ns)
    values["activated"] = {stream: str(stamp) for stream, stamp in facts.activated.items()}
    return values


def _plain(value: Any) -> Any:
    """A value that browsers read exactly: integers beyond 2^53 as text."""
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
