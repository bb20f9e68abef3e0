"""Binned sweeps, predictions and outcomes as cells in the map."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native import pose
from native.index64 import Decoded, decode
from stream.cell_rows import locate
from stream.config import Config, ConfigError
from stream.records import Binned, Outcome, Prediction
from stream.sinks.base import Cells
from stream.transform import Transform

KEPT_PREDICTIONS = 128
"""Whose probabilities are known when an outcome comes: those of a second of twelve robots, 25 MB."""
POSE_FRAME = "octastream"
"""Begins the names of frames of poses, so that they are not those of the robot's own tree."""
MS = 1_000_000

Probabilities = Mapping[int, NDArray[np.float32]]
"""Float32 (N,) by horizon in nanoseconds."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Forecast:
    """What is shown of a prediction: cell_id uint64 (N,), ascending, and probabilities by horizon."""

    stream_id: str
    stamp_ns: int
    cell_id: NDArray[np.uint64]
    probability: Probabilities


class Evidence:
    """Places cells in the map, and puts outcomes beside what had been predicted.

    config : grid and horizons that the records were made with; its map frame is named
    All methods for cells raise ConfigError where they are of another grid.
    """

    def __init__(self, config: Config) -> None:
        self._grid, self._task = config.grid, config.task
        self._known: OrderedDict[str, Forecast] = OrderedDict()

    def binned(self, record: Binned) -> Cells:
        """What one sweep saw: cells with a return in them, or crossed by a ray."""
        seen = (record.hits > 0) | (record.passes > 0)
        hits, passes = record.hits[seen], record.passes[seen]
        columns = {"occupied": (hits > 0).astype(np.float32), "hits": hits, "passes": passes}
        return self._cells(
            f"/{record.stream_id}/cells", record.stamp_ns, record.cell_id[seen], columns, "occupied"
        )

    def pose(self, record: Binned) -> Transform:
        """Where the sensor was, as the transform from the map to a frame of its own."""
        x, y, z, *turn = pose.vector(record.pose).tolist()
        return Transform(
            robot_id=record.robot_id,
            stamp_ns=record.stamp_ns,
            parent=self._grid.map_frame,
            child=f"{POSE_FRAME}/{record.stream_id}",
            translation=(x, y, z),
            rotation=(turn[0], turn[1], turn[2], turn[3]),
        )

    def forecast(self, record: Forecast) -> Cells:
        """Probabilities by horizon, shaded by the primary one."""
        self._known[f"{record.stream_id}/{record.stamp_ns}"] = record
        if len(self._known) > KEPT_PREDICTIONS:
            self._known.popitem(last=False)
        columns = {_probability(horizon): values for horizon, values in record.probability.items()}
        shade = _probability(self._task.primary_horizon_ns)
        return self._cells(
            f"/{record.stream_id}/predictions", record.stamp_ns, record.cell_id, columns, shade
        )

    def outcome(self, record: Outcome) -> Cells:
        """What was observed of a prediction, at the time at which it was; NaN for a probability not known."""
        columns = {
            "occupied": record.occupied.astype(np.float32),
            "probability": self._predicted(record),
            "before": record.before,
        }
        topic = f"/{record.stream_id}/outcomes_{_ms(record.horizon_ns)}"
        return self._cells(topic, record.observed_stamp_ns, record.cell_id, columns, "occupied")

    def _predicted(self, record: Outcome) -> NDArray[np.float32]:
        found = np.full(len(record.cell_id), np.nan, np.float32)
        forecast = self._known.get(record.prediction_id)
        if forecast is None or record.horizon_ns not in forecast.probability:
            return found
        row, known = locate(forecast.cell_id, record.cell_id)
        found[known] = forecast.probability[record.horizon_ns][row[known]]
        return found

    def _cells(
        self, topic: str, stamp_ns: int, cell_id: NDArray[np.uint64], columns: dict[str, Any], shade: str
    ) -> Cells:
        half_edge_m = self._grid.half_edge_m
        parts = decode(cell_id)
        self._check_grid(topic, parts)
        return Cells(
            topic=topic,
            stamp_ns=stamp_ns,
            frame=self._grid.map_frame,
            points=(parts.sites * half_edge_m).astype(np.float32),
            cell_id=cell_id,
            columns=columns,
            shade=shade,
            half_edge_m=half_edge_m,
        )

    def _check_grid(self, topic: str, cells: Decoded) -> None:
        """Cells of another level, or of another map, would be drawn where they are not."""
        grid = self._grid
        frame_id = grid.frame_ids.get(grid.map_frame)
        if (cells.lod != grid.lod).any():
            raise ConfigError(
                f"grid.lod: {grid.lod}, but cells of {topic} have {cells.lod.max()}; "
                "give the --config of the workers"
            )
        if frame_id is not None and (cells.frame != frame_id).any():
            raise ConfigError(
                f"grid.map_frame: {grid.map_frame!r} has the id {frame_id}, but cells of {topic} are in "
                f"frame {cells.frame.max()}; name the workers' map frame, --set grid.map_frame=NAME"
            )


def forecast_of(record: Prediction) -> Forecast:
    """What is shown of a prediction."""
    columns = zip(record.horizons_ns, record.probability.T, strict=True)
    return Forecast(
        stream_id=record.stream_id,
        stamp_ns=record.stamp_ns,
        cell_id=record.cell_id,
        probability=dict(columns),
    )


def _probability(horizon_ns: int) -> str:
    return f"probability_{_ms(horizon_ns)}"


def _ms(horizon_ns: int) -> str:
    return f"{horizon_ns / MS:g}ms"
