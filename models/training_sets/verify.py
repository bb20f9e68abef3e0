"""Whether a training set is what was published: every file, every byte, every cell in its partition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.training_sets.manifest import NEXT, Manifest, Part, read_manifest
from models.training_sets.partition import CELL, STAMP, folder_of, partition_keys
from models.training_sets.publish import sha256_of
from native.errors import OctaError
from stream.progress import Progress


def verify(root: Path, progress: Progress) -> list[str]:
    """What is wrong, a line each; nothing for a set that is as it was published.

    Raises TrainingSetError for what is no training set, or whose manifest is damaged
    """
    manifest = read_manifest(root)
    found = [f"{NEXT}: a publication was cut off; the next build or merge completes it"] * (
        root / NEXT
    ).exists()
    found += _missing_partitions(root, manifest)
    schema: pa.Schema | None = None
    for number, part in enumerate(manifest.parts, 1):
        progress(number, len(manifest.parts), part.file)
        path = root / part.file
        if not path.is_file():
            found += [f"{part.file}: missing"] if path.parent.is_dir() else []
            continue
        if path.stat().st_size == part.bytes and sha256_of(path) == part.sha256:
            schema = schema or pq.read_schema(path)
            found += _content(path, part, manifest.region_lod, schema)
        else:
            found += [f"{part.file}: {line}" for line in _damage(path, part)]
    listed = {part.file for part in manifest.parts}
    there = {path.relative_to(root).as_posix() for path in root.rglob("*.parquet")}
    return found + [f"{name}: is not of this set; move it away" for name in sorted(there - listed)]


def _missing_partitions(root: Path, manifest: Manifest) -> list[str]:
    folders: dict[str, int] = {}
    for part in manifest.parts:
        folder = part.file.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + part.rows
    return [
        f"{folder}: the partition is missing, {rows:,} rows"
        for folder, rows in folders.items()
        if not (root / folder).is_dir()
    ]


def _content(path: Path, part: Part, region_lod: int, schema: pa.Schema) -> Iterator[str]:
    """What a file says that is as it was written, and yet does not fit."""
    file = pq.ParquetFile(path)
    if file.metadata.num_rows != part.rows:
        yield f"{part.file}: has {file.metadata.num_rows:,} rows, the manifest says {part.rows:,}"
    if not file.schema_arrow.equals(schema, check_metadata=True):
        yield f"{part.file}: its columns or metadata are not those of the other parts"
    try:
        keys = file.read(columns=[CELL, STAMP])
        found = np.unique(partition_keys(keys[CELL].to_numpy(), keys[STAMP].to_numpy(), region_lod), axis=0)
        folders = {folder_of(*row) for row in found.tolist()}
    except (OctaError, ValueError, KeyError, pa.ArrowException) as error:
        yield f"{part.file}: {' '.join(str(error).split())}"
        return
    if folders != {part.file.rpartition("/")[0]}:
        yield f"{part.file}: has cells of {', '.join(sorted(folders)[:3]) or 'no partition'}"


def _damage(path: Path, part: Part) -> Iterator[str]:
    """Where a file differs from what was published: pages have checksums of their own."""
    if path.stat().st_size != part.bytes:
        yield f"damaged: has {path.stat().st_size:,} bytes, the manifest says {part.bytes:,}"
        return
    columns: list[str] = []
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for name in file.schema_arrow.names:
            try:
                for _ in file.iter_batches(columns=[name]):
                    pass
            except (pa.ArrowException, OSError):
                columns.append(name)
    except (pa.ArrowException, OSError) as error:
        yield f"damaged: {' '.join(str(error).split())}"
        return
    yield f"damaged: {'column ' + ', '.join(columns) if columns else 'in its footer, or between pages'}"
