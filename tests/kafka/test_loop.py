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
from stream.topics import ACTIVATED, BINNED, OUTCOMES, PREDICTIONS
from tests.data import data_path
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import (
    Workers,
    fresh_topics,
    read,
    recorded_models,
    send,
    uninterrupted,
    wait_for_rest,
)

LOG = "kitti_0005_000-053.mcap"
ROBOTS = ("ant", "bee")
SETTINGS = ("grid.map_frame=odom", "learn.budget_ms=75")
WORKERS = ("perceive-0", "perceive-1", "judge-0", "learn-0", "archive-0")
SPEED = 0.2
"""Slow enough that models are learnt, published and activated on the way, on two cores."""


def logs() -> list[Source]:
    return [LogOptions(robot=robot).open(str(data_path(LOG))) for robot in ROBOTS]


@pytest.mark.data
@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_recorded_log_as_several_robots_on_two_workers_gives_the_bits_of_one_process(
    kafka: LocalBroker, tmp_path: Path
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=4, folder=tmp_path / "state")
    fresh_topics(settings)
    with Workers(settings, tmp_path, SETTINGS) as workers:
        for name in WORKERS:
            workers.start(name)
        workers.wait_until_running(WORKERS)
        send(settings, logs(), SPEED)
        wait_for_rest(workers, settings, ["perceive", "judge", "learn", "archive"], 240)
        found = {topic: read(settings, topic) for topic in (BINNED, PREDICTIONS, OUTCOMES, ACTIVATED)}
        assert workers.ended() == {}
        busy = [name for name in WORKERS[:2] if workers.partitions(name)]
    assert busy == list(WORKERS[:2])
    assert len({record.model_id for record in found[ACTIVATED]}) > 1  # more than the built-in one
    config = load_config(None, list(SETTINGS))
    expected = uninterrupted(config, logs(), recorded_models(config, settings))
    for topic, kind in ((BINNED, Binned), (PREDICTIONS, Prediction), (OUTCOMES, Outcome)):
        wanted = {identity(record): fingerprint(record) for record in expected if type(record) is kind}
        assert {identity(record): fingerprint(record) for record in found[topic]} == wanted
        assert len(wanted) >= len(ROBOTS) * 50
