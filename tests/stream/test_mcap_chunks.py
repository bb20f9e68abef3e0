"""Chunks of MCAP files whose sizes, checksums and records are not what they say."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard

from stream.sources.base import SourceOptions
from stream.sources.mcap import McapLog, open_mcap
from stream.sources.mcap_file import MAGIC, DamageError, McapFile, Message
from tests.stream.test_unpacked import PACK, memory_below

MIB = 1 << 20
SCHEMA, CHANNEL, MESSAGE, CHUNK = 3, 4, 5, 6


def record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def message(data: bytes) -> bytes:
    return record(MESSAGE, struct.pack("<HIQQ", 1, 0, 5, 5) + data)


def chunk(data: bytes, compression: str, announced: int, crc: int = 0) -> bytes:
    head = struct.pack("<QQQI", 5, 5, announced, crc)
    return record(CHUNK, head + text(compression) + struct.pack("<Q", len(data)) + data)


def messages(path: Path, *chunks: bytes) -> list[Message]:
    path.write_bytes(MAGIC + b"".join(chunks))
    file = McapFile(path)
    return [found for unit in file.contents.units for found in file.messages(unit)]


PACKED = PACK | {"": bytes}


@pytest.mark.parametrize("kind", PACKED)
def test_a_chunk_is_what_it_announces_or_damage(tmp_path: Path, kind: str) -> None:
    content, path, compression = message(b"a" * 500), tmp_path / "a.mcap", kind.partition(" ")[0]
    data, size, crc = PACKED[kind](content), len(content), zlib.crc32(content)
    for good in (crc, 0):
        (found,) = messages(path, chunk(data, compression, size, good))
        assert bytes(found.data) == b"a" * 500
    assert messages(path, chunk(data, compression, 0)) == []
    for bad in (
        chunk(data, compression, size - 1),
        chunk(data, compression, size + 1),
        chunk(data, compression, 1 << 31),
        chunk(data, compression, (1 << 31) + 1),
        chunk(data, compression, (1 << 64) - 1),
        chunk(data + data, compression, 2 * size + (not kind)),
        chunk(data[:-5], compression, size),
        chunk(data, compression, size, crc ^ 1),
        chunk(data, "gzip" * 99, size),
    ):
        with pytest.raises(DamageError, match=r"^corrupt chunk at byte 8: ") as caught:
            messages(path, bad)
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", PACK)
def test_a_small_chunk_that_unpacks_to_more_than_it_announces_takes_no_memory(
    tmp_path: Path, kind: str
) -> None:
    bomb = chunk(PACKED[kind](message(bytes(64 * MIB))), kind.split()[0], 10)
    with memory_below(4 * MIB), pytest.raises(DamageError, match=r"^corrupt chunk at byte 8: "):
        messages(tmp_path / "a.mcap", bomb)


def test_a_chunk_holds_only_so_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = message(b"") * 100
    packed = chunk(zstandard.compress(content), "zstd", len(content))
    monkeypatch.setattr("stream.sources.mcap_file.MAX_CHUNK_RECORDS", 100)
    assert len(messages(tmp_path / "a.mcap", packed)) == 100
    monkeypatch.setattr("stream.sources.mcap_file.MAX_CHUNK_RECORDS", 99)
    with pytest.raises(DamageError, match="more records than the cap of 99 on one chunk"):
        messages(tmp_path / "a.mcap", packed)


def schema(number: int, name: str, data: bytes) -> bytes:
    body = struct.pack("<H", number) + text(name) + text("ros2msg") + struct.pack("<I", len(data)) + data
    return record(SCHEMA, body)


def channel(topic: str, encoding: str) -> bytes:
    return record(CHANNEL, struct.pack("<HH", 1, 1) + text(topic) + text(encoding) + struct.pack("<I", 0))


def test_of_descriptions_only_names_are_kept(tmp_path: Path) -> None:
    """Chunk by chunk, each of up to 65,535 schemas may be unpacked to megabytes."""
    path, chunks = tmp_path / "a.mcap", []
    for number in range(1, 9):
        content = schema(number, "a/msg/A", bytes(8 * MIB))
        chunks.append(chunk(zstandard.compress(content), "zstd", len(content)))
    path.write_bytes(MAGIC + b"".join([*chunks, channel("/a", "cdr")]))
    tracemalloc.start()
    try:
        log = McapLog(path)
        assert log.topics() == [("/a", "a/msg/A")]
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("described", "detail"),
    [
        (
            schema(1, "a", bytes((16 << 20) + 1)),
            "a description of 16777239 bytes exceeds the cap of 16777216",
        ),
        (schema(1, "type" * 300, b""), "typetypetypetypetype... of 1200 characters is no name: 1024 at most"),
        (channel("/top" * 300, "cdr"), "/top/top/top/top/top... of 1200 characters is no name: 1024 at most"),
        (channel("/a", "json" * 300), "jsonjsonjsonjsonjson... of 1200 characters is no name: 1024 at most"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_descriptions_too_long_are_damage(
    tmp_path: Path, described: bytes, detail: str, chunked: bool
) -> None:
    path = tmp_path / "a.mcap"
    inner = chunk(zstandard.compress(described), "zstd", len(described)) if chunked else described
    path.write_bytes(MAGIC + inner)
    log = McapLog(path)
    (damage,) = log.messages(lambda topic, kind: True)
    assert detail in str(damage) and "\n" not in str(damage)
    with pytest.raises(ValueError, match="no PointCloud2 topic in the log; topics: none"):
        iter(open_mcap(path, SourceOptions()))
