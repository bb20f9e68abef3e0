"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A place beside a file; what is written there takes the file's place at the end, so no reader sees half.

    After an exception the file is as it was, and nothing is left beside it.
    durable : on disk when this ends, so that a loss of power does not bring the old one back
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def append_lines(path: Path, text: str) -> None:
    """Append whole lines, all or none; half a line that a killed process left stays apart from them.

    Raises OSError, with the file as it was
    """
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        cut_off = file.read(1) not in (b"", b"\n")
        rest = memoryview(b"\n" * cut_off + text.encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):  # of what is no file
                file.truncate(size)
            raise


def is_of_system(error: BaseException) -> bool:
    """Whether a file could not be reached, as on a full disk. Arrow's error for damage has no errno."""
    return isinstance(error, OSError) and error.errno is not None


def numbered(paths: Iterable[Path]) -> list[Path]:
    """Chunks by their number: part-100000 comes after part-99999."""
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
