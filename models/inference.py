"""Batch inference: forecasts for the windows of a stored container, one after the other, into another one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from models.datasets.place import Place
from models.datasets.stored import PARTS, VERSION, StoredContainer, grids_of
from models.datasets.window import (
    FEATURES,
    SOURCE,
    STAMP,
    Window,
    cells_of_grid,
    grid_of_lattice,
    said_of,
    with_column,
    with_stamp,
)
from models.manifest import ModelRefused
from models.model import Model
from native.arrow import PREFIX
from native.grid import Grid
from native.neighbors import neighbor_table
from native.schema import MismatchError
from stream.files import replacing
from stream.progress import Progress

JOB = "predict.json"
"""What a folder of forecasts is made of: only the same goes on where it was cut off."""

PROBABILITY, MODEL = "probability", "model_id"
PART_ROWS = 2**18


class Served(Protocol):
    """Which model answers for a window.

    model_ids : all that may, in an order that is always the same; digest : of all their files
    half_edge_m, lod, schema_hash, horizons_ns : what they were made for
    """

    @property
    def model_ids(self) -> tuple[str, ...]: ...
    @property
    def digest(self) -> str: ...
    @property
    def half_edge_m(self) -> float: ...
    @property
    def lod(self) -> int: ...
    @property
    def schema_hash(self) -> str: ...
    @property
    def horizons_ns(self) -> tuple[int, ...]: ...

    def model_of(self, stamp_ns: int, source: int | None) -> Model:
        """The model for a window by its stamp and the number of its stream, None where it does not say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a container came to.

    windows, rows : of all the container; known : windows that had been predicted before
    """

    windows: int
    rows: int
    known: int


class BatchInferenceEngine:
    """Runs models over stored containers, by the same code as the loop: equal inputs give the same bits.

    part_rows : forecasts appear in parts of about so many; what is cut off repeats one part at most

    One window is in memory at a time, whatever the length of the container.
    """

    def __init__(self, served: Served, part_rows: int = PART_ROWS) -> None:
        if part_rows < 1:
            raise ValueError(f"part_rows: {part_rows} must be >= 1")
        self._served, self._part_rows = served, part_rows

    def predict_container(
        self,
        input_container: Path,
        output_container: Path,
        lod: int,
        *,
        frame_id: int | None = None,
        progress: Progress | None = None,
    ) -> Predicted:
        """Forecast every window of one LOD.

        input_container : with the column ``features``
        output_container : a folder, made where it is missing. Where the same was begun it is gone on with,
            and ends as the same bytes
        frame_id : whose cells; None where the container has one frame at this LOD
        Writes windows of ``cell_id``, ``stamp_ns``, ``source`` where it is known, ``model_id``, and
        ``probability``, a float32 a horizon, which are ``octa.horizons_ns`` in the metadata.
        Raises StoredError, MismatchError (no such cells, no features), ModelRefused (of other features or
        another lattice), ModelFailed, FileExistsError for a folder of something else, OSError
        """
        stored = StoredContainer(input_container, _frame_of(input_container, lod, frame_id), lod)
        grid = self._check(stored)
        job = {"version": VERSION, "input": stored.digest(self._part_rows), "models": self._served.digest}
        _begin(output_container, job)
        sizes = stored.sizes()
        parts = _split(sizes, self._part_rows)
        listed, known = [], 0
        for number, (first, last) in enumerate(parts):
            name = f"part-{number:05d}.arrow"
            rows = sum(sizes[first:last])
            listed.append({"file": name, "windows": last - first, "rows": rows})
            if (output_container / name).exists():
                known += last - first
                continue
            self._write(stored, grid, range(first, last), output_container / name, progress, len(sizes))
        _put(output_container / PARTS, json.dumps({"version": VERSION, "parts": listed}, indent=1) + "\n")
        return Predicted(windows=len(sizes), rows=sum(sizes), known=known)

    def _check(self, stored: StoredContainer) -> Grid:
        """The lattice of the cells.  Raises MismatchError, ModelRefused"""
        said, served = said_of(stored.schema), self._served
        if FEATURES not in stored.schema.names:
            raise MismatchError(
                f"{stored.place}: has no column {FEATURES}; octastream dataset windows writes it"
            )
        found = {
            "half_edge_m": stored.half_edge_m, "lod": stored.lod,
            "schema_hash": said.get("feature_schema_sha256", ""),
        }  # fmt: skip
        for name, value in found.items():
            if getattr(served, name) != value:
                raise ModelRefused(
                    f"{served.model_ids[0]}: {name}: model has {getattr(served, name)!r}, "
                    f"{stored.place} {value!r}"
                )
        return grid_of_lattice(said)

    def _write(
        self,
        stored: StoredContainer,
        grid: Grid,
        numbers: range,
        path: Path,
        progress: Progress | None,
        total: int,
    ) -> None:
        """One part: beside its place first, so that a reader never sees half of it."""
        writer: ipc.RecordBatchFileWriter | None = None
        with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
            for number, window in zip(numbers, stored.windows(numbers.start, numbers.stop), strict=True):
                batch = self._predict(window, grid)
                writer = writer or ipc.new_file(file, batch.schema)
                writer.write_batch(batch)
                if progress is not None:
                    progress(number + 1, total, "")
            assert writer is not None, "a part has a window at least"
            writer.close()

    def _predict(self, window: Window, grid: Grid) -> pa.RecordBatch:
        ids = self._served.model_ids
        source = window.batch.column(SOURCE) if SOURCE in window.batch.schema.names else None
        first = source[0].as_py() if source is not None and len(source) else None
        model = self._served.model_of(window.stamp_ns, first)
        probability = model.predict(window.feature_matrix(), neighbor_table(window.cell_id))
        batch = cells_of_grid(grid, window.cell_id)
        if STAMP in window.batch.schema.names:
            batch = with_stamp(batch, window.stamp_ns)
        if source is not None:
            batch = with_column(batch, SOURCE, source.to_numpy())
        place = pa.array(np.full(len(batch), ids.index(model.model_id), np.int32))
        names = pa.DictionaryArray.from_arrays(place, pa.array(ids))
        batch = batch.append_column(pa.field(MODEL, names.type, nullable=False), names)
        batch = with_column(batch, PROBABILITY, probability)
        horizons = json.dumps(list(self._served.horizons_ns)).encode()
        return batch.replace_schema_metadata(
            batch.schema.metadata | {f"{PREFIX}horizons_ns".encode(): horizons}
        )


def _frame_of(path: Path, lod: int, frame_id: int | None) -> int:
    """The frame that was asked for, or the only one."""
    if frame_id is not None:
        return frame_id
    grids = grids_of(path)
    frames = sorted({grid.frame for grid in grids if grid.lod == lod})
    if len(frames) != 1:
        there = "; ".join(f"frame {grid.frame}, LOD {grid.lod}" for grid in grids) or "none"
        raise MismatchError(f"{path}: cells of LOD {lod} in {len(frames)} frames; name one of: {there}")
    return frames[0]


def _split(sizes: list[int], part_rows: int) -> list[tuple[int, int]]:
    """First window of every part, and the one after its last."""
    begins, rows = [], part_rows
    for number, size in enumerate(sizes):
        if rows >= part_rows:
            begins.append(number)
            rows = 0
        rows += size
    return list(zip(begins, [*begins[1:], len(sizes)], strict=True))


def _begin(folder: Path, job: dict[str, Any]) -> None:
    """Claim a folder for a job, or go on with it.  Raises FileExistsError"""
    held = folder / JOB
    if Place(folder).is_empty():
        folder.mkdir(parents=True, exist_ok=True)
        _put(held, json.dumps(job, indent=1) + "\n")
        return
    try:
        same = json.loads(held.read_text(encoding="utf-8")) == job
    except (OSError, ValueError):
        raise FileExistsError(f"{folder}: holds other things; name a folder that is new or empty") from None
    if not same:
        raise FileExistsError(
            f"{folder}: holds forecasts of another container or of other models; name another folder"
        )


def _put(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
