"""LAZ files in chunks of every kind are read; those whose sizes are not the file's are refused unread."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import laspy
import lazrs
import numpy as np
import pytest

from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sources.laz_chunks import POINTS_A_BYTE
from stream.sweep import Sweep
from stream.transform import Transform

ROOT = Path(__file__).parents[2]
POINTS = 250
FORMATS = pytest.mark.parametrize("point_format", [0, 1, 3, 6, 7, 8])
VARIABLE = (1 << 32) - 1
COUNT, START, MANY = 247, 96, 0xFFFF_FFFF
"""Places in a header of version 1.4: number of points, offset to them."""


def write(path: Path, point_format: int = 6, points: int = POINTS, extra: int = 0) -> Path:
    """Random points within 30 m, so that every layer has bytes; ``extra`` dimensions of 3 bytes each."""
    rng = np.random.default_rng(points)
    header = laspy.LasHeader(point_format=point_format, version="1.4")
    header.scales = np.full(3, 0.001)
    for number in range(extra):
        header.add_extra_dim(laspy.ExtraBytesParams(f"extra {number}", "3u1"))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = rng.integers(0, 30_000, (3, points)) / 1000
    cloud.intensity = rng.integers(0, 60_000, points).astype(np.uint16)
    for number in range(extra):
        cloud[f"extra {number}"] = rng.integers(0, 256, (points, 3)).astype(np.uint8)
    if "red" in header.point_format.dimension_names:
        cloud.red = rng.integers(0, 60_000, points).astype(np.uint16)
    cloud.write(str(path))
    return path


def start_of(content: bytes) -> int:
    return int(struct.unpack_from("<I", content, START)[0])


def record_of(content: bytes) -> int:
    """Where the record of LASzip begins, behind the 54 bytes of its own header."""
    return content.index(b"laszip encoded") - 2 + 54


def chunked(path: Path, counts: list[int], *, variable: bool, extra: int = 0, point_format: int = 6) -> Path:
    """Points in chunks of so many; chunks that do not vary have as many as the first."""
    raw, packed = path.with_suffix(".las"), bytearray(write(path, point_format, extra=extra).read_bytes())
    points = write(raw, point_format, extra=extra).read_bytes()
    raw.unlink()
    points = points[start_of(points) :]
    place = record_of(packed)
    packed[place + 12 : place + 16] = struct.pack("<I", VARIABLE if variable else counts[0])
    head = bytes(packed[: start_of(packed)])
    out = io.BytesIO()
    out.write(head)
    compressor = lazrs.LasZipCompressor(out, lazrs.LazVlr(head[place:]))
    at, size = 0, len(points) // POINTS
    for number, count in enumerate(counts):
        compressor.compress_many(np.frombuffer(points, np.uint8, count * size, at))
        if variable and number + 1 < len(counts):
            compressor.finish_current_chunk()
        at += count * size
    compressor.done()
    path.write_bytes(out.getvalue())
    return path


def read(path: Path) -> Sweep:
    move, sweep = open_source(str(path), SourceOptions(rate_hz=1))
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    return sweep


@FORMATS
@pytest.mark.parametrize("extra", [0, 2])
def test_points_of_a_chunk_are_read(tmp_path: Path, point_format: int, extra: int) -> None:
    packed = read(write(tmp_path / "a.laz", point_format, extra=extra))
    plain = read(write(tmp_path / "a.las", point_format, extra=extra))
    assert len(packed.points) == POINTS
    assert packed.points.tobytes() == plain.points.tobytes()
    assert packed.intensity is not None and plain.intensity is not None
    assert packed.intensity.tobytes() == plain.intensity.tobytes()


@FORMATS
@pytest.mark.parametrize(
    ("counts", "variable"),
    [([250], False), ([125, 125], False), ([100, 100, 50], False), ([10, 200, 40], True), ([250], True)],
)
@pytest.mark.parametrize("place", ["start", "end"])
def test_points_of_chunks_are_read(
    tmp_path: Path, point_format: int, counts: list[int], variable: bool, place: str
) -> None:
    """The place of the table is at the start, or at the end where -1 is at the start, as of a pipe."""
    path = chunked(tmp_path / "a.laz", counts, variable=variable, point_format=point_format, extra=1)
    content = bytearray(path.read_bytes())
    start = start_of(content)
    table = content[start : start + 8]
    if place == "end":
        content[start : start + 8] = b"\xff" * 8
        content += table
    path.write_bytes(content)
    plain = write(tmp_path / "plain.las", point_format, extra=1)
    assert read(path).points.tobytes() == read(plain).points.tobytes()


def test_points_of_chunks_of_laspy_are_read(tmp_path: Path) -> None:
    packed, plain = (write(tmp_path / name, points=120_001) for name in ("a.laz", "a.las"))
    found, wanted = (open_source(str(path), SourceOptions(rate_hz=1)) for path in (packed, plain))
    parts = [
        [item.points.tobytes() for item in items if isinstance(item, Sweep)] for items in (found, wanted)
    ]
    assert parts[0] == parts[1] and parts[0]


def layer(chunk: int, number: int) -> Callable[[bytearray], None]:
    """A chunk's layer becomes 1 GB; chunks are of point format 6 with 3 extra bytes."""

    def damage(content: bytearray) -> None:
        at = start_of(content) + 8
        for before in range(chunk + 1):
            sizes_at = at + 33 + 4
            at = sizes_at + 12 * 4
            if before < chunk:
                at += sum(struct.unpack_from("<12I", content, sizes_at))
        struct.pack_into("<I", content, sizes_at + 4 * number, 1_000_000_000)

    return damage


def at_record(offset: int, value: bytes) -> Callable[[bytearray], None]:
    def damage(content: bytearray) -> None:
        place = record_of(content) + offset
        content[place : place + len(value)] = value

    return damage


def at_table(content: bytearray) -> None:
    (table,) = struct.unpack_from("<q", content, start_of(content))
    struct.pack_into("<I", content, table + 4, MANY)


def at_count(points: int) -> Callable[[bytearray], None]:
    return lambda content: struct.pack_into("<Q", content, COUNT, points)


DAMAGED = {
    "first layer": (layer(0, 0), False, r"chunk 0: its layers end at byte 1\d{9}, the chunks at byte \d+$"),
    "last layer": (layer(2, 8), False, r"chunk 2: its layers end at byte 1\d{9}, the chunks at byte \d+$"),
    "extra byte": (layer(1, 11), False, r"chunk 1: its layers end at byte 1\d{9}, the chunks at byte \d+$"),
    "variable": (layer(2, 3), True, r"chunk 2: its layers end at byte 1\d{9}, the chunks at byte \d+$"),
    "chunks": (at_table, False, r"chunk table: 4294967295 chunks exceed the \d+ that the file has room for$"),
    "variable chunks": (at_table, True, "chunk table: 4294967295 chunks exceed the "),
    "points": (at_count(99_999_999), False, r"cut off: \d+ bytes cannot hold the header's 99999999 points$"),
    "one more": (at_count(POINTS + 51), False, "chunk 3: its layers end at byte "),
    "variable points": (
        at_count(POINTS + 1),
        True,
        "chunk table: chunks of 250 points where the header says 251$",
    ),
    "chunk of none": (at_record(12, bytes(4)), False, "record of LASzip: chunks of 0 points$"),
    "no items": (
        at_record(32, bytes(2)),
        False,
        "record of LASzip: items of 0 bytes where a point has 33$",
    ),
    "many items": (at_record(32, b"\xff\xff"), False, r"record of LASzip: \d+ bytes for 65535 items$"),
    "size of an item": (
        at_record(36, b"\xff\xff"),
        False,
        "record of LASzip: an item of type 10 and 65535 bytes is not known$",
    ),
    "item": (at_record(34, b"\x01"), False, "record of LASzip: an item of type 1 and 30 bytes is not known$"),
    "extra size": (
        at_record(42, b"\xff\xff"),
        False,
        "record of LASzip: items of 65565 bytes where a point has 33$",
    ),
    "compressor": (
        at_record(0, b"\x01"),
        False,
        "record of LASzip: compressor 1 has no items of type 10, version 3$",
    ),
}

LIMITED = """
import resource, sys
from pathlib import Path
import laspy, lazrs
from stream.sources import open_source
from stream.sources.base import SourceOptions

options = SourceOptions(rate_hz=1)
assert len(list(open_source(sys.argv[1], options))) == 2  # all that is loaded
pages = int(Path("/proc/self/statm").read_text().split()[5])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for path in sys.argv[2:]:
    (rejected,) = open_source(path, options)
    print(rejected.detail, flush=True)
"""


def test_sizes_beyond_the_file_are_refused_without_memory(tmp_path: Path) -> None:
    """In a process of its own: lazrs ends it where it gets no memory."""
    paths: list[Path] = []
    for name, (damage, variable, _) in DAMAGED.items():
        whole = chunked(tmp_path / "whole.laz", [100, 100, 50], variable=variable, extra=1)
        content = bytearray(whole.read_bytes())
        damage(content)
        paths.append(tmp_path / f"{name}.laz")
        paths[-1].write_bytes(content)
    command = [sys.executable, "-c", LIMITED, str(whole), *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    said = done.stdout.splitlines()
    for path, line in zip(paths, said, strict=False):
        assert re.match(f"{path.name}: {DAMAGED[path.stem][2]}", line), line
    assert (done.returncode, len(said)) == (0, len(paths)), done.stderr[-2000:]


@pytest.mark.parametrize("point_format", [0, 6])
def test_equal_points_are_no_fewer_bytes_than_the_bound(tmp_path: Path, point_format: int) -> None:
    """The most that LASzip can do: one chunk of points that are all the same."""
    record = bytearray(lazrs.LazVlr.new_for_compression(point_format, 0).record_data())
    record[12:16] = struct.pack("<I", VARIABLE - 1)
    vlr = lazrs.LazVlr(bytes(record))
    points = 500_000
    packed = lazrs.compress_points(vlr, np.zeros(points * vlr.item_size(), np.uint8), False)
    assert points / len(packed) < POINTS_A_BYTE / 3
