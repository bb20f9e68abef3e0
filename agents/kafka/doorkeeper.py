"""Connections to a server that itself would wait for ever, and take any number of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Doorkeeper:
    """Makes the protocol of each connection, around the one that ``protocol`` makes.

    connections : that are open at one time; for one more the oldest is cut off, so whoever holds all of them
        and says nothing keeps nobody out
    patience_s : after which a connection is cut off, whatever it waits for
    """

    def __init__(self, protocol: Callable[[], asyncio.Protocol], connections: int, patience_s: float) -> None:
        self.protocol, self.connections, self.patience_s = protocol, connections, patience_s
        self.inside: dict[asyncio.Protocol, asyncio.Transport] = {}  # oldest first

    def __call__(self) -> asyncio.Protocol:
        return _Visitor(self)


class _Visitor(asyncio.Protocol):
    """One connection; what comes and goes on it is the inner protocol's once it was let in."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._inner: asyncio.Protocol | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        keeper = self._keeper
        if len(keeper.inside) >= keeper.connections:
            oldest = next(iter(keeper.inside))
            keeper.inside.pop(oldest).abort()
        keeper.inside[self] = transport
        self._late = asyncio.get_running_loop().call_later(keeper.patience_s, transport.abort)
        self._inner = keeper.protocol()
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keeper.inside.pop(self, None)
        if self._late is not None:
            self._late.cancel()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()
