"""What a worker is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.protocol import WriteTable
from agents.task_id import TaskId
from stream import files
from stream.tables import OUTCOME_SCHEMA
from stream.topics import ARCHIVE, LEARN
from tests.agents.test_effects import CONFIG, request, trained


@pytest.mark.learn
def test_the_learner_keeps_its_budget_on_a_cluster_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=tmp_path)
    effects = play_of(LEARN, CONFIG, settings).make_effects(TaskId(LEARN, 0, 1))
    assert trained(effects, request(1, steps=20, budget_ms=1e-6)).report["steps"] == 1
    assert trained(effects, request(2, steps=20)).report["steps"] == 20


def test_tables_of_a_cluster_are_on_disk_before_their_records_are_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files, "sync", lambda path: synced.append(path.name))
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=tmp_path)
    effects = play_of(ARCHIVE, CONFIG, settings).make_effects(TaskId(ARCHIVE, 0, 1))
    effects.perform(WriteTable(dataset="outcomes", table=OUTCOME_SCHEMA.empty_table(), chunk=3))
    assert synced == [".part-00003.parquet.tmp", "outcomes"]
