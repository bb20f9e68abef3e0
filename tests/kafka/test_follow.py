"""Topics of a real cluster, followed: the same world as of the records, whenever one begins to listen."""

from __future__ import annotations

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
from typing import Any

import numpy as np
import pytest

from agents.cli import main
from agents.kafka.follow import Merge
from agents.kafka.messages import Message
from agents.kafka.settings import KafkaSettings
from agents.web.kafka_feed import KafkaFeed
from agents.web.world import World
from stream.config import load_config
from stream.records import Prediction
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.topics import BINNED, OUTCOMES, PREDICTIONS
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
