"""/trajectories: what the forecaster's own class says of the same histories and container, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from agents.web.histories import LEAST_NS, ObjectHistory, track_of
from agents.web.robot import Robot
from agents.web.trajectories import MOST_OBJECTS
from models.manifest import ModelRefused, sha256_of
from models.objects.boxes import Boxes, out_of_frame
from models.objects.kinds import KINDS, SIZES
from models.objects.motion import HORIZONS_S, motions_of
from models.objects.onnx_models import ForecastModel
from models.objects.surroundings import pooled_columns
from models.objects.tracking import Track, Tracker
from native.index64 import decode, encode, from_text
from native.lattice import snap
from stream.container import RollingContainer
from stream.records import Binned, Prediction
from tests.web.forecasters import WAYS, forecaster
from tests.web.played import Played, post

MODEL = ForecastModel("trajectories-test", forecaster())
PERIOD_NS = 100_000_000


@pytest.fixture(scope="module")
def client(city: Played) -> TestClient:
    return city.client(trajectories=MODEL)


def ask(client: TestClient, question: dict[str, Any], status: int = 200) -> dict[str, Any]:
    return post(client, "/trajectories", question, status)


def newest(city: Played, robot: str) -> Prediction:
    found: Prediction = [item for item in city.of(Prediction) if item.robot_id == robot][-1]
    return found


def walk(city: Played, robot: str = "ant", **more: Any) -> dict[str, Any]:
    """Somebody who walks in a bow past a robot, seen in each of its last 15 sweeps; noisy."""
    sweeps = [item for item in city.of(Binned) if item.robot_id == robot][-15:]
    sensor = sweeps[-1].pose.reshape(3, 4)[:, 3]
    t, dice = np.arange(len(sweeps)) * 0.1, np.random.default_rng(2)
    places = sensor + np.stack([4 + 1.5 * t, 0.4 * t**2 - 3, 0 * t - 0.8], 1)
    places[:, :2] += dice.normal(0, 0.05, (len(sweeps), 2))
    stamps = [item.stamp_ns for item in sweeps]
    return {"id": 7, "class": "pedestrian", "stamps_ns": stamps, "positions": places.tolist(), **more}


def window_of(city: Played, robot: str) -> Any:
    """Features of the last sweep, of a container of our own that folds the same records."""
    container = RollingContainer(city.world.config)
    records = [item for item in city.of(Binned) if item.robot_id == robot]
    for record in records:
        container.fold(record)
    return container.features(records[-1])


def expected(city: Played, robot: str, tracks: list[Track]) -> tuple[Any, Any, Any]:
    """Paths in the map float64 (N, K, T, 2), probabilities and headings, by the forecaster's own class."""
    config = city.world.config
    motions = motions_of(tracks, window_of(city, robot), pooled_columns(config), config.grid.half_edge_m)
    assert motions.around.any(axis=1).all(), "something lies around"
    modes = MODEL.forecast(motions)
    path = out_of_frame(modes.path, motions.yaw[:, None, None]) + motions.place[:, None, None, :2]
    order = np.argsort(-modes.probability, axis=1, kind="stable")
    path = np.take_along_axis(path, order[:, :, None, None], 1)
    return path, np.take_along_axis(modes.probability, order, 1), motions.yaw


def served(answer: dict[str, Any]) -> tuple[Any, Any, Any]:
    rows = answer["trajectories"]
    path = np.array([[way["positions"] for way in row["ways"]] for row in rows])
    probability = np.array([[way["probability"] for way in row["ways"]] for row in rows])
    return path, probability, np.array([row["yaw"] for row in rows])


# ---- the same bits -------------------------------------------------------------------------------------


def test_detections_are_forecast_as_the_tracker_and_the_forecaster_would(
    city: Played, client: TestClient
) -> None:
    """Detections in, as ``octastream objects`` finds them: its own tracker follows them to the same bits."""
    objects = [walk(city), walk(city, id="b", **{"class": None}, size=[4.0, 1.8, 1.5])]
    objects[1]["positions"] = np.add(objects[1]["positions"][::-1], [0.5, 8, 0]).tolist()
    tracks = []
    for item, size in zip(objects, (SIZES[KINDS.index("pedestrian")], [4.0, 1.8, 1.5]), strict=True):
        tracker = Tracker()
        for stamp, place in zip(item["stamps_ns"], item["positions"], strict=True):
            box = Boxes.of(np.array([place]), np.array([size]), np.zeros(1))
            tracks_now = tracker.step(stamp, box)
        (track,) = tracks_now
        assert track.seen == 15
        track.size = np.array(size)  # the tracker's own is a mean, which may end a bit lower
        tracks.append(track)
    answer = ask(client, {"robot": "ant", "objects": objects})
    path, probability, yaw = served(answer)
    wanted = expected(city, "ant", tracks)
    assert path[..., :2].tobytes() == wanted[0].tobytes()
    assert probability.tobytes() == wanted[1].tobytes()
    assert yaw.tobytes() == wanted[2].tobytes()
    assert path.shape == (2, WAYS, len(HORIZONS_S), 3)
    assert (path[..., 2] == np.array([item["positions"][-1][2] for item in objects])[:, None, None]).all()
    rows = answer["trajectories"]
    assert [(row["id"], row["class"], row["stamp_ns"]) for row in rows] == [
        (7, "pedestrian", objects[0]["stamps_ns"][-1]), ("b", None, objects[1]["stamps_ns"][-1]),
    ]  # fmt: skip
    prediction = newest(city, "ant")
    assert (answer["prediction_id"], answer["stamp_ns"]) == (prediction.prediction_id, prediction.stamp_ns)
    assert (answer["robot"], answer["frame"], answer["model"]) == ("ant", "odom", "trajectories-test")
    assert answer["horizons_ns"] == [500_000_000 * step for step in range(1, 7)]
    assert answer["latency_ms"] > 0


def test_what_a_tracker_says_is_taken_as_it_is(city: Played, client: TestClient) -> None:
    item = walk(city, "bee", velocity=[1.25, -0.5])
    last = item["stamps_ns"][-1]
    x, y, z = item["positions"][-1]
    track = Track(
        id=1, stamp_ns=last, seen_ns=last, state=np.array([x, y, 1.25, -0.5]), cov=np.eye(4),
        size=SIZES[KINDS.index("pedestrian")], z=z, yaw=0.0, box=0, seen=15,
    )  # fmt: skip
    track.history.extend(zip(item["stamps_ns"], *np.array(item["positions"]).T[:2].tolist(), strict=True))
    path, probability, _ = served(ask(client, {"robot": "bee", "objects": [item]}))
    wanted = expected(city, "bee", [track])
    assert path[..., :2].tobytes() == wanted[0].tobytes()
    assert probability.tobytes() == wanted[1].tobytes()


def test_a_position_lies_in_the_cell_that_is_named(city: Played, client: TestClient) -> None:
    config, question = city.world.config, {"robot": "ant", "objects": [walk(city)]}
    for lod in (None, 7, 3):
        answer = ask(client, question | {"lod": lod, "ids": "text"})
        level = 6 if lod is None else lod
        assert answer["lod"] == level
        for way in answer["trajectories"][0]["ways"]:
            sites = snap(np.array(way["positions"]) / (config.grid.half_edge_lod0_m / 2**level))
            cells = encode(sites, frame=2, tier=0, lod=level)
            assert [from_text(name) for name in way["cells"]] == cells.tolist()
    numbers = ask(client, question)["trajectories"][0]["ways"][0]["cells"]
    assert (decode(np.array(numbers, np.uint64)).lod == 6).all()


def test_positions_may_be_in_the_sensors_frame_at_each_sweep(
    city: Played, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded robot goes straight on, so once more as if its sensor had turned on the way."""
    item = walk(city, yaw=0.3)
    sweeps = [record for record in city.of(Binned) if record.robot_id == "ant"]
    recorded = {record.stamp_ns: record.pose.reshape(3, 4) for record in sweeps}
    wanted, shares, heading = served(ask(client, {"robot": "ant", "objects": [item]}))
    assert len({tuple(recorded[stamp][:, 3]) for stamp in item["stamps_ns"]}) == 15, "it moves"
    for poses in (
        recorded,
        {stamp: turned(pose, 0.1 * k) for k, (stamp, pose) in enumerate(recorded.items())},
    ):
        if poses is not recorded:
            monkeypatch.setattr(Robot, "poses", lambda self, poses=poses: {"ant/lidar": poses})
        places = zip(item["stamps_ns"], item["positions"], strict=True)
        seen = {
            "positions": [((place - poses[at][:, 3]) @ poses[at][:, :3]).tolist() for at, place in places]
        }
        answer = ask(client, {"robot": "ant", "objects": [item | seen], "frame": "sensor"})
        pose = poses[item["stamps_ns"][-1]]
        path, probability, yaw = served(answer)
        assert path @ pose[:, :3].T + pose[:, 3] == pytest.approx(wanted, abs=1e-5)
        assert probability == pytest.approx(shares, abs=1e-6)
        ahead = pose[:, :3].T @ [np.cos(heading[0]), np.sin(heading[0]), 0]
        assert yaw[0] == pytest.approx(np.arctan2(ahead[1], ahead[0]), abs=1e-9)
        assert answer["frame"] == "sensor"
    moved = seen | {"stamps_ns": [*item["stamps_ns"][:-1], item["stamps_ns"][-1] - 1]}
    said = ask(client, {"robot": "ant", "objects": [item | moved], "frame": "sensor"}, 422)["detail"]
    assert said.startswith("objects.0.stamps_ns.14: ") and "is no sweep that is remembered" in said
    monkeypatch.setattr(Robot, "poses", lambda self: {"ant/back": {}, "ant/front": {}})
    said = ask(client, {"robot": "ant", "objects": [item], "frame": "sensor"}, 422)["detail"]
    assert said.startswith("frame: 'sensor': ant has several, ant/back, ant/front; give positions in the map")


def turned(pose: Any, by: float) -> Any:
    """A pose with its axes turned about z."""
    cos, sin = np.cos(by), np.sin(by)
    return np.column_stack([pose[:, :3] @ [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], pose[:, 3]])


def test_a_velocity_in_the_sensors_frame_is_turned_too() -> None:
    pose = turned(np.eye(3, 4), 0.5)
    item = ObjectHistory(
        id=1, stamps_ns=[0, 5 * 10**8, 10**9], positions=[(1, 0, 0)] * 3, velocity=(2, 0), size=(1, 1, 1)
    )
    track = track_of(item, "objects.0", dict.fromkeys(item.stamps_ns, pose))
    assert track.state == pytest.approx([np.cos(0.5), np.sin(0.5), 2 * np.cos(0.5), 2 * np.sin(0.5)])


def test_who_stands_faces_where_the_box_does(city: Played, client: TestClient) -> None:
    item = walk(city)
    item["positions"] = [item["positions"][0]] * 15
    said = ask(client, {"robot": "ant", "objects": [walk(city, id=1), item]}, 422)["detail"]
    assert said.startswith("objects.1.yaw: is needed, as at 0 m/s the object stands")
    answer = ask(client, {"robot": "ant", "objects": [item | {"yaw": 2.5}]})
    assert answer["trajectories"][0]["yaw"] == 2.5


def test_no_objects_have_no_ways_and_the_surroundings_are_the_robots_own(
    city: Played, client: TestClient
) -> None:
    assert ask(client, {"robot": "ant", "objects": []})["trajectories"] == []
    far = walk(city)
    far["positions"] = np.add(far["positions"], [90_000, 0, 0]).tolist()
    near = ask(client, {"robot": "ant", "objects": [walk(city)]})
    alone = ask(client, {"robot": "ant", "objects": [far]})
    assert {name for way in alone["trajectories"][0]["ways"] for name in way["cells"]} == {None}
    shares = [served(answer)[1] for answer in (near, alone)]
    assert np.abs(shares[0] - shares[1]).max() > 1e-3, "nothing lies 90 km away"


# ---- what cannot be asked ------------------------------------------------------------------------------


def test_without_a_forecaster_it_is_told_how_to_give_one(city: Played) -> None:
    plain = city.client()
    said = ask(plain, {"robot": "ant", "objects": []}, 409)["detail"]
    assert "no forecaster of trajectories is registered" in said and "--forecaster MODEL" in said
    assert plain.get("/models").json()["trajectories"] is None
    assert city.client(trajectories=MODEL).get("/models").json()["trajectories"] == "trajectories-test"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unsorted": ({"stamps_ns": [0, 2, 1]}, "objects.0: stamps_ns.2: 1 is not after the one before, 2"),
    "twice": ({"stamps_ns": [0, 5, 5]}, "stamps_ns.2: 5 is not after"),
    "short": ({"stamps_ns": [0, 10**8, 4 * 10**8]}, "stamps_ns: cover 0.4 s; a forecast needs 0.9 s"),
    "gap": ({"stamps_ns": [0, 10**8, 10**9]}, "stamps_ns.2: 0.9 s after the one before"),
    "lengths": ({"stamps_ns": [0, 1]}, "positions: 3 of them for 2 stamps_ns"),
    "none": ({"stamps_ns": [], "positions": []}, "objects.0.stamps_ns: [] "),
    "negative": ({"stamps_ns": [-1, 0, 1]}, "objects.0.stamps_ns.0: -1 "),
    "huge": ({"stamps_ns": [0, 1, 2**63]}, "objects.0.stamps_ns.2"),
    "a text": ({"stamps_ns": ["0", 1, 2]}, "objects.0.stamps_ns.0: '0'"),
    "nan": ({"positions": [[0, 0, 0], [0, float("nan"), 0], [0, 0, 0]]}, "objects.0.positions.1.1: nan"),
    "inf": ({"positions": [[0, 0, 0], [0, 0, 0], [float("inf"), 0, 0]]}, "objects.0.positions.2.0: inf"),
    "far": ({"positions": [[0, 0, 0], [0, 0, 0], [0, 0, 1e6]]}, "objects.0.positions.2.2"),
    "flat": ({"positions": [[0, 0]] * 3}, "objects.0.positions.0"),
    "class": ({"class": "tram"}, "objects.0.class: 'tram' Input should be 'car', 'cyclist', 'pedestrian'"),
    "no size": ({"class": None}, "size: is needed where there is no class"),
    "size": ({"size": [1, 0, 1]}, "objects.0.size.1: 0"),
    "velocity": ({"velocity": [1, 2, 3]}, "objects.0.velocity"),
    "nan yaw": ({"yaw": float("nan")}, "objects.0.yaw: nan"),
    "id": ({"id": 1.5}, "objects.0.id"),
    "long id": ({"id": "x" * 65}, "objects.0.id"),
    "half a character": ({"id": "\ud800"}, "objects.0.id"),
    "more": ({"colour": "red"}, "objects.0.colour: 'red'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_history_that_is_none_is_told_with_the_field(client: TestClient, name: str) -> None:
    changes, said = WRONG[name]
    item = {"id": 1, "class": "car", "stamps_ns": [0, 5 * 10**8, 10**9], "positions": [[0, 0, 0]] * 3}
    answer = client.post(
        "/trajectories", content=json.dumps({"robot": "ant", "objects": [item | changes]}),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


def test_a_history_of_another_time_or_unit_is_refused(city: Played, client: TestClient) -> None:
    item = walk(city)
    late = item | {"stamps_ns": [stamp + 10**9 for stamp in item["stamps_ns"]]}
    said = ask(client, {"robot": "ant", "objects": [late]}, 422)["detail"]
    assert said.startswith("objects.0.stamps_ns: end 1 s after the newest sweep, ant/lidar/")
    early = item | {"stamps_ns": [stamp - 6 * 10**8 for stamp in item["stamps_ns"]]}
    assert "0.6 s before" in ask(client, {"robot": "ant", "objects": [early]}, 422)["detail"]
    millimetres = item | {"positions": (np.array(item["positions"]) * 1000).tolist()}
    said = ask(client, {"robot": "ant", "objects": [millimetres]}, 422)["detail"]
    assert said.startswith("objects.0.positions.") and "s earlier; nothing is faster than 100 m/s" in said


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ({"objects": []}, 422, "robot: name one of ant, bee"),
        ({"robot": "cat", "objects": []}, 404, "robot: 'cat' has no forecast"),
        ({"robot": "ant"}, 422, "objects: "),
        ({"robot": "ant", "objects": [], "frame": "base_link"}, 422, "must be 'odom' or 'sensor'"),
        ({"robot": "ant", "objects": [], "lod": 8}, 422, "lod: 8 is finer"),
        ({"robot": "ant", "objects": [], "model": "x"}, 422, "model: 'x'"),
    ],
)
def test_what_cannot_be_asked_is_told_with_the_field(
    client: TestClient, question: dict[str, Any], status: int, said: str
) -> None:
    assert said in ask(client, question, status)["detail"]


def test_a_question_has_a_bounded_size_and_names_each_object_once(city: Played, client: TestClient) -> None:
    item = walk(city)
    short = {name: item[name][-10:] for name in ("stamps_ns", "positions")}
    assert short["stamps_ns"][-1] - short["stamps_ns"][0] == LEAST_NS
    few = [item | short | {"id": number} for number in range(3)]
    rows = ask(client, {"robot": "ant", "objects": few})["trajectories"]
    assert [row["id"] for row in rows] == [0, 1, 2] and rows[0]["ways"] == rows[2]["ways"]
    again = ask(client, {"robot": "ant", "objects": [*few, few[1]]}, 422)["detail"]
    assert again == "objects.3.id: 1 is there twice"
    many = [item | short | {"id": number} for number in range(MOST_OBJECTS + 1)]
    assert "257 are more than the 256" in ask(client, {"robot": "ant", "objects": many}, 413)["detail"]
    long = {"stamps_ns": list(range(65)), "positions": [[0, 0, 0]] * 65}
    assert "objects.0.stamps_ns" in ask(client, {"robot": "ant", "objects": [item | long]}, 422)["detail"]


# ---- the file ------------------------------------------------------------------------------------------


def test_the_file_of_a_forecaster_is_checked_before_the_server_starts(
    city: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.cli import main
    from agents.web.serve_command import _forecaster
    from models.runtime import CPU

    data = forecaster()
    good, other, torn = tmp_path / "good.onnx", tmp_path / "other.onnx", tmp_path / "torn.onnx"
    good.write_bytes(data)
    other.write_bytes(forecaster(kind="objects"))
    torn.write_bytes(data[: len(data) // 2])
    digest = sha256_of(data)
    model = _forecaster(f"{good}#sha256={digest}", 1, [CPU])
    assert model.name == f"trajectories-{digest[:12]}"
    refused = {
        "No such file": str(tmp_path / "nothing.onnx"),
        "is of kind 'objects', needed is 'trajectories'": str(other),
        "not a usable ONNX file": str(torn),
        f"has sha256 {digest}, wanted is {'0' * 64}": f"{good}#sha256={'0' * 64}",
    }
    for said, place in refused.items():
        assert main(["serve", "--replay", str(city.folder), "--forecaster", place]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("octastream: --forecaster ") and said in line, line


def test_a_forecaster_of_another_grid_is_refused(city: Played) -> None:
    finer = ForecastModel("f", forecaster("trajectories", "grid.half_edge_lod0_m=25.6"))
    with pytest.raises(
        ModelRefused, match=r"half_edge_m: has learnt with 0\.2, this run needs 0\.4; train it anew"
    ):
        city.client(trajectories=finer)


def test_a_forecaster_that_answers_something_else_is_refused() -> None:
    import onnx

    model = onnx.load_from_string(forecaster())
    model.graph.output.pop()
    with pytest.raises(ModelRefused, match="does not answer"):
        ForecastModel("f", model.SerializeToString())
    (shape,) = [item for item in model.graph.initializer if item.name == "path_shape"]
    shape.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 3, 12, 1], np.int64), "path_shape"))
    whole = onnx.load_from_string(forecaster())
    whole.graph.ClearField("initializer")
    whole.graph.initializer.extend(model.graph.initializer)
    with pytest.raises(ModelRefused, match=r"\(1, 3, 12, 1\)"):
        ForecastModel("f", whole.SerializeToString())
