"""Tables of objects beside training sets: which cells of a sweep are one thing, and what these hold together.

A table of objects is a training set of its own: a row is an object at a moment, placed by one of its cells.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.targets.stored import StoredSweep, stored_sweeps
from agents.training_sets.build import RunSource
from agents.training_sets.rows import schema_said
from models.datasets.labelled import LabelContainer
from models.datasets.window import lattice_metadata, said_of
from models.training_sets.columns import FEATURE_SCHEMAS, with_metadata
from models.training_sets.manifest import MANIFEST, Build, Manifest, TrainingSetError
from models.training_sets.partition import CELL, STAMP, STREAM, PartitionWriter
from models.training_sets.publish import publishing
from models.training_sets.read import TrainingSet, readable
from native.index64 import decode
from stream.annotations.cell_labels import NO_INSTANCE
from stream.cell_rows import locate
from stream.config import Config
from stream.container import grid_of
from stream.features import schema_of
from stream.framed import source_of
from stream.progress import Progress
from stream.records import robot_of
from stream.run_folder import RunFolder
from stream.sweep_rows import count_sweeps

POOLS = ("mean", "least", "greatest")
"""Of each feature over the cells of an object, one after the other."""

FOUND_COLUMNS = {
    "robot_id": pa.string(), STAMP: pa.int64(), "track_id": pa.int64(), "class": pa.string(),
    CELL: pa.list_(pa.uint64()),
}  # fmt: skip
"""What is read of a table of ``octastream objects find``."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Thing:
    """One object at a moment.  name : its number, the same at every stamp; cell_id : uint64, ascending"""

    name: int
    label: str | None
    cell_id: NDArray[np.uint64]


class Things(Protocol):
    """Who says which cells are one object.  origin : in the table, ``labels`` or ``found``"""

    @property
    def origin(self) -> str: ...

    def of(self, sweep: StoredSweep) -> Sequence[Thing]:
        """The objects of a sweep, by number."""
        ...


class LabelledThings:
    """Instances of a label container. Raises StoredError, MismatchError for another lattice than the run's"""

    origin = "labels"

    def __init__(self, path: Path, config: Config) -> None:
        grid = grid_of(config)
        self._labels = LabelContainer(path, grid.frame, grid.lod)
        if self._labels.half_edge_m != grid.half_edge_m:
            raise TrainingSetError(
                f"{path}: cells have half edges of {self._labels.half_edge_m} m, those of the run "
                f"{grid.half_edge_m} m"
            )

    def of(self, sweep: StoredSweep) -> Sequence[Thing]:
        """Cells by the instance that has most of them."""
        labels = self._labels.labels((sweep.stamp_ns, source_of(sweep.stream_id)))
        if labels is None:
            return []
        found = []
        for name in np.unique(labels.instance[labels.instance != NO_INSTANCE]).tolist():
            own = labels.instance == name
            code = int(np.bincount(labels.code[own]).argmax())
            found.append(Thing(name=name, label=labels.classes[code], cell_id=labels.cell_id[own]))
        return found


class FoundThings:
    """Tracks of a table of ``octastream objects find``. Raises TrainingSetError for another file"""

    origin = "found"

    def __init__(self, path: Path) -> None:
        with readable(path):
            there = pq.read_schema(path)
            for name, kind in FOUND_COLUMNS.items():
                if name not in there.names or there.field(name).type != kind:
                    raise TrainingSetError(
                        f"{path}: has no column {name} of {kind}; give a table of octastream objects find"
                    )
            rows = pq.read_table(path, columns=list(FOUND_COLUMNS)).to_pylist()
        self._things: dict[tuple[str, int], list[Thing]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: row["track_id"]):
            cells = np.unique(np.array(row[CELL], np.uint64))
            if not len(cells):
                raise TrainingSetError(f"{path}: track {row['track_id']} at {row[STAMP]} has no cells")
            thing = Thing(name=row["track_id"], label=row["class"], cell_id=cells)
            self._things[row["robot_id"], row[STAMP]].append(thing)

    def of(self, sweep: StoredSweep) -> Sequence[Thing]:
        """Those of the robot at the stamp."""
        return self._things.get((robot_of(sweep.prediction_id), sweep.stamp_ns), [])


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltObjects:
    """What a build brought.

    sweeps, rows : with an object; known : sweeps that were in the table
    skewed : sweeps left out, since their features could not be rebuilt; apart : objects without any cell in
    the window that was predicted from, whose ``pooled`` is null
    """

    sweeps: int
    rows: int
    known: int
    skewed: int
    apart: int


def table_beside(training_set: Path) -> Path:
    """Where the objects of a training set are."""
    return training_set.with_name(f"{training_set.name}-objects")


def object_schema(config: Config) -> pa.Schema:
    """Columns and metadata of a table of objects; ``octa.pooled`` names the values of ``pooled``."""
    features = schema_of(config)
    names = [f"{name}_{pool}" for pool in POOLS for name in features.names]
    fields = [
        pa.field(CELL, pa.uint64(), nullable=False),
        pa.field(STAMP, pa.int64(), nullable=False),
        pa.field(STREAM, pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("cells", pa.list_(pa.uint64()), nullable=False),
        pa.field("pooled_cells", pa.int32(), nullable=False),
        pa.field("pooled", pa.list_(pa.float32(), len(names))),
    ]
    said = {
        **lattice_metadata(grid_of(config)),
        FEATURE_SCHEMAS: json.dumps({"": schema_said(features)}),
        "pooled": json.dumps(names),
    }
    return with_metadata(pa.schema(fields), said)


def build_objects(
    sources: Sequence[RunSource], things: Sequence[Things], out: Path, region_lod: int, progress: Progress
) -> BuiltObjects:
    """Add the objects of the sweeps of runs to a table, which is made where there is none.

    sources : whole runs; things : who says what is an object, each origin once
    region_lod : of the partitions of a new table
    A sweep is added once for each origin; what is there is not touched. Deterministic.
    Raises TrainingSetError (another grid or features than the table's, or no object at all), TableError
    """
    schema = object_schema(sources[0].config)
    counts: Counter[str] = Counter()
    with publishing(out) as publication:
        stored = TrainingSet(out) if (out / MANIFEST).is_file() else None
        manifest = stored.manifest if stored else Manifest(region_lod=region_lod)
        expected = said_of(stored.schema if stored else schema)
        known = {
            (build.where, stream, stamp_ns)
            for build in manifest.builds
            for stream, stamps in build.sweeps.items()
            for stamp_ns in stamps
        }
        writer = PartitionWriter(publication.stage, manifest.region_lod, len(manifest.builds))
        builds: list[Build] = []
        for source in sources:
            if said_of(object_schema(source.config)) != expected:
                raise TrainingSetError(
                    f"{source.path}: its cells or features are not those of {out}; build another set"
                )
            builds += _add(source, things, schema, known, writer, counts, progress)
        writer.flush()
        if writer.rows:
            publication.publish(manifest.with_parts(publication.parts, *builds))
        elif stored is None:
            raise TrainingSetError(f"{out}: no sweep of the runs has an object")
    return BuiltObjects(
        sweeps=counts["sweeps"], rows=writer.rows, known=counts["known"], skewed=counts["skewed"],
        apart=counts["apart"],
    )  # fmt: skip


def _add(
    source: RunSource,
    things: Sequence[Things],
    schema: pa.Schema,
    known: set[tuple[str, str, int]],
    writer: PartitionWriter,
    counts: Counter[str],
    progress: Progress,
) -> list[Build]:
    """Add what is new of a run; ``known`` grows by it."""
    total = count_sweeps(source.path)
    added: dict[str, dict[str, tuple[int, ...]]] = {each.origin: {} for each in things}
    for done, sweep in enumerate(stored_sweeps(RunFolder(source.path), source.config), 1):
        progress(done, total, sweep.stream_id)
        if not sweep.matches:
            counts["skewed"] += 1
            continue
        rows = []
        for each in things:
            if (each.origin, sweep.stream_id, sweep.stamp_ns) in known:
                counts["known"] += 1
                continue
            found = [_row(sweep, thing, each.origin) for thing in each.of(sweep)]
            if found:
                known.add((each.origin, sweep.stream_id, sweep.stamp_ns))
                stamps = added[each.origin].get(sweep.stream_id, ())
                added[each.origin][sweep.stream_id] = (*stamps, sweep.stamp_ns)
                counts["apart"] += sum(row["pooled"] is None for row in found)
                rows += found
        if rows:
            counts["sweeps"] += 1
            writer.add(pa.Table.from_pylist(rows, schema=schema))
    return [
        Build(source=str(source.path), where=origin, sweeps=sweeps)
        for origin, sweeps in added.items()
        if sweeps
    ]


def _row(sweep: StoredSweep, thing: Thing, origin: str) -> dict[str, Any]:
    """A row of the table; ``cell_id`` is the object's cell nearest to the middle of them all."""
    sites = decode(thing.cell_id).sites.astype(np.float64)
    middle = np.linalg.norm(sites - sites.mean(0), axis=1).argmin()
    place, known = locate(sweep.features.cell_id, thing.cell_id)
    x = sweep.features.x[place[known]]
    pooled = np.concatenate([x.mean(0, np.float64), x.min(0), x.max(0)]) if len(x) else None
    return {
        CELL: int(thing.cell_id[middle]), STAMP: sweep.stamp_ns, STREAM: sweep.stream_id, "origin": origin,
        "object_id": thing.name, "class": thing.label, "cells": thing.cell_id, "pooled_cells": len(x),
        "pooled": None if pooled is None else pooled.astype(np.float32),
    }  # fmt: skip
