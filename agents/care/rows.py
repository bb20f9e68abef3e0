"""Whose rows, and of what time, lie in the files of a run folder: read from their keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.care.subject import CareError, Subject
from stream.records import robot_of
from stream.run_folder import CONTAINERS
from stream.sweep_rows import SWEEPS, sweep_files

DATASETS = (CONTAINERS, "predictions", "shadows", "outcomes", "features")
"""Folders of chunks, containers first: what everything else can be rebuilt from goes first."""

OBSERVED = "observed_stamp_ns"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Keys of the N rows of one file.

    robots : R ids; robot : int64 (N,), which of them; stamp_ns : int64 (N,)
    observed_ns : int64 (N,), for outcomes the stamp of the sweep that revealed them, else ``stamp_ns``
    """

    robots: list[str]
    robot: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]
    observed_ns: NDArray[np.int64]

    def covered(self, subject: Subject) -> NDArray[np.bool_]:
        """Rows of a subject, bool (N,): outcomes count by forecast and by the sweep that revealed them."""
        meant = np.array([subject.has_robot(name) for name in self.robots], np.bool_)
        if not len(self.robot) or not meant.any():
            return np.zeros(len(self.robot), np.bool_)
        covered: NDArray[np.bool_] = meant[self.robot] & (
            subject.in_span(self.stamp_ns) | subject.in_span(self.observed_ns)
        )
        return covered

    def span(self, chosen: NDArray[np.bool_]) -> tuple[int, int] | None:
        """First and last stamp of chosen rows, None without any."""
        stamps = self.stamp_ns[chosen]
        return (int(stamps.min()), int(stamps.max())) if len(stamps) else None


def files_of(run: Path) -> Iterator[tuple[str, Path]]:
    """Every file of rows with its dataset, in the order in which a deletion goes through them."""
    for dataset in DATASETS:
        for path in sorted((run / dataset).glob("part-*")):
            yield dataset, path
    for path in sweep_files(run):
        yield SWEEPS, path


def read_rows(dataset: str, path: Path) -> Rows:
    """Keys of one file; other columns are not decoded.  Raises CareError for a file that cannot be read"""
    try:
        return _container_rows(path) if dataset == CONTAINERS else _prediction_rows(path)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise CareError(
            f"{path}: cannot be read, so whose rows it holds is unknown: {' '.join(str(error).split())}; "
            "take the file away yourself"
        ) from error


def _container_rows(path: Path) -> Rows:
    with pa.memory_map(str(path)) as source:
        table = ipc.open_file(source).read_all().select(["robot_id", "stamp_ns"])
        names = table["robot_id"].combine_chunks().dictionary_encode()
        robot = np.asarray(names.indices, np.int64)
        stamps = np.array(table["stamp_ns"], np.int64)
    return Rows(names.dictionary.to_pylist(), robot, stamps, stamps)


def _prediction_rows(path: Path) -> Rows:
    columns = ["prediction_id", *([OBSERVED] if path.parent.name == "outcomes" else [])]
    table = pq.read_table(path, columns=columns)
    names = table["prediction_id"].combine_chunks().dictionary_encode()
    code = np.asarray(names.indices, np.int64)
    ids = names.dictionary.to_pylist()
    robots = sorted({robot_of(name) for name in ids})
    place = {name: number for number, name in enumerate(robots)}
    stamps = np.array([int(name.rsplit("/", 1)[1]) for name in ids], np.int64)[code]
    robot = np.array([place[robot_of(name)] for name in ids], np.int64)[code]
    observed = np.array(table[OBSERVED], np.int64) if OBSERVED in columns else stamps
    return Rows(robots, robot, stamps, observed)
