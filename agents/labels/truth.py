"""Labels of a simulated log, as somebody would give them who knows what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.explain import run_config
from agents.labels.queue import LabelError
from agents.report.source import read_run
from native.index64 import COORDINATE_MAX, COORDINATE_MIN, encode
from stream.config import Config, read_values
from stream.progress import Progress
from stream.records import LabelGiven
from stream.run_folder import RunFolder
from stream.sources.base import SourceOptions
from stream.sources.simulation.classes import CLASSES, cell_classes, point_classes
from stream.sources.simulator import Simulator, open_simulator
from stream.tables import LABEL_SCHEMA, label_table

AUTHOR = "simulator"


def truth_of(run: Path, every: int, progress: Progress) -> pa.Table:
    """Words on every cell that is hit, about every ``every``-th sweep that a run forecast from.

    run : of one simulated log; its configuration names it
    Raises LabelError where it is not, SourceError, ReportError
    """
    config, simulator = run_config(RunFolder(run)), _simulator(run)
    stamps = set(read_run(run).stamp_ns.tolist())
    shots = range(0, simulator.config.sweeps, every)
    words: list[pa.Table] = [LABEL_SCHEMA.empty_table()]
    for done, index in enumerate(shots):
        progress(done, len(shots), simulator.config.robot_ids[0])
        words += [label_table(word) for word in _words(simulator, index, config) if word.at_ns in stamps]
    return pa.concat_tables(words)


def _simulator(run: Path) -> Simulator:
    values = read_values(run / "config.yaml")
    logs = [str(log) for log in values.get("logs", [])]
    if len(logs) != 1 or not logs[0].startswith("sim:"):
        raise LabelError(
            f"{run}: is of {', '.join(logs) or 'no log'}; only one simulated log tells what is there"
        )
    robots = {stream.partition("/")[0] for stream in read_run(run).stream_id}
    if len(robots) != 1:
        raise LabelError(f"{run}: has forecasts of {len(robots)} robots; make a run of one (robots=1)")
    simulator = open_simulator(logs[0], SourceOptions(robot_id=robots.pop()))
    if not isinstance(simulator, Simulator):
        raise TypeError(f"{logs[0]}: no simulator")
    return simulator


def truth_of_cells(
    simulator: Simulator, index: int, config: Config
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Cells that the first robot's returns of one sweep lie in, and what most of these are of.

    config : with the map frame resolved
    Returns uint64 (M,), ascending, and int64 (M,), places in ``CLASSES``. What is off the map is left out
    """
    points, code = point_classes(simulator, 0, index)
    sites, kind = cell_classes(points, code, config.grid.half_edge_m)
    inside = ((sites >= COORDINATE_MIN) & (sites <= COORDINATE_MAX)).all(1)
    frame = config.grid.frame_ids[config.grid.map_frame]
    cell_id = encode(
        np.ascontiguousarray(sites[inside]), frame=frame, tier=config.grid.tier, lod=config.grid.lod
    )
    order = np.argsort(cell_id)
    return cell_id[order], kind[inside][order]


def _words(simulator: Simulator, index: int, config: Config) -> Iterator[LabelGiven]:
    """One word a class, on the cells that are of it in one sweep."""
    cell_id, kind = truth_of_cells(simulator, index, config)
    stamp_ns = simulator.shot(0, index).sweep.stamp_ns
    for place, name in enumerate(CLASSES):
        own = cell_id[kind == place]
        if len(own):
            yield LabelGiven(
                robot_id=simulator.config.robot_ids[0], stamp_ns=stamp_ns, author=AUTHOR, label=name,
                at_ns=stamp_ns, weight=1.0, cell_id=own,
            )  # fmt: skip
