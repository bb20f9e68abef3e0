"""What is wrong with a configuration, in one line."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration that cannot be used; names the field, the value and the way out."""


def require(condition: bool, name: str, value: object, way_out: str) -> None:
    """Raises ConfigError where the condition does not hold."""
    if not condition:
        raise ConfigError(f"{name}: {value!r} {way_out}")
