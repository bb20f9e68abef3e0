"""Reading a log whose broker does not answer at once, and asking one whose partition was just read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from agents.kafka.log import KafkaLog, _patiently
from agents.kafka.settings import KafkaSettings
from stream.topics import SWEEPS
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import fresh_topics


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


@pytest.mark.kafka
def test_what_was_read_is_not_asked_for_any_more(
    kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a review: all questions waited behind fetches at a partition's end, a recovery for 14 s."""

    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=1, folder=tmp_path)
    fresh_topics(settings)

    async def fetches() -> list[str]:
        place, asked = (SWEEPS, 0), list[str]()
        async with KafkaLog(settings) as log:
            for _ in range(3):
                end = 1 + await log.append(SWEEPS, b"x", key=b"ant", partition=0)
            assert len(await log.read(place, end - 3, end)) == 3
            client: Any = log._reader._client
            send = client.send

            async def noted(node: Any, request: Any, **options: Any) -> Any:
                asked.append(type(request).__name__)
                return await send(node, request, **options)

            monkeypatch.setattr(client, "send", noted)
            await asyncio.sleep(1.2)
            assert (await log.end([place]))[place] == end
            assert len(await log.read(place, end - 1, end)) == 1
        return asked

    asked = asyncio.run(fetches())
    at = next(number for number, name in enumerate(asked) if name.startswith("Fetch"))
    assert any("Offset" in name for name in asked[:at])  # first of all the question for the end
