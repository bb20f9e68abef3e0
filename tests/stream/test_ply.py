"""PLY files written by plyfile and by hand: vertices, poses, places, parts, and broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyListProperty, PlyProperty

from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.hit_files import PART_POINTS
from stream.sweep import Sweep
from stream.transform import Transform

XYZ: Any = [("x", "f4"), ("y", "f4"), ("z", "f4")]
TURNED = "0 -1 0 7 1 0 0 5 0 0 1 1\n"


def vertices(count: int = 40, kind: Any = (*XYZ, ("intensity", "f4")), seed: int = 1) -> NDArray[Any]:
    """Places in whole eighths of a metre, 10 m about (20, 4, -2), which is the first."""
    table = np.zeros(count, list(kind))
    places = [20, 4, -2] + np.random.default_rng(seed).integers(-80, 81, (count, 3)) / 8
    if count:
        places[:3] = [[20, 4, -2], [10, -6, -12], [30, 14, 8]]
    for axis, name in enumerate("xyz"):
        table[name] = places[:count, axis]
    if "intensity" in table.dtype.names:  # type: ignore[operator]
        table["intensity"] = np.arange(count)
    return table


def write(path: Path, table: NDArray[Any], text: bool = False, order: str = "<", *more: PlyElement) -> Path:
    PlyData([PlyElement.describe(table, "vertex"), *more], text=text, byte_order=order).write(str(path))
    return path


def items_of(location: Path, **options: object) -> list[Item]:
    return list(open_source(str(location), SourceOptions(rate_hz=10, **options)))  # type: ignore[arg-type]


def places_of(table: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([table[name] for name in "xyz"], axis=1).astype(np.float64)


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_vertices_are_hits_about_the_middle(tmp_path: Path, text: bool, order: str) -> None:
    table = vertices()
    path = write(tmp_path / "a.ply", table, text, order)
    info = open_source(str(path), SourceOptions(rate_hz=10)).info()
    assert (info.format, info.sweeps, info.root_frame, info.topics, info.origin) == (
        "ply", 1, "odom", {"*.ply": ("ply", 1)}, None
    )  # fmt: skip
    move, sweep = items_of(path)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert (move.parent, move.child, move.translation) == ("odom", "ply", (20.0, 4.0, -2.0))
    assert (sweep.stream_id, sweep.frame, sweep.hits_only) == ("robot/ply", "ply", True)
    assert np.array_equal(sweep.points + np.float32(move.translation), places_of(table))
    assert np.array_equal(sweep.intensity, np.arange(40, dtype=np.float32))


def test_a_folder_with_poses(tmp_path: Path) -> None:
    """Poses place the files' own frame, and it stays as it is."""
    for number in range(3):
        write(tmp_path / f"{number}.ply", vertices(seed=number))
    (tmp_path / "poses.txt").write_text(TURNED * 3)
    items = items_of(tmp_path)
    assert [item.stamp_ns for item in items[1::2]] == [1_000_000_000, 1_100_000_000, 1_200_000_000]
    for number, (move, sweep) in enumerate(zip(items[::2], items[1::2], strict=True)):
        assert isinstance(move, Transform) and isinstance(sweep, Sweep)
        assert move.translation == (7.0, 5.0, 1.0) and move.rotation[3] == pytest.approx(0.5**0.5)
        assert np.array_equal(sweep.points, places_of(vertices(seed=number)))
        assert sweep.hits_only
    (tmp_path / "poses.txt").write_text(TURNED * 2)
    with pytest.raises(SourceError, match="2 poses for 3 sweeps"):
        items_of(tmp_path)


def test_the_map_is_moved_only_where_cell_ids_do_not_reach(tmp_path: Path) -> None:
    table = vertices(kind=[(name, "f8") for name, _ in XYZ])
    table["x"] += 457_000.125
    table["y"] += 5_428_000
    path = write(tmp_path / "utm.ply", table)
    info = open_source(str(path), SourceOptions(rate_hz=10)).info()
    assert info.origin == (457_020.0, 5_428_004.0, -2.0)
    move, sweep = items_of(path)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert move.translation == (0.0, 0.0, 0.0)
    assert np.abs(sweep.points + np.array(info.origin) - places_of(table)).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [("scalar_Intensity", "f4", 7.0), ("Reflectance", "u1", 7.0), ("red", "u1", 0.0)],
)
def test_names_of_the_intensity(tmp_path: Path, name: str, kind: str, wanted: float) -> None:
    table = vertices(kind=[*XYZ, (name, kind)])
    table[name] = 7
    sweep = items_of(write(tmp_path / "a.ply", table))[-1]
    assert isinstance(sweep, Sweep)
    assert set(sweep.intensity.tolist()) == {wanted}


@pytest.mark.parametrize("text", [True, False])
def test_faces_of_a_mesh_are_passed_over(tmp_path: Path, text: bool) -> None:
    faces = np.empty(2, [("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = [[0, 1, 2], [1, 2, 3]]
    path = write(tmp_path / "a.ply", vertices(), text, "<", PlyElement.describe(faces, "face"))
    sweep = items_of(path)[-1]
    assert isinstance(sweep, Sweep) and len(sweep.points) == 40


def test_a_large_file_comes_in_parts(tmp_path: Path) -> None:
    table = vertices(2 * PART_POINTS + 1)
    parts = [item for item in items_of(write(tmp_path / "a.ply", table)) if isinstance(item, Sweep)]
    assert [(part.part, part.parts) for part in parts] == [(0, 3), (1, 3), (2, 3)]
    middle = np.float32([20, 4, -2])
    assert np.array_equal(np.concatenate([part.points for part in parts]) + middle, places_of(table))


def test_values_that_are_not_finite_are_kept_and_counted_later(tmp_path: Path) -> None:
    table = vertices(kind=[(name, "f8") for name, _ in XYZ])
    table["x"][5], table["z"][6], table["y"][7] = np.nan, np.inf, 1e300
    with pytest.raises(SourceError, match=r"are not within 1e\+09 m"):
        items_of(write(tmp_path / "a.ply", table))
    table["y"][7] = 3
    sweep = items_of(write(tmp_path / "a.ply", table))[-1]
    assert isinstance(sweep, Sweep)
    assert np.flatnonzero(~np.isfinite(sweep.points).all(axis=1)).tolist() == [5, 6]
    none = items_of(write(tmp_path / "b.ply", vertices(0)))[-1]
    assert isinstance(none, Sweep) and none.points.shape == (0, 3)


def broken(tmp_path: Path) -> list[tuple[bytes, str]]:
    binary = write(tmp_path / "binary.tmp", vertices()).read_bytes()
    text = write(tmp_path / "text.tmp", vertices(), text=True).read_bytes()
    lists = PlyElement.describe(
        np.array([(np.float32([1]), 2.0, 3.0)], [("x", object), ("y", "f4"), ("z", "f4")]), "vertex"
    )
    assert isinstance(lists.properties[0], PlyListProperty) and isinstance(lists.properties[1], PlyProperty)
    PlyData([lists]).write(str(tmp_path / "lists.tmp"))
    return [
        (b"", "the file is empty"),
        (b"PK\x03\x04" * 9, "not a PLY file: it does not begin with ply"),
        (b"plywood\n" * 9, "not a PLY file: it does not begin with ply"),
        (binary[:60], "header: no end_header within 65536 bytes"),
        (binary[:-1], "cannot be read: .*early end-of-file"),
        (text[: len(text) // 2], "cannot be read: "),
        (text.replace(b"20 4 -2", b"20 4 south"), "cannot be read: .*malformed input"),
        (text.replace(b"float x", b"quad x"), "cannot be read: .*line 4"),
        (
            binary.replace(b"vertex 40", b"vertex 40000000000"),
            "vertex 40000000000 exceeds the cap of 100000000",
        ),
        (
            binary.replace(b"vertex 40", b"vertex 1_000_000_000"),
            "vertex 1_000_000_000 exceeds the cap of 100000000",
        ),
        (
            text.replace(b"element", b"comment end_header\nelement").replace(
                b"vertex 40", b"vertex 9876543210"
            ),
            "vertex 9876543210 exceeds the cap of 100000000",
        ),
        (text.replace(b"vertex 40", b"vertex 400"), "vertex 400: the file has [0-9]{3} bytes; write it anew"),
        (text.replace(b"vertex 40", b"vertex 90_000_000"), "vertex 90_000_000: the file has [0-9]{3} bytes"),
        (binary.replace(b"vertex 40", b"vertex -1"), "cannot be read: "),
        (binary.replace(b"float y", b"float w"), "vertex: no property y; the header has x, w, z, intensity"),
        (binary.replace(b"element vertex", b"element corner"), "no element vertex; the header has corner"),
        ((tmp_path / "lists.tmp").read_bytes(), "vertex: property x is a list; a number is expected"),
    ]


def test_a_broken_first_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    for content, message in broken(tmp_path):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=message) as caught:
            items_of(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_broken_later_file_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for number, (content, _) in enumerate(broken(tmp_path)):
        (folder / f"b{number:02}.ply").write_bytes(content)
    for name in ("a.ply", "c.ply"):
        write(folder / name, vertices())
    first, *refused, last = items_of(folder)[1::2]
    assert isinstance(first, Sweep) and isinstance(last, Sweep)
    assert len(refused) == 17
    for number, item in enumerate(refused):
        assert isinstance(item, SweepRejected)
        assert (item.reason, item.stream_id) == ("corrupt", "robot/ply")
        assert item.detail.startswith(f"b{number:02}.ply: ") and "\n" not in item.detail


def test_damage_anywhere_is_said_in_one_line(tmp_path: Path) -> None:
    rng, outcomes = np.random.default_rng(3), {"error": 0, "sweep": 0}
    sound = [write(tmp_path / f"{text}.ply", vertices(), text).read_bytes() for text in (True, False)]
    path = tmp_path / "a.ply"
    for number in range(300):
        content = bytearray(sound[number % 2])
        for place in rng.integers(len(content) if number % 3 else 150, size=2):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            item = items_of(path)[-1]
        except SourceError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error)
        else:
            outcomes["sweep"] += 1
            assert isinstance(item, Sweep)
    assert min(outcomes.values()) > 20


def test_a_map_beside_a_log_is_no_second_log(tmp_path: Path) -> None:
    write(tmp_path / "map.ply", vertices())
    np.save(tmp_path / "labels.npy", np.zeros(4))
    (tmp_path / "0.bin").write_bytes(bytes(16))
    assert open_source(str(tmp_path)).info().format == "kitti"
    (tmp_path / "0.bin").unlink()
    with pytest.raises(
        SourceError, match=r"holds \.ply and \.npy or \.npz files; name one file or one folder"
    ):
        open_source(str(tmp_path))
