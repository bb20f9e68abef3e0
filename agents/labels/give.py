"""Labels into a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agents.report.source import ReportError, read_run, section
from agents.report.source import RunFolder as ReadRun
from models.datasets.labelled import LabelContainer
from models.datasets.stored import grids_of
from native.schema import MismatchError
from stream.annotations.cell_labels import CellLabels
from stream.label_files import Defaults, read_label_file
from stream.labels import Labels, merge_labels, read_words
from stream.records import LabelGiven
from stream.run_folder import LABELS, RunFolder
from stream.tables import LABEL_SCHEMA, TableError, label_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What came of a file, and what stands now.

    rows : with a label; empty : without; known : words that the run had already
    elsewhere : cells that the run never forecast
    """

    rows: int
    empty: int
    known: int
    elsewhere: int
    labels: Labels


def defaults_for(path: Path, robot_id: str, author: str | None, stamp_ns: int | None) -> Defaults:
    """What counts where the rows of a file do not say it.

    Its author is its name, and it was said when the file was written last: so the same file given twice is
    the same words.
    """
    return Defaults(
        robot_id=robot_id,
        author=path.stem if author is None else author,
        stamp_ns=path.stat().st_mtime_ns if stamp_ns is None else stamp_ns,
    )


def give_file(run: Path, path: Path, author: str | None = None, stamp_ns: int | None = None) -> Given:
    """Add the labels of a file, or of a label container, to a run folder.

    Raises ReportError where ``run`` is no run, or is the archive of a cluster, LabelFileError, TableError,
    StoredError, MismatchError, OSError; nothing is added then
    """
    found = read_run(run)
    if not (run / "config.yaml").is_file():  # Archive numbers what it writes by itself
        raise ReportError(
            f"{run}: has no config.yaml, as an archive of workers; send labels of it: label send"
        )
    robot_id = found.stream_id[0].partition("/")[0] if found.stream_id else ""
    defaults = defaults_for(path, robot_id, author, stamp_ns)
    if path.is_dir():
        words, empty = words_of_container(path, defaults, lod_of(found)), 0
    else:
        words, empty = read_label_file(path, defaults, lod_of(found))
    table = pa.concat_tables([LABEL_SCHEMA.empty_table(), *map(label_table, words)])
    stored = read_words(run)
    fresh = table.join(stored, keys=LABEL_SCHEMA.names, join_type="left anti")
    elsewhere = _elsewhere(run, words)
    if len(fresh):
        chunks = [int(part.stem.removeprefix("part-")) for part in (run / LABELS).glob("part-*.parquet")]
        RunFolder(run).write_table(LABELS, fresh, max(chunks, default=-1) + 1, durable=True)
    return Given(
        rows=len(table),
        empty=empty,
        known=len(table) - len(fresh),
        elsewhere=elsewhere,
        labels=merge_labels(pa.concat_tables([stored, fresh])),
    )


def words_of_container(path: Path, defaults: Defaults, lod: int) -> list[LabelGiven]:
    """One word a sweep and class, on the cells of which it has the greatest share.

    Raises StoredError, MismatchError for another kind of container, cells of several lattices or another LOD
    """
    grids = [grid for grid in grids_of(path) if grid.lod == lod]
    if len(grids) != 1:
        raise MismatchError(
            f"{path}: has cells of {len(grids)} lattices of LOD {lod}, that of the run's cells"
        )
    container = LabelContainer(path, grids[0].frame, lod)

    def word(stamp_ns: int, labels: CellLabels, code: int) -> LabelGiven:
        return LabelGiven(
            robot_id=defaults.robot_id, stamp_ns=defaults.stamp_ns, author=defaults.author,
            label=container.classes[code], at_ns=stamp_ns, weight=1.0,
            cell_id=labels.cell_id[labels.code == code],
        )  # fmt: skip

    said = [(key[0], labels) for key in container if (labels := container.labels(key)) is not None]
    return [word(at, labels, code) for at, labels in said for code in np.unique(labels.code).tolist()]


def lod_of(run: ReadRun) -> int:
    """LOD of the cells of a run."""
    return int(section(run.summary, "grid").get("lod") or section(run.config, "grid").get("lod") or 7)


def _elsewhere(run: Path, words: list[LabelGiven]) -> int:
    """Cells that the run has no forecast of; they wait for a run that has."""
    cells = np.unique(np.concatenate([np.zeros(0, np.uint64), *(word.cell_id for word in words)]))
    known = np.zeros(len(cells), np.bool_)
    try:
        for path in sorted((run / "predictions").glob("*.parquet")):
            known |= np.isin(cells, pc.unique(pq.read_table(path, columns=["cell_id"])["cell_id"]).to_numpy())
    except pa.ArrowException as error:
        raise TableError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    return int((~known).sum())
