"""Addresses as they may be shown: without the names, passwords and keys in them."""

from __future__ import annotations

import re

HIDDEN = "***"

_ADDRESS = re.compile(r"(?<![\w/])[a-z][a-z0-9+.-]*:/{1,2}\S+", re.IGNORECASE)  # a Path makes one / of two
_USER = re.compile(
    r"(?<=:/)(?P<slash>/?)"
    r"(?:(?=[^/?#]*@)"  # RFC 3986: up to the last @ before the path
    r"|(?=[^/?#@:\[]*:(?!\d*(?:[/?#]|$))))"  # a / or ? in a password that nobody encoded: that is no port
    r".*@"
)
_VALUE = re.compile(
    r"(?P<name>[?&][^=&#]*(?:key|secret|token|pass|pwd|auth|cred|sig|jwt)[^=&#]*=)[^&#]*", re.IGNORECASE
)
_VALUE_WITH_USER = re.compile(r"(?P<name>[?&][^=&#]*=)[^&#]*@")


def shown(address: str) -> str:
    """An address, with ``***`` for its user info and for values of its query that look like secrets.

    >>> shown("wss://bob:s3cret@robot:8765/?token=1&lod=7")
    'wss://***@robot:8765/?token=***&lod=7'
    """
    return text_shown(re.sub(r"\s", "%20", address))


def text_shown(text: str) -> str:
    """A text, with each address in it as ``shown`` has it; others are unchanged."""
    return _ADDRESS.sub(lambda found: _without_secrets(found[0]), text)


def _without_secrets(address: str) -> str:
    address = _USER.sub(rf"\g<slash>{HIDDEN}@", address)
    address = _VALUE_WITH_USER.sub(rf"\g<name>{HIDDEN}@", address)
    return _VALUE.sub(rf"\g<name>{HIDDEN}", address)
