"""Putting files of a training set in place: all of them, or, after a crash, all of them a little later."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.training_sets.manifest import MANIFEST, NEXT, Manifest, Part, TrainingSetError, read_manifest
from stream.files import sync

STAGED = ".next"
"""At the end of a file's name until it is published: no reader takes it for Parquet."""

SYNCS = 16
_CHUNK = 2**20


class Publication:
    """New files of one set, and the manifest that goes with them.

    What is staged does not count until ``publish``, which first writes the new manifest beside the old one:
    from then on the publication is completed, by the next writer if need be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts: dict[str, Part] = {}

    def stage(self, name: str, table: pa.Table) -> None:
        """Write a part beside where it will be: Parquet with page checksums, rows in their order."""
        path = staged(self.root / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
        self.parts[name] = Part(file=name, rows=len(table), bytes=path.stat().st_size, sha256=sha256_of(path))

    def publish(self, manifest: Manifest) -> None:
        """Put everything in place."""
        beside = self.root / f"{NEXT}.tmp"
        with ThreadPoolExecutor(SYNCS) as pool:  # a disk that is asked together writes all in one go
            list(pool.map(sync, [staged(self.root / name) for name in self.parts]))
        beside.write_text(manifest.to_json(), encoding="utf-8")
        sync(beside)
        beside.replace(self.root / NEXT)
        sync(self.root)
        complete(self.root)


@contextmanager
def publishing(root: Path) -> Iterator[Publication]:
    """A publication; the only one of its set at a time. What it staged and did not publish is removed.

    Raises TrainingSetError where another process writes the set
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "_lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingSetError(
                f"{root}: another process writes this training set; wait for it"
            ) from error
        complete(root)
        _remove_staged(root)
        try:
            yield Publication(root)
        finally:
            if not (root / NEXT).exists():
                _remove_staged(root)
            if not (root / MANIFEST).exists() and not (root / NEXT).exists():
                _remove_empty(root)


def complete(root: Path) -> None:
    """Finish a publication that has its manifest; without one nothing is done."""
    if not (root / NEXT).exists():
        return
    for part in read_manifest(root, NEXT).parts:
        path = root / part.file
        if staged(path).exists():
            staged(path).replace(path)
    (root / NEXT).replace(root / MANIFEST)
    sync(root)


def staged(path: Path) -> Path:
    """Where a file is until it is published."""
    return path.with_name(path.name + STAGED)


def sha256_of(path: Path) -> str:
    """Of a file's bytes, as hex."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _remove_staged(root: Path) -> None:
    for path in root.glob(f"date=*/region=*/lod=*/*{STAGED}"):
        path.unlink()


def _remove_empty(root: Path) -> None:
    """Leave nothing of a set that did not come to be."""
    for pattern in ("date=*/region=*/lod=*", "date=*/region=*", "date=*"):
        for folder in root.glob(pattern):
            folder.rmdir()
    (root / "_lock").unlink()
    if not any(root.iterdir()):
        root.rmdir()
