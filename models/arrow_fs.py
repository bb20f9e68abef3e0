"""File systems by URI, as pyarrow knows them."""

from __future__ import annotations

from typing import Any

from stream.addresses import shown, text_shown


def file_system_of(uri: str) -> tuple[Any, str]:
    """The file system behind a URI, as ``s3://bucket/models``, and the path in it.

    Raises ValueError for a URI that pyarrow does not know, OSError; neither repeats keys that are in the URI,
    as pyarrow's own errors do
    """
    from pyarrow import fs

    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as error:
        kind = ValueError if isinstance(error, ValueError) else OSError
        why = text_shown(" ".join(str(error).replace(uri, shown(uri)).split()))
        raise kind(f"{shown(uri)}: {why}") from None
    return system, path
