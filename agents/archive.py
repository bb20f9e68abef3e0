"""Archive: everything that happened, in chunks, as the run folder's tables and events."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from agents.newest import Newest
from agents.protocol import Agent, Step, StepBuilder, WriteEvent, WriteTable
from stream.codecs.state import Pieces, from_dict, to_dict, unpack_fields
from stream.features import digest_arrays
from stream.records import (
    HOLDS,
    Binned,
    EndOfLog,
    Event,
    FeatureSample,
    LabelGiven,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
    robot_of,
)
from stream.run_folder import CONTAINERS, LABELS, container_table
from stream.sweep_rows import SWEEPS
from stream.tables import (
    binned_to_batch,
    check_binned_schema,
    feature_table,
    label_table,
    outcome_table,
    prediction_table,
    shadow_table,
    sweep_table,
)

CHUNK_SWEEPS = 32
"""Sweeps a file; a chunk of the default grid holds a million prediction rows."""
CROWD = 8
"""So many records a prediction, of outcomes above all, do not wait for the next sweep."""

MAX_NAMES = 16_384
"""Robots, and kinds of records of a stream, whose newest one is known: what comes again is told by it."""

SNAPSHOT = frozenset(
    (
        "chunks",
        "known",
        "counts",
        "held",
        "dead_letters",
        "digest",
        "batches",
        "tables",
        "predictions",
        "latency",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds by stage of one prediction, measured by the runtime."""

    prediction_id: str
    milliseconds: dict[str, float]


class RunDigest:
    """Sha256 over predictions, then outcomes, whatever order they came in.

    A table's rows are sorted by all key columns; rows of one prediction (and horizon) are hashed as
    little-endian columns, and those hashes are hashed in key order.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str, int], str] = {}

    def add_prediction(self, record: Prediction) -> None:
        """Add one prediction; the same prediction again changes nothing."""
        for column, horizon in enumerate(record.horizons_ns):
            self._parts["0-predictions", record.prediction_id, horizon] = digest_arrays(
                record.cell_id, record.probability[:, column]
            )

    def add_outcome(self, record: Outcome) -> None:
        """Add one outcome; the same outcome again changes nothing."""
        self._parts["1-outcomes", record.prediction_id, record.horizon_ns] = digest_arrays(
            record.cell_id, record.occupied, record.before
        )

    def hex(self) -> str:
        """The digest so far."""
        sha = hashlib.sha256()
        for (table, prediction_id, horizon), part in sorted(self._parts.items()):
            sha.update(f"{table} {prediction_id} {horizon} {part}\n".encode())
        return sha.hexdigest()

    def state(self) -> list[list[Any]]:
        """Plain values."""
        return [[*key, part] for key, part in sorted(self._parts.items())]

    def restore(self, state: list[list[Any]]) -> None:
        """Continue from ``state``."""
        self._parts = {(table, name, horizon): part for table, name, horizon, part in state}


class Archive(Agent):
    """Every record in; chunks of tables and lines of events out, as effects.

    chunk_sweeps : predictions a chunk, > 0; containers hold up to twice as many sweeps and parts, other
        tables up to CROWD times as many records
    digest : told of the whole run, with which it grows; None for a log without end
    """

    def __init__(self, chunk_sweeps: int = CHUNK_SWEEPS, digest: RunDigest | None = None) -> None:
        self._chunk_sweeps, self.digest = chunk_sweeps, digest
        self.counts: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self._chunks: Counter[str] = Counter()  # written, by dataset
        self._newest = Newest(MAX_NAMES)  # seq by robot, stamp by kind and stream
        self._tables: dict[str, list[pa.Table]] = {}
        self._held: Counter[str] = Counter()  # records in these tables
        self._batches: list[pa.RecordBatch] = []
        self._predictions: list[Prediction] = []
        self._latency: dict[str, dict[str, float]] = {}

    def handle(self, record: Any) -> Step:
        """Fold any record of the system."""
        step = StepBuilder()
        if isinstance(record, Binned):
            if self._is_new(name_of(record), record.seq):
                self._binned(record, step)
        elif isinstance(record, Outcome):
            if self._is_new(name_of(record), record.stamp_ns):
                self._outcome(record)
        elif isinstance(record, Prediction | Shadow | FeatureSample):
            if self._is_new(name_of(record), record.stamp_ns):
                self._by_stamp(record)
        elif isinstance(record, LabelGiven):  # few and far between: each is there at once
            self._write(LABELS, label_table(record), step)
        elif isinstance(record, Latency):
            self._latency[record.prediction_id] = record.milliseconds
        elif isinstance(record, EndOfLog):
            self._flush(step)
        elif isinstance(record, Event | ModelActivated | ModelPublished | SweepRejected):
            self._event(record, step)
        else:
            raise TypeError(f"Archive does not handle {type(record).__name__}")
        if max(self._held.values(), default=0) >= CROWD * self._chunk_sweeps:
            self._flush(step)  # Judge or Learn catches up, and no sweep begins
        return step.build()

    def _is_new(self, name: str, number: int) -> bool:
        """Whether a record is no redelivery: all of one name come with ascending numbers."""
        new = number > self._newest.get(name)
        if new:
            self._newest.note(name, number)
        return new

    def _by_stamp(self, record: Prediction | Shadow | FeatureSample) -> None:
        if isinstance(record, Prediction):
            self._prediction(record)
        elif isinstance(record, Shadow):
            self._add("shadows", shadow_table(record))
        else:
            self._add("features", feature_table(record))

    def _full(self) -> bool:
        chunk = self._chunk_sweeps
        return len(self._predictions) >= chunk or len(self._batches) >= 2 * chunk

    def _binned(self, record: Binned, step: StepBuilder) -> None:
        if self._full():  # a sweep begins: the latency of the one before is in
            self._flush(step)
        self.counts["sweeps"] += record.part == 0
        for name in ("points", "masked", "misses"):
            self.counts[name] += getattr(record, name)
        self._batches.append(binned_to_batch(record))

    def _prediction(self, record: Prediction) -> None:
        self.counts["predictions"] += 1
        self.counts["cells"] += len(record.cell_id)
        if self.digest is not None:
            self.digest.add_prediction(record)
        self._add("predictions", prediction_table(record))
        self._predictions.append(record)

    def _outcome(self, record: Outcome) -> None:
        if self.digest is not None:
            self.digest.add_outcome(record)
        self._add("outcomes", outcome_table(record))

    def _add(self, dataset: str, table: pa.Table) -> None:
        self._tables.setdefault(dataset, []).append(table)
        self._held[dataset] += 1

    def _event(self, record: Any, step: StepBuilder) -> None:
        event = event_of(record)
        self.counts[event["event"]] += 1
        if isinstance(record, SweepRejected):
            self.dead_letters[record.reason] += 1
        step.effects.append(WriteEvent(event=event))

    def _flush(self, step: StepBuilder) -> None:
        """Containers first: a prediction on disk can always be explained."""
        if self._batches:
            self._write(CONTAINERS, container_table(self._batches), step)
        for dataset, tables in sorted(self._tables.items()):
            self._write(dataset, pa.concat_tables(tables), step)
        if self._predictions:
            rows = [(record, self._latency.pop(record.prediction_id, {})) for record in self._predictions]
            self._write(SWEEPS, sweep_table(rows), step)
        self._batches, self._predictions = [], []
        self._tables.clear()
        self._held.clear()

    def _write(self, dataset: str, table: pa.Table, step: StepBuilder) -> None:
        step.effects.append(WriteTable(dataset=dataset, table=table, chunk=self._chunks[dataset]))
        self._chunks[dataset] += 1

    def chunks(self, dataset: str) -> int:
        """Chunks of a dataset that were written so far; the next one has this number."""
        return self._chunks[dataset]

    def state(self) -> dict[str, Any]:
        """Counts, digest and the records of the open chunk."""
        return {
            "chunks": dict(self._chunks),
            "known": self._newest.items(),
            "counts": dict(self.counts),
            "held": dict(self._held),
            "dead_letters": dict(self.dead_letters),
            "digest": None if self.digest is None else self.digest.state(),
            "batches": [table_pieces(pa.Table.from_batches([batch])) for batch in self._batches],
            "tables": {name: table_pieces(pa.concat_tables(t)) for name, t in self._tables.items()},
            "predictions": [to_dict(record) for record in self._predictions],
            "latency": list(self._latency.items()),
        }

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot; raises StateError, TableError (its records are of another version)."""
        tree = unpack_fields(data, SNAPSHOT)
        self._chunks, self._newest = Counter(tree["chunks"]), Newest(MAX_NAMES, tree["known"])
        self.counts, self.dead_letters = Counter(tree["counts"]), Counter(tree["dead_letters"])
        self._held = Counter(tree["held"])
        if self.digest is not None:
            self.digest.restore(tree["digest"] or [])
        self._batches = [table_from_bytes(item).to_batches()[0] for item in tree["batches"]]
        for batch in self._batches:
            check_binned_schema(batch.schema, "archive snapshot")
        self._tables = {name: [table_from_bytes(item)] for name, item in tree["tables"].items()}
        self._predictions = [from_dict(Prediction, values) for values in tree["predictions"]]
        self._latency = dict(tree["latency"])


def name_of(record: Binned | Prediction | Shadow | FeatureSample | Outcome) -> str:
    """What Archive knows records by; all of one name come with ascending numbers."""
    if isinstance(record, Binned):
        return record.robot_id
    kind = type(record).__name__
    if isinstance(record, Outcome):
        kind += f"@{record.horizon_ns}"
    return f"{kind} {record.stream_id}"


def robot_of_name(name: str) -> str:
    """The robot of a name that ``name_of`` gave."""
    kind, _, stream_id = name.partition(" ")
    return robot_of(stream_id if kind.partition("@")[0] in _STREAM_KINDS else name)


_STREAM_KINDS = frozenset(kind.__name__ for kind in (Prediction, Shadow, FeatureSample, Outcome))


def event_of(record: Event | ModelActivated | ModelPublished | SweepRejected) -> dict[str, Any]:
    """One line of events.jsonl."""
    if isinstance(record, ModelActivated):
        values = to_dict(record)
        return {"event": "activated", "stamp_ns": values.pop("first_stamp_ns"), **values}
    if isinstance(record, ModelPublished):
        values = to_dict(record)
        del values["manifest"]
        name = "held" if record.kind in HOLDS else "published"
        return {"event": name, "stamp_ns": values.pop("stamp_ns"), **values}
    if isinstance(record, SweepRejected):
        return {"event": "dead_letter", **to_dict(record)}
    event: dict[str, Any] = {"event": record.kind, "stamp_ns": record.stamp_ns}
    if record.robot_id:
        event["robot_id"] = record.robot_id
    return event | record.fields


class _Collected:
    """A file that keeps what is written to it, uncopied."""

    closed = False

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []

    def write(self, data: bytes | pa.Buffer) -> None:
        self.pieces.append(data if isinstance(data, bytes) else memoryview(data))


def table_pieces(table: pa.Table) -> Pieces:
    """A table as its snapshot keeps it; its columns, a hundred megabytes in an open chunk, are not copied."""
    file = _Collected()
    with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), table.schema) as writer:
        for batch in table.to_batches():
            if batch.num_rows:  # else a restored archive would differ from one that never ended
                writer.write_batch(batch)
    return Pieces(file.pieces)


def table_from_bytes(data: bytes) -> pa.Table:
    """The inverse."""
    return pa.ipc.open_stream(data).read_all()
