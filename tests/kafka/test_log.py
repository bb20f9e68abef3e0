"""Reading a log whose broker does not answer at once."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from agents.kafka.log import _patiently


@pytest.mark.fault(9)
@pytest.mark.parametrize("silent", [0, 1, 2])
def test_offsets_are_asked_for_twice(silent: int) -> None:
    asked: list[list[TopicPartition]] = []

    async def ask(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        asked.append(places)
        if len(asked) <= silent:
            raise KafkaTimeoutError
        return dict.fromkeys(places, 7)

    if silent < 2:
        assert asyncio.run(_patiently(ask, [("t", 1)])) == {TopicPartition("t", 1): 7}
    else:
        with pytest.raises(KafkaTimeoutError):
            asyncio.run(_patiently(ask, [("t", 1)]))
    assert len(asked) == min(silent + 1, 2)
