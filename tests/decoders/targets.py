"""What foreign bytes are given to, and what may come of it: what it decodes to, or an error for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.decoders.files import FILES, give_file
from tests.decoders.messages import (
    give_agents,
    give_answer,
    give_entry,
    give_headers,
    give_message,
    give_moves,
    give_session,
    give_snapshot,
    give_state,
)
from tests.decoders.names import MESSAGES
from tests.decoders.questions import give_asked, give_receipt, give_tensors, give_ticket

Give = Callable[[bytes], bool]
"""Whether bytes came to what they decode to; False for those that were refused as they should be."""

TARGETS: dict[str, Give] = {
    **{name: partial(give_message, topic) for topic, name in MESSAGES.items()},
    "headers": give_headers,
    "agents": give_agents,
    "moves": give_moves,
    "session": give_session,
    "journal": give_entry,
    "answer": give_answer,
    "snapshot": give_snapshot,
    "state": give_state,
    **{name: partial(give_file, name) for name in FILES},
    "live": give_asked,
    "tensors": give_tensors,
    "flight": give_ticket,
    "receipt": give_receipt,
}
"""By name."""
