"""The numpy pipeline does the same work as the C core: only then do their times say anything."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.perceive import Perceive
from models.online.builtin import FrequencyModel
from native import lattice
from stream.config import Config, GridConfig
from stream.container import RollingContainer, grid_of
from stream.ego import forecast
from stream.features import schema_of
from stream.records import Binned
from stream.sources import open_source
from stream.sweep import Sweep
from stream.transform import Transform
from tests.bench.numpy_columns import casts_by_key, keys_of, pack, passes_by_key
from tests.bench.numpy_pipeline import OFFSETS, NumpyPipeline, neighbor_rows
from tests.data import data_path

CONFIG = Config(grid=GridConfig(map_frame="odom"))
NAMES = schema_of(CONFIG).names
STEPS_MS = (0, 103, 149, 949, 1050)
"""Two sweeps at one age, ages without a sweep, one at the oldest age, and at last one that has left."""

NORMALS = ("normal_z", "view_cosine", "forecast_view_cosine")
AXES = ("planarity", "linearity", "curvature")
NORMAL_GAP = 0.05
"""Of the largest eigenvalue; with the two least closer than this, rounding turns the normal."""


def recorded() -> list[Sweep]:
    """The first sweeps of the log, all points."""
    log = open_source(str(data_path("kitti_0005_000-053.mcap")))
    sweeps = (item for item in log if isinstance(item, Sweep))
    return list(itertools.islice(sweeps, len(STEPS_MS)))


def random_sweeps(seed: int) -> list[Sweep]:
    """Clouds about the sensor with points too near, too far, and not finite."""
    draw = np.random.default_rng(seed)
    sweeps = []
    for _ in STEPS_MS:
        points = draw.normal(0, 4, (4000, 3)).astype(np.float32)
        points[::9] *= 20
        points[::50, 1] = np.nan
        points[::70, 2] = np.inf
        intensity = draw.uniform(-0.1, 1.1, 4000).astype(np.float32)
        sweeps.append(Sweep(stream_id="r/l", stamp_ns=1, frame="l", points=points, intensity=intensity))
    return sweeps


def binned(sweeps: list[Sweep]) -> list[tuple[Sweep, Binned]]:
    """The sweeps at STEPS_MS of a turning drive, as Perceive bins them."""
    perceive = Perceive(CONFIG, FrequencyModel(schema_of(CONFIG).names, 3))
    pairs = []
    for sweep, step_ms in zip(sweeps, STEPS_MS, strict=True):
        turn, stamp_ns = 0.4e-3 * step_ms, 10**9 + step_ms * 10**6
        sweep = dataclasses.replace(sweep, stamp_ns=stamp_ns)
        transform = Transform(
            robot_id=sweep.robot_id,
            stamp_ns=stamp_ns,
            parent="odom",
            child=sweep.frame,
            translation=(1234.5 + 8e-3 * step_ms, -77.7, 1.7),
            rotation=(0.0, 0.0, float(np.sin(turn)), float(np.cos(turn))),
        )
        outputs = (*perceive.handle(transform).outputs, *perceive.handle(sweep).outputs)
        pairs += [(sweep, record) for record in outputs if isinstance(record, Binned)]
    assert len(pairs) == len(sweeps)
    return pairs


@pytest.mark.parametrize("kind", [pytest.param("recorded", marks=pytest.mark.data), "random"])
def test_cells_hits_sums_and_features_are_those_of_the_c_core(kind: str) -> None:
    pipeline = NumpyPipeline(grid_of(CONFIG), CONFIG.window.bin_ns, CONFIG.window.bins)
    container = RollingContainer(CONFIG)
    for sweep, record in binned(recorded() if kind == "recorded" else random_sweeps(7)):
        cells = pipeline.bin(sweep.points, sweep.intensity, record.pose)
        check_cells(record, cells.key, cells.hits, cells.sums)
        pipeline.fold(sweep.stamp_ns, cells, *passes_by_key(record))
        container.fold(record)
        ego = forecast(record.pose, record.pose_history, CONFIG.window.bin_ns, CONFIG.task.primary_horizon_ns)
        ours = container.features(record)
        theirs = pipeline.features(ego, casts_by_key(ours, NAMES))
        key = keys_of(ours.cell_id)
        order = np.argsort(key)
        assert np.array_equal(key[order], theirs.key)
        assert np.array_equal(ours.before[order], theirs.before)
        assert np.array_equal(rows_after(order, ours.neighbor_index), theirs.neighbor_index)
        check_columns(ours.x[order], theirs.x)


def check_columns(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Columns agree; those of the local surface, where rounding does not decide them."""
    difference = np.abs(ours - theirs)
    column = dict(zip(NAMES, ours.T, strict=True))
    extended = (column["neighbors"] > 0) | (column["log_points"] > np.log(2.5))  # more than one return
    decided = extended & (column["planarity"] > NORMAL_GAP)
    assert decided.mean() > 0.5
    for names, rows in ((NORMALS, decided), (AXES, extended)):
        difference[np.ix_(~rows, [NAMES.index(name) for name in names])] = 0
    limit = [1e-4 if name in (*NORMALS, *AXES) else 5e-6 for name in NAMES]
    worst = dict(zip(NAMES, difference.max(axis=0), strict=True))
    assert {
        name: value for (name, value), most in zip(worst.items(), limit, strict=True) if value > most
    } == {}


def check_cells(
    record: Binned, key: NDArray[np.int64], hits: NDArray[np.int64], sums: NDArray[np.float64]
) -> None:
    """Cells of one sweep equal those of its record, number for number."""
    rows = np.flatnonzero(record.hits)
    ours = keys_of(record.cell_id[rows])
    order = np.argsort(ours)
    assert len(rows) > 1000
    assert np.array_equal(ours[order], key)
    assert np.array_equal(record.hits[rows][order], hits)
    assert np.array_equal(record.sums[order], sums)


def rows_after(order: NDArray[np.int64], neighbors: NDArray[np.int32]) -> NDArray[np.int32]:
    """Neighbour rows when the cells are put in another order."""
    place = np.empty(len(order) + 1, np.int32)
    place[order] = np.arange(len(order))
    place[-1] = len(order)
    return place[neighbors[order]]


def test_offsets_are_the_neighbours_in_lattice_order() -> None:
    assert np.array_equal(lattice.neighbors(np.zeros((1, 3), np.int32))[0], OFFSETS)


def test_neighbours_of_the_last_cell_are_found_and_missing_ones_are_padding() -> None:
    site = np.array([[0, 0, 0], [1, 1, 1], [4, 0, 0]]).T
    rows = neighbor_rows(pack(site))
    assert rows[0].tolist() == [1, *[3] * 13]
    assert rows[1].tolist() == [*[3] * 7, 0, *[3] * 6]
    assert rows[2].tolist() == [3] * 14
