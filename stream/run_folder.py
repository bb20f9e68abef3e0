"""A run folder on disk: files appear whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stream.container_file import read_containers, write_containers
from stream.damage import damage_of
from stream.files import append_lines, numbered, replacing, sync
from stream.records import Binned
from stream.sweep_rows import SWEEPS, read_sweeps, sweep_files, whole_file
from stream.tables import BINNED_SCHEMA

CONTAINERS = "containers"
LABELS = "labels"
QUARANTINE = "quarantine"
"""Where damaged files lie, each with a note of why; nothing reads rows from there."""


class RunFolder:
    """Writes and reads one run; datasets are folders of numbered chunks.

    path : created when missing
    Writing raises OSError when the disk is full or not writable; what was written before stays readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def models(self) -> Path:
        """Folder of the model registry."""
        return self.path / "models"

    def create(self) -> None:
        """Make the folder and its datasets, so that an empty run is readable too."""
        for name in ("predictions", "shadows", "outcomes", CONTAINERS, SWEEPS, "models"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        (self.path / "events.jsonl").touch()

    def drop_sweeps(self) -> None:
        """Remove rows of sweeps that an earlier run has left here, so that a new one begins without any."""
        for path in sweep_files(self.path):
            path.unlink()

    def write_table(self, dataset: str, table: pa.Table, chunk: int, *, durable: bool = False) -> None:
        """Put a chunk in its place, by number from 0: written again, after a crash, it changes nothing.

        durable : on disk before this returns, so that a loss of power does not bring the old one back
        """
        suffix = "arrow" if dataset == CONTAINERS else "parquet"
        self.put_table(self.path / dataset / f"part-{chunk:05d}.{suffix}", table, durable=durable)

    def put_table(self, path: Path, table: pa.Table, *, durable: bool = False) -> None:
        """Put a file of rows in its place: Parquet with page checksums, or containers as uncompressed Arrow.

        path : its suffix says which; durable : as in ``write_table``
        """
        path.parent.mkdir(exist_ok=True)
        write = write_containers if path.suffix == ".arrow" else _write_parquet
        with replacing(path, durable=durable) as temporary:
            write(temporary, table)

    def join_sweeps(self) -> None:
        """Put the rows of sweeps into one file, sweeps.parquet, as a run that has ended has them.

        A damaged part is set aside, with its rows: its checksums would be made anew.
        """
        for path in sweep_files(self.path):
            if reason := damage_of(path):
                self.set_aside(path, reason)
        if sweep_files(self.path):
            self.put_table(whole_file(self.path), read_sweeps(self.path), durable=True)
            shutil.rmtree(self.path / SWEEPS, ignore_errors=True)

    def set_aside(self, path: Path, reason: str) -> Path:
        """Move a damaged file of the run into quarantine, with a note of why beside it and an event.

        Returns where it lies now; what was moved from the same place before stays beside it
        """
        name = path.relative_to(self.path).as_posix()
        place = self.path / QUARANTINE / f"{name}.1"
        while place.exists():
            place = place.with_suffix(f".{int(place.suffix[1:]) + 1}")
        place.parent.mkdir(parents=True, exist_ok=True)
        note = {"file": name, "reason": reason, "rebuilt": False}
        self.write_text(f"{place.relative_to(self.path)}.json", json.dumps(note) + "\n", durable=True)
        path.replace(place)
        sync(place.parent)
        sync(path.parent)
        self.append_event({"event": "quarantined", "stamp_ns": 0, "file": name, "reason": reason})
        return place

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Append one JSON line, or nothing.  Raises OSError"""
        append_lines(self.path / "events.jsonl", json.dumps(event, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str, *, durable: bool = False) -> Path:
        """Write a whole text file. durable : as in ``write_table``"""
        path = self.path / name
        with replacing(path, durable=durable) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def remove(self, path: Path) -> None:
        """Remove a file of the run, durably; one that is gone already is fine."""
        path.unlink(missing_ok=True)
        sync(path.parent)

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def records(
        self,
        robot_id: str,
        first_stamp_ns: int,
        last_seq: int,
        look: Callable[[], None] = lambda: None,
    ) -> Iterator[Binned]:
        """Stored binned sweeps of a robot from a stamp on, up to a place in its fold order.

        Files are memory-mapped and arrays are views into them.
        look : called at each record that is read, wanted or not; what it raises ends the reading
        Raises TableError when one is damaged or of another version, OSError when it cannot be opened
        """
        for path in numbered((self.path / CONTAINERS).glob("*.arrow")):
            for record in read_containers(path):
                look()
                if (
                    record.robot_id == robot_id
                    and record.stamp_ns >= first_stamp_ns
                    and record.seq <= last_seq
                ):
                    yield record


def container_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """A chunk of binned sweeps, one record batch each."""
    return pa.Table.from_batches(batches, BINNED_SCHEMA)


def _write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
