"""The error map of a stored run, counted by SQL over the rows on disk.

All sums are integers, so a run of any length takes bounded memory and the same rows give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.probability import GRID
from models.scores.region_errors import CellErrors, Course, ErrorTable, Pixels, RegionErrors
from models.scores.regions import SCALE
from models.scores.tally import Tally
from native.index64 import ancestor, decode
from stream.run_tables import RunTables

MAX_PIXELS = 320
"""Of the longer side of the map from above."""

_JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
SELECT prediction_id, stamp_ns, row_number() OVER (ORDER BY stamp_ns, prediction_id) AS place
FROM (
    SELECT prediction_id, stamp_ns, row_number() OVER (PARTITION BY stream_id ORDER BY stamp_ns) AS turn
    FROM sweeps
)
WHERE turn > $warmup
  AND prediction_id IN (SELECT prediction_id FROM outcomes WHERE horizon_ns = $horizon)
"""

_SCORED = f"""
CREATE OR REPLACE TEMP TABLE scored AS
SELECT *,
    CASE WHEN seen THEN CAST(round({SCALE} * -ln(CASE WHEN occupied THEN k ELSE {GRID} - k END / {GRID}.0))
        AS BIGINT) ELSE 0 END AS loss
FROM (
    SELECT c.cell, c.region, c.pixel, j.place, o.occupied IS NOT NULL AS seen,
        coalesce(o.occupied, false) AS occupied,
        CAST(greatest(1, least({GRID} - 1, round(p.probability * {GRID}))) AS INTEGER) AS k
    FROM predictions p
    JOIN judged j ON p.prediction_id = j.prediction_id
    JOIN cells c ON p.cell_id = c.cell_id
    LEFT JOIN outcomes o
        ON o.prediction_id = p.prediction_id AND o.horizon_ns = p.horizon_ns AND o.cell_id = p.cell_id
    WHERE p.horizon_ns = $horizon
)
"""

_TALLIES = """
SELECT region, k, CAST(sum(CAST(occupied AS INTEGER)) AS BIGINT) AS positives, count(*) AS rows
FROM scored WHERE seen GROUP BY region, k ORDER BY region, k
"""

_SPANS = """
SELECT region, count(*) AS due, count(DISTINCT cell) AS cells, min(place) AS first, max(place) AS last,
    CAST(sum(c.x) AS BIGINT) AS x, CAST(sum(c.y) AS BIGINT) AS y, CAST(sum(c.z) AS BIGINT) AS z
FROM scored JOIN cells c USING (region, cell) GROUP BY region ORDER BY region
"""

_COURSES = """
SELECT region, place, count(*) AS rows, CAST(sum(loss) AS BIGINT) AS loss
FROM scored WHERE seen GROUP BY region, place ORDER BY region, place
"""

_FLIPS = """
SELECT region, count(*) AS pairs, CAST(sum(CAST(occupied <> earlier AS INTEGER)) AS BIGINT) AS flips
FROM (
    SELECT region, occupied, lag(occupied) OVER (PARTITION BY cell ORDER BY place) AS earlier
    FROM scored WHERE seen
)
WHERE earlier IS NOT NULL GROUP BY region ORDER BY region
"""

_PIXELS = """
SELECT pixel, count(*) AS due, CAST(sum(CAST(seen AS INTEGER)) AS BIGINT) AS observed,
    CAST(sum(loss) AS BIGINT) AS loss, CAST(sum(CASE WHEN seen THEN k ELSE 0 END) AS BIGINT) AS k,
    CAST(sum(CAST(occupied AS INTEGER)) AS BIGINT) AS occupied
FROM scored GROUP BY pixel ORDER BY pixel
"""


def error_table(
    tables: RunTables, *, horizon_ns: int, warmup: int, region_levels: int, half_edge_m: float
) -> ErrorTable | None:
    """Count a run; None where no prediction after the warm-up has an outcome at this horizon.

    warmup : predictions of the first so many sweeps of a stream are left out
    region_levels : regions are ancestors so many LODs coarser than cells; half_edge_m : of a cell
    Raises TableError for damaged files, IdError for a cell id that is none. Deterministic.
    """
    tables.run(_JUDGED, warmup=warmup, horizon=horizon_ns)
    stamps = tables.table("SELECT stamp_ns FROM judged ORDER BY place")["stamp_ns"]
    sweeps = tables.table(
        "SELECT greatest(count(*) - $warmup, 0) AS n FROM sweeps GROUP BY stream_id", warmup=warmup
    )
    if not len(stamps):
        return None
    cell_id = tables.table(
        "SELECT DISTINCT cell_id FROM predictions JOIN judged USING (prediction_id) "
        "WHERE horizon_ns = $horizon ORDER BY cell_id",
        horizon=horizon_ns,
    )["cell_id"]
    lod = max(0, int(decode(cell_id[:1]).lod[0]) - region_levels)
    columns, grid = _give_cells(tables, cell_id, lod, half_edge_m)
    tables.run(_SCORED, horizon=horizon_ns)
    return ErrorTable(
        horizon_ns=horizon_ns,
        lod=lod,
        half_edge_m=half_edge_m * 2.0**region_levels,
        stamp_ns=stamps,
        unjudged=int(sweeps["n"].sum()) - len(stamps),
        regions=_regions(tables, half_edge_m),
        pixels=_pixels(tables, columns, grid),
    )


_CELLS = """
SELECT c.cell_id, c.x, c.y, c.z, count(*) AS due, CAST(sum(CAST(seen AS INTEGER)) AS BIGINT) AS observed,
    CAST(sum(CASE WHEN seen THEN k ELSE 0 END) AS BIGINT) AS k,
    CAST(sum(CAST(occupied AS INTEGER)) AS BIGINT) AS occupied, CAST(sum(loss) AS BIGINT) AS loss
FROM scored JOIN cells c USING (region, cell)
WHERE region = CAST($region AS UBIGINT) GROUP BY c.cell_id, c.x, c.y, c.z ORDER BY c.cell_id
"""


def region_cells(tables: RunTables, region: int, half_edge_m: float) -> CellErrors:
    """The cells of one region, after ``error_table`` has counted the same tables."""
    found = tables.table(_CELLS, region=region)
    rows = np.where(found["observed"] > 0, found["observed"], np.nan)
    return CellErrors(
        cell_id=found["cell_id"],
        position=np.column_stack([found[axis] for axis in "xyz"]) * half_edge_m,
        due=found["due"],
        observed=found["observed"],
        occupied=found["occupied"] / rows,
        forecast=found["k"] / (rows * GRID),
        loss=found["loss"] / (rows * SCALE),
    )


Grid = tuple[float, float, float]
"""Side of a pixel, and x and y of the corner of the map, metres."""


def _give_cells(
    tables: RunTables, cell_id: NDArray[np.uint64], lod: int, half_edge_m: float
) -> tuple[int, Grid]:
    """Make region, site and pixel of every cell known to queries; the columns of pixels, and their grid."""
    sites = decode(cell_id).sites.astype(np.int64)
    low, high = sites[:, :2].min(0), sites[:, :2].max(0)
    side = max(
        2, -(-int((high - low).max() + 1) // MAX_PIXELS)
    )  # half edges; a lattice layer has one site in 2
    column, row = ((sites[:, :2] - low) // side).T
    columns = int(column.max()) + 1
    tables.give(
        "cells",
        pa.table({
            "cell_id": cell_id, "cell": np.arange(len(cell_id), dtype=np.int32),
            "region": ancestor(cell_id, lod), "pixel": row * columns + column,
            "x": sites[:, 0], "y": sites[:, 1], "z": sites[:, 2],
        }),
    )  # fmt: skip
    corner = (low - 0.5) * half_edge_m
    return columns, (side * half_edge_m, float(corner[0]), float(corner[1]))


def _regions(tables: RunTables, half_edge_m: float) -> list[RegionErrors]:
    tallies = {region: _tally(rows) for region, rows in _by_region(tables.batches(_TALLIES))}
    courses = {region: _course(rows) for region, rows in _by_region(tables.batches(_COURSES))}
    flips = tables.table(_FLIPS)
    flipped = dict(zip(flips["region"].tolist(), flips["flips"] / flips["pairs"], strict=True))
    spans = tables.table(_SPANS)
    empty = np.zeros(0, np.int64)
    return [
        RegionErrors(
            region=region, due=due, cells=int(spans["cells"][i]),
            x=spans["x"][i] / due * half_edge_m, y=spans["y"][i] / due * half_edge_m,
            z=spans["z"][i] / due * half_edge_m, first=int(spans["first"][i]), last=int(spans["last"][i]),
            tally=tallies.get(region, Tally(k=empty, positives=empty, negatives=empty)),
            course=courses.get(region, Course(place=empty, rows=empty, loss=np.zeros(0))),
            flips=float(flipped[region]) if region in flipped else None,
        )
        for i, (region, due) in enumerate(zip(spans["region"].tolist(), spans["due"].tolist(), strict=True))
    ]  # fmt: skip


Columns = dict[str, NDArray[Any]]


def _by_region(batches: Iterator[Columns]) -> Iterator[tuple[int, Columns]]:
    """Rows that come in order of their region, one region at a time."""
    pieces = (piece for batch in batches for piece in _pieces(batch))
    for region, parts in groupby(pieces, key=lambda piece: int(piece["region"][0])):
        held = list(parts)
        yield region, {name: np.concatenate([part[name] for part in held]) for name in held[0]}


def _pieces(batch: Columns) -> Iterator[Columns]:
    cuts = np.flatnonzero(np.diff(batch["region"])) + 1
    for start, end in zip([0, *cuts], [*cuts, len(batch["region"])], strict=True):
        if end > start:
            yield {name: values[start:end] for name, values in batch.items()}


def _tally(rows: Columns) -> Tally:
    return Tally(
        k=rows["k"].astype(np.int64), positives=rows["positives"], negatives=rows["rows"] - rows["positives"]
    )


def _course(rows: Columns) -> Course:
    loss = rows["loss"] / (rows["rows"] * float(SCALE))
    return Course(place=rows["place"], rows=rows["rows"], loss=loss)


def _pixels(tables: RunTables, columns: int, grid: Grid) -> Pixels:
    side, x, y = grid
    found = tables.table(_PIXELS)
    observed = found["observed"]
    rows = np.where(observed > 0, observed, np.nan)
    return Pixels(
        side_m=side,
        x=x + (found["pixel"] % columns + 0.5) * side,
        y=y + (found["pixel"] // columns + 0.5) * side,
        due=found["due"],
        observed=observed,
        occupied=found["occupied"],
        loss=found["loss"] / (rows * SCALE),
        forecast=found["k"] / (rows * GRID),
    )
