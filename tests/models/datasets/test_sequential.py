"""``SequentialContainer`` over stored containers, and OctaIndex3D's container v1."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from models.datasets.cells import BCCDataset
from models.datasets.container_v1 import read_frames
from models.datasets.sequential import SequentialContainer
from models.datasets.stored import StoredError
from native.errors import OctaError
from native.index64 import decode, encode, neighbors, parent
from native.schema import MismatchError
from tests.data import data_path
from tests.models.graphs.containers import GRID, random_ids

TOP = GRID.half_edge_m * 2.0**GRID.lod


def made(folder: Path, ids: np.ndarray) -> SequentialContainer:
    container = SequentialContainer.create(
        folder, ["a", "b"], half_edge_lod0_m=TOP, frame_id=GRID.frame, tier=GRID.tier
    )
    for number in np.random.default_rng(1).permutation(len(ids)).tolist():
        container.insert(int(ids[number]), [number, -number])
    return container


def test_what_was_inserted_comes_back_by_id(tmp_path: Path) -> None:
    fine = random_ids(3, 0.2)
    coarse = np.unique(parent(fine))
    ids = np.concatenate([fine, coarse])
    container = made(tmp_path / "cells", ids)
    for reading in (container, None, None):
        if reading is None:
            if not (tmp_path / "cells").exists():
                container.finalize()
            reading = SequentialContainer.open(tmp_path / "cells")
        assert reading.lods == (GRID.lod - 1, GRID.lod)
        assert len(reading) == len(ids)
        assert list(reading.iter_at_lod(GRID.lod)) == fine.tolist()
        assert list(reading.iter_at_lod(GRID.lod - 1)) == coarse.tolist()
        assert list(reading.iter_at_lod(2)) == []
        for number in range(0, len(ids), 37):
            cell = int(ids[number])
            lod = int(decode(ids[number : number + 1]).lod[0])
            assert reading.get_features(cell).tolist() == [number, -number]
            sites = decode(ids[number : number + 1]).sites[0]
            assert np.array_equal(reading.index_to_position(cell), sites * (TOP / 2.0**lod))
            there = set((fine if lod == GRID.lod else coarse).tolist())
            around = neighbors(ids[number : number + 1])[0].tolist()
            assert reading.get_neighbors(cell) == [other for other in around if other in there]
    far = np.array([[400, 400, 400]], np.int32)
    absent = int(encode(far, frame=GRID.frame, tier=GRID.tier, lod=GRID.lod)[0])
    with pytest.raises(KeyError, match=str(absent)):
        reading.get_features(absent)
    dataset = BCCDataset(tmp_path / "cells", GRID.frame, GRID.lod, ["b"])
    assert dataset.table.features[:-1, 0].tolist() == [-float(n) for n in range(len(fine))]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    container = made(tmp_path / "cells", random_ids(3, 0.05))
    cell = next(container.iter_at_lod(GRID.lod))
    with pytest.raises(ValueError, match=r"features: expected \(2,\), got \(1,\)"):
        container.insert(cell, [1.0])
    with pytest.raises(OctaError):
        container.insert(7, [1.0, 2.0])
    other = encode(np.zeros((1, 3), np.int32), frame=GRID.frame + 1, tier=GRID.tier, lod=GRID.lod)
    with pytest.raises(MismatchError, match=f"is of frame {GRID.frame + 1}"):
        container.insert(int(other[0]), [1.0, 2.0])
    assert not (tmp_path / "cells").exists()
    container.finalize()
    for call in (container.finalize, lambda: container.insert(cell, [1.0, 2.0])):
        with pytest.raises(ValueError, match="is on disk"):
            call()
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        SequentialContainer.create(tmp_path / "cells", [], half_edge_lod0_m=1.0, frame_id=1)
    with pytest.raises(ValueError, match="a name twice"):
        SequentialContainer.create(tmp_path / "x", ["a", "a"], half_edge_lod0_m=1.0, frame_id=1)
    with pytest.raises(ValueError, match="half_edge_lod0_m"):
        SequentialContainer.create(tmp_path / "x", [], half_edge_lod0_m=float("nan"), frame_id=1)
    with pytest.raises(MismatchError, match="says its own"):
        SequentialContainer.open(tmp_path / "cells", half_edge_lod0_m=1.0)
    with pytest.raises(StoredError, match="no such file or folder"):
        SequentialContainer.open(tmp_path / "nowhere")


def test_frames_of_the_golden_containers_come_back(tmp_path: Path) -> None:
    lines = data_path("golden_public/container_v1.jsonl").read_text().splitlines()
    codecs = set()
    for row in map(json.loads, lines):
        path = tmp_path / row["id"]
        path.write_bytes(bytes.fromhex(row["bytes"]))
        assert [frame.hex() for frame in read_frames(path)] == row["frames"], row["id"]
        codecs.add(row["codec"])
    assert len(lines) == 10
    assert {"lz4", "none"} <= codecs


def v1(*frames: bytes, **change: int) -> bytes:
    """A container v1 without compression; change : fields of its first frame, or ``count``."""
    said = {
        "codec": 3,
        "size": len(frames[0]),
        "compressed": len(frames[0]),
        "crc": zlib.crc32(frames[0]),
    } | change
    table = struct.pack(">BBBBIII", said["codec"], 0, 0, 0, said["size"], said["compressed"], said["crc"])
    for frame in frames[1:]:
        table += struct.pack(">BBBBIII", 3, 0, 0, 0, len(frame), len(frame), zlib.crc32(frame))
    head = struct.pack(">8sBBI2x", b"OCTA3D\0\0", 1, 0, change.get("count", len(frames)))
    return head + table + b"".join(frames)


def test_ids_in_a_container_v1_are_cells(tmp_path: Path) -> None:
    ids = random_ids(5, 0.1)
    path = tmp_path / "cells.octa"
    path.write_bytes(v1(ids[::-1].astype(">u8").tobytes(), ids[:5].astype(">u8").tobytes()))
    container = SequentialContainer.open(path, half_edge_lod0_m=TOP)
    assert list(container.iter_at_lod(GRID.lod)) == ids.tolist()
    assert container.get_features(int(ids[0])).shape == (0,)
    assert (container.frame_id, container.tier, len(container)) == (GRID.frame, GRID.tier, len(ids))
    with pytest.raises(MismatchError, match="does not say it"):
        SequentialContainer.open(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (v1(b"12345678")[:10], "cut off in its header"),
        (v1(b"12345678")[:20], "cut off in the list of its frames"),
        (v1(b"12345678")[:-1], "cut off in frame 0"),
        (v1(b"12345678", crc=1), "its checksum differs"),
        (v1(b"12345678", codec=2), "has codec 2"),
        (v1(b"12345678", codec=0), "its two lengths differ"),
        (v1(b"12345678", codec=1), "is damaged"),
        (v1(struct.pack("<I", 9) + b"\xff\xff", codec=0, size=9), "is damaged"),
        (v1(b"12345678", size=9), "has 8 bytes, expected 9"),
        (v1(b"12345678", size=2**29), "too many"),
        (v1(b"12345678", compressed=2**31), "too many"),
        (v1(b"12345678", count=2**31), "at most 100,000"),
        (v1(b"1234567"), "holds no ids"),
        (v1(b"12345678"), "holds no ids"),
        (b"OCTA3D\0\0\2" + bytes(20), "version 2"),
    ],
)
def test_hostile_containers_are_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "cells.octa"
    path.write_bytes(data)
    with pytest.raises(StoredError, match=words):
        SequentialContainer.open(path, half_edge_lod0_m=1.0)
