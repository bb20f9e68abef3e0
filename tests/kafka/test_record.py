"""Recordings of the topics of a real cluster, and sweeps that are sent as Foxglove's messages."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer
from mcap.reader import make_reader

from agents.cli import main
from agents.journal import Place
from agents.kafka import partitions as partitions_module
from agents.kafka import record as record_module
from agents.kafka.admin import run
from agents.kafka.log import LogLost
from agents.kafka.messages import Message
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
from stream.sources.base import Item, SourceOptions
from stream.sweep import Sweep
from stream.topics import BINNED, OUTCOMES, PREDICTIONS, STATIC, SWEEPS
from stream.transform import Transform
from tests.agents.test_cli import one_line
from tests.agents.test_record import Kept
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, wait_for_rest
from tests.stream.foxglove_server import wait_for
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
    spans = ["--from", "2020-01-01", "--to", datetime.now(UTC).isoformat()]
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


def inputs(first: int = 0) -> list[Item]:
    """Some sweeps with transforms before them, of which some are static."""
    return [*open_source(SIM, SourceOptions(robot_id="ant"))][first : first + 40]


class Watched:
    """A recording that runs while a thread goes through steps, and is told to stop when they are done."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.ended = threading.Event()
        self._settings, self._stop, self._kept = settings, Stop(), Kept()

    def run(self, steps: Callable[[Watched], None], end: str | None = None) -> None:
        """Raises what the recording raises, or else the steps"""
        recording = Recording([self._kept], "odom")
        with ThreadPoolExecutor(1) as thread:
            begun = list[Future[None]]()
            try:
                run(record_topics(self._settings, recording, self._stop, begin="2020-01-01", end=end,
                                  on_start=lambda: begun.append(thread.submit(self._go, steps))))  # fmt: skip
            finally:
                self.ended.set()
            begun[0].result()

    def stamps(self) -> list[int]:
        """Of the sweeps that were recorded."""
        return [shown.stamp_ns for _, shown in self._kept.found if isinstance(shown, Sweep)]

    def _go(self, steps: Callable[[Watched], None]) -> None:
        try:
            steps(self)
        finally:
            self._stop.told = True


def stamps_of(items: Iterable[Item]) -> list[int]:
    return [item.stamp_ns for item in items if isinstance(item, Sweep)]


def test_until_a_time_that_is_still_to_come_what_comes_is_recorded(
    cluster: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "BEHIND_SECONDS", 1.0)
    before, within, after = inputs()[:20], inputs()[20:40], inputs(40)[:20]
    send(cluster, [before])
    end = datetime.now(UTC) + timedelta(seconds=20)

    def steps(watched: Watched) -> None:
        wait_for(lambda: len(watched.stamps()) == len(stamps_of(before)), "what was there")
        send(cluster, [within])
        assert datetime.now(UTC) < end, "too slow to show anything"
        wait_for(lambda: datetime.now(UTC) > end, "the time", 30)
        send(cluster, [after])
        assert watched.ended.wait(30)

    watched = Watched(cluster)
    watched.run(steps, end.isoformat())
    assert watched.stamps() == stamps_of([*before, *within]) != []


@pytest.mark.fault(9)
@pytest.mark.long
def test_a_broker_that_is_silent_while_it_is_recorded_is_waited_for(
    local_kafka: LocalBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Longer than the client waits, 40 s by default, and than a message that is due is waited for, 60 s."""
    client = partial(AIOKafkaConsumer, request_timeout_ms=2000)
    monkeypatch.setattr(partitions_module, "AIOKafkaConsumer", client)
    monkeypatch.setattr(partitions_module, "STALL_SECONDS", 2)
    settings = KafkaSettings(bootstrap=local_kafka.bootstrap, partitions=2, folder=tmp_path)
    fresh_topics(settings)
    before, after = inputs()[:20], inputs()[20:40]

    def warnings() -> list[str]:
        return [line for name, _, line in caplog.record_tuples if name == record_module.__name__]

    def steps(watched: Watched) -> None:
        send(settings, [before])
        wait_for(lambda: bool(watched.stamps()), "a sweep")
        with local_kafka.silent():
            wait_for(lambda: len(warnings()) > 2, "three warnings", 60)
        send(settings, [after])
        wait_for(lambda: len(watched.stamps()) == len(stamps_of(inputs())), "all sweeps", 60)

    watched = Watched(settings)
    watched.run(steps)
    assert watched.stamps() == stamps_of(inputs())
    assert all(line.startswith(f"{settings.bootstrap}: is waited for, ") for line in warnings())


@pytest.mark.long
def test_a_topic_that_is_made_anew_while_it_is_recorded_is_an_error(cluster: KafkaSettings) -> None:
    def steps(watched: Watched) -> None:
        wait_for(lambda: len(watched.stamps()) == len(stamps_of(inputs())), "all sweeps")
        fresh_topics(cluster)
        assert watched.ended.wait(60)

    send(cluster, [inputs()])
    why = r"octa\.[a-z.]+\.v1-[01]: ends at 0, but is recorded up to \d+: the topic was made anew, .*; record"
    with pytest.raises(LogLost, match=why):
        Watched(cluster).run(steps)


def test_what_comes_again_from_the_beginning_of_a_topic_is_not_recorded_twice() -> None:
    """Made anew while it is read: the client goes on at its beginning, where it finds no offset of before."""
    place: Place = (SWEEPS, 0)

    class Renewed:
        async def spans(self, places: Sequence[Place]) -> dict[Place, range]:
            return {place: range(10)}

        async def merged(self, spans: Mapping[Place, range]) -> AsyncGenerator[Message]:
            assert spans == {place: range(7, 10)}
            yield Message(place=place, offset=0, key=b"", value=b"", headers=(), appended_ms=0)

    async def first() -> None:
        renewed: Any = Renewed()
        async with aclosing(record_module._messages(renewed, {place: 7}, None, Stop(), "there")) as messages:
            await anext(messages)

    with pytest.raises(LogLost, match=f"{SWEEPS}-0: 0 comes again, but is recorded up to 7: "):
        run(first())


@pytest.mark.parametrize("silent", ["ends", "messages"])
def test_a_recording_that_waits_for_a_broker_ends_when_it_is_told(silent: str) -> None:
    stop = Stop()

    class Silent:
        async def spans(self, places: Sequence[Place]) -> dict[Place, range]:
            await asyncio.sleep(40 if silent == "ends" else 0)
            return dict.fromkeys(places, range(3))

        async def merged(self, spans: Mapping[Place, range]) -> AsyncGenerator[Message]:
            await asyncio.sleep(60)
            raise AssertionError
            yield

    async def record() -> list[Message]:
        asyncio.get_running_loop().call_later(0.5, setattr, stop, "told", True)
        there: Any = Silent()
        async with asyncio.timeout(10):
            return [item async for item in record_module._messages(there, {(SWEEPS, 0): 0}, None, stop, "b")]

    assert run(record()) == []


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
