"""The queue of a run folder, and what stands of the labels given to it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.errors.ranking import enough
from agents.errors.read import RunErrors, counted_errors
from models.online.label_queue import Request, Standing, label_queue
from models.scores.error_table import region_cells
from models.scores.region_errors import CellErrors, RegionErrors
from native.errors import OctaError
from native.index64 import ancestor, from_text, to_text
from stream.labels import Labels, read_labels
from stream.records import LabelRequested
from stream.run_tables import RunTables

FORM = ("cell_id", "label", "weight", "x", "y", "z", "observed", "occupied", "forecast", "loss")
"""Columns of a form; a file of labels needs the first two."""


class LabelError(ValueError):
    """A region or a file that cannot be labelled; says what is known and the way out."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelQueue:
    """The queue of one run, its labels, and where to ask for the cells of a region."""

    errors: RunErrors
    labels: Labels
    standings: dict[int, Standing]
    requests: list[Request]
    tables: RunTables

    def cells(self, region: RegionErrors) -> CellErrors:
        """The cells of a region."""
        return region_cells(self.tables, region.region, self.errors.run.half_edge_m)

    def region(self, name: str) -> RegionErrors:
        """A region by its place in the queue, its number or its text form.  Raises LabelError"""
        if name.isdigit() and 1 <= int(name) <= len(self.requests):
            return self.requests[int(name) - 1].region
        try:
            wanted = int(name) if name.isdigit() else from_text(name)
        except OctaError as error:
            raise LabelError(f"region {name!r}: neither a place in the queue nor an id: {error}") from error
        found = next((r for r in self.errors.table.regions if r.region == wanted), None)
        if found is None:
            raise LabelError(
                f"region {name!r}: has no forecast in this run; octastream label list shows some"
            )
        return found

    def request(self, region: RegionErrors) -> Request | None:
        """Its place in the queue, where it has one."""
        return next((r for r in self.requests if r.region.region == region.region), None)


@contextmanager
def opened_queue(run: Path, count: int, drawn: int = 0, seed: int = 0) -> Iterator[LabelQueue]:
    """The queue of a run folder.  Raises as ``counted_errors``, and TableError for damaged labels"""
    labels = read_labels(run)
    with counted_errors(run) as (errors, tables):
        standings = standings_of(labels, errors.table.lod)
        requests = label_queue(
            errors.table, standings, count=count, least=enough(errors.table), drawn=drawn, seed=seed
        )
        yield LabelQueue(errors=errors, labels=labels, standings=standings, requests=requests, tables=tables)


def standings_of(labels: Labels, lod: int) -> dict[int, Standing]:
    """Labelled cells by region; a cell counts once, whatever the number of sweeps it was labelled in."""
    if not len(labels):
        return {}
    cell_id, first = np.unique(labels.cell_id, return_index=True)
    contradicted = np.add.reduceat(labels.contradicted, first) > 0
    region, inverse = np.unique(ancestor(cell_id, lod), return_inverse=True)
    labelled, odd = np.bincount(inverse), np.bincount(inverse, contradicted).astype(int)
    return {
        int(name): Standing(labelled=int(labelled[i]), contradicted=int(odd[i]))
        for i, name in enumerate(region)
    }


def write_form(path: Path, cells: CellErrors, labels: Labels, request: Request | None) -> None:
    """A CSV of a region's cells to fill in: a column ``label``, empty where nobody has said anything.

    Its ``weight`` makes up for regions like this one that were not drawn. Raises OSError
    """
    code, _ = labels.of_cells(cells.cell_id, 0)
    weight = 1.0 if request is None else 1.0 / request.inclusion
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(FORM)
        for i, cell in enumerate(cells.cell_id.tolist()):
            label = labels.classes[code[i]] if code[i] >= 0 else ""
            place = (f"{value:.2f}" for value in cells.position[i].tolist())
            means = (
                f"{v[i]:.4f}" if np.isfinite(v[i]) else ""
                for v in (cells.occupied, cells.forecast, cells.loss)
            )
            rows.writerow((to_text(cell), label, f"{weight:g}", *place, int(cells.observed[i]), *means))


def records_of(queue: LabelQueue) -> list[LabelRequested]:
    """The queue as messages."""
    run = queue.errors.run
    robot_id = run.stream_id[0].partition("/")[0]
    return [
        LabelRequested(
            robot_id=robot_id, stamp_ns=int(run.stamp_ns[-1]), region=to_text(request.region.region),
            reason=request.reason, value=request.value, inclusion=request.inclusion,
            cell_id=queue.cells(request.region).cell_id,
        )
        for request in queue.requests
    ]  # fmt: skip
