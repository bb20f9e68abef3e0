"""Tasks of a worker as partitions come and go and it is told to stop, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import NotCoordinatorError
from faust.types import TP

from agents.failure import EXIT_ERROR
from agents.journal import Place
from agents.kafka import worker as worker_module
from agents.kafka.admin import ClusterError
from agents.kafka.log import LogLost
from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.kafka.vitals import REVOKED, STOPPING
from agents.kafka.worker import EXIT_FAILED, QUEUE_FULL, QUEUE_LOW, Running, Worker
from agents.task import TakenOver
from stream.config import load_config
from stream.topics import PERCEIVE, SWEEPS

PLACE = (SWEEPS, 0)
SUBSCRIBED = {TP(SWEEPS, number) for number in range(4)}
TAKEN = TakenOver("perceive-0: claimed by another process", "another")


class Noting:
    """In a driver's place: notes what a worker has it do; something may happen in its leave or its pump."""

    patience_s = None

    def __init__(
        self, leave: Callable[[], object] = lambda: None, pump: Callable[[], object] = lambda: None
    ) -> None:
        self.noted: list[str] = []
        self.queued = 0
        self.claim = asyncio.Event()
        self.claim.set()
        self.task = SimpleNamespace(identity="perceive-0", recovering=False)
        self._leave, self._pump = leave, pump

    async def pump(self) -> None:
        self.noted.append("folds")
        self._pump()

    async def claimed(self) -> None:
        await self.claim.wait()

    async def leave(self) -> None:
        self.noted.append("last snapshot")
        self._leave()
        await asyncio.sleep(0)

    def end(self) -> None:
        self.noted.append("asks no more")

    def queued_of(self, place: object) -> int:
        return self.queued

    def offer(self, message: object) -> None:
        self.noted.append("takes")

    def running(self) -> Running:
        return Running(cast(Any, self.task), cast(Any, self))


class Bench:
    """A worker whose ends are noted."""

    def __init__(self, folder: Path, instance: str | None = None) -> None:
        settings = KafkaSettings(bootstrap="127.0.0.1:9", partitions=4, folder=folder, instance=instance)
        config = load_config(None, ["grid.map_frame=odom"])
        self.worker = Worker(PERCEIVE, settings, play_of(PERCEIVE, config, settings))
        self.codes: list[int] = []
        cast(Any, self.worker)._exit = lambda code=EXIT_FAILED: self.codes.append(code)

    def consume(self, places: set[TP]) -> Any:
        """Have partitions assigned; its client says whether they have been revoked since."""
        consumer = cast(Any, self.worker.app.consumer)
        consumer.assignment = lambda: places
        consumer.client = SimpleNamespace(reassignment_in_progress=False)
        consumer._thread = SimpleNamespace(_consumer=SimpleNamespace(_subscription=consumer.client))
        return consumer

    def pump(self, running: Running) -> asyncio.Task[None]:
        self.worker._running[0] = running
        running.pump = asyncio.create_task(self.worker._pump(running))
        running.wake.set()
        return running.pump


def on_bench(
    folder: Path, check: Callable[[Bench], Coroutine[Any, Any, None]], instance: str | None = None
) -> None:
    """Run a check in a loop of its own."""

    async def run() -> None:
        await asyncio.wait_for(check(Bench(folder, instance)), 20)

    asyncio.run(run())


def raises(error: Exception) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


# ---- told to stop --------------------------------------------------------------------------------------


def test_what_comes_while_the_last_snapshot_is_written_is_left_to_the_next_process(tmp_path: Path) -> None:
    """Found by kills while Learn published: journals were ahead of the last snapshots."""

    async def check(bench: Bench) -> None:
        driver = Noting(bench.worker._answered)
        pump = bench.pump(driver.running())
        await asyncio.sleep(0.01)
        await bench.worker._leave()
        bench.worker._answered()
        await pump
        assert driver.noted == ["folds", "asks no more", "last snapshot"]
        assert bench.codes == []

    on_bench(tmp_path, check)


def test_partitions_that_come_while_last_snapshots_are_written_do_not_keep_them_from_it(
    tmp_path: Path,
) -> None:
    async def check(bench: Bench) -> None:
        running, late = bench.worker._running, Noting().running()
        drivers = [Noting(lambda: running.setdefault(3, late)) for _ in range(2)]
        running.update({number: driver.running() for number, driver in enumerate(drivers)})
        await bench.worker._leave()
        assert [driver.noted for driver in drivers] == [["asks no more", "last snapshot"]] * 2

    on_bench(tmp_path, check)


def test_a_last_snapshot_that_fails_for_another_reason_than_a_broker_ends_the_process(
    tmp_path: Path,
) -> None:
    """Faust would stop nothing further: the process would live on and keep its partitions."""

    async def check(bench: Bench) -> None:
        bench.worker._running[0] = Noting(raises(ValueError("no one has thought of"))).running()
        await bench.worker._leave()
        assert bench.codes == [EXIT_FAILED]

    on_bench(tmp_path, check)


# ---- partitions ----------------------------------------------------------------------------------------


@pytest.mark.fault(8)
@pytest.mark.parametrize("stage", [REVOKED, STOPPING])
def test_a_task_is_not_begun_that_may_be_another_s_by_now(stage: str, tmp_path: Path) -> None:
    """To begin it takes it from its owner, which would end."""

    async def check(bench: Bench) -> None:
        worker, begun = cast(Any, bench.worker), list[int]()

        async def begin(partition: int, host: object) -> None:
            begun.append(partition)
            if partition == 1:
                await (worker._revoked() if stage == REVOKED else worker._leave())

        async def host() -> object:
            return object()

        worker._begin, worker._host = begin, host
        consumer = bench.consume(SUBSCRIBED)
        await worker._rebalanced()
        assert begun == [0, 1]
        assert worker._vitals.stage == stage
        consumer.client.reassignment_in_progress = True
        await worker._rebalanced()  # told late, of what was assigned before
        assert begun == [0, 1]
        assert worker._vitals.stage == stage
        consumer.client.reassignment_in_progress = False
        await worker._rebalanced()  # what is assigned next, unless all is to end
        assert begun == ([0, 1, 0, 1] if stage == REVOKED else [0, 1])

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
@pytest.mark.parametrize("stage", [REVOKED, STOPPING])
def test_a_task_is_not_claimed_that_was_given_back_while_it_began(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(bench: Bench) -> None:
        worker = cast(Any, bench.worker)

        class Slow(Noting):
            """It takes so long that its partition is given back before it claims."""

            def __init__(self, *_: object) -> None:
                super().__init__()

            async def recover(self, is_ours: Callable[[], bool]) -> bool:
                assert is_ours()
                await (worker._revoked() if stage == REVOKED else worker._leave())
                return is_ours()

        monkeypatch.setattr(worker_module, "Driver", Slow)
        await worker._begin(1, object())
        assert worker._running == {}
        assert bench.codes == []

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
def test_a_partition_is_given_back_once_its_claim_is_done(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        driver = Noting()
        driver.claim.clear()
        running = bench.worker._running[1] = driver.running()
        given_back = asyncio.create_task(bench.worker._revoked())
        await asyncio.sleep(0)
        assert running.revoked
        await asyncio.sleep(0.01)
        assert not given_back.done()
        driver.claim.set()
        await given_back

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
def test_a_task_that_was_away_is_not_begun_again_when_it_is_revoked_meanwhile(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        worker, begun = cast(Any, bench.worker), list[int]()

        async def begin(partition: int, host: object) -> None:
            begun.append(partition)

        async def was_away(running: Running, host: object) -> bool:
            await worker._revoked()
            return True

        async def host() -> object:
            return object()

        worker._begin, worker._host, worker._was_away = begin, host, was_away
        worker._running[1] = Noting().running()
        bench.consume({TP(SWEEPS, 1), TP(SWEEPS, 2)})
        await worker._rebalanced()
        assert begun == []
        assert worker._running == {}

    on_bench(tmp_path, check)


@pytest.mark.fault(8)
@pytest.mark.parametrize("revoked", [True, False])
def test_a_task_that_another_takes_over_ends_the_process_unless_it_was_given_back(
    revoked: bool, tmp_path: Path
) -> None:
    """Found by 200 kills: the old owner's last assignment was still being worked on."""

    async def check(bench: Bench) -> None:
        running = Noting(pump=raises(TAKEN)).running()
        bench.worker._running[0] = running
        if revoked:
            await bench.worker._revoked()
        await bench.pump(running)
        assert bench.codes == ([] if revoked else [EXIT_FAILED])
        assert running.ended is revoked

    on_bench(tmp_path, check)


def test_a_task_takes_nothing_before_it_has_recovered(tmp_path: Path) -> None:
    """It does not know yet what it has folded."""

    async def check(bench: Bench) -> None:
        driver = Noting()
        bench.worker._running[0] = driver.running()
        message = SimpleNamespace(
            topic=SWEEPS, partition=0, offset=3, key=b"", value=b"", headers=(), timestamp=0.0
        )
        driver.task.recovering = True
        bench.worker._take(cast(Any, SimpleNamespace(message=message)))
        assert driver.noted == []
        driver.task.recovering = False
        bench.worker._take(cast(Any, SimpleNamespace(message=message)))
        assert driver.noted == ["takes"]

    on_bench(tmp_path, check)


def test_a_partition_that_a_rebalance_lets_flow_is_held_up_again(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        consumer, driver, place = cast(Any, bench.worker.app.consumer), Noting(), TP(*PLACE)
        consumer.assignment = lambda: {place}
        consumer._set_active_tps({place})
        running = bench.worker._running[0] = driver.running()
        driver.queued = QUEUE_FULL
        for _ in range(2):
            bench.worker._slow_down(running, PLACE)
            assert place not in consumer._get_active_partitions()
            consumer.pause_partitions({place})
            consumer.resume_partitions({place})
            assert place in consumer._get_active_partitions()
        bench.worker._slow_down(running, PLACE)
        driver.queued = QUEUE_LOW
        bench.worker._speed_up(running)
        assert place in consumer._get_active_partitions()
        assert running.paused == set()

    on_bench(tmp_path, check)


# ---- what a group leaves out ---------------------------------------------------------------------------


class Asking:
    """A worker's group as it answers in turn; notes what the worker does then."""

    def __init__(self, bench: Bench, *answers: Callable[[], Coroutine[Any, Any, list[Place]]]) -> None:
        self.bench, self.answers, self.noted = bench, list(answers), list[str]()
        worker = cast(Any, bench.worker)
        worker._assign = self._assign
        bench.consume(SUBSCRIBED).rejoin = self._rejoin

    async def left_out(self, settings: KafkaSettings, agent: str) -> list[Place]:
        self.noted.append("asks")
        return await self.answers.pop(0)()

    async def _assign(self, partitions: set[int]) -> None:
        self.noted.append("begins")

    async def _rejoin(self) -> None:
        self.noted.append("shares out anew")


async def nothing() -> list[Place]:
    return []


async def something() -> list[Place]:
    return [PLACE]


async def no_broker() -> list[Place]:
    raise ClusterError("127.0.0.1:9: no broker to talk to")


async def not_known() -> list[Place]:
    raise NotCoordinatorError()


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("instance", "answers", "expected"),
    [
        (None, [], ["begins", "begins"]),
        ("one", [nothing], ["asks", "begins", "begins"]),
        ("one", [something], ["asks", "shares out anew", "begins"]),
        ("one", [no_broker, nothing], ["asks", "begins", "asks", "begins"]),
        ("one", [not_known, something], ["asks", "begins", "asks", "shares out anew"]),
    ],
)
def test_a_worker_that_comes_back_by_its_name_asks_once_what_is_left_out(
    instance: str | None,
    answers: list[Callable[[], Coroutine[Any, Any, list[Place]]]],
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check(bench: Bench) -> None:
        asking = Asking(bench, *answers)
        monkeypatch.setattr(worker_module, "left_out", asking.left_out)
        for _ in range(2):
            await bench.worker._rebalanced()
        assert asking.noted == expected
        assert bench.codes == []

    on_bench(tmp_path, check, instance)


@pytest.mark.fault(8)
def test_a_group_that_shares_out_meanwhile_is_not_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(bench: Bench) -> None:
        async def revoked() -> list[Place]:
            await bench.worker._revoked()
            return [PLACE]

        asking = Asking(bench, revoked, nothing)
        monkeypatch.setattr(worker_module, "left_out", asking.left_out)
        await bench.worker._rebalanced()
        assert asking.noted == ["asks"]
        await bench.worker._rebalanced()
        assert asking.noted == ["asks", "asks", "begins"]

    on_bench(tmp_path, check, "one")


# ---- a log that was lost -------------------------------------------------------------------------------


def test_a_log_that_was_lost_is_said_and_not_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(bench: Bench) -> None:
        bench.worker._fail(LogLost("perceive-0: its journal ends at 0"))
        assert bench.codes == [EXIT_ERROR]

    on_bench(tmp_path, check)
    assert caplog.messages[-1] == "perceive-0: its journal ends at 0"
    assert caplog.records[-1].exc_info is None
