"""TLS of the server: a connection counts from its first moment on, and a handshake has a bound of time.

asyncio's own servers tell nobody of a connection before its handshake is done, and give that a minute.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sized

from agents.web.limits import Limits

LOGGER = logging.getLogger(__name__)
PAUSE_SECONDS = 0.5
"""After a connection that could not be accepted, as without file descriptors."""


class TlsServer:
    """Accepts connections of a listening socket until it is closed, as an ``asyncio.Server`` does.

    limits : ``connections``, those in a handshake included: one more is cut off, as nothing can be said to it
        before; ``head_s`` for a handshake, and for the end of TLS
    connections : that are done with theirs and open; protocol : makes the protocol of one
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        limits: Limits,
        connections: Sized,
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._listener, self._context, self._limits = listener, context, limits
        self._connections, self._protocol = connections, protocol
        self._handshakes: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and let go who is in a handshake."""
        for task in (self._accepting, *self._handshakes):
            task.cancel()

    async def wait_closed(self) -> None:
        """Until nobody is in a handshake."""
        await asyncio.wait({self._accepting, *self._handshakes})

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                LOGGER.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._handshakes) + len(self._connections) >= self._limits.connections:
                connection.close()
                continue
            task = loop.create_task(self._shake_hands(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.head_s,
                ssl_shutdown_timeout=self._limits.head_s,
            )
        except OSError:  # of a client: silent, gone, without a certificate of ours, or no TLS at all
            connection.close()
