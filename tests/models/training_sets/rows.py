"""Rows of training sets for tests, without a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from models.datasets.window import lattice_metadata
from models.training_sets.columns import with_metadata
from models.training_sets.manifest import Build, Manifest
from models.training_sets.partition import PartitionWriter
from models.training_sets.publish import publishing
from tests.models.graphs.containers import GRID, random_ids

DAY = 86_400 * 10**9
STREAM = "robot/lidar"


def rows(number: int, share: float = 0.3) -> pa.Table:
    """Random cells of one stamp; days change every other number."""
    rng = np.random.default_rng(number)
    ids = random_ids(number, share)
    schema = pa.schema(
        [
            pa.field("cell_id", pa.uint64(), nullable=False),
            pa.field("stamp_ns", pa.int64(), nullable=False),
            pa.field("stream_id", pa.string(), nullable=False),
            pa.field("hits", pa.float32()),
            pa.field("occupied", pa.bool_()),
        ]
    )
    return pa.table(
        [
            pa.array(ids),
            pa.array(np.full(len(ids), stamp(number))),
            pa.repeat(STREAM, len(ids)),
            pa.array(rng.normal(size=len(ids)).astype(np.float32)),
            pa.array(rng.random(len(ids)) < 0.5, mask=rng.random(len(ids)) < 0.2),
        ],
        schema=with_metadata(schema, lattice_metadata(GRID)),
    )


def stamp(number: int) -> int:
    """Of a number's rows."""
    return number // 2 * DAY + number + 1


def training_set(root: Path, numbers: range, buffer_rows: int = 2**19) -> Path:
    """A set of these rows."""
    with publishing(root) as publication:
        writer = PartitionWriter(publication.stage, GRID.lod - 2, 0, buffer_rows)
        for number in numbers:
            writer.add(rows(number))
        writer.flush()
        build = Build(source="test", where="", sweeps={STREAM: tuple(map(stamp, numbers))})
        manifest = Manifest(region_lod=GRID.lod - 2).with_parts(publication.parts, build)
        publication.publish(manifest)
    return root


def chunk_bytes(root: Path, columns: list[str]) -> dict[tuple[str, str], bytes]:
    """The very bytes of columns in every file of a set."""
    import pyarrow.parquet as pq

    found = {}
    for path in sorted(root.glob("date=*/**/*.parquet")):
        data, metadata = path.read_bytes(), pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                if column.path_in_schema in columns:
                    begin = column.dictionary_page_offset or column.data_page_offset
                    key = (path.relative_to(root).as_posix(), f"{column.path_in_schema} {group}")
                    found[key] = data[begin : begin + column.total_compressed_size]
    return found
