"""What the tests of features share: a grid and a view, records, and the comparison with the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from native import beams
from native.grid import Grid
from native.window import CellFeatures, Window, WindowOptions, feature_names
from tests.native.feature_oracle import AXES, NORMALS, FeatureRows, View, features
from tests.native.oracle import NO_SUMS, Record, WindowModel, ids_of, matrix_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
OPTIONS = WindowOptions(bin_ns=10, bins=4, keep_bins=2, max_records=40)
VIEW = View(
    pose=matrix_of((1.3, -2.7, 1.73), yaw=0.6, pitch=-0.1),
    forecast_pose=matrix_of((3.1, -2.2, 1.71), yaw=0.7),
    speed_mps=7.3,
    yaw_rate_rps=-0.21,
    beams=beams.sample(np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32), 700),
    beam_weight=3.7,
)
SURFACE = ("surface_hits", "surface_share", "surface_overlap", "surface_best")
EXACT = (
    "hit_bins", "observed_bins", "hit_age", "pass_age", "hit_run",
    "height_in_column", "height_in_block", "cast_share", "cast_reached",
)  # fmt: skip
TOLERANCES = {
    **dict.fromkeys((*NORMALS, *AXES), (0, 2e-5)),  # off-diagonals below 1e-7 of the trace may remain
    "cast_seen": (1e-6, 1e-7),  # of 1 - exp(-x) in float32
    **dict.fromkeys(SURFACE, (0, 5e-3)),  # overlaps are kept to 1/32768 a beam, which stands for many
}
POOLED_TOLERANCE = (5e-6, 1e-9)  # sums of up to 64 values in float32
NAMES = feature_names(10)
BLOCK = [s for s in itertools.product(range(-3, 5), repeat=3) if len({v % 2 for v in s}) == 1]
CELLS = np.sort(ids_of(GRID, np.array(BLOCK, np.int32))).tolist()


def window_of(folded: Iterable[Record], options: WindowOptions = OPTIONS, grid: Grid = GRID) -> Window:
    window = Window(grid, options)
    for record in folded:
        window.push(record.stamp_ns, *record.arrays())
    return window


def model_of(folded: Iterable[Record], options: WindowOptions = OPTIONS) -> WindowModel:
    model = WindowModel(options)
    for record in folded:
        model.push(record)
    return model


def assert_matches(got: CellFeatures, want: FeatureRows, bins: int) -> None:
    """Counts are equal, the rest agrees to 1e-6; what only rounding decides is a share."""
    names = feature_names(bins)
    assert got.cell_id.tolist() == want.cell_id
    assert got.x.shape == (len(want.cell_id), len(names)) and np.isfinite(got.x).all()
    assert got.neighbor_index.tolist() == want.neighbors
    assert got.before.tolist() == want.before
    assert {frozenset(row) for row in want.columns} <= {frozenset(names)}
    for column, name in enumerate(names):
        expected = np.array([row[name] for row in want.columns])
        decided = ~np.isnan(expected)
        most = np.inf if name in SURFACE else 1 + 1e-6
        assert ((got.x[~decided, column] >= 0) & (got.x[~decided, column] <= most)).all(), name
        if name.startswith(EXACT):
            assert np.array_equal(got.x[:, column], expected), name
        else:
            usual = POOLED_TOLERANCE if name.startswith("coarse") else (1e-6, 1e-9)
            rtol, atol = TOLERANCES.get(name, usual)
            found, want_now = got.x[decided, column], expected[decided]
            np.testing.assert_allclose(found, want_now, rtol=rtol, atol=atol, err_msg=name)


def assert_rows_match(
    folded: Sequence[Record], options: WindowOptions = OPTIONS, view: View = VIEW
) -> CellFeatures:
    got = window_of(folded, options).features(*view.arguments())
    assert_matches(got, features(GRID, model_of(folded, options), view), options.bins)
    return got


def random_records(seed: int, n: int, cells: list[int], spacing: int = 6) -> list[Record]:
    """Records with jittering and repeated stamps, some cells hit, some only seen through, some neither."""
    rng = np.random.default_rng(seed)
    out = []
    for turn in range(n):
        rows = {}
        for cell in (cell for cell in cells if rng.random() < 0.6):
            hits, passes = (int(rng.integers(1, 60)) if rng.random() < 0.5 else 0 for _ in range(2))
            sums = rng.integers(-4096, 4097, 11)
            sums[[3, 4, 5, 9, 10]] = np.abs(sums[[3, 4, 5, 9, 10]])
            rows[cell] = (hits, passes, tuple((hits * sums).tolist()) if hits else NO_SUMS)
        stamp = max(0, spacing * turn + int(rng.integers(-4, 5)))
        out.append(Record(stamp_ns=stamp, cells=rows))
    return out


def hit(hits: int = 1, passes: int = 0) -> tuple[int, int, tuple[int, ...]]:
    return hits, passes, NO_SUMS


def column(got: CellFeatures, name: str, bins: int = 4) -> list[float]:
    return [float(v) for v in got.x[:, feature_names(bins).index(name)]]
