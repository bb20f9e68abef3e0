"""Who may ask: keys, names of this host, and pages of other origins."""

from __future__ import annotations

import hmac
import ipaddress
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

OPEN = frozenset({"/health", "/ready"})
"""Asked by whoever watches over the process, without a key."""
PAGE, PAGE_FILES = "/", "/page/"
"""The live page itself is no secret; what it shows is, and it asks for the key."""
PROTOCOL, KEY_PROTOCOL = "octastream", "octastream.key."
"""Browsers can name protocols of a WebSocket, but no headers: a key comes as one, in base64url."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Refusal = tuple[int, str]
"""Status and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Rules.

    keys : if there are any, one must be sent, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``;
        never shown
    hosts : names by which this host may be asked for; None takes any. A page of a stranger whose name leads
        to the loopback would otherwise be taken for our own
    origins : pages of these may read answers (CORS); "*" are all
    """

    keys: Sequence[str] = field(default=(), repr=False)
    hosts: frozenset[str] | None = None
    origins: Sequence[str] = ()

    def refusal(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Why a request is not answered; None where it is. method : WEBSOCKET for one of these"""
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and name_of(host) not in self.hosts:
            return 421, f"Host: {host[:80]!r} is not served here; --allow-host adds a name"
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and method not in SAFE and not self._may_write(origin, host):
            return 403, f"Origin: {origin[:80]!r} may not ask for this; --cors adds an origin"
        open_ = path in OPEN or path == PAGE or path.startswith(PAGE_FILES)
        if self.keys and not open_ and not self._has_key(headers):
            return 401, "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
        return None

    def _may_write(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may do more than read: our own may, and those that are named."""
        return urlsplit(origin).netloc.lower() == host.lower() or bool({origin, "*"} & set(self.origins))

    def _has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a key was sent. Digests are compared, all of them: time tells nothing about keys."""
        sent = headers.get(b"x-api-key", b"")
        scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            sent = rest.strip()
        sent = sent or _key_of_protocols(headers.get(b"sec-websocket-protocol", b""))
        digest = sha256(sent).digest()
        found = [hmac.compare_digest(sha256(key.encode()).digest(), digest) for key in self.keys]
        return any(found)


def _key_of_protocols(header: bytes) -> bytes:
    """The key among the protocols that a WebSocket offers; empty for none."""
    for name in header.decode("latin-1").split(","):
        if name.strip().startswith(KEY_PROTOCOL):
            text = name.strip().removeprefix(KEY_PROTOCOL)
            try:
                return urlsafe_b64decode(text + "=" * (-len(text) % 4))
            except ValueError:
                return b""
    return b""


def name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() and ":" in name else name


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
