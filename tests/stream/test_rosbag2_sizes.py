"""rosbag2 recordings that are small and unpack to much, by file, by message and by chunk."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from pathlib import Path

import pytest
import yaml
import zstandard
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from stream.records import SweepRejected
from stream.sources.base import Damage, SourceError
from stream.sources.mcap_file import McapFile
from tests.stream.test_mcap import MS, cloud, drive, kinds, stamps_ms
from tests.stream.test_mcap import write as write_mcap
from tests.stream.test_rosbag2 import STORAGES, read, write
from tests.stream.test_unpacked import memory_below

MIB = 1 << 20


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_unpacks_up_to_a_cap_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: StoragePlugin
) -> None:
    location = write(tmp_path / "bag", drive(), storage, CompressionMode.FILE)
    place = tmp_path / "unpacked"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert kinds(read(location)) == {"Transform": 4, "Sweep": 4}
    assert list(place.iterdir()) == []
    monkeypatch.setattr("stream.sources.unpacked.MAX_FILE_BYTES", 1000)
    with pytest.raises(SourceError, match=r"zstd: unpacked it exceeds the cap of 1000 bytes") as caught:
        read(location)
    assert str(caught.value).startswith(f"{location}: not a readable rosbag2 recording: ")
    assert list(place.iterdir()) == []


def large_frame(size: int) -> bytes:
    """Zeros, of which the frame says how many."""
    packer = zstandard.ZstdCompressor().compressobj(size=size)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


def replace(database: Path, log_time: int, data: bytes) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE messages SET data = ? WHERE timestamp = ?", [data, log_time])
    connection.close()


def test_a_message_unpacks_up_to_256_mib(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(3), compression=CompressionMode.MESSAGE)
    replace(tmp_path / "bag" / "bag.db3", 1100 * MS + 1, large_frame(257 * MIB))
    with memory_below(16 * MIB):
        items = read(location)
    assert kinds(items) == {"Transform": 3, "Sweep": 2, "SweepRejected": 1}
    assert stamps_ms(items) == [1000, 1200]
    (rejected,) = (item for item in items if isinstance(item, SweepRejected))
    assert rejected.detail.startswith("/points at log time 1100000001: ")


def test_a_message_whose_frame_does_not_say_its_size(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(3), compression=CompressionMode.MESSAGE)
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(cloud(1100 * MS))
    replace(tmp_path / "bag" / "bag.db3", 1100 * MS + 1, unsaid)
    assert kinds(read(location)) == {"Transform": 3, "Sweep": 3}


def bag_of(folder: Path, *files: Path) -> str:
    """A folder of MCAP files with its metadata."""
    write(folder, drive(1), StoragePlugin.MCAP)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = [path.name for path in files]
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    for path in files:
        shutil.copy(path, folder)
    return str(folder)


def test_a_chunk_in_a_bag_of_several_files_unpacks_to_what_it_announces(tmp_path: Path) -> None:
    first, second = tmp_path / "a_0.mcap", tmp_path / "a_1.mcap"
    write_mcap(first, drive(2))
    write_mcap(second, [("/points", 2000 * MS, bytes(64 * MIB))])
    (unit,) = McapFile(second).contents.units
    content = bytearray(second.read_bytes())
    struct.pack_into("<Q", content, unit.offset + 9 + 16, 10)
    second.write_bytes(content)
    location = bag_of(tmp_path / "bag", first, second)
    with memory_below(16 * MIB):
        items = read(location)
    assert kinds(items) == {"Transform": 2, "Sweep": 2, "Damage": 1}
    damage = items[-1]
    assert isinstance(damage, Damage) and damage.location == location
    assert damage.detail.startswith(f"a_1.mcap: corrupt chunk at byte {unit.offset}: zstd: 67")


def test_a_bag_whose_last_mcap_file_was_not_finished_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    entries = drive(4)
    write_mcap(tmp_path / "a_0.mcap", entries[:4])
    write_mcap(tmp_path / "a_1.mcap", entries[4:], finish=False)
    items = read(bag_of(tmp_path / "bag", tmp_path / "a_0.mcap", tmp_path / "a_1.mcap"))
    assert kinds(items) == {"Transform": 4, "Sweep": 4, "Damage": 1}
    assert isinstance(items[-1], Damage) and "a_1.mcap: at byte" in items[-1].detail


@pytest.mark.parametrize("names", [3, None, [["a.mcap"]], ["gone.mcap", ".."]])
def test_files_that_are_none(tmp_path: Path, names: object) -> None:
    location = bag_of(tmp_path / "bag")
    path = tmp_path / "bag" / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = names
    path.write_text(yaml.safe_dump(metadata))
    with pytest.raises(SourceError, match=r"are no names of files|2 of its files are missing: gone\.mcap, "):
        read(location)
