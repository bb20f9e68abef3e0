"""A producer without a broker leaves nothing open behind it."""

from __future__ import annotations

import asyncio
import gc
import warnings
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from agents.kafka.produce import Producer
from agents.kafka.settings import KafkaSettings
from tests.kafka.broker import free_ports


def test_a_producer_that_finds_no_broker_is_closed(tmp_path: Path) -> None:
    port = free_ports()
    settings = KafkaSettings(bootstrap=f"127.0.0.1:{port}", partitions=1, folder=tmp_path)

    async def run() -> list[str]:
        complaints: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        with pytest.raises(KafkaError):
            async with Producer.open(settings):
                raise AssertionError("there is no broker")
        gc.collect()
        return complaints

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert asyncio.run(run()) == []
    assert [str(item.message) for item in warned] == []
