"""Messages as a task folds them, and what a task itself writes: journal entries, answers, snapshots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka.errors import MessageSizeTooLargeError

from agents.journal import Claim, Order, Place
from agents.kafka.settings import KafkaSettings
from agents.operations import Memory, Snapshot, digest_of
from agents.protocol import Example, Labels, LoadModel, ModelLoaded, Request, Train, Trained, TrainingFailed
from agents.task import Answer, Undecodable
from models.manifest import ModelRefused, model_id_of
from models.model import Model
from stream.codecs.content_type import CDR
from stream.codecs.inputs import dead_letter, decode_sweep, decode_transforms
from stream.codecs.names import clipped
from stream.codecs.state import Frozen, StateError, from_dict, pack, to_dict, unpack
from stream.codecs.wire import WireError, decode
from stream.records import SweepRejected
from stream.sweep import Sweep
from stream.topics import STATIC, SWEEPS, TRANSFORMS
from stream.transform import Transform

Headers = Sequence[tuple[str, bytes]]
Make = Callable[[str, bytes], Model]
"""Makes a model of its id and file."""

LOAD_FIELDS = ("model_id", "stamp_ns", "number")
"""Of a LoadModel in a snapshot: a worker of an earlier release takes no others, so its sha256 lies beside."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Message:
    """What a broker delivers, not decoded yet.

    appended_ms : the time at which it was appended
    content_type : what value is in where headers do not say so
    """

    place: Place
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    appended_ms: int
    content_type: str = CDR


@contextmanager
def named(topic: str, key: bytes | None) -> Iterator[None]:
    """Where a client refuses a message as too large, say whose it is; the client does not.

    Raises MessageSizeTooLargeError
    """
    try:
        yield
    except MessageSizeTooLargeError as error:
        whose = f" of {clipped(key.decode(errors='replace'))}" if key else ""
        raise MessageSizeTooLargeError(f"{topic}{whose}: {error.args[0]}") from error


def message_of(record: Any, settings: KafkaSettings) -> Message:
    """The message of what an aiokafka consumer delivers."""
    return Message(
        place=(record.topic, record.partition),
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers or ()),
        appended_ms=record.timestamp,
        content_type=settings.content_types.get(record.topic, CDR),
    )


def sweep_of(message: Message) -> Sweep:
    """The sweep, or part of one, of a message.  Raises WireError"""
    return decode_sweep(message.value, message.headers, message.key, content_type=message.content_type)


def transforms_of(message: Message, *, static: bool) -> list[Transform]:
    """The transforms of a message.  Raises WireError"""
    return decode_transforms(
        message.value, message.headers, message.key, static=static, content_type=message.content_type
    )


def record_of(message: Message) -> Any:
    """The record of an input; one that cannot be decoded becomes its dead letter."""
    topic = message.place[0]
    try:
        if topic == SWEEPS:
            return sweep_of(message)
        if topic == STATIC and message.value is None:
            return ()  # a robot's mounts were deleted: compaction takes the older message away
        if topic in (TRANSFORMS, STATIC):
            return tuple(transforms_of(message, static=topic == STATIC))
        return decode(topic, message.value)
    except WireError as error:
        return Undecodable(letter_of(message, error))


def poison_of(message: Message) -> Undecodable:
    """The dead letter of an input that is not to be handled any more."""
    error = WireError("poison", "handling it has ended the process again and again")
    return Undecodable(letter_of(message, error))


def letter_of(message: Message, error: WireError) -> SweepRejected:
    """The dead letter of a message that cannot be decoded, or is not to be handled."""
    topic, partition = message.place
    return dead_letter(
        error,
        key=message.key,
        data=message.value,
        topic=topic,
        partition=partition,
        offset=message.offset,
        appended_ns=message.appended_ms * 1_000_000,
    )


# ---- the journal ---------------------------------------------------------------------------------------


def encode_entry(entry: Order | Claim) -> bytes:
    """A journal entry as JSON."""
    if isinstance(entry, Claim):
        return json.dumps({"process": entry.process}).encode()
    inputs = [[*place, offset] for place, offset in entry.inputs]
    return json.dumps({"claim": entry.claim, "inputs": inputs}, separators=(",", ":")).encode()


def decode_entry(data: bytes) -> Order | Claim:
    """The inverse. Raises StateError for what is no journal entry"""
    with _refusing("journal entry"):
        values = json.loads(data)
        if "process" in values:
            return Claim(values["process"])
        inputs = tuple(((topic, partition), offset) for topic, partition, offset in values["inputs"])
        return Order(values["claim"], inputs)


# ---- answers -------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> bytes:
    """An answer; a loaded model is named only, as its file is in the registry."""
    record = answer.record
    kind = type(record).__name__ if record is not None else ""
    values: dict[str, Any] = {}
    if isinstance(record, ModelLoaded):
        values = {
            name: getattr(record, name) for name in ("model_id", "stamp_ns", "sha256", "reason", "number")
        }
        values["refused"] = record.model is None
    elif isinstance(record, Trained):
        values = {name: getattr(record, name) for name in ("lineage", "stamp_ns", "data")}
        values |= {"weights": dict(record.weights), "report": dict(record.report)}
    elif isinstance(record, TrainingFailed):
        values = to_dict(record)
    return pack({"request": answer.request, "kind": kind, "values": values})


def decode_answer(data: bytes, load: Callable[[LoadModel], ModelLoaded], make: Make) -> Answer:
    """The inverse.

    load : gets a model that was loaded when the answer was given; make : of weights that were trained
    Raises StateError for what is no answer, and what load and make raise
    """
    with _refusing("answer"):
        tree = unpack(data)
        request, kind, values = tree["request"], tree["kind"], dict(tree["values"])
        refused = values.pop("refused", True)
        if kind == "Trained":
            values["model"] = make(model_id_of(values["data"]), values["data"])
        record = _ANSWERS[kind](**values) if kind else None
    if isinstance(record, ModelLoaded) and not refused:
        record = load(
            LoadModel(
                model_id=record.model_id,
                stamp_ns=record.stamp_ns,
                number=record.number,
                sha256=record.sha256,
            )
        )
    return Answer(request, record)


_ANSWERS: dict[str, Callable[..., Any]] = {
    "ModelLoaded": partial(ModelLoaded, model=None), "Trained": Trained, "TrainingFailed": TrainingFailed,
}  # fmt: skip


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Say that bytes are of another version, or were never written by this program.  Raises StateError"""
    try:
        yield
    except (StateError, ModelRefused):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StateError(f"{what}: damaged, or of another version: {error}") from error


# ---- snapshots -----------------------------------------------------------------------------------------


def encode_snapshot(agent: bytes | Frozen, memory: Memory) -> Frozen:
    """A snapshot, as it is written: tens of megabytes that are not copied for it."""
    return Frozen(
        {
            "agent": agent,
            "digest": digest_of(agent),
            "claim": memory.claim,
            "journal": memory.journal,
            "positions": [[*place, offset] for place, offset in sorted(memory.positions.items())],
            "waiting": [
                [list(key), [[*place, offset] for place, offset in receipts]]
                for key, receipts in memory.waiting.items()
            ],
            "open": {request: _encode_request(effect) for request, effect in memory.open.items()},
            "sha256": {
                request: effect.sha256
                for request, effect in memory.open.items()
                if isinstance(effect, LoadModel) and effect.sha256
            },
        }
    )


def decode_snapshot(data: bytes) -> Snapshot:
    """The inverse. Raises StateError for what is no snapshot, or is cut short"""
    with _refusing("snapshot"):
        return _snapshot_of(unpack(data))


def _snapshot_of(tree: dict[str, Any]) -> Snapshot:
    sha256 = tree.get("sha256", {})  # none in a snapshot of an earlier release
    memory = Memory(
        claim=tree["claim"],
        journal=tree["journal"],
        positions={(topic, partition): offset for topic, partition, offset in tree["positions"]},
        waiting={
            tuple(key): [((topic, partition), offset) for topic, partition, offset in receipts]
            for key, receipts in tree["waiting"]
        },
        open={
            request: _decode_request(values, sha256.get(request)) for request, values in tree["open"].items()
        },
    )
    return Snapshot(agent=tree["agent"], digest=tree["digest"], memory=memory)


def _encode_request(effect: Request) -> dict[str, Any]:
    if isinstance(effect, LoadModel):
        return {name: getattr(effect, name) for name in LOAD_FIELDS}
    return {
        "lineage": effect.lineage,
        "stamp_ns": effect.stamp_ns,
        "steps": effect.steps,
        "budget_ms": effect.budget_ms,
        "sources": [dict(source) for source in effect.sources],
        "examples": [to_dict(example) for example in effect.examples],
        "labels": [to_dict(labels) for labels in effect.labels],
    }


def _decode_request(values: dict[str, Any], sha256: str | None) -> Request:
    if "model_id" in values:
        return LoadModel(**values, sha256=sha256)
    examples = tuple(from_dict(Example, item) for item in values.pop("examples"))
    labels = tuple(from_dict(Labels, item) for item in values.pop("labels"))
    sources = tuple(values.pop("sources"))
    return Train(**values, examples=examples, labels=labels, sources=sources)
