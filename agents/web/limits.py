"""What one client may ask of the service, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from stream.config import ConfigError

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of requests.

    body_bytes : of one request; request_s : from its head to the end of its answer; streams of events go on
    head_s, head_bytes : how long the head of a request may take, and how large it may be
    active : requests that are worked on at one time; connections : that are open at one time
    cells : in one question or answer
    """

    body_bytes: int = 16 * MIB
    request_s: float = 30.0
    head_s: float = 10.0
    head_bytes: int = 64 << 10
    active: int = 64
    connections: int = 512
    cells: int = 20_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: {getattr(self, name)} must be > 0")
