"""Files of boxes and labels: read as they are meant, refused in one line where they are not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from mcap.writer import Writer

from native import pose
from native.errors import DomainError
from stream.annotations.base import AnnotationError
from stream.annotations.masks import InstanceMask, labels_of_mask
from stream.annotations.scene import read_scene
from stream.annotations.semantic_kitti import open_label_folder, read_names
from stream.annotations.tracklets import read_tracklets
from stream.codecs.foxglove import CLOUD, SCENE, schema_data
from stream.frames import FrameRegistry
from stream.sweep import Sweep
from stream.transform import Transform

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>\n'
POSE = (
    "<item><tx>{x}</tx><ty>-4.5</ty><tz>-1.5</tz><rx>{rx}</rx><ry>0</ry><rz>{yaw}</rz><state>2</state>"
    "<occlusion>0</occlusion></item>"
)


def tracklets(*poses: str, kind: str = "Car", height: str = "1.5", first: str = "7") -> str:
    item = (
        f"<item><objectType>{kind}</objectType><h>{height}</h><w>1.6</w><l>4.1</l>"
        f"<first_frame>{first}</first_frame><poses><count>{len(poses)}</count>{''.join(poses)}</poses></item>"
    )
    return (
        f'{HEAD}<!DOCTYPE boost_serialization>\n<boost_serialization version="9"><tracklets><count>1</count>'
        f"{item}</tracklets></boost_serialization>"
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "tracklet_labels.xml"
    path.write_text(text)
    return path


def test_tracklets_of_kitti(tmp_path: Path) -> None:
    poses = [POSE.format(x=x, rx=0, yaw=0.5) for x in (10, 11)]
    found = read_tracklets(written(tmp_path, tracklets(*poses)))
    assert found.classes == ("Car",)
    assert sorted(found.by_frame) == [7, 8]
    (box,) = found.boxes_at(8, "velodyne", 123)
    assert (box.label, box.instance, box.frame, box.stamp_ns) == ("Car", 1, "velodyne", 123)
    assert box.size_m == (4.1, 1.6, 1.5), "length lies along x"
    assert box.pose == (11, -4.5, -0.75, 0, 0, math.sin(0.25), math.cos(0.25)), (
        "of its middle, not its bottom"
    )
    assert found.boxes_at(9, "velodyne", 123) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no XML"),
        ("<a>", "no XML"),
        ("<kml/>", "<kml> holds no <tracklets>"),
        (tracklets(kind=" "), "tracklet 1: objectType is empty"),
        (tracklets(height="0"), "h, w, l: 0.0, 1.6, 4.1 must be > 0"),
        (tracklets(height="tall"), "h: 'tall' must be a finite number"),
        (tracklets(first="1.5"), "first_frame: 1.5 must be a whole number"),
        (tracklets(POSE.format(x="nan", rx=0, yaw=0)), "pose 0: tx: 'nan' must be a finite number"),
        (tracklets(POSE.format(x=1, rx=0.1, yaw=0)), "turn about z only"),
        (tracklets("<item><tx>1</tx></item>"), "pose 0: has no <ty>"),
        (HEAD + '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "holds an entity"),
        (HEAD + '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "holds an entity"),
    ],
)
def test_other_xml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AnnotationError, match="tracklet_labels") as caught:
        read_tracklets(written(tmp_path, text))
    assert words in str(caught.value)


# ---- scenes


def scene(entities: list[dict]) -> bytes:
    update = SceneUpdate()
    for values in entities:
        entity = update.entities.add(id=values["id"], frame_id=values.get("frame", "/map"))
        entity.timestamp.FromNanoseconds(values.get("stamp_ns", 5))
        for key, value in values.get("said", {"category": "car"}).items():
            entity.metadata.add(key=key, value=value)
        cube = entity.cubes.add()
        cube.size.x, cube.size.y, cube.size.z = values.get("size", (4, 2, 1.5))
        cube.pose.position.x = 3
        cube.pose.orientation.w = values.get("w", 1.0)
    return update.SerializeToString()


def logged(path: Path, *messages: bytes, schema: str = SCENE) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        kind = writer.register_schema(schema, "protobuf", schema_data(schema))
        channel = writer.register_channel("/boxes", "protobuf", kind)
        for number, data in enumerate(messages):
            writer.add_message(channel, number, data, number)
        writer.finish()
    return path


def test_cubes_of_foxglove(tmp_path: Path) -> None:
    later = {
        "id": "a",
        "stamp_ns": 9,
        "said": {"colour": "red", "class": "van", "label": "x"},
        "size": (1, 2, 3),
    }
    found = read_scene(logged(tmp_path / "a.mcap", scene([{"id": "b"}, later]), scene([{"id": "a"}])))
    assert found.entities == ("a", "b")
    assert found.classes == ("car", "van")
    assert [(box.stamp_ns, box.instance, box.label) for box in found.boxes] == [
        (5, 1, "car"), (5, 2, "car"), (9, 1, "van"),
    ]  # fmt: skip
    assert found.boxes[2].frame == "map" and found.boxes[2].size_m == (1, 2, 3)
    assert found.boxes[2].pose == (3, 0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("entity", "words"),
    [
        (
            {"said": {"colour": "red"}},
            "none of category, class, label, which would name its class; it has colour",
        ),
        ({"said": {}}, "it has nothing"),
        ({"w": 0.5}, "its orientation a unit quaternion"),
        ({"w": math.nan}, "must be finite"),
        ({"size": (1, 0, 1)}, "must be three numbers > 0"),
        ({"frame": ""}, "frame_id: the frame name is empty"),
    ],
)
def test_other_scenes_are_refused(tmp_path: Path, entity: dict, words: str) -> None:
    with pytest.raises(AnnotationError, match=r"a\.mcap: /boxes: entity 'c'") as caught:
        read_scene(logged(tmp_path / "a.mcap", scene([{"id": "c"} | entity])))
    assert words in str(caught.value)


def test_other_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no boxes.*foxglove.PointCloud in protobuf"):
        read_scene(logged(tmp_path / "cloud.mcap", b"", schema=CLOUD))
    with pytest.raises(AnnotationError, match="at 0"):
        read_scene(logged(tmp_path / "bad.mcap", b"\xff\xff"))
    whole = logged(tmp_path / "cut.mcap", *[scene([{"id": "a"}])] * 3)
    whole.write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(AnnotationError, match="damaged, so boxes are missing"):
        read_scene(whole)


# ---- points


def test_labels_of_semantic_kitti(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / "000000.label"
    np.array([0, 10 | 3 << 16, 40, 259 | 0xFFFF << 16], "<u4").tofile(path)
    folder = open_label_folder(tmp_path)
    code, instance = folder.read(path)
    assert [folder.classes[each] if each >= 0 else None for each in code] == [
        None, "car", "road", "moving-other-vehicle",
    ]  # fmt: skip
    assert instance.tolist() == [0, 3, 0, 65535]
    np.array([10, 12], "<u4").tofile(path)
    with pytest.raises(AnnotationError, match=r"point 1: class 12 has no name; .*--names"):
        folder.read(path)
    path.write_bytes(b"12345")
    with pytest.raises(AnnotationError, match="5 bytes are not a multiple of 4"):
        folder.read(path)
    with pytest.raises(AnnotationError, match=r"holds no \.label files"):
        open_label_folder(tmp_path / "labels" / "000000.label")


def test_names_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("labels: {0: unlabeled, 12: puddle, 3: grass}\nother: 1\n")
    assert read_names(path) == {12: "puddle", 3: "grass"}
    for text, words in (
        ("a: b: c", "no YAML"),
        ("[1]", "has no mapping labels"),
        ("labels: {road: 1}", "'road': 1: expected a number"),
        ("labels: {70000: road}", "expected a number 0..65535"),
        ("labels: {1: road, 2: road}", "'road' is the name of several numbers"),
    ):
        path.write_text(text)
        with pytest.raises(AnnotationError, match="names") as caught:
            read_names(path)
        assert words in str(caught.value)


# ---- masks


def test_a_point_is_what_its_pixel_is_at_the_stamp_of_the_image() -> None:
    """The camera looks along x of the lidar, which goes along x: 2 m between sweep and image."""
    frames = FrameRegistry(max_gap_ns=10**9)
    for stamp_ns, x in ((0, 0.0), (100, 2.0)):
        frames.add(
            Transform(
                robot_id="r", stamp_ns=stamp_ns, parent="map", child="lidar", translation=(x, 0, 0),
                rotation=(0, 0, 0, 1),
            )
        )  # fmt: skip
    turn = pose.vector(np.array([0, 0, 1, 0, -1, 0, 0, 0, 0, -1, 0, 0], np.float64))
    frames.add(
        Transform(
            robot_id="r", stamp_ns=0, parent="lidar", child="camera", translation=(0, 0, 0),
            rotation=tuple(turn[3:].tolist()), static=True,
        )
    )  # fmt: skip
    image = np.zeros((5, 9), np.uint16)
    image[2, 4], image[2, 3] = 7, 8
    mask = InstanceMask(
        frame="camera", stamp_ns=100, matrix=np.array([[4.0, 0, 4], [0, 4, 2], [0, 0, 1]]), instance=image,
        codes={7: 1, 8: 0},
    )  # fmt: skip
    points = [[10, 0, 0], [10, 2, 0], [10, 4, 0], [1, 0, 0], [-5, 0, 0], [10, 30, 0], [math.nan, 0, 0]]
    sweep = Sweep(
        stream_id="r/lidar", stamp_ns=1, frame="lidar", points=np.array(points, np.float32),
        intensity=np.zeros(7, np.float32),
    )  # fmt: skip
    code, instance = labels_of_mask(mask, sweep, frames, "map")
    # 8 m ahead of the camera a pixel is 2 m wide, and y points to the left; the fourth has been passed.
    assert instance.tolist() == [7, 8, 0, 0, 0, 0, 0]
    assert code.tolist() == [1, 0, -1, -1, -1, -1, -1]
    with pytest.raises(DomainError, match="codes: has no class for instance 8"):
        InstanceMask(frame="camera", stamp_ns=0, matrix=np.eye(3), instance=image, codes={7: 1})
