"""The composition of ``make up``, shortly; and an audit that finds what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.kafka.settings import KafkaSettings
from deploy.up import PARTITIONS
from tests.kafka.broker import LocalBroker
from tests.kafka.fleet import drive, examine, read_drive
from tests.kafka.harness import fresh_topics

SWEEPS = 120
"""Of each robot."""
SPEED = 0.25
"""Slow enough that models are trained, published and activated on the way, beside other tests."""
ROBOTS = 3


@pytest.mark.learn
@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_is_lost_between_a_fleet_and_the_archive(kafka: LocalBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=PARTITIONS, folder=tmp_path / "state")
    fresh_topics(settings)
    with (tmp_path / "processes.log").open("w") as output:
        driven = drive(settings, SWEEPS, output, SPEED)
    ledgers = read_drive(settings)
    report = examine(settings, ledgers, SWEEPS, driven)
    assert report.wrong == {}, report.lines()
    counts = {what: found for what, _, found in report.rows}
    assert counts["sweeps with a prediction or a reason"] == ROBOTS * SWEEPS
    assert counts["of these rejected"] == 0
    assert sorted(driven.robots) == ["ant", "bee", "cat"]

    chunks = sorted((settings.folder / "archive").glob("*/predictions/part-00000.parquet"))
    assert len(chunks) == ROBOTS
    chunks[0].unlink()
    report = examine(settings, ledgers, SWEEPS + 1, driven)
    assert set(report.wrong) == {
        "archived predictions and outcomes: missing", "sweeps of ant", "sweeps of bee", "sweeps of cat",
    }  # fmt: skip
    assert all("0-predictions" in part for part in report.wrong["archived predictions and outcomes: missing"])
