"""The path of the robot, from the poses of the stored binned sweeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_POINTS = 2_000
_TRANSLATION = (3, 7, 11)  # of a 3 x 4 row-major pose


def ego_path(run_dir: Path) -> NDArray[np.float64]:
    """Sensor positions in the map frame by stamp, metres, float64 (S, 3).

    Empty where no container holds a pose; files that are cut off are left out. Only two columns are read,
    and at most MAX_POINTS positions are returned, evenly spaced in the run.
    """
    found = [_positions(path) for path in sorted((run_dir / "containers").glob("*.arrow"))]
    rows = np.concatenate([np.zeros((0, 4)), *found])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    step = -(-len(rows) // MAX_POINTS) or 1
    return rows[::step, 1:]


def _positions(path: Path) -> NDArray[np.float64]:
    """Stamp (s) and position of each record of one file, float64 (R, 4)."""
    rows = []
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                if {"pose", "stamp_ns"} <= set(batch.schema.names):
                    rows += _batch_positions(batch)
    except pa.ArrowInvalid:
        return np.zeros((0, 4))
    return np.array(rows, np.float64).reshape(-1, 4)


def _batch_positions(batch: pa.RecordBatch) -> list[list[float]]:
    poses = zip(batch.column("stamp_ns").to_pylist(), batch.column("pose").to_pylist(), strict=True)
    return [
        [stamp / 1e9, *(pose[i] for i in _TRANSLATION)] for stamp, pose in poses if pose and len(pose) == 12
    ]
