"""Questions that are foreign: of a page that watches, and of readers of training sets."""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from agents.care.receipt import Receipt
from agents.web.problems import describe
from agents.web.routes_live import ASKED
from agents.web.tensors import TensorError, read_tensors
from models.training_sets.flight import parse_request
from models.training_sets.manifest import TrainingSetError

FEATURES, MOST_ROWS = 3, 1_000


def give_asked(data: bytes) -> bool:
    """What a page asks over its WebSocket: understood, or answered in one line."""
    try:
        asked = ASKED.validate_json(data.decode(errors="replace"))
    except ValidationError as error:
        detail = describe(error.errors(include_url=False))
        assert len(detail.splitlines()) == 1, detail
        assert orjson.dumps({"kind": "error", "detail": detail})
        return False
    return bool(orjson.dumps(asked.model_dump()))


def give_ticket(data: bytes) -> bool:
    """A ticket, or the command of a descriptor, of Arrow Flight."""
    try:
        parse_request(data)
    except TrainingSetError as error:
        assert len(str(error).splitlines()) == 1, error
        return False
    return True


def give_tensors(data: bytes) -> bool:
    """Features to forecast from, as somebody sends them."""
    try:
        read_tensors(data, FEATURES, MOST_ROWS)
    except TensorError as error:
        assert str(error)
        return False
    return True


def give_receipt(data: bytes) -> bool:
    """A receipt of a deletion, as it is read from a run; one that is none is passed over."""
    try:
        Receipt.from_json(data.decode())
    except (ValueError, KeyError, TypeError):
        return False
    return True
