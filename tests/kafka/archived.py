"""What Archive has stored of one partition: files, and the chunk that its last snapshot holds open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.archive import Archive
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from agents.protocol import WriteTable
from agents.simulation.topics import Identity, fingerprint, identity
from agents.task_id import TaskId
from stream.features import digest_arrays
from stream.records import EndOfLog
from stream.run_folder import CONTAINERS, RunFolder
from stream.sweep_rows import SWEEPS
from stream.tables import binned_from_batch
from stream.topics import ARCHIVE
from tests.kafka.ledger import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """parts : of predictions and outcomes; containers : fingerprints by identity

    shadows, sweeps : ids of their predictions; doubled : of sweeps with several rows
    """

    parts: set[Part]
    containers: dict[Identity, str]
    shadows: set[str]
    sweeps: set[str]
    doubled: set[str]


def read_archived(settings: KafkaSettings, partition: int) -> Archived:
    """All that is stored of a partition, read from its files and its last snapshot."""
    folder = RunFolder(settings.folder / "archive" / f"{partition:03d}")
    rest = _open_chunk(settings, partition)
    parts: set[Part] = set()
    for table in _tables(folder, "predictions", rest):
        parts |= set(_parts("0-predictions", table, ("probability",)))
    for table in _tables(folder, "outcomes", rest):
        parts |= set(_parts("1-outcomes", table, ("occupied", "before")))
    containers = {identity(record): fingerprint(record) for record in _containers(folder, rest)}
    sweeps = Counter(
        name for table in _tables(folder, SWEEPS, rest) for name in table["prediction_id"].to_pylist()
    )
    return Archived(
        parts=parts,
        containers=containers,
        shadows={name for table in _tables(folder, "shadows", rest) for name in _ids(table)},
        sweeps=set(sweeps),
        doubled={name for name, rows in sweeps.items() if rows > 1},
    )


def _open_chunk(settings: KafkaSettings, partition: int) -> dict[str, pa.Table]:
    """What would be written if the log ended here: a chunk is written when it is full."""
    snapshot = SnapshotStore(settings.snapshots).newest(TaskId(ARCHIVE, partition, settings.partitions))
    archive = Archive()
    if snapshot is not None:
        archive.restore(snapshot.agent)
    effects = archive.handle(EndOfLog()).effects
    return {effect.dataset: effect.table for effect in effects if isinstance(effect, WriteTable)}


def _tables(folder: RunFolder, dataset: str, rest: dict[str, pa.Table]) -> Iterator[pa.Table]:
    for path in sorted((folder.path / dataset).glob("*.parquet")):
        yield pq.read_table(path)
    if dataset in rest:
        yield rest[dataset]


def _containers(folder: RunFolder, rest: dict[str, pa.Table]) -> Iterator[Any]:
    robots = set()
    for path in sorted((folder.path / CONTAINERS).glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            robots |= set(pa.ipc.open_file(source).read_all()["robot_id"].to_pylist())
    for robot in sorted(robots):
        yield from folder.records(robot, 0, 2**62)
    for batch in rest[CONTAINERS].to_batches() if CONTAINERS in rest else []:
        for row in range(batch.num_rows):
            yield binned_from_batch(batch, row)


def _ids(table: pa.Table) -> list[str]:
    return list(table["prediction_id"].unique().to_pylist())


def _parts(name: str, table: pa.Table, columns: tuple[str, ...]) -> Iterator[Part]:
    """Digests of the rows of each prediction and horizon, which lie together."""
    ids = table["prediction_id"].combine_chunks().dictionary_encode()
    code, horizon = np.asarray(ids.indices), table["horizon_ns"].to_numpy()
    values = [table[column].to_numpy() for column in ("cell_id", *columns)]
    changes = np.flatnonzero((code[1:] != code[:-1]) | (horizon[1:] != horizon[:-1])) + 1
    for rows in np.split(np.arange(len(code)), changes) if len(code) else []:
        begin, end = rows[0], rows[-1] + 1
        digest = digest_arrays(*(array[begin:end] for array in values))
        yield (name, ids.dictionary[int(code[begin])].as_py(), int(horizon[begin]), digest)
