"""From a robot that sends right now into Kafka, as ``octastream produce`` would send its log."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from aiokafka.errors import KafkaTimeoutError

from agents.kafka.admin import ClusterError
from agents.kafka.produce import Message, Producer, messages_of
from agents.kafka.settings import KafkaSettings
from agents.options import check_robot
from stream.addresses import shown
from stream.config import ConfigError
from stream.sources.base import SourceError
from stream.sources.live import Live
from stream.sources.offers import LiveOptions, Say
from stream.topics import SWEEPS

SOURCE = b"octastream/bridge"
MAX_UNSURE = 16
"""Messages sent before the broker is waited for, as sweeps are large; one does where no more is waiting."""
WAIT_SECONDS = 10.0
"""After which a broker that takes nothing is spoken of, and given up where all is to end."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ROS2 = "ros2"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of what came: messages that were sent, those of them with sweeps, and what was dropped."""

    messages: int = 0
    sweeps: int = 0
    dropped: int = 0

    def __str__(self) -> str:
        return f"{self.messages:,} messages sent, {self.sweeps:,} of them sweeps; {self.dropped:,} dropped"


def open_live(location: str, options: LiveOptions, say: Say) -> Live:
    """The robot behind a location: ``ws://HOST:PORT`` of a Foxglove server, or ``ros2``.

    Raises ConfigError for another location or a robot id that cannot be one; SourceError where what it
    needs is not installed
    """
    from stream.sources.foxglove_live import PREFIXES, FoxgloveLive

    check_robot(options.robot_id)
    if location == ROS2:
        from agents.kafka.ros import RosLive

        return RosLive(options, say)
    if not location.startswith(PREFIXES):
        raise ConfigError(f"{shown(location)!r}: must be ws://HOST:PORT of a Foxglove server, or {ROS2}")
    try:
        return FoxgloveLive(location, options, say)
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{shown(location)}: needs {error.name}: pip install 'octastream[bridge]'"
        ) from error


async def bridge(
    live: Live,
    settings: KafkaSettings,
    say: Say,
    *,
    on_message: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Send what a robot sends until SIGINT or SIGTERM; what had come by then is sent, too.

    A broker that goes away is waited for, and so is a partition without a leader: they get what they had not
    confirmed. Meanwhile the inbox fills, and drops. A second signal ends at once.
    Raises KafkaError where no broker is there to begin with, or it refuses a message; ClusterError where
    it is away when all is to end; SourceError where the robot cannot be heard
    """
    cargo = _Cargo(live, on_message)
    with ThreadPoolExecutor(1, "bridge") as thread, _told_to_stop(live, say) as signals:
        delivery = asyncio.create_task(_deliver(cargo, settings, thread))
        try:
            while not await _ends(delivery, signals):
                stuck_s = cargo.stuck_s()
                if stuck_s < WAIT_SECONDS:
                    continue
                trouble = cargo.leaderless() or f"{settings.bootstrap}: takes nothing"
                if signals.stop.is_set():
                    raise ClusterError(
                        f"{trouble}, and all is to end: {cargo.unsure} messages are not confirmed, "
                        f"{len(live.inbox)} not sent"
                    )
                say(f"{trouble}, is waited for; {len(live.inbox)} messages wait, {stuck_s:.0f} s by now")
            if signals.now.is_set():
                raise KeyboardInterrupt
            await delivery
        finally:
            live.stop()  # whoever waits for the next message waits no more
            await _cancelled(delivery)
    return cargo.tally


async def _deliver(cargo: _Cargo, settings: KafkaSettings, thread: Executor) -> None:
    async with Producer.open(settings, patient=True) as producer:
        await cargo.deliver(producer, thread)


async def _ends(delivery: asyncio.Task[None], signals: _Signals) -> bool:
    """Wait a while for the end, by itself or at once."""
    at_once = asyncio.create_task(signals.now.wait())
    done, _ = await asyncio.wait(
        {delivery, at_once}, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    at_once.cancel()
    return bool(done)


async def _cancelled(delivery: asyncio.Task[None]) -> None:
    """End it; more than once, as a client that closes waits without end for a broker that is away."""
    while not delivery.done():
        delivery.cancel()
        await asyncio.wait({delivery}, timeout=0.2)


class _Signals:
    """What a person has asked for: to stop with what has come, and to stop now."""

    def __init__(self) -> None:
        self.stop, self.now = asyncio.Event(), asyncio.Event()


@contextmanager
def _told_to_stop(live: Live, say: Say) -> Iterator[_Signals]:
    """Hear SIGINT and SIGTERM instead of ending by them."""
    loop, signals = asyncio.get_running_loop(), _Signals()

    def hear() -> None:
        if signals.stop.is_set():
            signals.now.set()
            return
        say("stops; what has come is sent (again to stop at once)")
        signals.stop.set()
        live.stop()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, hear)
    try:
        yield signals
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


class _Cargo:
    """Messages on their way: taken from the robot, sent, and confirmed by the broker."""

    def __init__(self, live: Live, on_message: Callable[[Tally], None]) -> None:
        self.unsure = 0
        self._live, self._on_message = live, on_message
        self._messages = messages_of(live)
        self._tally = Tally()
        self._producer: Producer | None = None
        self._since: float | None = None  # when what is on its way was begun with

    @property
    def tally(self) -> Tally:
        """What became of what came, so far."""
        self._tally.dropped = self._live.inbox.dropped.total()
        return self._tally

    def stuck_s(self) -> float:
        """For how long what is on its way has not been taken."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def leaderless(self) -> str:
        """Which partitions cannot take what waits for them, empty where none is known."""
        places = [] if self._producer is None else self._producer.leaderless()
        named = ", ".join(f"{topic}-{partition}" for topic, partition in places)
        return named and f"{named}: without a leader"

    async def deliver(self, producer: Producer, thread: Executor) -> None:
        """Send what comes until no more does.  Raises KafkaError, SourceError

        thread : where messages are waited for and decoded, which takes longer than sending them
        """
        self._producer, loop = producer, asyncio.get_running_loop()
        while taken := await loop.run_in_executor(thread, next, self._messages, None):
            message = _signed(taken[1])
            self._since = time.monotonic()
            self.unsure += 1
            await _send(producer, message)
            if not len(self._live.inbox) or self.unsure >= MAX_UNSURE:
                await producer.confirmed()
                self.unsure = 0
            self._since = None
            self._tally.messages += 1
            self._tally.sweeps += message[0] == SWEEPS
            self._on_message(self.tally)
        self._since = time.monotonic()
        await producer.confirmed()


async def _send(producer: Producer, message: Message) -> None:
    """Send a message, for as long as it takes: a client whose buffer is full has not taken it."""
    while True:
        try:
            return await producer.send(message)
        except KafkaTimeoutError:
            continue


def _signed(message: Message) -> Message:
    """The message with ourselves as who sends it."""
    topic, key, value, headers = message
    return topic, key, value, [(name, SOURCE if name == "ce_source" else text) for name, text in headers]
