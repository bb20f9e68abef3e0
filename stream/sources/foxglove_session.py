"""The Foxglove WebSocket protocol as a client speaks it: text and bytes in, messages out, no I/O.

Servers advertise channels as they appear, and send what is subscribed to. Subprotocols foxglove.sdk.v1 (the
Foxglove SDK and its bridge for ROS 2) and foxglove.websocket.v1 (older servers) are the same as far as is
needed here. Specification: https://github.com/foxglove/ws-protocol, docs/spec.md.
"""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stream.sources.logged_message import LoggedMessage
from stream.sources.offers import Offers, Say

SUBPROTOCOLS = ("foxglove.sdk.v1", "foxglove.websocket.v1")

MAX_TRIES = 100
"""Times that a channel is subscribed to again, each a way to the server and back."""

_MESSAGE = struct.Struct("<BIQ")  # opcode, subscription, time in ns
_MESSAGE_DATA = 1
_LEVELS = ("info", "warning", "error")


class ProtocolError(ValueError):
    """What a server sent is not of the protocol."""


class FoxgloveSession:
    """One connection: which channels the server has, and which of them are subscribed to.

    offers : chooses among channels; say : told what the server says, and which channels come and go
    """

    def __init__(self, offers: Offers, say: Say) -> None:
        self._offers, self._say = offers, say
        self._channels: dict[int, tuple[str, str]] = {}
        self._subscriptions: dict[int, tuple[str, str]] = {}  # by the number of the channel, too
        self._heard: set[int] = set()
        self._tries: Counter[int] = Counter()
        self._has_offered = False

    @property
    def topics(self) -> list[str]:
        """Topics that are subscribed to."""
        return sorted(topic for topic, _ in self._subscriptions.values())

    def on_text(self, text: str) -> str | None:
        """Take a control message; returns the answer to send.  Raises ProtocolError"""
        try:
            message = json.loads(text)
            operation = message["op"]
            if operation == "advertise":
                return self._advertise(message["channels"])
            if operation == "unadvertise":
                return self._unadvertise(message["channelIds"])
            if operation == "status":
                return self._status(message.get("level", 0), str(message["message"]))
        except (
            ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
        ) as error:  # fmt: skip
            raise ProtocolError(f"{text[:80]!r} is no message of the Foxglove protocol ({error})") from error
        return None  # server information, times, parameters, services and so on are of no interest

    def on_quiet(self) -> None:
        """Nothing has come for a while: perhaps there is nothing to come."""
        if not self._has_offered:
            self._say("waits for the server, which offers no channels yet")
            self._say_missing()

    def on_binary(self, data: bytes) -> LoggedMessage | None:
        """Take a binary message; returns what it carries of a subscribed channel.  Raises ProtocolError"""
        if not data:
            raise ProtocolError("an empty message is none of the Foxglove protocol")
        if data[0] != _MESSAGE_DATA:
            return None
        if len(data) < _MESSAGE.size:
            raise ProtocolError(f"a message of {len(data)} bytes, its head alone has {_MESSAGE.size}")
        _, subscription, time_ns = _MESSAGE.unpack_from(data)
        channel = self._subscriptions.get(subscription)
        if channel is None:  # sent before the server knew that its channel was given up
            return None
        self._heard.add(subscription)
        topic, kind = channel
        return LoggedMessage(time_ns, topic, kind, memoryview(data)[_MESSAGE.size :])

    def _status(self, level: int, text: str) -> str | None:
        again = self._not_subscribed(text) if level > 0 else []
        if again:
            return _subscribe(again)
        if level > 0:
            self._say(f"the server says: {_LEVELS[min(level, 2)]}: {text}")
        return None

    def _not_subscribed(self, text: str) -> list[int]:
        """Channels that the server says it does not have, though it has just advertised them.

        The Foxglove SDK tells clients of a channel a moment before it takes subscriptions to it.
        """
        if "channel" not in text.lower():
            return []
        named = {int(number) for number in re.findall(r"\d{1,18}", text)} & set(self._subscriptions)
        again = [number for number in named - self._heard if self._tries[number] < MAX_TRIES]
        self._tries.update(again)
        return again

    def _advertise(self, channels: Sequence[Mapping[str, Any]]) -> str | None:
        offered = {int(channel["id"]): (str(channel["topic"]), _kind_of(channel)) for channel in channels}
        self._channels |= offered
        chosen = set(self._offers.choose(offered.values()))
        new = {
            number: offer
            for number, offer in offered.items()
            if offer in chosen and number not in self._subscriptions
        }
        self._say_missing()
        self._subscriptions |= new
        if not new:
            return None
        self._say("takes " + ", ".join(f"{topic} ({kind})" for topic, kind in sorted(new.values())))
        return _subscribe(new)

    def _say_missing(self) -> None:
        """Once, as soon as the server has said what it has."""
        if not self._has_offered:
            self._has_offered = True
            for topic in self._offers.missing(topic for topic, _ in self._channels.values()):
                self._say(f"waits for {topic}, which the server does not offer yet")

    def _unadvertise(self, numbers: Sequence[int]) -> str | None:
        gone = [number for number in numbers if number in self._subscriptions]
        for number in numbers:
            self._channels.pop(number, None)
        if not gone:
            return None
        lost = sorted(self._subscriptions.pop(number)[0] for number in gone)
        self._heard -= set(gone)
        self._say(f"gone: {', '.join(lost)}; taken again when the server offers it")
        return json.dumps({"op": "unsubscribe", "subscriptionIds": gone})


def _subscribe(numbers: Iterable[int]) -> str:
    """A channel's number serves as that of its subscription: there is one at most."""
    subscriptions = [{"id": number, "channelId": number} for number in numbers]
    return json.dumps({"op": "subscribe", "subscriptions": subscriptions})


def _kind_of(channel: Mapping[str, Any]) -> str:
    """The type as logs name it: one that is not in CDR carries its encoding."""
    name, encoding = str(channel["schemaName"]) or "no schema", str(channel["encoding"])
    return name if encoding == "cdr" else f"{name} in {encoding}"
