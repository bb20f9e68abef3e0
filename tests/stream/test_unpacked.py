"""Compressed parts of logs: small ones that hold much are refused before they take room."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard

from stream.sources.unpacked import unpack_file, unpack_lz4, unpack_zstd

MIB = 1 << 20
UNSIZED = zstandard.ZstdCompressor(write_content_size=False)
UNPACK: dict[str, Callable[[bytes, int], bytes]] = {"zstd": unpack_zstd, "lz4": unpack_lz4}


PACK: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.compress,
    "zstd of unsaid size": UNSIZED.compress,
    "lz4": lz4.frame.compress,
    "lz4 of unsaid size": lambda data: bytes(lz4.frame.compress(data, store_size=False)),
}


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    """What is done within holds at no time more than so many bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", PACK)
def test_content_up_to_the_bound(kind: str) -> None:
    content, unpack = bytes(range(256)) * 99, UNPACK[kind.split()[0]]
    data = PACK[kind](content)
    for most in (len(content), len(content) + 1, MIB):
        assert unpack(data, most) == content
    assert unpack(data + b"more", len(content)) == content
    assert unpack(data + data, len(content)) == content
    with pytest.raises((ValueError, zstandard.ZstdError)):
        unpack(data, len(content) - 1)


@pytest.mark.parametrize("kind", PACK)
def test_what_unpacks_to_more_takes_no_memory(kind: str) -> None:
    data = PACK[kind](bytes(64 * MIB))
    with memory_below(MIB), pytest.raises((ValueError, zstandard.ZstdError)):
        UNPACK[kind.split()[0]](data, 10)


@pytest.mark.parametrize("kind", PACK)
def test_cut_and_strange_data(kind: str) -> None:
    unpack = UNPACK[kind.split()[0]]
    for data in (b"", b"strange", PACK[kind](bytes(range(256)))[:-6]):
        with pytest.raises((ValueError, RuntimeError, zstandard.ZstdError)):
            unpack(data, MIB)


@pytest.mark.parametrize("compress", [zstandard.compress, UNSIZED.compress])
def test_files_of_one_and_of_several_frames(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = bytes(range(256)) * 4099
    whole, target = tmp_path / "a.zstd", tmp_path / "a"
    for parts in ([content], [content[:9], b"", content[9:]]):
        whole.write_bytes(b"".join(compress(part) for part in parts))
        unpack_file(whole, target)
        assert target.read_bytes() == content


@pytest.mark.parametrize("compress", [zstandard.compress, UNSIZED.compress])
def test_broken_files(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path, data = tmp_path / "a.zstd", compress(bytes(range(256)) * 4099)
    for content in (b"", data[:-1], data[:30], data + data[:30], data + b"no frame", b"no frame" * 9):
        path.write_bytes(content)
        with pytest.raises((ValueError, zstandard.ZstdError)):
            unpack_file(path, tmp_path / "a")


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("compress", [zstandard.compress, UNSIZED.compress])
@pytest.mark.parametrize(
    ("most", "disk", "message"),
    [
        (5 * MIB, Disk(1 << 40, 0, 1 << 40), "a.zstd: unpacked it exceeds the cap of 5242880 bytes"),
        (1 << 40, Disk(1 << 40, 0, 1 << 30), "a.zstd: no room to unpack it in .* set TMPDIR to a folder"),
        (1 << 40, Disk(40 * MIB, 0, 4 * MIB), "a.zstd: no room to unpack it in .* set TMPDIR to a folder"),
    ],
)
def test_a_file_too_large_for_its_cap_or_its_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compress: Callable[[bytes], bytes],
    most: int,
    disk: Disk,
    message: str,
) -> None:
    (tmp_path / "a.zstd").write_bytes(compress(bytes(20 * MIB)))
    monkeypatch.setattr("stream.sources.unpacked.MAX_FILE_BYTES", most)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    with pytest.raises(ValueError, match=message) as caught:
        unpack_file(tmp_path / "a.zstd", tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a").stat().st_size <= 5 * MIB


def test_a_file_that_just_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zstd").write_bytes(zstandard.compress(bytes(20 * MIB)))
    monkeypatch.setattr("stream.sources.unpacked.MAX_FILE_BYTES", 20 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Disk(100 * MIB, 0, 30 * MIB))
    unpack_file(tmp_path / "a.zstd", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size == 20 * MIB
