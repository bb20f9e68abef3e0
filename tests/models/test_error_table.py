"""The error map counted by SQL is the one that plain loops count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.probability import GRID
from models.scores.error_table import error_table
from models.scores.region_errors import ErrorTable
from native.index64 import ancestor, decode
from stream.run_tables import run_tables
from stream.tables import TableError
from tests.agents.run_folder import HALF_EDGE_M, PRIMARY_NS, RunSpec, prediction_id, stamp_of, write_run

SPEC = RunSpec(sweeps=30, cells=300, warmup=8, rows_per_file=2_000)
LEVELS = 4


def table_of(run: Path, *, warmup: int = SPEC.warmup, horizon_ns: int = PRIMARY_NS) -> ErrorTable | None:
    with run_tables(run) as tables:
        return error_table(
            tables, horizon_ns=horizon_ns, warmup=warmup, region_levels=LEVELS, half_edge_m=HALF_EDGE_M
        )


def counted(run: Path) -> ErrorTable:
    table = table_of(run)
    assert table is not None
    return table


def rows_by_hand(run: Path):
    """Sweep, cell, k and outcome (-1 for none) of every forecast after the warm-up that could have one."""
    outcomes = {}
    for path in (run / "outcomes").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["horizon_ns"] == PRIMARY_NS:
                outcomes[row["prediction_id"], row["cell_id"]] = int(row["occupied"])
    judged = {name for name, _ in outcomes}
    places = {prediction_id(i): i for i in range(SPEC.warmup, SPEC.sweeps)}
    rows = []
    for path in sorted((run / "predictions").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            name = row["prediction_id"]
            if row["horizon_ns"] == PRIMARY_NS and name in places and name in judged:
                k = round(row["probability"] * GRID)
                rows.append((places[name], row["cell_id"], k, outcomes.get((name, row["cell_id"]), -1)))
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("errors") / "run", SPEC)


def test_every_region_is_what_loops_count(run: Path) -> None:
    table, rows = counted(run), rows_by_hand(run)
    sweep, cell, k, outcome = (np.array(column) for column in zip(*rows, strict=True))
    cell = cell.astype(np.uint64)
    region, p, seen = ancestor(cell, 3), k / GRID, outcome >= 0
    assert table.lod == 3
    assert [r.region for r in table.regions] == sorted(set(region.tolist()))
    for found in table.regions:
        own = region == found.region
        at = own & seen
        assert (found.due, found.observed) == (own.sum(), at.sum())
        assert found.cells == len(set(cell[own].tolist()))
        assert found.sweeps == len(set(sweep[at].tolist()))
        site = decode(cell[own]).sites.mean(0) * HALF_EDGE_M
        assert [found.x, found.y, found.z] == pytest.approx(site.tolist())
        if not at.any():
            assert (found.loss, found.gap, found.excess) == (None, None, None)
            continue
        loss = -np.log(np.where(outcome == 1, p, 1 - p))
        assert found.loss == pytest.approx(loss[at].mean())
        assert found.gap == pytest.approx(p[at].mean() - outcome[at].mean())
        entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))[at].mean()
        assert found.excess == pytest.approx(loss[at].mean() - entropy)
        by_sweep = np.array([loss[at & (sweep == s)].mean() for s in sorted(set(sweep[at].tolist()))])
        assert found.course.loss == pytest.approx(by_sweep, abs=1e-6)
        half = len(by_sweep) // 2
        if half >= 2:
            assert found.drift == pytest.approx(by_sweep[half:].mean() - by_sweep[:half].mean(), abs=1e-6)


def test_flips_are_contradictions_of_what_was_seen_before(run: Path) -> None:
    before: dict[int, int] = {}
    pairs, flips = {}, {}
    for _, cell, _, outcome in sorted(rows_by_hand(run)):
        if outcome < 0:
            continue
        if cell in before:
            region = int(ancestor(np.array([cell], np.uint64), 3)[0])
            pairs[region] = pairs.get(region, 0) + 1
            flips[region] = flips.get(region, 0) + (before[cell] != outcome)
        before[cell] = outcome
    found = {region.region: region.flips for region in counted(run).regions if region.flips is not None}
    assert found == pytest.approx({region: flips[region] / n for region, n in pairs.items()})
    assert any(value > 0 for value in found.values())


def test_pixels_add_up_to_the_run(run: Path) -> None:
    table, rows = counted(run), rows_by_hand(run)
    pixels = table.pixels
    outcome = np.array([row[3] for row in rows])
    assert (pixels.due.sum(), pixels.observed.sum()) == (len(rows), (outcome >= 0).sum())
    assert pixels.occupied.sum() == (outcome == 1).sum()
    sites = decode(np.array([row[1] for row in rows], np.uint64)).sites[:, :2] * HALF_EDGE_M
    half = pixels.side_m / 2
    for x, y, due in list(zip(pixels.x, pixels.y, pixels.due, strict=True))[::97]:
        inside = (np.abs(sites[:, 0] - x) <= half) & (np.abs(sites[:, 1] - y) <= half)
        assert due == inside.sum()


def test_forecasts_without_an_outcome_sweep_are_counted_apart(run: Path) -> None:
    table = counted(run)
    reached = [
        i for i in range(SPEC.warmup, SPEC.sweeps) if stamp_of(i) + PRIMARY_NS <= stamp_of(SPEC.sweeps - 1)
    ]
    assert (len(table.stamp_ns), table.unjudged) == (len(reached), SPEC.sweeps - SPEC.warmup - len(reached))
    assert table.stamp_ns.tolist() == [stamp_of(i) for i in reached]


def test_chunks_make_no_difference(run: Path, tmp_path: Path) -> None:
    other = counted(write_run(tmp_path / "run", RunSpec(sweeps=30, cells=300, warmup=8, rows_per_file=700)))
    for one, two in zip(counted(run).regions, other.regions, strict=True):
        assert (one.region, one.due, one.loss, one.drift) == (two.region, two.due, two.loss, two.drift)


def test_a_run_without_outcomes_has_no_table(tmp_path: Path) -> None:
    assert (
        table_of(write_run(tmp_path / "run", RunSpec(sweeps=12, cells=40, warmup=2, outcomes=False))) is None
    )


def test_a_warm_up_that_never_ends_has_no_table(run: Path) -> None:
    assert table_of(run, warmup=SPEC.sweeps) is None


def test_files_that_are_cut_off_are_left_out_and_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SPEC)
    path = run / "outcomes" / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with run_tables(run) as tables:
        assert tables.damaged == ["outcomes/part-00001.parquet"]


def test_a_file_that_is_damaged_within_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SPEC)
    path = run / "outcomes" / "part-00001.parquet"
    data = bytearray(path.read_bytes())
    data[8 : len(data) // 2] = bytes(len(data) // 2 - 8)
    path.write_bytes(data)
    with pytest.raises(TableError, match="cannot be read"):
        table_of(run)
