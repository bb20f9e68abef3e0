"""Names and other texts that come with messages: how long they may be, and of what.

Names go into headers, keys, files and terminals. A message of a few kilobytes may hold one of megabytes, as
zstd packs it; then what follows from the message would be larger than a topic takes.
"""

from __future__ import annotations

MAX_NAME_BYTES = 256
"""Of a robot, a sensor or a frame, in UTF-8."""
MAX_TEXT_BYTES = 4096
"""Of any text of a record that is not JSON, in UTF-8."""
MAX_JSON_BYTES = 4 * 2**20
"""Of JSON in a record; parsed, it takes some twenty times as much memory."""
SHOWN = 1000
"""Characters of a text that are repeated to whoever sent it."""


def require_name(name: str) -> None:
    """Raises ValueError for a name that is too long, or holds what a terminal would not show as it is."""
    size = len(name.encode(errors="replace"))
    if size > MAX_NAME_BYTES:
        raise ValueError(f"{name[:40]!r}... has {size} bytes, a name has {MAX_NAME_BYTES} at most")
    if not name.isprintable():
        raise ValueError(f"{name[:40]!r} holds what cannot be printed; letters, digits and signs are taken")


def require_robot_id(name: str) -> None:
    """Raises ValueError for a name that cannot be a robot's: in ids of streams a slash ends it."""
    if not name or "/" in name:
        raise ValueError(f"{name[:40]!r} must be a name without a slash, which ends it in ids")
    require_name(name)


def clipped(text: str) -> str:
    """A text that may be of a stranger, short enough to be repeated."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
