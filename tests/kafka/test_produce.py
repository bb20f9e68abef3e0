"""What a producer sends; one without a broker leaves nothing open behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
from aiokafka.errors import KafkaError

from agents.kafka.produce import Producer, messages_of
from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import decode_sweep
from stream.sweep import Sweep
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


def test_what_a_cloud_cannot_say_goes_in_the_own_format() -> None:
    """A PointCloud2 of a map would make places free that nobody has seen."""
    points = np.full((4, 3), 9, np.float32)
    cloud = Sweep(
        stream_id="robot/map", stamp_ns=5, frame="map", points=points, intensity=points[:, 0].copy()
    )
    sent = [dataclasses.replace(cloud, hits_only=hits_only) for hits_only in (False, True)]
    (_, (_, key, _, plain)), (_, (_, _, value, own)) = messages_of(sent)
    assert dict(plain)["content-type"] == b"application/cdr"
    back = decode_sweep(value, own, key)
    assert back.hits_only and np.array_equal(back.points, points)
