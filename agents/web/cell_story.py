"""Everything that is known of one cell: now, over the last minutes, and why it is forecast as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.web.cells import UNKNOWN, CellTable
from agents.web.frame import AGE_NS, SHARES, UNKNOWN_COUNT, UNKNOWN_SHARE, decode_frame
from agents.web.robot import Robot
from agents.web.tape import Kept
from native.index64 import ancestor, decode, to_text
from stream.cell_rows import locate
from stream.config import Config
from stream.features import schema_of
from stream.records import Outcome, Prediction

MOST_PAST = 120
"""Frames of the tape that are looked through: a millisecond each."""
STATES = {UNKNOWN: None, 0: False, 1: True}


class CellStory:
    """Tells what is known of cells of the grid's own level, and a little of coarser ones."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def tell(self, robot: Robot, cell_id: int, past: list[Kept]) -> dict[str, Any]:
        """The story of a cell as plain values.

        past : frames of the tape, the oldest first
        Raises IdError, ParityError for what is no cell
        """
        ids = np.array([cell_id], np.uint64)
        parts, grid, task = decode(ids), self._config.grid, self._config.task
        lod = int(parts.lod[0])
        half_edge_m = grid.half_edge_lod0_m / 2.0**lod
        story: dict[str, Any] = {
            "kind": "cell",
            "robot": robot.robot_id,
            "cell_id": str(cell_id),
            "text": to_text(cell_id),
            "lod": lod,
            "half_edge_m": half_edge_m,
            "centre": (parts.sites[0] * half_edge_m).tolist(),
            "horizons_ns": list(task.horizons_ns),
            "primary": task.primary,
            "region": str(ancestor(ids, max(min(lod, grid.lod - task.region_levels), 0))[0]),
        }
        if lod != grid.lod:
            return story
        table = robot.cells(lod)
        story["now"] = None if table is None else _now(table, ids)
        story["past"] = _past(ids[0], past[:: -(-len(past) // MOST_PAST) or 1], task.primary)
        story["forecasts"] = [_forecast(*item, ids[0]) for item in robot.recent()]
        story["forecasts"] = [item for item in story["forecasts"] if item is not None]
        story["features"] = self._features(robot, ids)
        return story

    def _features(self, robot: Robot, ids: NDArray[np.uint64]) -> dict[str, Any] | None:
        """Its features at the newest forecast, by name; None for a cell that was not forecast then."""
        found = robot.features()
        if found is None:
            return None
        prediction, features = found
        row, known = locate(features.cell_id, ids)
        if not known[0]:
            return None
        values = features.x[row[0]].tolist()
        return {
            "stamp_ns": str(prediction.stamp_ns),
            "model": prediction.model_id,
            "digest": prediction.feature_digest,
            "values": dict(zip(schema_of(self._config).names, values, strict=True)),
        }


def _now(table: CellTable, ids: NDArray[np.uint64]) -> dict[str, Any] | None:
    row, known = locate(table.cell_id, ids)
    if not known[0]:
        return None
    place = row[0]
    passes, age_ns = int(table.passes[place]), int(table.age_ns[place])
    probability = table.probability[place].tolist()
    return {
        "stamp_ns": str(table.stamp_ns),
        "hits": int(table.hits[place]),
        "passes": None if passes < 0 else passes,
        "age_s": None if age_ns < 0 else age_ns / 1e9,
        "probability": None if np.isnan(probability[0]) else probability,
        "outcome": [STATES[state] for state in table.outcome[place].tolist()],
        "forecast": [None if np.isnan(value) else value for value in table.forecast[place].tolist()],
    }


def _forecast(prediction: Prediction, outcomes: dict[int, Outcome], cell: np.uint64) -> dict[str, Any] | None:
    """One forecast of a cell and what came of it; None where it was not forecast."""
    place = int(np.searchsorted(prediction.cell_id, cell))
    if place >= len(prediction.cell_id) or prediction.cell_id[place] != cell:
        return None
    return {
        "stamp_ns": str(prediction.stamp_ns),
        "model": prediction.model_id,
        "probability": prediction.probability[place].tolist(),
        "outcome": [_outcome(outcomes.get(horizon), cell) for horizon in prediction.horizons_ns],
    }


def _outcome(outcome: Outcome | None, cell: np.uint64) -> bool | None:
    if outcome is None:
        return None
    row, known = locate(outcome.cell_id, np.array([cell]))
    return bool(outcome.occupied[row[0]]) if known[0] else None


def _past(cell: np.uint64, frames: list[Kept], primary: int) -> list[dict[str, Any]]:
    """The cell in each of the frames that has it."""
    found = []
    for frame in frames:
        _, columns = decode_frame(frame.data)
        row = int(np.searchsorted(columns["id"], cell))
        if row >= len(columns["id"]) or columns["id"][row] != cell:
            continue
        age = int(columns["age"][row])
        found.append(
            {
                "stamp_ns": str(frame.stamp_ns),
                "hits": int(columns["hits"][row]),
                "passes": _known(int(columns["passes"][row]), UNKNOWN_COUNT),
                "age_s": None if age == UNKNOWN_COUNT else age * AGE_NS / 1e9,
                "occupancy": _share(columns["occupancy"][row]),
                "probability": _share(columns["probability"][row, primary]),
                "outcome": STATES[int(columns["outcome"][row, primary])],
                "forecast": _share(columns["forecast"][row, primary]),
            }
        )
    return found


def _known(value: int, unknown: int) -> int | None:
    return None if value == unknown else value


def _share(sent: np.uint8) -> float | None:
    return None if sent == UNKNOWN_SHARE else round(float(sent) / SHARES, 4)
