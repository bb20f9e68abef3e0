"""summary.json: what a run found, as other programs read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.explain import rebuild
from agents.inprocess import Agents
from stream.config import Config
from stream.features import digest
from stream.run_folder import RunFolder
from stream.sweep_rows import read_sweeps, sweep_files
from stream.tables import LATENCY_STAGES

REBUILT_PREDICTIONS = 8
RESERVOIR = 65_536


class Latencies:
    """Milliseconds by stage; the newest 65,536 sweeps count."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, milliseconds: Mapping[str, float]) -> None:
        """Add one sweep."""
        for stage, value in milliseconds.items():
            self._values[stage].append(value)
            if len(self._values[stage]) > 2 * RESERVOIR:
                del self._values[stage][:RESERVOIR]

    def summary(self) -> dict[str, dict[str, float | None]]:
        """p50, p99 and max by stage, None where nothing was measured."""
        return {stage: self.percentiles(stage) for stage in LATENCY_STAGES}

    def percentiles(self, stage: str) -> dict[str, float | None]:
        """p50, p99 and max of one stage, or of what else was added under a name."""
        return _percentiles(self._values.get(stage, [])[-RESERVOIR:])


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(max(values), 3)}


def rebuild_check(folder: RunFolder, config: Config) -> dict[str, int]:
    """Rebuild some predictions' features from the stored containers; counts cells, and identical ones.

    A digest covers all cells of a prediction, so they count as identical together or not at all.
    """
    checked = identical = 0
    if sweep_files(folder.path):
        rows = read_sweeps(folder.path, ["stream_id", "stamp_ns", "feature_digest"]).to_pylist()
        places = np.unique(np.linspace(0, len(rows) - 1, REBUILT_PREDICTIONS).astype(int))
        for row in [rows[place] for place in places] if rows else []:
            features, _ = rebuild(folder, config, row["stream_id"], row["stamp_ns"])
            checked += len(features.cell_id)
            identical += len(features.cell_id) if digest(features) == row["feature_digest"] else 0
    return {"checked": checked, "identical": identical}


def summarise(
    config: Config, agents: Agents, latencies: Latencies, rebuilt: dict[str, int]
) -> dict[str, Any]:
    """The summary of a finished run; entries that nothing supports are None."""
    archive, scores = agents.archive, agents.judge.scores
    counts = archive.counts
    return {
        "warmup_sweeps": config.task.warmup_sweeps,
        "grid": {
            "half_edge_m": config.grid.half_edge_m,
            "lod": config.grid.lod,
            "map_frame": config.grid.map_frame,
        },
        "sweeps": counts["sweeps"],
        "points": counts["points"],
        "masked": counts["masked"],
        "misses": counts["misses"],
        "dead_letters": dict(sorted(archive.dead_letters.items())),
        "cells_predicted": counts["cells"],
        "cells_due": scores.cells_due,
        "cells_observed": scores.cells_observed,
        **scores.summary(),
        "models": {
            name: counts[name] for name in ("trained", "activated", "promoted", "rejected", "rolled_back")
        },
        "outcomes_missed": {str(horizon): count for horizon, count in agents.judge.missed.items()},
        "duplicates": counts["duplicate"],
        "feature_skew": agents.learn.skewed,
        "drift": agents.learn.drift.summary(),
        "latency_ms": latencies.summary(),
        "learning_ms": {"budget": config.learn.budget_ms, **latencies.percentiles("learning")},
        "rebuild": rebuilt,
        "run_digest": archive.digest.hex() if archive.digest is not None else "",
    }
