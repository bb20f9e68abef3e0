"""A topic that was made a moment ago: a producer waits until it knows all of its partitions."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from agents.kafka import metadata
from agents.kafka.metadata import require_partitions, unhurried
from stream.topics import BINNED, PUBLISHED


class Young:
    """A producer that is told of one partition more whenever it asks again."""

    def __init__(self, most: int) -> None:
        self.known, self.most, self.client = 0, most, self

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.known))

    async def force_metadata_update(self) -> None:
        self.known = min(self.known + 1, self.most)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(metadata, "TRIES", 10)


def required(producer: Any, topic: str, common: int) -> None:
    asyncio.run(require_partitions(producer, topic, common))


@pytest.mark.parametrize(("topic", "partitions"), [(BINNED, 4), (PUBLISHED, 1)])
def test_it_asks_until_all_are_told_of(topic: str, partitions: int) -> None:
    young = Young(8)
    required(young, topic, 4)
    assert young.known == partitions


def test_too_few_are_an_error_that_says_how_many() -> None:
    with pytest.raises(
        UnknownTopicOrPartitionError, match=r"binned.*: the broker tells of 3 partitions, 4 are"
    ):
        required(Young(3), BINNED, 4)


def test_a_client_that_asks_without_a_pause_is_slowed_down() -> None:
    class Hasty:
        asked = 0

        async def _metadata_update(self, *_: Any) -> bool:
            self.asked += 1
            return True

    async def ask() -> int:
        client: Any = Hasty()
        unhurried(client)
        end = time.monotonic() + 3.5 * metadata.HURRY_SECONDS
        while time.monotonic() < end:
            assert await client._metadata_update(None, {"a", "b"})
        return int(client.asked)

    assert 2 <= asyncio.run(ask()) <= 5


def test_a_client_that_asks_for_other_topics_by_turns_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metadata, "HURRY_SECONDS", 60)

    asked: list[str] = []

    class Turning:
        async def _metadata_update(self, _: Any, topics: set[str]) -> bool:
            asked.extend(topics)
            return True

    async def ask() -> None:
        client: Any = Turning()
        unhurried(client)
        async with asyncio.timeout(10):
            for topic in "abab":
                await client._metadata_update(None, {topic})

    asyncio.run(ask())
    assert asked == list("abab")


def test_topics_of_others_are_let_pass() -> None:
    young = Young(8)
    required(young, "somebody.else", 4)
    assert young.known == 0
