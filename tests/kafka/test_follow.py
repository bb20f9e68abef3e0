"""Topics of a real cluster, followed: the same world as of the records, whenever one begins to listen."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka import TopicPartition

from agents.cli import main
from agents.kafka.admin import ClusterError
from agents.kafka.admin import run as run_alone
from agents.kafka.follow import FOLLOWED, Follower, Merge
from agents.kafka.log import KafkaLog
from agents.kafka.messages import Message
from agents.kafka.settings import KafkaSettings
from agents.web.kafka_feed import KafkaFeed
from agents.web.world import World
from stream.codecs.wire import encode
from stream.config import load_config
from stream.records import Event, Prediction
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.topics import ALARMS, BINNED, OUTCOMES, PREDICTIONS
from tests.agents.test_cli import one_line
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, wait_for_rest

SIM = "sim:city?sweeps=16&beams=32&azimuths=128&seed=3"
OVERRIDES = ["grid.map_frame=odom", "learn.enabled=false", "task.warmup_sweeps=2"]
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]
COLUMNS = ("cell_id", "hits", "passes", "age_ns", "outcome", "probability", "forecast")


def message(topic: str, offset: int, appended_ms: int) -> Message:
    return Message(place=(topic, 0), offset=offset, key=None, value=None, headers=(), appended_ms=appended_ms)


def test_messages_of_several_partitions_come_by_their_time_and_none_overtakes() -> None:
    ends: set[Any] = set()
    merge = Merge([("b", 0), ("a", 0)])

    def ready() -> list[tuple[str, int]]:
        return [(found.place[0], found.appended_ms) for found in merge.ready(lambda place: place in ends)]

    merge.add(("a", 0), [message("a", 0, 1), message("a", 1, 5)])
    assert ready() == [], "b may hold something older"
    merge.add(("b", 0), [message("b", 0, 1), message("b", 1, 3)])
    assert ready() == [("b", 1), ("a", 1), ("b", 3)]
    assert merge.waiting(("a", 0)) == 1
    ends.add(("b", 0))
    assert ready() == [("a", 5)]
    ends.add(("a", 0))
    assert ready() == []


class Log:
    """Partitions as a consumer sees them, without a broker: one of each topic, in each the same events.

    led : topics that have a leader
    """

    def __init__(self) -> None:
        self.ends: dict[Any, int] = {TopicPartition(topic, 0): 0 for topic in FOLLOWED}
        self.at: dict[Any, int] = dict(self.ends)
        self.led = set(FOLLOWED)
        self.polls = 0
        self._client = self.cluster = self

    def leader_for_partition(self, item: TopicPartition) -> int:
        return 1 if item.topic in self.led else -1

    def append(self, topic: str, events: int = 1) -> None:
        self.ends[TopicPartition(topic, 0)] += events

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, places: list[TopicPartition]) -> None: ...

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {item: self.ends[item] for item in places}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, None]:
        return dict.fromkeys(times)

    def seek(self, item: TopicPartition, offset: int) -> None:
        self.at[item] = offset

    async def position(self, item: TopicPartition) -> int:
        return self.at[item]

    def highwater(self, item: TopicPartition) -> int:
        return self.ends[item]

    def last_poll_timestamp(self, item: TopicPartition) -> int:
        return self.polls if item.topic in self.led else 0

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        self.polls += 1
        found = {item: range(at, self.ends[item]) for item, at in self.at.items() if item.topic in self.led}
        for item, offsets in found.items():
            self.at[item] = max(offsets.start, offsets.stop)
        return {
            item: [_event(item, offset) for offset in offsets] for item, offsets in found.items() if offsets
        }


def _event(item: TopicPartition, offset: int) -> Any:
    return SimpleNamespace(
        topic=item.topic, partition=item.partition, offset=offset, key=b"ant", headers=(), timestamp=offset,
        value=encode(Event(kind="promoted", stamp_ns=offset)),
    )  # fmt: skip


class Followed:
    """A follower of such partitions, for as long as a test lasts.  told : what it has folded"""

    def __init__(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        async def places_of(*_: Any) -> list[Any]:
            return [(topic, 0) for topic in FOLLOWED]

        monkeypatch.setattr("agents.kafka.follow.new_reader", lambda *_, **__: log)
        monkeypatch.setattr("agents.kafka.follow.places_of", places_of)
        self.told: list[Any] = []
        self.over = False
        settings = KafkaSettings(bootstrap="nowhere", partitions=1, folder=Path("nowhere"))
        self.follower = Follower(settings, self.told.append, lookback_s=60, store=None)
        self._task = asyncio.create_task(self.follower.run(lambda: self.over))

    async def until(self, done: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not done():
                if self._task.done():
                    await self._task
                await asyncio.sleep(0.001)

    async def end(self) -> None:
        self.over = True
        await self._task


def test_topics_that_were_made_anew_are_said_and_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again from their start, or just shorter: what comes then would be taken for what was folded."""
    monkeypatch.setattr("agents.kafka.vitals.LOOK_SECONDS", 0.01)

    async def anew(begun_again_at: int | None, end: int) -> None:
        log = Log()
        followed, item = Followed(log, monkeypatch), TopicPartition(ALARMS, 0)
        await followed.until(lambda: not followed.follower.unready())
        log.append(ALARMS, 3)
        await followed.until(lambda: len(followed.told) == 3)
        await asyncio.sleep(0.05)  # its end is known, too
        log.ends[item] = end
        if begun_again_at is not None:
            log.at[item] = begun_again_at
        await followed.until(lambda: len(followed.told) > 3)

    for begun_again_at, end in ((0, 0), (0, 9), (None, 1)):
        with pytest.raises(ClusterError, match=f"{ALARMS}-0: is at offset .* made anew.*start serve again"):
            run_alone(anew(begun_again_at, end))


def test_one_partition_without_a_leader_is_said_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.kafka.silence.SILENT_SECONDS", 0.2)

    async def led_again() -> None:
        log = Log()
        followed = Followed(log, monkeypatch)
        await followed.until(lambda: not followed.follower.unready())
        log.led.remove(BINNED)
        log.append(BINNED)  # it is not at its end, and nothing comes of it
        log.append(ALARMS)
        await followed.until(followed.follower.unready)
        assert f"nothing was heard of {BINNED}-0" in followed.follower.unready()
        await followed.until(lambda: len(followed.told) == 1)
        log.led.add(BINNED)
        await followed.until(lambda: not followed.follower.unready() and len(followed.told) == 2)
        await followed.end()

    run_alone(led_again())


def wait_until(done: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def cluster(kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    monkeypatch.setenv("OCTA_BOOTSTRAP", kafka.bootstrap)
    return settings


def followed(
    settings: KafkaSettings, lookback_s: float
) -> tuple[World, KafkaFeed, threading.Event, threading.Thread]:
    config = load_config(None, OVERRIDES)
    world, feed, stop = World(config), KafkaFeed(settings, config, lookback_s), threading.Event()
    thread = threading.Thread(target=feed.run, args=(world, stop))
    thread.start()
    return world, feed, stop, thread


def expected_world(settings: KafkaSettings) -> World:
    """A world of the same records, in the order in which agents made them."""
    world = World(load_config(None, OVERRIDES))
    for topic in (BINNED, PREDICTIONS, OUTCOMES):
        for record in read(settings, topic):
            world.fold(record)
    return world


@pytest.mark.long
def test_who_listens_from_the_start_and_who_comes_later_serve_the_same(
    cluster: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who comes later reads so little ahead that partitions are held up again and again."""
    early = followed(cluster, 60)
    assert "no robot" not in early[1].unready()
    with Workers(cluster, tmp_path, OVERRIDES) as workers:
        names = ["perceive-0", "judge-0"]
        for name in names:
            workers.start(name)
        workers.wait_until_running(names)
        send(cluster, [[*open_source(SIM, SourceOptions(robot_id=name))] for name in ("ant", "bee")])
        wait_for_rest(workers, cluster, ["perceive", "judge"], 120)
    monkeypatch.setattr("agents.kafka.follow.FULL", 2)
    monkeypatch.setattr("agents.kafka.follow.LOW", 1)
    late = followed(cluster, 3600)
    outcomes = len(read(cluster, OUTCOMES))
    made = {record.prediction_id: record for record in read(cluster, PREDICTIONS)}
    assert len(made) == 32
    expected = expected_world(cluster)
    try:
        for world, feed, *_ in (early, late):
            wait_until(lambda: world.counts["Outcome"] == outcomes)  # noqa: B023
            wait_until(lambda: not feed.unready() and feed.lag() == 0)  # noqa: B023
            assert world.counts["Binned"] == len(read(cluster, BINNED)) == 32
            assert world.robots() == ["ant", "bee"]
            for robot in world.robots():
                mine, other = world.cells(robot), expected.cells(robot)
                assert mine is not None and other is not None
                for column in COLUMNS:
                    assert getattr(mine, column).tobytes() == getattr(other, column).tobytes(), column
                known = world.robot(robot)
                assert known is not None
                found = known.features()
                assert found is not None
                assert made[found[0].prediction_id].feature_digest == found[0].feature_digest
    finally:
        for _, _, stop, thread in (early, late):
            stop.set()
            thread.join(30)
            assert not thread.is_alive()


def test_a_page_of_topics_that_are_made_anew_ends_and_says_so(cluster: KafkaSettings) -> None:
    config = load_config(None, OVERRIDES)
    world, feed, errors = World(config), KafkaFeed(cluster, config, 60), list[BaseException]()

    def follow() -> None:
        try:
            feed.run(world, threading.Event())
        except ClusterError as error:
            errors.append(error)

    async def tell(events: int) -> None:
        async with KafkaLog(cluster) as log:
            for number in range(events):
                await log.append(ALARMS, encode(Event(kind="promoted", stamp_ns=number)), partition=0)

    thread = threading.Thread(target=follow)
    thread.start()
    wait_until(lambda: not feed.unready())
    asyncio.run(tell(5))
    wait_until(lambda: world.counts["Event"] == 5)
    fresh_topics(cluster)
    asyncio.run(tell(2))
    thread.join(60)
    assert not thread.is_alive()
    assert f"{ALARMS}-0: is at offset" in str(errors[0]) and "start serve again" in str(errors[0])
    assert world.counts["Event"] == 5


def ask(url: str, question: Any = None) -> tuple[int, Any]:
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_command_serves_a_cluster_with_the_bits_that_perceive_sent(
    cluster: KafkaSettings, tmp_path: Path
) -> None:
    log = tmp_path / "serve.log"
    command = [*PROGRAM, "serve", "--kafka", "--port", "0", "--folder", str(cluster.folder)]
    command += [word for text in OVERRIDES for word in ("--set", text)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "http://" in log.read_text() or process.poll() is not None)
        url = "http://" + log.read_text().partition("http://")[2].partition(";")[0]
        wait_until(lambda: ask(f"{url}/ready")[1].get("reason") == "no robot has a forecast yet")
        assert ask(f"{url}/health") == (200, {"healthy": True})
        with Workers(cluster, tmp_path, OVERRIDES) as workers:
            workers.start("perceive-0")
            workers.wait_until_running(["perceive-0"])
            send(cluster, [[*open_source(SIM, SourceOptions(robot_id="ant"))]])
            wait_for_rest(workers, cluster, ["perceive"], 120)
        prediction: Prediction = read(cluster, PREDICTIONS)[-1]
        newest = prediction.prediction_id

        def serves_newest() -> bool:
            status, answer = ask(f"{url}/predict", {"robot": "ant"})
            return status == 200 and answer["forecasts"][0]["prediction_id"] == newest

        wait_until(serves_newest)
        for compute in (False, True):
            status, answer = ask(f"{url}/predict", {"robot": "ant", "compute": compute})
            assert status == 200, answer
            rows = answer["predictions"]
            assert [row["cell_id"] for row in rows] == prediction.cell_id.tolist()
            found = np.array([row["probability"] for row in rows], np.float32)
            assert found.tobytes() == prediction.probability.tobytes()
            assert answer["forecasts"][0]["computed"] == compute
        assert ask(f"{url}/ready")[1]["robots"] == ["ant"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert len(log.read_text().splitlines()) == 1, log.read_text()


def test_a_cluster_that_cannot_be_used_is_one_line(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = ["serve", "--kafka", "--port", "0", "--folder", str(tmp_path)]
    assert main([*served, "--bootstrap", "127.0.0.1:1"]) == 1
    assert "grid.map_frame: 'auto' cannot be found" in one_line(capsys.readouterr().err)
    assert main([*served, "--bootstrap", "127.0.0.1:1", "--set", "grid.map_frame=odom"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "no broker to talk to" in said[-1]
    assert main([*served, "--robot", "ant", "--set", "grid.map_frame=odom"]) == 1
    assert "--robot ant: only for --replay" in one_line(capsys.readouterr().err)
