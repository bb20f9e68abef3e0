"""Files of binned sweeps: one record batch a sweep, readable in place, each with a checksum of its values.

Arrow's file format has no checksum of its own, as Parquet's pages have.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from stream.files import is_of_system
from stream.records import Binned
from stream.tables import TableError, binned_from_batch, check_binned_schema

CHECKSUM = b"octa.crc32"
"""Key in the metadata of a record batch; files of earlier releases are without it, and read as they are."""


def write_containers(path: Path, table: pa.Table) -> None:
    """Write an uncompressed Arrow file, one record batch for each of the table's."""
    with ipc.new_file(str(path), table.schema) as writer:
        for batch in table.to_batches():
            writer.write_batch(batch, custom_metadata={CHECKSUM: checksum(batch)})


def read_containers(path: Path) -> Iterator[Binned]:
    """Records of a file, which is memory-mapped; arrays are views into it.

    Raises TableError when it is damaged or of another version, OSError when it cannot be opened
    """
    try:
        with pa.memory_map(str(path)) as source:
            reader = ipc.open_file(source)
            check_binned_schema(reader.schema, str(path))
            for number in range(reader.num_record_batches):
                batch, metadata = reader.get_batch_with_custom_metadata(number)
                batch.validate(full=True)  # lengths in a damaged file may point anywhere
                if CHECKSUM in (metadata or {}) and metadata[CHECKSUM] != checksum(batch):
                    raise ValueError(f"the values of record batch {number} are not those of its checksum")
                yield binned_from_batch(batch)
    except TableError:
        raise
    except (ValueError, TypeError, pa.ArrowException, OSError) as error:
        if is_of_system(error):
            raise
        raise TableError(f"{path}: damaged: {' '.join(str(error).split())}") from error


def checksum(batch: pa.RecordBatch) -> bytes:
    """CRC-32 of all values, column by column, as eight hexadecimal digits; however they lie in memory."""
    crc = 0
    for column in batch.columns:
        if pa.types.is_list(column.type):
            crc = zlib.crc32(column.value_lengths().to_numpy(zero_copy_only=False), crc)
            crc = zlib.crc32(column.flatten().to_numpy(), crc)
        else:
            crc = zlib.crc32(repr(column.to_pylist()).encode(), crc)
    return b"%08x" % crc
