"""A robot behind a Foxglove WebSocket server: connects, and connects again for as long as it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stream.addresses import shown, text_shown
from stream.sources.base import Item, SourceError, one_line
from stream.sources.foxglove_session import SUBPROTOCOLS, FoxgloveSession, ProtocolError
from stream.sources.inbox import Inbox, Losses
from stream.sources.live import LiveItems, Receiver, received
from stream.sources.offers import LiveOptions, Offers, Say

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PREFIXES = ("ws://", "wss://")
MAX_MESSAGE_BYTES = 64 * 2**20
"""Cap on one message: over two million points of 32 bytes."""
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the next attempt; the last one from then on. A connection begins them anew."""
OPEN_SECONDS, QUIET_SECONDS, CLOSE_SECONDS = 10.0, 2.0, 1.0


class FoxgloveLive:
    """What a server sends on its channels, as items.

    uri : ``ws://HOST:PORT`` or ``wss://``, also with NAME:PASSWORD@, which is sent and never shown
    say : told what happens, one line at a time
    inbox : where messages wait to be read; a server does not wait, so the oldest clouds go when it is full

    A server that is not there, goes away or sends what is not of the protocol is tried again after each of
    PAUSES. One that refuses (not a Foxglove server, a login) is a SourceError: that does not mend itself.
    Stamps are those in the messages, never the time of arrival.
    Raises SourceError for what is no address; ModuleNotFoundError without websockets
    """

    def __init__(self, uri: str, options: LiveOptions, say: Say, *, inbox: Inbox | None = None) -> None:
        _require_address(uri)
        self.inbox = Inbox() if inbox is None else inbox
        self._uri, self._shown, self._say = uri, shown(uri), say
        self._offers = Offers(options, say)
        self._losses = Losses(self.inbox, say)
        self._items = LiveItems(options, say)
        self._receiver = Receiver(self._receive, self.inbox, "foxglove")
        self._stopped = threading.Event()
        self._connection: ClientConnection | None = None
        self._attempts = 0

    def __iter__(self) -> Iterator[Item]:
        """Items from now on; once only.  Raises SourceError where the server refuses"""
        return received(self, self._receiver, self._items)

    def stop(self) -> None:
        """Receive no more."""
        self._stopped.set()
        self.inbox.close()
        connection = self._connection
        if connection is not None:
            connection.close()

    # ---- the thread that receives --------------------------------------------------------------------

    def _receive(self) -> None:
        from websockets.exceptions import ConnectionClosed

        while not self._stopped.is_set():
            try:
                why = self._converse()
            except ConnectionClosed as closed:
                why = f"the connection ended ({one_line(closed)})"
            except ProtocolError as error:
                why = one_line(error)
            except Exception as error:
                self._raise_if_fatal(error)
                why = f"not reached ({getattr(error, 'strerror', None) or one_line(error)})"
            self._pause(why)

    def _converse(self) -> str:
        """Connect and take what comes until the connection ends; why it did.  Raises ConnectionClosed"""
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        protocols = [Subprotocol(name) for name in SUBPROTOCOLS]
        with connect(
            self._uri,
            subprotocols=protocols,
            compression=None,  # points do not shrink, and the robot has better things to do
            proxy=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
        ) as connection:
            if connection.subprotocol is None:
                raise SourceError(
                    f"{self._shown}: no Foxglove server: it speaks none of {', '.join(SUBPROTOCOLS)}"
                )
            self._connection = connection
            try:
                self._talk(connection)
            finally:
                self._connection = None
        return "the server closed the connection"

    def _talk(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosedOK

        self._say(f"{self._shown}: connected ({connection.subprotocol})")
        self._attempts = 0
        session = FoxgloveSession(self._offers, self._say)
        if self._stopped.is_set():  # before there was a connection that could have been closed
            return
        while True:
            try:
                data = connection.recv(QUIET_SECONDS)
            except TimeoutError:
                session.on_quiet()
                continue
            except ConnectionClosedOK:
                return
            if isinstance(data, str):
                answer = session.on_text(data)
                if answer is not None:
                    connection.send(answer)
            elif (message := session.on_binary(data)) is not None:
                self._losses.put(message)

    def _raise_if_fatal(self, error: Exception) -> None:
        """What another attempt will not mend."""
        from websockets.client import process_exception
        from websockets.exceptions import WebSocketException

        if isinstance(error, WebSocketException) and process_exception(error) is not None:
            why = text_shown(one_line(error))
            raise SourceError(f"{self._shown}: no Foxglove server that would talk to us: {why}") from error
        if not isinstance(error, (OSError, EOFError, WebSocketException)):
            raise error

    def _pause(self, why: str) -> None:
        if self._stopped.is_set():
            return
        seconds = PAUSES[min(self._attempts, len(PAUSES) - 1)]
        self._attempts += 1
        self._say(f"{self._shown}: {why}; next attempt in {seconds:g} s")
        self._stopped.wait(seconds)


def _require_address(uri: str) -> None:
    from websockets.exceptions import InvalidURI
    from websockets.uri import parse_uri

    try:
        parse_uri(uri)
    except (InvalidURI, ValueError):  # ValueError: a port that is no number; both repeat the address
        raise SourceError(f"{shown(uri)}: no address of a Foxglove server, expected ws://HOST:PORT") from None
