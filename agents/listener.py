"""A socket to serve HTTP on, had before anything else begins."""

from __future__ import annotations

import errno
import socket

from stream.config import ConfigError

BACKLOG = 2048
"""Connections that the system holds until they are accepted; it takes less where its own bound is lower."""


def listen(host: str, port: int, option: str = "--http") -> socket.socket:
    """A socket that listens, so that a port that cannot be had is told before anything else begins.

    port : 0 for any that is free; option : that named the address
    Raises ConfigError naming the option
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why = "another process listens there; name another port"
        elif error.errno in (errno.EACCES, errno.EPERM):
            why = "ports below 1024 are not for everybody; name another port"
        elif error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN):
            why = "no address of this machine; name one, as 127.0.0.1, or 0.0.0.0 for all"
        raise ConfigError(f"{option} {host}:{port}: {why}") from error


def url_of(listener: socket.socket) -> str:
    """``http://HOST:PORT``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
