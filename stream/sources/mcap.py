"""ROS 2 logs in MCAP: messages of a file in the order they were logged."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from stream.sources.base import Damage, SourceOptions
from stream.sources.logged_message import LoggedMessage
from stream.sources.mcap_file import DamageError, McapFile, Message
from stream.sources.ros2 import Ros2Source, Wanted


def open_mcap(path: Path, options: SourceOptions) -> Ros2Source:
    """One MCAP file as a source; damage costs what lies behind it.  Raises SourceError if it is not MCAP."""
    return Ros2Source(McapLog(path), options)


class McapLog:
    """One MCAP file as a log of ROS 2 messages.  Raises SourceError when the file is not MCAP."""

    format = "mcap"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = McapFile(path)
        self._knows_channels = self._file.contents.knows_channels

    @property
    def damage(self) -> str | None:
        """Why nothing more of the file can be read, None for a complete one."""
        return self._file.contents.damage

    def topics(self) -> list[tuple[str, str]]:
        """Topics and types; a file without a full summary is searched for them."""
        if not self._knows_channels:
            for _ in self.messages(lambda topic, kind: False):
                pass
        return sorted(set(self._file.channels().values()))

    def messages(self, wanted: Wanted) -> Iterator[LoggedMessage | Damage]:
        """Messages by log time; holds only chunks that overlap in time."""
        damage = self.damage
        held: list[tuple[Message, str, str]] = []
        for unit in self._file.contents.units:
            while held and held[0][0].log_time_ns < unit.start_ns:
                yield _logged(heapq.heappop(held))
            try:
                messages = self._file.messages(unit)
            except DamageError as error:
                damage = str(error)
                break
            channels = self._file.channels()
            for message in messages:
                topic, kind = channels.get(message.channel_id, ("", ""))
                if wanted(topic, kind):
                    heapq.heappush(held, (message, topic, kind))
        while held:
            yield _logged(heapq.heappop(held))
        self._knows_channels = True
        if damage is not None:
            yield Damage(location=str(self.path), detail=damage)


def _logged(held: tuple[Message, str, str]) -> LoggedMessage:
    message, topic, kind = held
    return LoggedMessage(message.log_time_ns, topic, kind, message.data)
