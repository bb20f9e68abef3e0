"""What is told on the way by whatever takes long."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None, str], None]
"""Takes how many are done, of how many in all (None where nobody knows), and which one it was."""
