"""From a live server into Kafka: the same messages as of a log, also when an end goes away for a while."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from agents.cli import main
from agents.kafka import bridge as bridge_module
from agents.kafka import produce as produce_module
from agents.kafka.admin import ClusterError, admin_client, run
from agents.kafka.bridge import SOURCE, Tally, bridge, open_live
from agents.kafka.produce import messages_of, produce
from agents.kafka.retained import open_retained
from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import decode_sweep, decode_transforms
from stream.codecs.pointcloud2 import encode_cdr
from stream.config import ConfigError, load_config
from stream.records import Binned
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.foxglove_live import FoxgloveLive
from stream.sources.inbox import Inbox
from stream.sources.logged_message import LoggedMessage
from stream.sources.mcap import McapLog
from stream.sources.message_types import POINTS_TYPE
from stream.sources.offers import LiveOptions
from stream.sweep import Sweep
from stream.topics import BY_NAME, REJECTED, STATIC, SWEEPS, TRANSFORMS
from stream.transform import Transform
from tests.data import ROOT, data_path
from tests.kafka import broker as broker_module
from tests.kafka.broker import HOST, LocalBroker, cluster_id, free_ports, read_settings
from tests.kafka.harness import fresh_topics, uninterrupted
from tests.kafka.test_commands import messages
from tests.stream.foxglove_server import Server, wait_for
from tests.stream.test_foxglove_live import handler_at

LOG = "kitti_0005_000-053.mcap"
COUNT = 6
"""Sweeps of the log that are driven, 2 MB each."""
ROBOT = LiveOptions(robot_id="ant")
INPUTS = (SWEEPS, TRANSFORMS, STATIC, REJECTED)
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]


@pytest.fixture
def cluster(kafka: LocalBroker, tmp_path: Path) -> KafkaSettings:
    """Empty topics of two partitions."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    return settings


def logged() -> list[LoggedMessage]:
    """The first messages of the recorded log, as its robot sent them."""
    found, clouds = list[LoggedMessage](), 0
    for message in McapLog(data_path(LOG)).messages(lambda topic, kind: True):
        assert isinstance(message, LoggedMessage)
        found.append(message)
        clouds += message.kind == POINTS_TYPE
        if clouds == COUNT:
            break
    return found


def recorded() -> Iterator[Item]:
    """The same as the source of the log has it."""
    clouds = 0
    for item in open_source(str(data_path(LOG)), SourceOptions(robot_id="ant")):
        yield item
        clouds += isinstance(item, Sweep)
        if clouds == COUNT:
            break


def topics_of(sent: Iterable[LoggedMessage]) -> Mapping[str, str]:
    return {message.topic: message.kind for message in sent}


def held(settings: KafkaSettings) -> dict[str, list[tuple[int, Any, Any, dict[str, bytes]]]]:
    """Everything that producers have sent: by topic partition, key, value and headers, in order."""
    return {
        topic: [
            (item.place[1], item.key, item.value, dict(item.headers))
            for item in run(messages(settings, topic))
        ]
        for topic in INPUTS
    }


def unsigned(found: dict[str, list[tuple[int, Any, Any, dict[str, bytes]]]], source: bytes) -> Any:
    """The same without who sent it, which is checked."""
    for sent in found.values():
        assert {headers.pop("ce_source") for *_, headers in sent} <= {source}
    return found


# ---- the messages of a log ------------------------------------------------------------------------------


@pytest.mark.data
def test_what_a_server_sends_is_what_produce_sends_of_its_log(cluster: KafkaSettings, tmp_path: Path) -> None:
    """To the byte, and so to the cell."""
    run(produce(recorded(), cluster, speed=None))
    expected = unsigned(held(cluster), b"octastream/produce")
    assert len(expected[SWEEPS]) == COUNT
    assert expected[TRANSFORMS]
    assert expected[STATIC]
    fresh_topics(cluster)

    sent, log = logged(), tmp_path / "log"
    with Server() as server:
        server.offer({**topics_of(sent), "/camera": "sensor_msgs/msg/Image"})
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*PROGRAM, "bridge", server.uri, "--robot", "ant", "--partitions", "2",
                 "--bootstrap", cluster.bootstrap],
                env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            server.wait_for_subscribers(topics_of(sent))
            server.send(sent)
            for topic in (TRANSFORMS, SWEEPS):
                count = len(expected[topic])
                wait_for(
                    lambda topic=topic, count=count: len(run(messages(cluster, topic))) == count, topic, 60
                )
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    assert unsigned(held(cluster), SOURCE) == expected
    lines = log.read_text().splitlines()
    assert lines[0] == f"octastream: {server.uri}: connected (foxglove.sdk.v1)"
    assert lines[1].startswith("octastream: not taken: /camera: sensor_msgs/msg/Image is neither")
    assert lines[-2] == "octastream: stops; what has come is sent (again to stop at once)"
    total = sum(map(len, expected.values()))
    assert lines[-1] == f"{server.uri}: {total} messages sent, {COUNT} of them sweeps; 0 dropped"

    config = load_config(None, ["grid.map_frame=odom"])
    cells = [
        [item.cell_id for item in uninterrupted(config, [log]) if isinstance(item, Binned)]
        for log in (recorded(), open_retained(f"kafka://{SWEEPS}", cluster))
    ]
    assert len(cells[0]) == COUNT
    for left, right in zip(*cells, strict=True):
        np.testing.assert_array_equal(left, right)


def test_static_transforms_that_come_again_are_sent_once_each() -> None:
    """A server sends them to whoever connects again; the message of all of them must not grow."""

    def mount(child: str, height: float) -> Transform:
        return Transform(
            robot_id="ant", stamp_ns=5, parent="base", child=child, translation=(0.0, 0.0, height),
            rotation=(0.0, 0.0, 0.0, 1.0), static=True,
        )  # fmt: skip

    items = [mount("lidar", 1.0), mount("imu", 1.0), mount("lidar", 1.0), mount("imu", 2.0)]
    sent = [value for _, (_, _, value, _) in messages_of(items)]
    found = [decode_transforms(value, [], b"ant", static=True) for value in sent]
    assert [len(transforms) for transforms in found] == [1, 2, 2, 2]
    assert found[-1] == [mount("lidar", 1.0), mount("imu", 2.0)]


# ---- either end goes away -------------------------------------------------------------------------------


class Crossing:
    """A bridge that runs while a thread goes through steps, and is stopped when they are done."""

    def __init__(self, settings: KafkaSettings, live: FoxgloveLive) -> None:
        self.said: list[str] = []
        self.tally = Tally()
        self._settings, self._live = settings, live
        self._failed: BaseException | None = None

    def run(self, steps: Callable[[Crossing], None]) -> Tally:
        """The tally at the end.  Raises what the bridge or the steps raise"""
        thread = threading.Thread(target=self._go, args=(steps,))
        thread.start()
        try:
            return run(bridge(self._live, self._settings, self.said.append, on_message=self._note))
        finally:
            self._live.stop()
            thread.join()
            if self._failed is not None:
                raise self._failed

    def _go(self, steps: Callable[[Crossing], None]) -> None:
        try:
            steps(self)
        except BaseException as error:
            self._failed = error
        finally:
            self._live.stop()

    def _note(self, tally: Tally) -> None:
        self.tally = tally


def clouds(count: int) -> list[LoggedMessage]:
    """Small ones, a tenth of a second apart."""
    points = np.ones((50, 3), np.float32)
    payloads = [encode_cdr(stamp_ns, "lidar", points, points[:, 0]) for stamp_ns in stamps_of(count)]
    return [LoggedMessage(1, "/points", POINTS_TYPE, payload) for payload in payloads]


def stamps_of(count: int) -> list[int]:
    return [10**9 + number * 10**8 for number in range(count)]


def stamps(settings: KafkaSettings) -> list[int]:
    return [decode_sweep(value, list(headers.items()), key).stamp_ns
            for _, key, value, headers in held(settings)[SWEEPS]]  # fmt: skip


@pytest.mark.fault(10)
@pytest.mark.long
def test_a_broker_that_goes_away_gets_what_it_has_not_confirmed(
    local_kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_module, "WAIT_SECONDS", 1.0)
    settings = KafkaSettings(bootstrap=local_kafka.bootstrap, partitions=2, folder=tmp_path)
    fresh_topics(settings)
    sent = clouds(40)

    def steps(crossing: Crossing) -> None:
        server.wait_for_subscribers(["/points"])
        server.send(sent[:5])
        wait_for(lambda: crossing.tally.sweeps == 5, "five sweeps")
        local_kafka.kill()
        server.send(sent[5:30])
        wait_for(lambda: bool(crossing.said), "the broker is missed", 60)
        local_kafka.start()
        server.send(sent[30:])
        wait_for(lambda: crossing.tally.sweeps == 40, "all sweeps", 60)

    with Server() as server:
        server.offer({"/points": POINTS_TYPE})
        crossing = Crossing(settings, FoxgloveLive(server.uri, ROBOT, print))
        tally = crossing.run(steps)
    assert (tally.messages, tally.sweeps, tally.dropped) == (40, 40, 0)
    assert crossing.said[0].startswith(f"{settings.bootstrap}: takes nothing, is waited for; ")
    assert stamps(settings) == stamps_of(40)  # each once


@pytest.mark.long
@pytest.mark.parametrize(
    ("signals", "end", "why"),
    [
        (1, ClusterError, r"\d+ messages are not confirmed, \d+ not sent"),
        (2, KeyboardInterrupt, None),
    ],
)
def test_a_broker_that_is_away_at_the_end_is_not_waited_for_without_end(
    local_kafka: LocalBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: int,
    end: type[BaseException],
    why: str | None,
) -> None:
    monkeypatch.setattr(bridge_module, "WAIT_SECONDS", 1.0 if signals == 1 else 60.0)
    settings = KafkaSettings(bootstrap=local_kafka.bootstrap, partitions=2, folder=tmp_path)
    fresh_topics(settings)

    def steps(crossing: Crossing) -> None:
        server.wait_for_subscribers(["/points"])
        server.send(clouds(5))
        wait_for(lambda: crossing.tally.sweeps == 5, "five sweeps")
        local_kafka.kill()
        server.send(clouds(40))
        wait_for(lambda: live.inbox.dropped.total() + len(live.inbox) > 10, "messages that wait")
        for number in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: len([line for line in crossing.said if "stops" in line]) == 1, f"{number}")
            time.sleep(0.2)

    with Server() as server:
        server.offer({"/points": POINTS_TYPE})
        live = FoxgloveLive(server.uri, ROBOT, print)
        with pytest.raises(end, match=why):
            Crossing(settings, live).run(steps)


class Member(LocalBroker):
    """A second broker of a cluster whose only controller is the first one."""

    def __init__(self, folder: Path, first: LocalBroker) -> None:
        super().__init__(folder)
        self._first = first

    def _write_settings(self) -> Path:
        path, settings = super()._write_settings(), read_settings()
        settings |= dict(line.split("=", 1) for line in path.read_text().splitlines())
        settings |= {
            "process.roles": "broker",
            "node.id": "2",
            "listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{HOST}:{self._first.port + 1}",
        }
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path


async def keep_on_second(settings: KafkaSettings, topic: str) -> None:
    """Make a topic anew, with every partition on the second broker alone."""
    async with admin_client(settings) as client:
        await client.delete_topics([topic])
        places = {partition: [2] for partition in range(settings.partitions)}
        new = NewTopic(topic, -1, -1, replica_assignments=places, topic_configs=BY_NAME[topic].config())
        for _ in range(100):  # a topic is deleted in the background
            answer = await client.create_topics([new])
            if not answer.topic_errors[0][1]:
                return
            await asyncio.sleep(0.2)
    raise AssertionError(answer)


@pytest.mark.long
def test_a_partition_without_a_leader_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client itself would give a message up after the time of a request, 40 s by default."""
    request_s = 3
    monkeypatch.setattr(bridge_module, "WAIT_SECONDS", 1.0)
    client = partial(AIOKafkaProducer, request_timeout_ms=1000 * request_s)
    monkeypatch.setattr(produce_module, "AIOKafkaProducer", client)
    monkeypatch.setattr(broker_module, "cluster_id", partial(str, cluster_id()))
    sent = clouds(60)

    def steps(crossing: Crossing) -> None:
        server.wait_for_subscribers(["/points"])
        server.send(sent[:5])
        wait_for(lambda: crossing.tally.sweeps == 5, "five sweeps")
        second.kill()
        server.send(sent[5:45])
        wait_for(lambda: any("leader" in line for line in crossing.said), "the leader is missed", 60)
        time.sleep(3 * request_s)
        assert crossing.tally.sweeps < 45
        second.start()
        server.send(sent[45:])
        wait_for(lambda: crossing.tally.sweeps == 60, "all sweeps", 60)

    with LocalBroker(tmp_path / "first") as first, Member(tmp_path / "second", first) as second:
        settings = KafkaSettings(bootstrap=first.bootstrap, partitions=2, folder=tmp_path)
        fresh_topics(settings)
        run(keep_on_second(settings, SWEEPS))
        with Server() as server:
            server.offer({"/points": POINTS_TYPE})
            crossing = Crossing(settings, FoxgloveLive(server.uri, ROBOT, print))
            tally = crossing.run(steps)
        assert (tally.messages, tally.sweeps, tally.dropped) == (60, 60, 0)
        assert stamps(settings) == stamps_of(60)  # each once
        missed = SWEEPS + r"-[01]: without a leader, is waited for; \d+ messages wait, \d+ s by now"
        assert any(re.fullmatch(missed, line) for line in crossing.said), crossing.said


def test_a_reader_that_is_too_slow_loses_sweeps_which_are_counted(cluster: KafkaSettings) -> None:
    """The broker is fast enough here, so the inbox is made too small for two sweeps."""
    sent = clouds(60)

    def steps(crossing: Crossing) -> None:
        server.wait_for_subscribers(["/points"])
        server.send(sent)
        wait_for(lambda: crossing.tally.sweeps + live.inbox.dropped.total() == len(sent), f"{crossing.tally}")

    with Server() as server:
        server.offer({"/points": POINTS_TYPE})
        live = FoxgloveLive(server.uri, ROBOT, print, inbox=Inbox(len(sent[0].data) + 1))
        tally = Crossing(cluster, live).run(steps)
    assert tally.sweeps + tally.dropped == len(sent)
    assert stamps(cluster)[-1] == stamps_of(len(sent))[-1]  # the newest is never dropped
    assert len(stamps(cluster)) == tally.sweeps


# ---- what a user has to mend ----------------------------------------------------------------------------


def test_a_place_that_is_no_robot_or_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be ws://HOST:PORT of a Foxglove server, or ros2"):
        open_live("robot.mcap", ROBOT, print)
    for name, words in (("", "'' must be a name"), ("a/b", "'a/b' must be a name"), ("a" * 300, "300 bytes")):
        with pytest.raises(ConfigError, match=f"--robot: .*{words}"):
            open_live("ws://127.0.0.1:1", LiveOptions(robot_id=name), print)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.uri", None)
    with pytest.raises(SourceError, match=r"pip install 'octastream\[bridge\]'"):
        open_live("ws://127.0.0.1:1", ROBOT, print)


def test_a_server_that_refuses_ends_the_command_with_one_line(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with handler_at(lambda connection: None, []) as uri:
        arguments = ["--robot", "ant", "--partitions", "2", "--bootstrap", cluster.bootstrap]
        assert main(["bridge", uri, *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"octastream: {uri}: no Foxglove server: it speaks none of")


def test_no_broker_is_an_error_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap = f"127.0.0.1:{free_ports()}"
    assert main(["bridge", "ws://127.0.0.1:1", "--robot", "ant", "--bootstrap", bootstrap]) == 1
    assert f"{bootstrap}: no broker to talk to" in capsys.readouterr().err
