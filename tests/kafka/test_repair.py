"""Damaged files of a workers' archive: set aside, and made again of what the topics still hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from agents.cli import main
from agents.kafka.admin import admin_client
from agents.kafka.settings import KafkaSettings
from stream.run_folder import RunFolder
from stream.sweep_rows import read_sweeps
from stream.topics import ARCHIVE, order_topic
from tests.agents.test_repair import flip
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import wait_for_rest
from tests.kafka.scenes import REST_SECONDS, scene

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

SWEEPS = 70
"""Of each robot: two chunks and a little more."""


def forget(settings: KafkaSettings, topic: str, partition: int) -> None:
    """Delete what a partition holds, as its retention would."""

    async def delete() -> None:
        async with admin_client(settings) as client:
            await client.delete_records({TopicPartition(topic, partition): RecordsToDelete(-1)})

    asyncio.run(delete())


@pytest.mark.fault(40)
def test_damaged_files_of_an_archive_are_made_again_of_the_log_while_it_holds_them(
    local_kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", "archive-0") as here:
        here.robots.drive(SWEEPS)
        wait_for_rest(here.workers, here.settings, ["perceive", "judge", "archive"], REST_SECONDS)
        assert set(here.workers.stop().values()) == {0}
        settings = here.settings
    command = ["data", "repair", "--folder", str(settings.folder), "--bootstrap", settings.bootstrap]
    place = next(path.parent.parent for path in settings.folder.glob("archive/*/predictions/part-00001.*"))
    names = ["predictions/part-00001.parquet", "outcomes/part-00000.parquet", "containers/part-00000.arrow"]
    before = {name: flip(place / name) for name in names}
    sweeps = read_sweeps(place)
    (place / "sweeps" / "part-00000.parquet").write_bytes(b"PAR1 torn")

    assert main(command) == 0

    assert f"{place}: 4 damaged files set aside, 4 built again, 0 lost" in capsys.readouterr().out
    assert {name: (place / name).read_bytes() for name in names} == before
    assert read_sweeps(place) == sweeps

    RunFolder(place).join_sweeps()  # as an earlier version had them
    (place / "sweeps.parquet").write_bytes(b"PAR1 torn")
    assert main(command) == 0
    assert read_sweeps(place) == sweeps

    forget(settings, order_topic(ARCHIVE), int(place.name))
    flip(place / names[0])
    assert main(command) == 1
    said = capsys.readouterr().out
    assert f"{names[0]}: damaged" in said and "lost" in said and "its retention is too short" in said
    assert not (place / names[0]).exists()
