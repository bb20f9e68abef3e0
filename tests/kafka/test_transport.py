"""Faust's transport goes back to the beginning of partitions that no group has read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from aiokafka import TopicPartition

from agents.kafka import transport
from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Worker
from stream.config import load_config
from stream.topics import JUDGE


class Client:
    """Goes where something is committed, as aiokafka does; says where else it was sent."""

    def __init__(self, committed: dict[TopicPartition, int | None]) -> None:
        self.committed = committed
        self.rewound: set[TopicPartition] = set()

    async def seek_to_committed(self) -> dict[TopicPartition, int | None]:
        return self.committed

    async def seek_to_beginning(self, *places: TopicPartition) -> None:
        assert places, "aiokafka rewinds all partitions when none is named"
        self.rewound |= set(places)


class Thread(transport._Thread):
    """Calls a client at once."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def _ensure_consumer(self) -> Any:
        return self.client

    async def call_thread(self, do: Callable[..., Any], *arguments: Any) -> Any:  # type: ignore[override]
        return await do(*arguments)


def test_partitions_without_a_committed_offset_are_read_from_their_beginning() -> None:
    never, zero, read = (TopicPartition("sweeps", partition) for partition in range(3))
    client = Client({never: None, zero: 0, read: 7})
    assert asyncio.run(Thread(client).seek_to_committed()) == client.committed
    assert client.rewound == {never, zero}
    client = Client({read: 7})
    asyncio.run(Thread(client).seek_to_committed())
    assert client.rewound == set()


def test_a_worker_reads_through_it(tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:9", partitions=1, folder=tmp_path)
    config = load_config(None, ["grid.map_frame=odom"])
    worker = Worker(JUDGE, settings, play_of(JUDGE, config, settings))
    consumer = cast(Any, worker.app.transport).Consumer
    assert consumer._new_consumer_thread is transport._Consumer._new_consumer_thread
