"""Faust's transport goes back to the beginning of what no group has read, and commits what is done only."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaTimeoutError
from faust import streams
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from agents.kafka import transport
from agents.kafka.lag import lags
from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Worker
from stream.config import load_config
from stream.topics import BINNED, JUDGE
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics
from tests.kafka.kill_test import RUNS
from tests.kafka.scenes import PARTITIONS, scene

PLACE, OTHER = TP(BINNED, 0), TP(BINNED, 1)
GENERATION = 7
MESSAGES = 9
SKIPPING = f"""
import asyncio, sys
from agents.kafka.worker import Worker
from faust import streams
from tests.kafka import launch
streams._CStreamIterator = None

async def take(self, event):
    queues = self.app.flow_control._queues
    while max(queue.qsize() for queue in queues) < {MESSAGES - 1}:
        await asyncio.sleep(0.05)
    self.app.consumer_generation_id += 1
    print("in the way of a rebalance", flush=True)

async def fold(self, stream):
    async for event in stream.noack().events():
        await take(self, event)

Worker._fold = fold
launch.main(*sys.argv[1:])
"""
"""A worker that has its first message in hand when a rebalance makes the rest of its queue obsolete."""

IMPATIENCE_SECONDS = 6.0
IMPATIENT = f"""
import sys
from agents.kafka import transport
from agents.kafka.worker import Worker
from tests.kafka import launch
transport.PRESENT_SECONDS = 1.0
whole = Worker._new_app

def new_app(self):
    app = whole(self)
    app.conf.broker_max_poll_interval = {IMPATIENCE_SECONDS}
    return app

Worker._new_app = new_app
launch.main(*sys.argv[1:])
"""
"""A worker whose client leaves the group soon when it has nothing to fetch."""


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


class Bench:
    """A worker's Faust app, whose consumer has been assigned a partition by no broker."""

    def __init__(self, folder: Path) -> None:
        settings = KafkaSettings(bootstrap="127.0.0.1:9", partitions=1, folder=folder)
        config = load_config(None, ["grid.map_frame=odom"])
        self.app = Worker(JUDGE, settings, play_of(JUDGE, config, settings)).app
        self.consumer = cast(transport.Consumer, self.app.consumer)
        self.committed: list[dict[TP, int]] = []
        self.app.topics._acking_topics.add(BINNED)
        self.app.consumer_generation_id = GENERATION
        self.app.flow_control.resume()
        self.assign({PLACE})
        consumer = cast(Any, self.consumer)
        consumer._commit = self._commit

    def assign(self, places: set[TP]) -> None:
        cast(Any, self.consumer).assignment = lambda: places

    async def _commit(self, offsets: dict[TP, int]) -> bool:
        self.committed.append(dict(offsets))
        return True

    async def stream(self, offsets: Sequence[int], generation: int = GENERATION) -> list[int]:
        """Put messages into the agent's stream, and have it run dry; returns the offsets that came out."""
        stream = self.app.agents[JUDGE].stream().noack()
        for offset in offsets:
            self.app.consumer_generation_id = generation
            message = self.consumer._to_message(PLACE, _record(offset))
            message.incref()
            stream.channel.queue.put_nowait(await stream.channel.decode(message))
        self.app.consumer_generation_id = GENERATION
        seen: list[int] = []

        async def take() -> None:
            async for event in stream.events():
                seen.append(event.message.offset)  # noqa: PERF401 - it is cancelled on the way

        task = asyncio.create_task(take())
        while not stream.channel.queue.empty():
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return seen


def _record(offset: int) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        topic=BINNED, partition=0, offset=offset, timestamp=0, timestamp_type=0, key=b"ant", value=b"any",
        checksum=None, serialized_key_size=3, serialized_value_size=3, headers=[],
    )  # fmt: skip


def on_bench(folder: Path, check: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    """Run a check in a loop of its own."""

    async def run() -> None:
        await check(Bench(folder))

    asyncio.run(run())


# ---- standing still ------------------------------------------------------------------------------------


def test_a_partition_that_was_not_asked_for_yet_ends_nobody(tmp_path: Path) -> None:
    """Found by two workers with one name: the one that stayed died in the rebalance that the other caused."""

    async def check(bench: Bench) -> None:
        state = SubscriptionState()
        state.assign_from_user([TopicPartition(*PLACE)])
        assert state.subscription is not None
        assigned = state.subscription.assignment
        consumer = cast(Any, bench.consumer)
        consumer.verify_event_path = lambda now, tp: assigned.state_value(TopicPartition(*tp)).position
        with pytest.raises(AssertionError):
            await driver.Consumer.verify_all_partitions_active(consumer)
        await consumer.verify_all_partitions_active()

    on_bench(tmp_path, check)


def test_a_consumer_that_has_nothing_to_fetch_counts_as_one_that_is_at_work(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        state, thread = SubscriptionState(), cast(Any, Thread(Client({})))
        state._last_fetch_ended -= 1000
        thread._consumer = None
        thread.be_present()
        thread._consumer = SimpleNamespace(_subscription=state)
        assert state.fetcher_idle_time >= 1000
        thread.be_present()
        assert state.fetcher_idle_time < 100

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_stands_by_for_long_takes_over(local_kafka: LocalBroker, tmp_path: Path) -> None:
    """With nothing to fetch it would leave the group, and not come back."""
    judges = [f"judge-{number}" for number in range(PARTITIONS + 1)]
    options: dict[str, Any] = {"launcher": ("-c", IMPATIENT), "static": False}
    with scene(local_kafka, tmp_path, "perceive-0", judges[0], **options) as here:
        for name in judges[1:]:
            here.workers.start(name)

        def idle() -> list[str]:
            last = {name: here.workers.log(name).rpartition(RUNS)[2].split("\n")[0] for name in judges}
            assert all(last.values())
            return [name for name, partitions in last.items() if partitions.strip() == "[]"]

        here.wait(lambda: all(RUNS in here.workers.log(name) for name in judges), "all judges in the group")
        here.wait(lambda: len(idle()) == 1, "one judge stands by")
        time.sleep(3 * IMPATIENCE_SECONDS)
        [standing_by] = idle()
        for name in set(judges) - {standing_by}:
            here.workers.kill(name)
        here.assert_complete()


# ---- going back ----------------------------------------------------------------------------------------


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
    assert cast(Any, worker.app.transport).Consumer is transport.Consumer


def test_a_seek_that_takes_too_long_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would end its service without a word, and the worker read nothing any more."""
    monkeypatch.setattr(transport, "SEEK_SECONDS", 0.05)

    async def check(bench: Bench) -> None:
        async def never() -> None:
            await asyncio.sleep(1000)

        cast(Any, bench.consumer).seek_to_committed = never
        with pytest.raises(KafkaTimeoutError, match=r"no committed offsets after 0\.05 s"):
            await bench.consumer.perform_seek()

    on_bench(tmp_path, check)


# ---- what is committed ---------------------------------------------------------------------------------


@pytest.mark.fault(12)
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("why", ["generation", "suspended"])
def test_what_faust_skips_is_not_committed(
    why: str, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(streams, "_CStreamIterator", None)

    async def check(bench: Bench) -> None:
        if why == "suspended":
            bench.app.flow_control.suspend()
        generation = GENERATION - 1 if why == "generation" else GENERATION
        assert await bench.stream([5, 6], generation) == []
        await bench.consumer.commit()
        assert bench.committed == []

    on_bench(tmp_path, check)


@pytest.mark.fault(5, 12)
@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_handled_is_committed_once_it_is_said_to_be_done(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(streams, "_CStreamIterator", None)

    async def check(bench: Bench) -> None:
        assert await bench.stream([5, 6, 7]) == [5, 6, 7]
        await bench.consumer.commit()
        assert bench.committed == []
        bench.consumer.acknowledge(PLACE, 7)
        await bench.consumer.commit()
        await bench.consumer.commit()
        bench.consumer.acknowledge(PLACE, 6)  # an older word comes late
        await bench.consumer.commit({BINNED})
        bench.consumer.acknowledge(PLACE, 8)
        await bench.consumer.commit({"another"})
        assert bench.committed == [{PLACE: 7}]
        await bench.consumer.commit({BINNED})
        assert bench.committed == [{PLACE: 7}, {PLACE: 8}]

    on_bench(tmp_path, check)


def test_a_gap_in_what_was_read_commits_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.consumer._add_gap(PLACE, 5, 10)
        await bench.stream([5])
        bench.consumer.acknowledge(PLACE, 6)
        await bench.consumer.commit()
        assert bench.committed == [{PLACE: 6}]

    on_bench(tmp_path, check)


def test_only_partitions_that_are_assigned_are_committed(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.consumer.acknowledge(PLACE, 4)
        bench.consumer.acknowledge(OTHER, 4)
        bench.consumer.acknowledge(TP(BINNED, 2), 0)  # nothing is done yet
        bench.assign({PLACE, TP(BINNED, 2)})
        await bench.consumer.commit()
        assert bench.committed == [{PLACE: 4}]

    on_bench(tmp_path, check)


def test_a_broker_that_is_away_does_not_keep_a_worker_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LAST_COMMIT_SECONDS", 0.05)

    async def check(bench: Bench) -> None:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def commit(offsets: dict[TP, int]) -> bool:
            return await asyncio.shield(answer)

        cast(Any, bench.consumer)._commit = commit
        bench.consumer.acknowledge(PLACE, 4)
        regular = asyncio.create_task(bench.consumer.commit())
        await asyncio.sleep(0.01)
        await asyncio.wait_for(bench.consumer.on_stop(), 5)
        assert not regular.done()
        answer.set_result(True)
        await regular

    on_bench(tmp_path, check)


@pytest.mark.fault(8, 12)
def test_what_was_done_before_a_rebalance_has_to_be_told_after_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.consumer.acknowledge(PLACE, 4)
        await bench.consumer.on_partitions_revoked({PLACE})
        assert not bench.app.flow_control.is_active()
        bench.consumer.acknowledge(PLACE, 5)
        await bench.consumer.commit()
        assert bench.committed == []
        bench.app.flow_control.resume()
        await bench.consumer.commit()
        assert bench.committed == []
        bench.consumer.acknowledge(PLACE, 5)
        await bench.consumer.commit()
        assert bench.committed == [{PLACE: 5}]

    on_bench(tmp_path, check)


def test_messages_that_faust_takes_for_unacknowledged_do_not_stay_in_memory(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.stream(range(12)) == list(range(12))
        await bench.stream(range(12), GENERATION - 1)
        gc.collect()
        assert len(bench.consumer.unacked) == 0
        assert sum(map(len, bench.consumer._acked.values())) == 0

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_rebalance_commits_nothing_that_no_one_has_handled(kafka: LocalBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=1, folder=tmp_path / "state")
    fresh_topics(settings)

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
            for _ in range(MESSAGES):
                await producer.send_and_wait(BINNED, b"any", key=b"ant")

    def committed() -> list[int | None]:
        return [lag.committed for lag in asyncio.run(lags(settings)) if lag.place == PLACE]

    asyncio.run(produce())
    code = ("-c", SKIPPING)
    with Workers(settings, tmp_path, ["grid.map_frame=odom"], launcher=code) as workers:
        workers.start("judge-0")
        end = time.monotonic() + 120
        while "in the way" not in workers.log("judge-0"):
            assert time.monotonic() < end, workers.log("judge-0")
            assert workers.ended() == {}
            time.sleep(0.2)
        time.sleep(3)  # six commits
        assert committed()[0] is None
        assert workers.ended() == {}
