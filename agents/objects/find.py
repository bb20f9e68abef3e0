"""The objects of a log: found, followed, forecast, and written as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.objects.examples import Find
from agents.objects.sight import Sight
from agents.replay import with_map_frame
from models.objects.boxes import out_of_frame
from models.objects.cells import SweepCells
from models.objects.components import Found, find_moving
from models.objects.forecasts import Modes
from models.objects.motion import HORIZONS_S, Motions, heading, is_followed, motions_of
from models.objects.surroundings import pooled_columns
from models.objects.tracking import Track, Tracker
from stream.config import Config
from stream.progress import Progress
from stream.sources.base import Source, SourceError

Forecast = Callable[[Motions], Modes]

OBJECT_SCHEMA = pa.schema(
    [
        pa.field("robot_id", pa.string(), nullable=False),
        pa.field("stamp_ns", pa.int64(), nullable=False),
        pa.field("track_id", pa.int64(), nullable=False),
        pa.field("class", pa.string()),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "score")
        ),
        pa.field("cell_id", pa.list_(pa.uint64()), nullable=False),
        pa.field("probability", pa.list_(pa.float32())),
        pa.field("path", pa.list_(pa.list_(pa.float32()))),
    ]
)
"""A row an object and sweep in which it is seen. Metres, radians and metres a second, in the map frame;
``class`` null where nobody told it; ``cell_id``: its cells, ascending. Where it is forecast, ``probability``
of each way on, and ``path``: x and y at every horizon, one list a way."""


@dataclass(slots=True, kw_only=True)
class ObjectCounts:
    """What a log came to.

    objects : rows; tracks, moving : confirmed tracks, those of them that were ever faster than 1 m/s
    forecast : rows with a forecast; damage : what cut the log short
    """

    sweeps: int = 0
    objects: int = 0
    forecast: int = 0
    tracks: set[tuple[str, int]] = field(default_factory=set)
    moving: set[tuple[str, int]] = field(default_factory=set)
    damage: str | None = None


def find_objects(
    source: Source,
    config: Config,
    out: Path,
    progress: Progress,
    *,
    find: Find = find_moving,
    kinds: tuple[str, ...] = (),
    forecast: Forecast | None = None,
    max_sweeps: int | None = None,
) -> ObjectCounts:
    """Write the confirmed objects of a log to a Parquet file of ``OBJECT_SCHEMA``.

    find : the detector; kinds : names of its classes; forecast : the forecaster, None for none
    Deterministic: log and configuration decide the table. No half of a file is left
    Raises SourceError for a log without a sweep that could be placed, OSError
    """
    info = source.info()
    config = with_map_frame(config, [info.root_frame])
    counts, sight, columns = ObjectCounts(), Sight(config), pooled_columns(config)
    trackers: dict[str, Tracker] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    with pq.ParquetWriter(partial, OBJECT_SCHEMA, compression="zstd") as writer:
        for cells in sight.sweeps(source):
            found = find(cells)
            tracks = trackers.setdefault(cells.robot_id, Tracker()).step(cells.stamp_ns, found.boxes)
            seen = [track for track in tracks if track.box >= 0]
            table = _table(cells, found, seen, kinds, forecast, columns)
            writer.write_table(table)
            _count(counts, cells.robot_id, seen, table)
            progress(counts.sweeps, max_sweeps or info.sweeps, cells.robot_id)
            if counts.sweeps == max_sweeps:
                break
    if not counts.sweeps:
        partial.unlink()
        raise SourceError(f"{info.location}: holds no sweep that could be placed")
    partial.replace(out)
    counts.damage = None if sight.damage is None else f"{sight.damage.location}: {sight.damage.detail}"
    return counts


def _count(counts: ObjectCounts, robot_id: str, seen: list[Track], table: pa.Table) -> None:
    counts.sweeps += 1
    counts.objects += len(table)
    counts.forecast += len(table) - table["path"].null_count
    counts.tracks |= {(robot_id, track.id) for track in seen}
    counts.moving |= {(robot_id, track.id) for track in seen if track.speed > 1.0}


def _table(
    cells: SweepCells, found: Found, seen: list[Track], kinds: tuple[str, ...], forecast: Forecast | None,
    columns: np.typing.NDArray[np.intp],
) -> pa.Table:  # fmt: skip
    told = _forecasts(cells, seen, forecast, columns)
    rows = [
        {
            "robot_id": cells.robot_id, "stamp_ns": cells.stamp_ns, "track_id": track.id,
            "class": kinds[track.kind] if 0 <= track.kind < len(kinds) else None,
            "x": track.state[0], "y": track.state[1], "z": track.z,
            "length": track.size[0], "width": track.size[1], "height": track.size[2],
            "yaw": heading(track), "vx": track.state[2], "vy": track.state[3],
            "score": found.boxes.score[track.box],
            "cell_id": cells.cell_id[found.instance == track.box],
            **told.get(track.id, {}),
        }
        for track in seen
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, OBJECT_SCHEMA)


def _forecasts(
    cells: SweepCells, seen: list[Track], forecast: Forecast | None, columns: np.typing.NDArray[np.intp]
) -> dict[int, dict[str, object]]:
    """Ways on in the map, by track."""
    chosen = [track for track in seen if is_followed(track)]
    if forecast is None or not chosen:
        return {}
    motions = motions_of(chosen, cells.window, columns, cells.half_edge_m)
    modes = forecast(motions)
    path = out_of_frame(modes.path, motions.yaw[:, None, None]) + motions.place[:, None, None, :2]
    flat = path.reshape(len(chosen), -1, 2 * len(HORIZONS_S)).astype(np.float32)
    return {
        track.id: {"probability": modes.probability[row].astype(np.float32), "path": list(flat[row])}
        for row, track in enumerate(chosen)
    }
