"""The agents on a real broker say what they say in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.kafka.settings import KafkaSettings
from agents.options import LogOptions
from agents.simulation.topics import fingerprint, identity
from stream.config import load_config
from stream.records import Binned, Outcome, Prediction
from stream.sources.base import Source
from stream.topics import BINNED, OUTCOMES, PREDICTIONS
from tests.data import data_path
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, uninterrupted, wait_for_rest

LOG = "kitti_0005_000-053.mcap"
ROBOTS = ("ant", "bee", "cat", "dog", "eel")
SETTINGS = ("grid.map_frame=odom", "learn.enabled=false")


@pytest.mark.data
@pytest.mark.slow
def test_a_recorded_log_as_several_robots_on_two_workers_gives_the_bits_of_one_process(
    kafka: LocalBroker, tmp_path: Path
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=4, folder=tmp_path / "state")
    fresh_topics(settings)

    def logs() -> list[Source]:
        location = str(data_path(LOG))
        return [LogOptions(robot=robot).open(location) for robot in ROBOTS]

    with Workers(settings, tmp_path, SETTINGS) as workers:
        for name in ("perceive-0", "perceive-1", "judge-0"):
            workers.start(name)
        send(settings, logs())
        wait_for_rest(workers, settings, ["judge"], 240)
        found = {topic: read(settings, topic) for topic in (BINNED, PREDICTIONS, OUTCOMES)}
        assert workers.ended() == {}
    expected = uninterrupted(load_config(None, list(SETTINGS)), logs())
    for topic, kind in ((BINNED, Binned), (PREDICTIONS, Prediction), (OUTCOMES, Outcome)):
        wanted = {identity(record): fingerprint(record) for record in expected if type(record) is kind}
        assert {identity(record): fingerprint(record) for record in found[topic]} == wanted
        assert len(wanted) > 100
