"""Faust's transport, mended in eight places.

During a rebalance Faust drops what it has fetched already, and goes back to the committed offset afterwards.
Where nothing is committed yet, aiokafka goes nowhere: what was dropped would never be read.

Faust finds the offset to commit in its own list of acknowledged messages. It also lists what it has skipped
during a rebalance, what it could not decode, and gaps in what it has read; and where nothing is committed
yet, it begins with whichever message comes first in the list. Here the worker says how far it is, and only
that counts.

Faust waits a second for the partitions that flow when it begins to wait. One that was held up meanwhile, and
is let go, is not asked for until then: at ten sweeps a second the next ones are held up again, and so on.

Faust looks for partitions that stand still, to write it in its log. It asks aiokafka where each of them is;
of one that was assigned just now and not asked for yet aiokafka does not know, and the worker would die of
that. Ours says by its /health what stands still.

aiokafka takes a consumer that has fetched nothing for two minutes for one that hangs, and leaves the group:
also one that stands by, without a partition, or recovers for so long. It would not come back.

Faust takes a seek that lasts longer than a request may for the end of its service, without a word: the worker
would stay in its group, and read nothing any more.

Faust waits for a last commit for as long as no broker is there; nothing else could end the worker.

What a broker says of a worker whose name in the group another one has taken is unknown to aiokafka.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

from aiokafka.errors import BrokerResponseError, KafkaTimeoutError, kafka_errors
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from mode import Service

POLL_SECONDS = 0.05
PRESENT_SECONDS = 10.0
SEEK_SECONDS = 60.0
"""Less than ``broker_request_timeout``, 90 s, at which Faust would give up."""
LAST_COMMIT_SECONDS = 5.0


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """Another member of the group has come with the same ``group.instance.id``."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "The consumer has a static group instance id that another one has taken over"


kafka_errors.setdefault(FencedInstanceIdError.errno, FencedInstanceIdError)


class _Thread(driver.AIOKafkaConsumerThread):
    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what is committed; to the beginning, where nothing is."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        rest = [place for place, offset in committed.items() if not offset]
        if rest:
            await self.call_thread(self._ensure_consumer().seek_to_beginning, *rest)
        return committed

    async def rejoin(self) -> None:
        """Join the group again, as a member whose state has changed."""
        self._ensure_consumer()._coordinator.request_rejoin()

    def be_present(self) -> None:
        """Count as one that has just fetched something."""
        if self._consumer is not None:
            self._consumer._subscription._last_fetch_ended = time.monotonic()


class Consumer(driver.Consumer):
    """Commits what it is told by ``acknowledge``, and nothing else."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._done: dict[TP, int] = {}

    def acknowledge(self, place: TP, end: int) -> None:
        """Everything in a partition before ``end`` is done with; the next commit says so.

        Does nothing during a rebalance: until the committed offset of another owner is known, an older one
        could overwrite it. Afterwards all from that offset on is delivered again, and to be told again.
        """
        if end > 0 and self.app.flow_control.is_active():
            self._done[place] = max(end, self._done.get(place, 0))

    def ack(self, message: Message) -> bool:
        """What Faust acknowledges counts for nothing."""
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Begin anew with partitions that are another's from here on, or perhaps ours again."""
        for place in revoked:
            self._done.pop(place, None)
        await super().on_partitions_revoked(revoked)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            place
            for place in self._done
            if place in self.assignment() and (topics is None or place in topics or place.topic in topics)
        )

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    @property
    def is_revoked(self) -> bool:
        """Whether what ``assignment`` says was revoked, and nothing else assigned yet."""
        client = cast(_Thread, self._thread)._consumer
        return client is not None and bool(client._subscription.reassignment_in_progress)

    async def rejoin(self) -> None:
        """Have the group share out its partitions anew: what is assigned is revoked first."""
        await self._thread.call_thread(cast(_Thread, self._thread).rejoin)

    async def perform_seek(self) -> None:
        """Go to what is committed.  Raises KafkaTimeoutError, which ends the worker"""
        try:
            await asyncio.wait_for(super().perform_seek(), SEEK_SECONDS)
        except TimeoutError as error:
            raise KafkaTimeoutError(f"no committed offsets after {SEEK_SECONDS:g} s") from error

    async def commit_and_end_transactions(self) -> None:
        """Commit for the last time; what cannot be said now is folded again, and told by its offset."""
        commit = asyncio.ensure_future(super().commit_and_end_transactions())
        done, _ = await asyncio.wait({commit}, timeout=LAST_COMMIT_SECONDS)  # to cancel it begins another one
        if commit in done:
            commit.result()
        else:
            self.log.warning("no last commit after %g s", LAST_COMMIT_SECONDS)

    @Service.task
    async def _be_present(self) -> None:
        """For as long as this loop turns."""
        while not self.should_stop:
            cast(_Thread, self._thread).be_present()
            await self.sleep(PRESENT_SECONDS)

    async def verify_all_partitions_active(self) -> None:
        """Nothing: see above."""

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        """Ask again soon: a partition that flows again is not heard of before."""
        return await super()._getmany(active_partitions, min(timeout, POLL_SECONDS))

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """Its consumer reads from the beginning what no group has read yet, and commits what the worker says."""

    Consumer = Consumer
