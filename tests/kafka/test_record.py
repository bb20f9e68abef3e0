"""Recordings of the topics of a real cluster, and sweeps that are sent as Foxglove's messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from agents.cli import main
from agents.kafka.admin import run
from agents.kafka.produce import FOXGLOVE, messages_of
from agents.kafka.record import record_topics
from agents.kafka.settings import KafkaSettings
from agents.recording import Recording
from agents.stop import Stop
from native.index64 import decode as decode_ids
from stream.codecs.inputs import decode_sweep, decode_transforms
from stream.records import Binned, Outcome, Prediction
from stream.run_folder import RunFolder
from stream.sinks.foxglove import ID_HIGH, ID_LOW
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep import Sweep
from stream.topics import BINNED, OUTCOMES, PREDICTIONS, STATIC, SWEEPS
from stream.transform import Transform
from tests.agents.test_cli import one_line
from tests.agents.test_record import Kept
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, wait_for_rest
from tests.stream.test_sinks import table_of

SIM = "sim:city?sweeps=14&beams=32&azimuths=128&seed=3"
OVERRIDES = ["grid.map_frame=odom", "learn.enabled=false"]
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]


@pytest.fixture
def cluster(kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Empty topics of two partitions, on the broker that commands talk to by default."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    monkeypatch.setenv("OCTA_BOOTSTRAP", kafka.bootstrap)
    return settings


def clouds(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Stamp and payload of messages, by topic."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    with path.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            found.setdefault(channel.topic, []).append((message.publish_time, message.data))
    return found


def ids_of(data: bytes) -> list[int]:
    table = table_of(data)
    ids: list[int] = (table[ID_HIGH].astype(np.uint64) << np.uint64(32) | table[ID_LOW]).tolist()
    return ids


# ---- sending -------------------------------------------------------------------------------------------


def test_a_log_is_sent_as_foxgloves_messages_and_read_as_the_same_sweeps() -> None:
    items = list(open_source(SIM, SourceOptions(robot_id="ant")))
    found: list[Sweep | Transform] = []
    for _, (topic, key, value, headers) in messages_of(items, FOXGLOVE):
        kinds = dict(headers)["content-type"].decode()
        assert kinds.startswith("application/x-protobuf; schema=foxglove.")
        if topic == SWEEPS:
            found.append(decode_sweep(value, headers, key))
        else:
            found += decode_transforms(value, headers, key, static=topic == STATIC)
    assert len(found) == len(items)
    for one, other in zip(found, items, strict=True):
        if isinstance(one, Sweep) and isinstance(other, Sweep):
            assert one.points.tobytes() == other.points.tobytes()
            assert (one.stream_id, one.stamp_ns) == (other.stream_id, other.stamp_ns)
        else:
            assert one == other


# ---- recording -----------------------------------------------------------------------------------------


def test_what_went_through_the_topics_is_recorded_and_replays_to_the_same_cells(
    cluster: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Workers(cluster, tmp_path, OVERRIDES) as workers:
        for name in ("perceive-0", "judge-0"):
            workers.start(name)
        workers.wait_until_running(["perceive-0", "judge-0"])
        sent = ["--rate", "max", "--messages", "foxglove", "--partitions", "2"]
        assert main(["produce", SIM, "--robot", "ant", *sent]) == 0
        send(cluster, [[*open_source(SIM + "&misses=1", SourceOptions(robot_id="bee"))]])
        wait_for_rest(workers, cluster, ["perceive", "judge"], 120)
    capsys.readouterr()
    path = tmp_path / "a.mcap"
    grid = ["--set", "grid.map_frame=odom"]
    spans = ["--from", "2020-01-01", "--to", "2100-01-01"]
    assert main(["record", "--out", str(path), *grid, *spans]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith(f"recording {cluster.bootstrap}; Ctrl-C ends it")
    assert "28 sweeps" in shown.out and "rays without return" in shown.out

    found = clouds(path)
    for record in read(cluster, PREDICTIONS):
        assert isinstance(record, Prediction)
        data = dict(found[f"/{record.stream_id}/predictions"])[record.stamp_ns]
        assert ids_of(data) == record.cell_id.tolist()
        assert table_of(data)["probability_500ms"].tolist() == record.probability[:, 1].tolist()
    outcomes = [record for record in read(cluster, OUTCOMES) if record.horizon_ns == 500_000_000]
    assert len(outcomes) == sum(len(found[f"/{name}/lidar/outcomes_500ms"]) for name in ("ant", "bee")) > 0
    for record in outcomes:
        assert isinstance(record, Outcome)
        data = dict(found[f"/{record.stream_id}/outcomes_500ms"])[record.observed_stamp_ns]
        assert ids_of(data) == record.cell_id.tolist()
        assert not np.isnan(table_of(data)["probability"]).any(), "the prediction was recorded before"

    alone = tmp_path / "ant.mcap"
    assert main(["record", f"kafka://{SWEEPS}?robot=ant", "--out", str(alone)]) == 0
    assert set(clouds(alone)) == {"/ant/lidar/points", "/tf", "/tf_static"}
    assert clouds(alone)["/ant/lidar/points"] == found["/ant/lidar/points"]

    out, topic = tmp_path / "run", "/ant/lidar/points"
    again = ["--robot", "ant", "--no-learn", "--set", "task.warmup_sweeps=3"]
    assert main(["replay", str(path), "--topic", topic, "--out", str(out), *again]) == 0
    folds = {record.stamp_ns: record for record in RunFolder(out).records("ant", 0, 2**62)}
    sent_cells = [record for record in read(cluster, BINNED) if record.robot_id == "ant"]
    assert len(folds) == len(sent_cells) == 14
    for record in sent_cells:
        assert isinstance(record, Binned)
        assert folds[record.stamp_ns].cell_id.tobytes() == record.cell_id.tobytes()
        assert folds[record.stamp_ns].hits.tobytes() == record.hits.tobytes()
        assert set(decode_ids(record.cell_id).frame.tolist()) == {2}
    assert json.loads((out / "summary.json").read_text())["dead_letters"] == {}


@pytest.mark.long
def test_what_comes_while_it_is_recorded_is_in_it_and_what_was_there_before_is_not(
    cluster: KafkaSettings,
) -> None:
    """Static transforms are, whenever they were sent: nothing can be placed without them."""
    log = list(open_source(SIM, SourceOptions(robot_id="ant")))
    before, after = [log[0], *log[-20:]], [item for item in log[:40] if not getattr(item, "static", False)]
    send(cluster, [before])
    kept, stop, left = Kept(), Stop(), len(after) + 1
    recording = Recording([kept], "odom")

    def count() -> None:
        nonlocal left
        left -= 1
        stop.told = left == 0

    def begin() -> None:
        threading.Thread(target=send, args=(cluster, [after])).start()

    run(record_topics(cluster, recording, stop, on_start=begin, on_message=count))
    recording.finish()
    stamps = [shown.stamp_ns for _, shown in kept.found if isinstance(shown, Sweep)]
    assert stamps == [item.stamp_ns for item in after if isinstance(item, Sweep)] != []
    assert len(kept.found) == len(after) + 1


@pytest.mark.long
def test_ctrl_c_ends_a_recording_of_topics_in_good_order(
    cluster: KafkaSettings, kafka: LocalBroker, tmp_path: Path
) -> None:
    send(cluster, [open_source("sim:city?sweeps=12&beams=32&azimuths=512&seed=3")])
    path, log = tmp_path / "a.mcap", tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*PROGRAM, "record", "--out", str(path), "--set", "grid.map_frame=odom", "--from", "2020-01-01"],
            cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    end = time.monotonic() + 120
    while not path.exists() or path.stat().st_size < 2**19:
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    found = clouds(path)
    assert len(found["/robot/lidar/points"]) > 4
    assert str(path) in log.read_text()


def test_a_cluster_without_the_topics_is_one_line(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mcap"
    where = ["--bootstrap", "127.0.0.1:1", "--set", "grid.map_frame=odom"]
    assert main(["record", "--out", str(path), *where]) == 1
    assert "no broker to talk to" in one_line(capsys.readouterr().err)
    assert not path.exists()
    assert main(["record", "--out", str(path), *where, "--from", "noon"]) == 1
    assert "--from 'noon': must be a time" in one_line(capsys.readouterr().err)
