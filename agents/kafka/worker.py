"""A worker: one process that runs the tasks of one agent on the partitions that its group gives it."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import faust
import mode
from aiokafka.errors import KafkaError
from faust.types import TP, EventT

from agents.effects import LocalEffects
from agents.failure import EXIT_ERROR
from agents.journal import Place
from agents.kafka.admin import ClusterError
from agents.kafka.credentials import credentials_of
from agents.kafka.driver import OPERATION_SECONDS, Driver, journal_entries
from agents.kafka.group import left_out
from agents.kafka.holds import first_of_hold
from agents.kafka.host import Failpoint, FoldThread, Host
from agents.kafka.log import KafkaLog, LogError, LogLost
from agents.kafka.messages import Message
from agents.kafka.meter import MeteredSnapshots, MeteredTask, standings
from agents.kafka.metrics import Metrics
from agents.kafka.poison import Crashes
from agents.kafka.probe import Probe
from agents.kafka.quiet_log import QuietFilter
from agents.kafka.requests import Requests
from agents.kafka.settings import KafkaSettings
from agents.kafka.transport import FencedInstanceIdError, Transport
from agents.kafka.vitals import HANDLER_SECONDS, RECOVERING, REVOKED, STOPPING, Vitals
from agents.listener import url_of
from agents.logs import JsonLines, in_json
from agents.protocol import Agent
from agents.task import TakenOver, newest_claimer
from agents.task_id import TaskId
from models.model import Model
from stream.codecs.content_type import CDR
from stream.topics import INPUTS, LEARN, MAX_MESSAGE_BYTES, PERCEIVE, PUBLISHED, group_of

LOGGER = logging.getLogger(__name__)

EXIT_FAILED = 70
"""An error that going on would hide: the process ends, unacknowledged inputs come again."""
ANOTHER = "%s: another worker has the name --instance %s, so this one ends"
NOT_ASKED = "%s: what its group leaves out is asked at the next assignment; this time: %s"
SHARED_ANEW = "%s: no worker has %d of the partitions, as %s-%d, so its group shares them out anew"
SWITCH_SECONDS = 0.001
"""Threads of the client, the loop and the agent take turns so often: a sweep passes from one to the next a
dozen times, and would wait up to 5 ms each time."""
QUEUE_FULL, QUEUE_LOW = 32, 8
"""Messages of one partition at which it is paused and resumed."""
OLD_MODELS = 8
"""Of models published before a task ever ran, it looks at so many; further back to what a person holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What a worker needs to know of its agent.

    make_agent : a new agent; make_effects : performs what a task of this name asks for
    make_model : of an ONNX file; snapshot_entries : a snapshot after so many journal entries
    """

    make_agent: Callable[[], Agent]
    make_effects: Callable[[TaskId], LocalEffects]
    make_model: Callable[[str, bytes], Model]
    snapshot_entries: int = 100


@dataclass(slots=True, eq=False)
class Running:
    """A task with what drives it, who reads models for it, and the partitions that are held up for it.

    task : the one that the driver drives
    turn : held while it folds; wake : there is something new to fold; ended : nothing more is folded here
    revoked : its partition was given back and has not been looked at since: it may be another worker's by now
    """

    task: MeteredTask
    driver: Driver
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    paused: set[Place] = field(default_factory=set)
    pump: asyncio.Task[None] | None = None
    follower: asyncio.Task[None] | None = None
    ended: bool = False
    revoked: bool = False


class Runner(faust.Worker):
    """Faust's own, with a log that a broker which is away does not fill."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        super().on_setup_root_logger(logger, level)
        for handler in logger.handlers:
            handler.addFilter(QuietFilter())
            if in_json():
                handler.setFormatter(JsonLines())


class Worker:
    """Feeds tasks from Faust's stream. Any error that is not expected ends the process (EXIT_FAILED).

    listener : where it says how it is, if anywhere
    """

    def __init__(
        self, agent: str, settings: KafkaSettings, play: Play, listener: socket.socket | None = None
    ) -> None:
        self.agent, self._settings, self._play, self._listener = agent, settings, play, listener
        self._process = f"{socket.gethostname()}-{os.getpid()}{_marked(settings.instance)}"
        self._running: dict[int, Running] = {}
        self._failpoint = Failpoint()
        self._thread = FoldThread()
        self._metrics = Metrics(agent)
        store = settings.folder / "models" if agent in (PERCEIVE, LEARN) else settings.folder
        self._vitals = Vitals(store, self._stand)
        self._crashes: Crashes | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="octastream-")
        self._shared: Host | None = None
        self._is_new = True
        self._snapshots = MeteredSnapshots(settings.snapshots, self._metrics)
        self.app = self._new_app()

    def run(self) -> None:
        """Work until told to stop (SIGTERM, SIGINT); does not return."""
        self._crashes = Crashes(self._settings.folder, self._process)
        self._crashes.watch_signals()
        sys.setswitchinterval(SWITCH_SECONDS)
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()
        worker = Runner(self.app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
        worker.spinner = None  # it would write to logs
        try:
            with self._probe():
                worker.execute_from_commandline()
        except SystemExit as ended:
            raise SystemExit(self._code_of(worker.crash_reason) if ended.code else 0) from None
        finally:
            self._crashes.close()

    def _code_of(self, reason: BaseException | None) -> int:
        """Of a worker whose client gave up: to be started again, but where that would not help."""
        why = repr(reason)
        if FencedInstanceIdError.__name__ in why:
            LOGGER.critical(ANOTHER, self.agent, self._settings.instance)
            return EXIT_ERROR
        LOGGER.critical("%s: cannot go on: %s", self.agent, why)
        return EXIT_ERROR if "AuthorizationFailedError" in why else EXIT_FAILED

    def _probe(self) -> AbstractContextManager[Any]:
        if self._listener is None:
            return nullcontext()
        LOGGER.warning("%s: answers on %s", self.agent, url_of(self._listener))
        return Probe(self._listener, self._vitals, self._metrics)

    def _new_app(self) -> Any:
        settings = self._settings
        static: Any = {"consumer_group_instance_id": settings.instance} if settings.instance else {}
        app: Any = faust.App(
            group_of(self.agent),
            broker=[f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")],
            broker_credentials=credentials_of(settings.security),
            autodiscover=False,
            agent_supervisor=mode.CrashingSupervisor,
            broker_commit_interval=0.5,
            broker_heartbeat_interval=3.0,
            broker_max_poll_interval=120.0,
            broker_session_timeout=15.0,
            consumer_auto_offset_reset="earliest",
            datadir=self._scratch.name,  # nothing of ours lies there
            consumer_max_fetch_size=MAX_MESSAGE_BYTES,
            producer_max_request_size=MAX_MESSAGE_BYTES,
            producer_request_timeout=60.0,
            stream_buffer_maxsize=16,
            stream_wait_empty=False,  # what is folded twice is told by its offset; held sweeps would block
            store="memory://",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            **static,
        )
        app.transport = Transport(app.conf.broker_consumer, app)
        raw: Any = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        channel = app.topic(*INPUTS[self.agent], **raw)
        app.agent(channel, name=self.agent, concurrency=1)(self._fold)
        app.on_partitions_revoked.connect(self._revoked)
        app.on_rebalance_complete.connect(self._rebalanced)
        app.on_before_shutdown.connect(self._leave)
        return app

    # ---- Faust -----------------------------------------------------------------------------------------

    async def _fold(self, stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                self._take(event)
            except Exception as error:
                self._fail(error)

    def _take(self, event: EventT[Any]) -> None:
        """Queue an event. Folding goes on beside it, so that Faust has nothing to hold up."""
        message = _message(event, self._settings)
        partition = 0 if self.agent == LEARN else message.place[1]
        running = self._running.get(partition)
        if running is None or running.driver.task.recovering:
            return  # of an assignment that is over: its owner, perhaps this one again, gets it
        running.driver.offer(message)
        running.wake.set()
        self._slow_down(running, message.place)

    async def _pump(self, running: Running) -> None:
        """Fold whenever there is something new, as long as the task is ours."""
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(running.wake.wait(), running.driver.patience_s)
                running.wake.clear()
                async with running.turn:
                    if running.ended:
                        return
                    await running.driver.pump()
        except TakenOver as error:
            if running.revoked:  # what is assigned next says whose it is
                self._end(running)
            elif not running.ended:  # else it was given away, and its new owner has begun
                self._fail(error)
        except Exception as error:
            self._fail(error)

    def _slow_down(self, running: Running, place: Place) -> None:
        """One topic may not fill the memory while another is waited for.

        Not with ``pause_partitions``: Faust drops what it has fetched of a partition that is paused so. Again
        with each message that comes nevertheless: a rebalance lets all partitions flow.
        """
        if running.driver.queued_of(place) >= QUEUE_FULL:
            running.paused.add(place)
            self.app.consumer.on_buffer_full(TP(*place))

    def _speed_up(self, running: Running) -> None:
        for place in list(running.paused):
            if running.driver.queued_of(place) <= QUEUE_LOW:
                running.paused.discard(place)
                self.app.consumer.on_buffer_drop(TP(*place))

    async def _acknowledge(self, done: dict[Place, int]) -> None:
        for place, end in done.items():
            self.app.consumer.acknowledge(TP(*place), end)
        for running in self._running.values():
            self._speed_up(running)

    # ---- tasks -----------------------------------------------------------------------------------------

    async def _revoked(self, *_: Any, **__: Any) -> None:
        """Note it before the group shares them out anew, which waits for this."""
        self._vitals.stage = REVOKED
        given = list(self._running.values())
        for running in given:
            running.revoked = True
        for running in given:
            await running.driver.claimed()

    async def _rebalanced(self, *_: Any, **__: Any) -> None:
        """Take what is assigned, unless it was revoked since: Faust tells of each assignment, but late."""
        if self._vitals.stage == STOPPING or self.app.consumer.is_revoked:
            return
        self._vitals.stage = RECOVERING
        try:
            if await self._ask_anew():
                return
            await self._assign({tp.partition for tp in self.app.consumer.assignment()})
            if self._listener is not None:
                await self._vitals.attend(self._fail)
            if self._vitals.stage == RECOVERING:
                self._vitals.stage = ""
        except Exception as error:
            self._fail(error)

    async def _ask_anew(self) -> bool:
        """Have the group share out anew, if what it gave a new process by an old name leaves anything out.

        Returns whether another assignment follows. A cluster that does not answer holds nothing up.
        """
        if not self._is_new or not self._settings.instance:
            return False
        try:
            missing = await left_out(self._settings, self.agent)
        except (ClusterError, KafkaError) as error:
            LOGGER.warning(NOT_ASKED, self.agent, error)
            return False
        if self._vitals.stage != RECOVERING:  # revoked meanwhile
            return True
        self._is_new = False
        if missing:
            LOGGER.warning(SHARED_ANEW, self.agent, len(missing), *missing[0])
            await self.app.consumer.rejoin()
        return bool(missing)

    async def _assign(self, partitions: set[int]) -> None:
        """End tasks that are another worker's now; recover those that are new here.

        Not to the end when partitions are revoked meanwhile, or all is to stop: to begin a task takes it from
        whoever owns it by then.
        """
        if self.agent == LEARN and partitions:
            self._require_all(partitions)
            partitions = {0}
        for partition in set(self._running) - partitions:
            self._end(self._running.pop(partition))
        host = await self._host() if partitions else None
        for partition in sorted(partitions):
            if self._vitals.stage != RECOVERING:
                return
            assert host is not None
            running = self._running.get(partition)
            if running is not None and await self._was_away(running, host):
                self._end(self._running.pop(partition))
            if partition not in self._running and self._vitals.stage == RECOVERING:
                await self._begin(partition, host)
        LOGGER.warning("%s: runs on partitions %s", self.agent, sorted(self._running))

    async def _was_away(self, running: Running, host: Host) -> bool:
        """Whether another process had the task and gave it back, as this one was stopped or cut off.

        What was acknowledged meanwhile will not be delivered here, so the task has to recover.
        Raises TakenOver where that one has our name: Kafka would give the task to each in turn, for ever
        """
        task, journal = running.driver.task, running.driver.task.identity.journal
        async with asyncio.timeout(OPERATION_SECONDS), running.turn:
            running.revoked = self._vitals.stage != RECOVERING
            end = (await host.log.end([journal]))[journal]
            written = await host.log.read(journal, task.expected, end)
        claimer = newest_claimer(journal_entries(written))
        if self._is_namesake(claimer):
            raise TakenOver(f"{task.identity}: claimed by another process", claimer)
        return end > task.expected

    def _is_namesake(self, process: str) -> bool:
        """Whether it is another one with the same name in the group."""
        mark = _marked(self._settings.instance)
        return bool(mark) and process.endswith(mark) and process != self._process

    def _require_all(self, partitions: Iterable[int]) -> None:
        missing = sorted(set(range(self._settings.partitions)) - set(partitions))
        if missing:
            raise RuntimeError(
                f"learn: another learn worker has partitions {missing}; one folds them all, so stop the other"
            )

    async def _host(self) -> Host:
        if self._shared is None:
            assert self._crashes is not None
            log = await KafkaLog(self._settings).__aenter__()
            self._shared = Host(
                log=log,
                snapshots=self._snapshots,
                requests=Requests(self._fail, self._answered),
                thread=self._thread,
                crashes=self._crashes,
                make=self._play.make_model,
                source=f"octastream/{self.agent}",
            )
        return self._shared

    async def _begin(self, partition: int, host: Host) -> None:
        identity = TaskId(self.agent, partition, self._settings.partitions)
        agent, entries = self._play.make_agent(), self._play.snapshot_entries
        task = MeteredTask(identity, agent, self._process, entries, self._metrics)
        effects = self._play.make_effects(identity)
        running = Running(task, Driver(task, host, effects, self._failpoint, self._acknowledge))
        self._running[partition] = running
        if not await running.driver.recover(lambda: not (running.revoked or running.ended)):
            self._running.pop(partition, None)
            return
        loop = asyncio.get_running_loop()
        running.pump = loop.create_task(self._pump(running))
        if (PUBLISHED, 0) in identity.sources:
            running.follower = loop.create_task(self._follow(running, host))

    async def _leave(self, *_: Any, **__: Any) -> None:
        """Last snapshots: a worker that is started again long after has nothing to fold again.

        Without them it would have to, and could not once retention has passed what it needs.
        """
        self._vitals.stage = STOPPING
        for running in list(self._running.values()):  # partitions may be on their way here
            try:
                async with running.turn:
                    self._end(running)  # nothing is folded behind a last snapshot
                    await running.driver.leave()
            except (KafkaError, LogError) as error:  # the snapshot before will do
                LOGGER.warning("%s: no last snapshot: %s", running.driver.task.identity, error)
            except Exception as error:  # Faust would stop no further, and live on
                self._fail(error)

    async def _stand(self) -> None:
        """Note how the tasks stand.  Raises KafkaError"""
        if self._shared is not None:  # else it has never had a partition
            tasks = [running.task for running in self._running.values()]
            self._metrics.standings = await standings(tasks, self._shared.log, self._snapshots)

    def _end(self, running: Running) -> None:
        running.ended = True
        running.driver.end()
        running.wake.set()
        if running.follower is not None:
            running.follower.cancel()

    async def _follow(self, running: Running, host: Host) -> None:
        """Offer what is published to a task."""
        place = (PUBLISHED, 0)
        first = running.driver.task.positions[place]
        try:
            if first == 0:
                end = (await host.log.end([place]))[place]
                first = min(max(0, end - OLD_MODELS), await first_of_hold(host.log, end))
            async for message in host.log.follow(place, first):
                running.driver.offer(message)
                running.wake.set()
        except Exception as error:
            self._fail(error)

    def _answered(self) -> None:
        """An answer is there: have the tasks look."""
        for running in self._running.values():
            running.wake.set()

    # ---- ends ------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException | None) -> None:
        """End now: what is not acknowledged comes again, to whoever goes on."""
        code = EXIT_FAILED
        if isinstance(error, TakenOver) and self._is_namesake(error.by):
            LOGGER.critical(ANOTHER, self.agent, self._settings.instance)
            code = EXIT_ERROR
        elif isinstance(error, TakenOver):
            LOGGER.error("%s", error)
        elif isinstance(error, LogLost):
            LOGGER.critical("%s", error)
            code = EXIT_ERROR
        else:
            LOGGER.critical("%s: cannot go on", self.agent, exc_info=error)
        self._exit(code)

    def _watch(self) -> None:
        """End the process when a handler hangs: Kafka's client would keep its partitions for ever."""
        while True:
            time.sleep(1)
            if self._vitals.look(self._thread.busy) >= HANDLER_SECONDS:
                LOGGER.critical("%s: a handler is in flight for more than %s s", self.agent, HANDLER_SECONDS)
                faulthandler.dump_traceback()
                try:
                    if self._crashes is not None:
                        self._crashes.count_hung()
                finally:  # nobody else would end it
                    self._exit()

    def _exit(self, code: int = EXIT_FAILED) -> None:
        try:
            if self._crashes is not None:
                self._crashes.close()
            self._scratch.cleanup()
            logging.shutdown()
        finally:
            os._exit(code)


def _marked(instance: str | None) -> str:
    """How the name of a process ends that has a stable name in its group."""
    return "" if instance is None else f"@{instance}"


def _message(event: EventT[Any], settings: KafkaSettings) -> Message:
    message = event.message
    headers: Any = message.headers or ()
    return Message(
        place=(message.topic, message.partition),
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=tuple(headers.items() if isinstance(headers, dict) else headers),
        appended_ms=round(1e3 * message.timestamp),
        content_type=settings.content_types.get(message.topic, CDR),
    )
