"""Faust's transport, mended in one place.

During a rebalance Faust drops what it has fetched already, and goes back to the committed offset afterwards.
Where nothing is committed yet, aiokafka goes nowhere: what was dropped would never be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class _Thread(driver.AIOKafkaConsumerThread):
    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what is committed; to the beginning, where nothing is."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        rest = [place for place, offset in committed.items() if not offset]
        if rest:
            await self.call_thread(self._ensure_consumer().seek_to_beginning, *rest)
        return committed


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """Its consumer reads from the beginning what no group has read yet, after every rebalance."""

    Consumer = _Consumer
