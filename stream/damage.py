"""What is wrong with a stored file of rows, found by reading all of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream.container_file import read_containers
from stream.files import is_of_system
from stream.tables import TableError


def damage_of(path: Path) -> str:
    """Why a Parquet or Arrow file cannot be trusted, in one line; empty where every checksum holds.

    Raises OSError when the file cannot be read for another reason (its errno says which)
    """
    try:
        if path.suffix == ".arrow":
            for _ in read_containers(path):
                pass
        else:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    file.read_row_group(group).validate(full=True)
    except TableError as error:
        return str(error).removeprefix(f"{path}: ")
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        if is_of_system(error):
            raise
        return f"damaged: {' '.join(str(error).split())}"
    return ""
