"""Dense volumes in numpy's files: voxels, what counts as occupied, geometry, and broken files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.stream.test_unpacked import memory_below

VOXELS = np.array([[0, 0, 0], [1, 4, 2], [3, 2, 1], [7, 5, 3]])
GEOMETRY = "origin: [-4, 2, 0.5]\nresolution: 0.25\n"


def grid(kind: Any = bool, occupied: float = 1, free: float = 0) -> NDArray[Any]:
    array = np.full((8, 6, 4), free, kind)
    array[tuple(VOXELS.T)] = occupied
    return array


def write(path: Path, occupancy: Any, **changed: Any) -> Path:
    np.savez_compressed(
        path, **{"occupancy": occupancy, "origin": [-4, 2, 0.5], "resolution": 0.25} | changed
    )
    return path


def items_of(location: Path, **options: object) -> list[Item]:
    return list(open_source(str(location), SourceOptions(rate_hz=10, **options)))  # type: ignore[arg-type]


def places_in_map(location: Path) -> list[list[float]]:
    move, sweep = items_of(location)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert sweep.hits_only and not sweep.intensity.any()
    return (sweep.points.astype(np.float64) + move.translation).tolist()


def test_voxels_are_points_in_their_middles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", grid())
    info = open_source(str(path), SourceOptions(rate_hz=10)).info()
    assert (info.format, info.sweeps, info.root_frame, info.topics, info.origin) == (
        "volume", 1, "odom", {"*.npz": ("volume", 1)}, None
    )  # fmt: skip
    wanted = [[-3.875, 2.125, 0.625], [-3.625, 3.125, 1.125], [-3.125, 2.625, 0.875], [-2.125, 3.375, 1.375]]
    assert places_in_map(path) == wanted
    np.save(tmp_path / "a.npy", grid())
    (tmp_path / "volume.yaml").write_text(GEOMETRY)
    assert places_in_map(tmp_path / "a.npy") == wanted
    assert [type(item) for item in items_of(tmp_path)] == [Transform, Sweep] * 2


def test_edges_may_differ(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", grid(), resolution=[1.0, 2.0, 0.5], origin=np.float32([100, 0, 0]))
    assert places_in_map(path)[1] == [101.5, 9.0, 1.25]


def test_a_volume_about_a_robot_moves_with_its_poses(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", grid())
    (tmp_path / "poses.txt").write_text("1 0 0 100 0 1 0 0 0 0 1 0\n")
    move, sweep = items_of(tmp_path)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert move.translation == (100.0, 0.0, 0.0)
    assert sweep.points[0].tolist() == [-3.875, 2.125, 0.625]


@pytest.mark.parametrize(
    ("occupancy", "count"),
    [
        (grid(np.uint8), 4),
        (grid(np.int64), 4),
        (grid(np.float32, 0.65), 4),
        (grid(np.float64, 0.6499), 0),
        (grid(np.float16, 1, np.nan), 4),
        (np.full((8, 6, 4), np.nan), 0),
        (grid(np.int8, 65, -1), 4),
        (grid(np.int8, 64, -1), 0),
        (grid(np.int8, 0, -1), 0),
        (np.asfortranarray(grid()), 4),
        (np.zeros((0, 6, 4), bool), 0),
    ],
)
def test_what_counts_as_occupied(tmp_path: Path, occupancy: NDArray[Any], count: int) -> None:
    assert len(places_in_map(write(tmp_path / "a.npz", occupancy))) == count


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"occupancy": grid(np.uint8, 17)},
            "occupancy: uint8 values 0..17 are not within 0..1; save a bool array",
        ),
        ({"occupancy": grid(np.int8, 101)}, "occupancy: int8 values 0..101 are not within -1..100"),
        ({"occupancy": grid(np.float32, 1.5)}, "occupancy: float32 values 0..1.5 are not within 0..1"),
        ({"occupancy": grid(np.float32, -np.inf)}, "occupancy: float32 values -inf..0 are not within"),
        (
            {"occupancy": grid(np.int8)},
            "occupancy: int8 is in percent, and none is above 1 %; save 0 and 1 as bool",
        ),
        ({"occupancy": np.zeros((10, 3))}, r"occupancy: expected an array of 3 axes, got shape \(10, 3\)"),
        (
            {"occupancy": np.full((2, 2, 2), "wall")},
            "occupancy: <U4 must be bool, a float probability, or int8",
        ),
        ({"occupancy": grid().astype(object)}, "cannot be read: "),
        ({"origin": [1, 2]}, "origin: expected 3 finite numbers in metres"),
        ({"origin": [1, 2, np.nan]}, "origin: expected 3 finite numbers in metres"),
        ({"origin": np.zeros(4_000_000, bool)}, r"origin: expected 3 finite .*, got array\(\[False,"),
        ({"origin": [1e12, 2, 3]}, "are not within 1e[+]09 m"),
        ({"resolution": "fine"}, "resolution: expected numbers in metres"),
        ({"resolution": [1, 2]}, "resolution: expected 1 or 3 finite numbers in metres"),
        ({"resolution": 0.0}, r"resolution: \[0.0\] must be above 0, in metres"),
    ],
)
def test_arrays_that_are_no_volume(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.npz", **{"occupancy": grid()} | changed)
    with pytest.raises(SourceError, match=message) as caught:
        items_of(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no volume.yaml beside it; write origin: \[x, y, z\] and resolution: 0.2 there"),
        ("", r"volume.yaml: expected origin: \[x, y, z\] and resolution: 0.2"),
        ("origin: [1, 2", "volume.yaml: while parsing"),
        ("resolution: 0.2\n", "origin: expected 3 finite numbers in metres, got None"),
        ("origin: [0, 0, 0]\nresolution: {}\n", "resolution: expected numbers in metres, got {}"),
        ("origin: [0, 0, 0]\nresolution: 1" + 399 * "0", "resolution: expected numbers in metres, got 1000"),
        (
            "a: &a [0, 0]\nb: &b [*a, *a]\nc: &c [*b, *b]\norigin: [*c, *c, *c]\nresolution: 1\n",
            "origin: expected numbers in metres, got ",
        ),
    ],
)
def test_geometry_beside_an_array(tmp_path: Path, text: str | None, message: str) -> None:
    np.save(tmp_path / "a.npy", grid())
    if text is not None:
        (tmp_path / "volume.yaml").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        items_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.npz", grid()).read_bytes()
    np.save(tmp_path / "a.npy", grid())
    array = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "volume.yaml").write_text(GEOMETRY)
    np.savez(tmp_path / "other.npz", arr_0=grid())
    for name, content, message in (
        ("b.npz", b"", "the file is empty"),
        ("b.npz", array, "not a .npz file of numpy: it begins with 934e554d5059"),
        ("b.npy", whole, "not a .npy file of numpy: it begins with 504b"),
        ("b.npz", whole[: len(whole) // 2], "cannot be read: "),
        ("b.npz", whole[:60] + bytes(20) + whole[80:], "cannot be read: "),
        ("b.npy", array[:-1], "cannot be read: "),
        ("b.npy", array[:40], "cannot be read: "),
        ("b.npy", array.replace(b"(8, 6, 4)", b"(8, 6e4, "), "cannot be read: "),
        (
            "b.npz",
            (tmp_path / "other.npz").read_bytes(),
            "no array occupancy, origin, resolution; the file has arr_0",
        ),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SourceError, match=message) as caught:
            items_of(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_small_file_cannot_unpack_to_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.npz", np.zeros((100, 100, 100), np.float32))
    with zipfile.ZipFile(path) as file:
        assert sum(entry.file_size for entry in file.infolist()) > 4_000_000 > 100 * path.stat().st_size
    monkeypatch.setattr("stream.sources.volume._MAX_BYTES", 4_000_000)
    with pytest.raises(SourceError, match="bytes unpacked exceed the cap of 4000000"):
        items_of(path)
    monkeypatch.setattr("stream.sources.volume._MAX_BYTES", 8_000_000)
    monkeypatch.setattr("stream.sources.volume.MAX_POINTS", 999_999)
    with pytest.raises(SourceError, match="occupancy: 1000000 voxels exceed the cap of 999999"):
        items_of(path)


def test_numbers_that_are_many_take_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", grid(), origin=np.zeros(8_000_000, bool))
    with memory_below(20_000_000), pytest.raises(SourceError, match="origin: expected 3 finite numbers"):
        items_of(path)


def test_only_so_many_voxels_may_be_occupied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 24 bytes and more, and all that are occupied are packed as small as none."""
    path = write(tmp_path / "a.npz", np.ones((100, 100, 100), bool))
    monkeypatch.setattr("stream.sources.volume.MAX_OCCUPIED", 999_999)
    with memory_below(4_000_000), pytest.raises(SourceError, match="1000000 occupied voxels exceed the cap"):
        items_of(path)
    monkeypatch.setattr("stream.sources.volume.MAX_OCCUPIED", 1_000_000)
    assert sum(len(item.points) for item in items_of(path) if isinstance(item, Sweep)) == 1_000_000


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_zipfile_does_not_bound_are_refused(tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(write(tmp_path / "a.npz", grid())) as file:
        arrays = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(tmp_path / "b.npz", "w", packing) as file:
        for name, content in arrays.items():
            file.writestr(name, content)
    with pytest.raises(SourceError, match=r"'occupancy\.npy' is not packed as numpy does it; use np\.savez"):
        items_of(tmp_path / "b.npz")
