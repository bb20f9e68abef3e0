"""Recordings of logs and runs, and the sample log, as a user makes them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader
from mcap.records import Message

from agents.cli import main
from agents.recording import Recording, line_of
from agents.sample import SampleLog
from stream.records import SweepRejected
from stream.sinks.base import Line, Mounts, Shown
from stream.sinks.foxglove import ID_HIGH, ID_LOW
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.test_cli import one_line
from tests.data import ROOT
from tests.stream.test_sinks import MS, edge, sweep_of, table_of

CITY = "sim:city?sweeps=14&beams=32&azimuths=128&seed=2"
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]


def messages(path: Path) -> list[tuple[str, Message]]:
    """Topic and message, by time of the log."""
    with path.open("rb") as file:
        return [(channel.topic, message) for _, channel, message in make_reader(file).iter_messages()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of CITY."""
    out = tmp_path_factory.mktemp("runs") / "city"
    assert main(["replay", CITY, "--out", str(out), "--no-learn", "--set", "task.warmup_sweeps=3"]) == 0
    return out


# ---- times of the log ----------------------------------------------------------------------------------


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.found: list[tuple[int, Shown]] = []

    def write(self, shown: Shown, log_time_ns: int) -> None:
        self.found.append((log_time_ns // MS, shown))

    def close(self) -> None:
        """Nothing is left to write."""


def kept(*items: object, lanes: tuple[str, ...] = ()) -> Kept:
    sink = Kept()
    recording = Recording([sink], "odom")
    for number, item in enumerate(items):
        recording.add(item, lanes[number] if lanes else "")
    recording.finish()
    return sink


def test_a_late_sweep_keeps_its_place() -> None:
    sink = kept(*(sweep_of(stamp_ns=stamp * MS) for stamp in (1000, 1200, 1100, 1300)))
    assert [time_ms for time_ms, _ in sink.found] == [1000, 1200, 1200, 1300]


def test_lanes_do_not_hold_each_other_up() -> None:
    sink = kept(sweep_of(stamp_ns=1500 * MS), sweep_of("bee", stamp_ns=1000 * MS), lanes=("a", "b"))
    assert [time_ms for time_ms, _ in sink.found] == [1500, 1000]


def test_one_wrong_stamp_does_not_move_the_time_and_a_second_one_does() -> None:
    far = 90_000_000
    sink = kept(*(sweep_of(stamp_ns=stamp * MS) for stamp in (1000, far, 1100, far, far + 100, far + 200)))
    assert [time_ms for time_ms, _ in sink.found] == [1000, 1000, 1100, 1100, far + 100, far + 200]


def test_what_holds_for_all_time_gets_the_time_of_what_comes_next() -> None:
    mount = edge("ant", "base", "lidar", static=True, stamp_ns=5)
    sink = kept(mount, edge("ant", "odom", "base"), mount)
    assert [(time_ms, isinstance(shown, Mounts)) for time_ms, shown in sink.found] == [
        (1000, True), (1000, False), (1000, True),
    ]  # fmt: skip
    assert [time_ms for time_ms, _ in kept(mount).found] == [0], "nothing is lost where nothing comes next"


def test_dead_letters_are_warnings_with_all_that_is_known() -> None:
    letter = SweepRejected(
        robot_id="ant", stream_id="ant/top", stamp_ns=1000 * MS, part=0, reason="late", detail="too old"
    )
    ((_, line),) = kept(letter).found
    assert isinstance(line, Line)
    assert (line.level, line.name) == ("warning", "dead_letter")
    assert "reason=late" in line.text and "detail=too old" in line.text
    assert line_of({"event": "activated", "stamp_ns": 5, "n": 3}) == Line(
        stamp_ns=5, level="info", name="activated", text="n=3"
    )


def test_stamps_that_no_message_can_have_are_counted() -> None:
    sink = Kept()
    recording = Recording([sink], "odom")
    recording.add(sweep_of(stamp_ns=-5))
    assert sink.found == []
    assert recording.left_out == {"messages with stamps before 1970": 1}


# ---- logs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "&events=late@4,duplicate@6,clock-jump@9", "&robots=2"])
def test_a_recorded_log_gives_the_same_sweeps_and_poses(query: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    assert main(["record", CITY + query, "--out", str(path), "--robot", "ant"]) == 0
    source = list(open_source(CITY + query, SourceOptions(robot_id="ant")))
    robot = "ant-0" if "robots" in query else "ant"
    topic = f"/{robot}/lidar/points"
    found = list(open_source(str(path), SourceOptions(robot_id=robot, topic=topic)))
    own = [item for item in source if item.robot_id == robot]  # type: ignore[union-attr]
    sweeps = [[item for item in items if isinstance(item, Sweep)] for items in (found, own)]
    assert len(sweeps[0]) == len(sweeps[1]) >= 14
    for one, other in zip(*sweeps, strict=True):
        assert (one.stream_id, one.stamp_ns, one.frame) == (other.stream_id, other.stamp_ns, other.frame)
        assert one.points.tobytes() == other.points.tobytes()
        assert one.intensity.tobytes() == other.intensity.tobytes()
    frames = {"odom", "base_link", "lidar"}
    poses = [
        [item for item in items if isinstance(item, Transform) and {item.parent, item.child} <= frames]
        for items in (found, own)
    ]
    # A message of static transforms has all that are known, so those of one robot come again with another's.
    assert list(dict.fromkeys(poses[0])) == list(dict.fromkeys(poses[1]))
    if robot == "ant":
        assert [type(item) for item in found] == [type(item) for item in source], "order is kept, too"


def test_a_second_robot_can_be_replayed_from_its_own_topic(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    assert main(["record", CITY + "&robots=2", "--out", str(path)]) == 0
    run = tmp_path / "run"
    topic = ["--topic", "/robot-1/lidar/points", "--set", "task.warmup_sweeps=3", "--no-learn"]
    assert main(["replay", str(path), "--out", str(run), *topic]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["dead_letters"] == {} and summary["sweeps"] == 14
    assert summary["grid"]["map_frame"] == "odom"


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", CITY + "&misses=1", "--out", str(tmp_path / "a.mcap")]) == 0
    shown = capsys.readouterr().out
    misses = sum(len(item.misses) for item in open_source(CITY + "&misses=1") if isinstance(item, Sweep))
    assert misses > 0 and f"left out: {misses:,} rays without return" in shown


def test_the_same_log_is_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.mcap", "b.mcap")]
    assert [main(["record", CITY, "--out", str(path)]) for path in paths] == [0, 0]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_damaged_log_is_recorded_up_to_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut, path = (tmp_path / name for name in ("whole.mcap", "cut.mcap", "out.mcap"))
    assert main(["record", "sim:city?sweeps=14&azimuths=512&seed=2", "--out", str(whole)]) == 0
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    capsys.readouterr()
    assert main(["record", str(cut), "--out", str(path)]) == 3
    assert "recorded up to the damage: " in one_line(capsys.readouterr().err)
    assert 0 < sum(topic.endswith("/points") for topic, _ in messages(path)) < 14


# ---- runs ----------------------------------------------------------------------------------------------


def test_a_run_is_recorded_with_what_its_tables_say(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    assert main(["record", str(run), "--out", str(path)]) == 0
    found = messages(path)
    predictions = [message for topic, message in found if topic == "/robot/lidar/predictions"]
    stored = pq.read_table(run / "predictions")
    stamps, horizons = stored["stamp_ns"].to_numpy(), stored["horizon_ns"].to_numpy()
    assert [message.publish_time for message in predictions] == sorted(set(stamps.tolist()))
    for message in predictions[::5]:
        table = table_of(message.data)
        rows = (stamps == message.publish_time) & (horizons == 500 * MS)
        ids = table[ID_HIGH].astype(np.uint64) << np.uint64(32) | table[ID_LOW]
        assert ids.tolist() == stored["cell_id"].to_numpy()[rows].tolist()
        assert table["probability_500ms"].tolist() == stored["probability"].to_numpy()[rows].tolist()
    outcomes = pq.read_table(run / "outcomes")
    seen = [table_of(message.data) for topic, message in found if topic == "/robot/lidar/outcomes_500ms"]
    chosen = outcomes["horizon_ns"].to_numpy() == 500 * MS
    assert sum(map(len, seen)) == int(chosen.sum()) > 0
    occupied = outcomes["occupied"].to_numpy(zero_copy_only=False)[chosen]
    assert sum(int(table["occupied"].sum()) for table in seen) == int(occupied.sum())
    assert not any(np.isnan(table["probability"]).any() for table in seen)
    lines = (run / "events.jsonl").read_text().splitlines()
    assert sum(topic == "/events" for topic, _ in found) == len(lines) > 0
    assert sum(topic == "/tf" for topic, _ in found) == 14, "a pose a sweep"


def test_a_log_beside_its_run_is_in_order_of_time_and_can_be_replayed(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    assert main(["record", CITY, str(run), "--out", str(path)]) == 0
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
        in_file = [
            message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=False)
        ]
    assert summary is not None and summary.statistics is not None
    backward = max(0, *(before - after for before, after in itertools.pairwise(in_file)))
    assert backward <= 1000 * MS, "an outcome is written beside its prediction, a second ahead of its time"
    again = tmp_path / "again"
    quick = ["--no-learn", "--set", "task.warmup_sweeps=3"]
    assert main(["replay", str(path), "--topic", "/robot/lidar/points", "--out", str(again), *quick]) == 0
    digests = [json.loads((out / "summary.json").read_text())["run_digest"] for out in (run, again)]
    assert digests[0] == digests[1]


def test_both_files_hold_the_same(run: Path, tmp_path: Path) -> None:
    from rerun.chunk import RrdReader

    mcap, rrd = tmp_path / "a.mcap", tmp_path / "a.rrd"
    assert main(["record", str(run), "--out", str(mcap), "--rerun", str(rrd)]) == 0
    topics = {topic for topic, _ in messages(mcap)} - {"/tf", "/events"}
    entities = {str(chunk.entity_path) for chunk in RrdReader(rrd).stream()}
    assert topics <= entities and len(topics) == 5


# ---- being told to stop --------------------------------------------------------------------------------


def test_ctrl_c_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    process = subprocess.Popen(
        [*PROGRAM, "record", "sim:city?sweeps=5000&azimuths=512", "--out", str(path)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not path.exists() or path.stat().st_size < 2**20:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr is not None
    with process.stderr:
        assert one_line(process.stderr.read()) == "interrupted: recorded up to here"
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None and summary.statistics is not None
    sweeps = sum(isinstance(item, Sweep) for item in open_source(str(path)))
    assert 0 < sweeps < 5000
    assert summary.statistics.message_count == len(messages(path))


# ---- what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([CITY], "nothing to write: give --out FILE.mcap, --rerun FILE.rrd, or both"),
        ([CITY, "--out", "a", "--rerun", "a"], "--rerun a: --out is to be written there, too"),
        ([CITY, "--out", "there.mcap"], "there.mcap: is already there; name another file or add --force"),
        ([CITY, "--out", "folder"], "folder: is a folder; name a file in it"),
        ([CITY, "--out", "no/a.mcap"], "no/a.mcap: there is no folder no; make it first"),
        (["nowhere.mcap", "--out", "a.mcap"], "nowhere.mcap: no such file or folder"),
        ([CITY, "--out", "a.mcap", "--set", "grid.lod=6"], "--set grid.lod=6: only for topics"),
        (["--out", "a.mcap"], "grid.map_frame: 'auto' cannot be found without a log"),
        (["--out", "a.mcap", "--set", "grid.map_frame=odom", "--robot", "ant"], "--robot ant: only for logs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.mcap").write_text("mine")
    Path("folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["record", *arguments]) == 1
    assert words in one_line(capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("there.mcap").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [("--out", "foxglove_schemas_protobuf.PointCloud_pb2", "formats"), ("--rerun", "rerun", "rerun")],
)
def test_a_missing_package_is_named_with_its_extra(
    option: str, package: str, extra: str, tmp_path: Path
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from agents.cli import main; sys.exit(main())"
    shown = subprocess.run(
        [sys.executable, "-c", code, "record", CITY, option, str(tmp_path / "a")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 1
    assert f"pip install 'octastream[{extra}]'" in one_line(shown.stderr)
    assert list(tmp_path.iterdir()) == []


# ---- the sample ----------------------------------------------------------------------------------------


def test_the_sample_is_small_the_same_every_time_and_can_be_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mcap"
    assert main(["sample", "--out", str(path)]) == 0
    first = path.read_bytes()
    assert len(first) < 6_000_000
    assert main(["sample", "--out", str(path)]) == 1
    assert "is already there; name another file or add --force" in capsys.readouterr().err
    assert main(["sample", "--out", str(path), "--force"]) == 0
    assert path.read_bytes() == first
    assert main(["doctor", str(path), "--sweeps", "4"]) == 0
    found = list(open_source(str(path)))
    made = list(SampleLog())
    assert [type(item) for item in found] == [type(item) for item in made]
    for one, other in zip(found, made, strict=True):
        if isinstance(one, Sweep) and isinstance(other, Sweep):
            assert one.points.tobytes() == other.points.tobytes()
            assert (np.rint(one.points * 256) == one.points * 256).all()
        else:
            assert one == other
