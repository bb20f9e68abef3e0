"""Messages that are foreign: of robots, of a live connection, and of a task's own topics."""

from __future__ import annotations

from functools import cache

from agents.judge import Judge
from agents.kafka.messages import Message, decode_answer, decode_entry, decode_snapshot, record_of
from agents.perceive import Perceive
from agents.protocol import LoadModel, ModelLoaded
from agents.task import Undecodable
from models.model import Model
from models.online.builtin import builtin_of
from stream.codecs.content_type import CDR, PROTOBUF
from stream.codecs.foxglove import CLOUD, TRANSFORMS
from stream.codecs.inputs import headers_of
from stream.codecs.state import StateError, unpack
from stream.codecs.wire import CONTENT_TYPE, encode
from stream.config import Config, load_config
from stream.records import Binned, Prediction
from stream.sources.foxglove_session import FoxgloveSession, ProtocolError
from stream.sources.offers import LiveOptions, Offers
from stream.sweep import Sweep
from stream.topics import STATIC, SWEEPS
from stream.topics import TRANSFORMS as MOVES
from stream.transform import Transform
from tests.decoders.parts import split

ROBOT = "robot"
KINDS = (
    (CDR, CDR),
    (CONTENT_TYPE, CONTENT_TYPE),
    (f"{PROTOBUF}; schema={CLOUD}", f"{PROTOBUF}; schema={TRANSFORMS}"),
)
"""What sweeps and transforms are in, by the first byte of an input."""
SENT_BY_ROBOTS = (SWEEPS, MOVES, STATIC)


def message_of(topic: str, kind: int, data: bytes) -> Message:
    """A message as a robot sends it."""
    content_type = KINDS[kind % len(KINDS)][topic != SWEEPS]
    headers = (("content-type", content_type.encode()),) if topic in SENT_BY_ROBOTS else ()
    return Message(
        place=(topic, 0), offset=0, key=ROBOT.encode(), value=data, headers=headers, appended_ms=1_000
    )


def foreign_message(data: bytes) -> Message:
    """A message of which nothing is known: number of its topic, key, names and values of headers, value."""
    parts = list(split(data))
    number, key = (parts.pop(0) if parts else None for _ in range(2))
    value = parts.pop() if parts else None
    return Message(
        place=(SENT_BY_ROBOTS[(number or b"\0")[0] % len(SENT_BY_ROBOTS)], 0),
        offset=0,
        key=key,
        value=value,
        headers=tuple(
            ((name or b"").decode(errors="replace"), header)  # type: ignore[misc]  # which may be null
            for name, header in zip(parts[::2], parts[1::2], strict=False)
        ),
        appended_ms=1_000,
    )


def give_message(topic: str, data: bytes) -> bool:
    """One of a topic: a record, or a dead letter of one line."""
    return _came_to_a_record(message_of(topic, data[0] if data else 0, data[1:]))


def give_headers(data: bytes) -> bool:
    """A message whose key and headers are foreign as well."""
    return _came_to_a_record(foreign_message(data))


def _came_to_a_record(message: Message) -> bool:
    record = record_of(message)
    if not isinstance(record, Undecodable):
        return not isinstance(record, tuple) or bool(record)
    letter = record.letter
    assert letter.detail.isprintable(), letter.detail
    assert encode(letter) and headers_of(letter, "fuzz"), "a letter can be sent"
    return False


def give_agents(data: bytes) -> bool:
    """A sweep that can be decoded is one that Perceive and Judge can take."""
    record = record_of(message_of(SWEEPS, data[0] if data else 0, data[1:]))
    perceived = perceive(record) if isinstance(record, Sweep) else []
    judge = Judge(_config())
    for item in perceived:
        judge.handle(item)
    return bool(perceived)


def perceive(sweep: Sweep) -> list[Binned | Prediction]:
    """What Perceive makes of a sweep that has a place."""
    agent = Perceive(_config(), builtin_of(_config()))
    outputs = [output for item in (*mount(sweep), sweep) for output in agent.handle(item).outputs]
    return [output for output in outputs if isinstance(output, Binned | Prediction)]


def mount(sweep: Sweep) -> list[Transform]:
    """Transforms that place a sweep, whatever its frame and stamp."""
    places = [("base_link", sweep.frame, True), ("odom", "base_link", False)]
    return [
        Transform(
            robot_id=sweep.robot_id, stamp_ns=sweep.stamp_ns, parent=parent, child=child,
            translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0, 1.0), static=static,
        )
        for parent, child, static in places
    ]  # fmt: skip


def give_moves(data: bytes) -> bool:
    """Transforms that can be decoded are such that Perceive can take."""
    record = record_of(message_of(MOVES, data[0] if data else 0, data[1:]))
    if not isinstance(record, tuple):
        return False
    agent = Perceive(_config(), builtin_of(_config()))
    for item in record:
        assert isinstance(item, Transform)
        agent.handle(item)
    return bool(record)


def give_session(data: bytes) -> bool:
    """What a Foxglove server sends: texts, and bytes behind a zero."""
    said: list[str] = []
    session = FoxgloveSession(Offers(LiveOptions(robot_id=ROBOT), said.append), said.append)
    came = False
    try:
        for part in split(data):
            if part and part[0] == 0:
                came = session.on_binary(part[1:]) is not None or came
            else:
                session.on_text((part or b"").decode(errors="replace"))
    except ProtocolError as error:
        assert str(error)
    return came


def give_state(data: bytes) -> bool:
    """A state's bytes."""
    try:
        unpack(data)
    except StateError as error:
        assert str(error)
        return False
    return True


def give_snapshot(data: bytes) -> bool:
    """A task's snapshot: one that is none is passed over, and an older one read."""
    try:
        decode_snapshot(data)
    except StateError as error:
        assert str(error)
        return False
    return True


def give_entry(data: bytes) -> bool:
    """A journal entry."""
    try:
        decode_entry(data)
    except (ValueError, KeyError):
        return False
    return True


def give_answer(data: bytes) -> bool:
    """An answer to a task's request."""
    try:
        decode_answer(data, _loaded, _made)
    except StateError as error:
        assert str(error)
        return False
    return True


def _loaded(request: LoadModel) -> ModelLoaded:
    return ModelLoaded(
        model_id=request.model_id, stamp_ns=request.stamp_ns, sha256="", reason="", number=request.number,
        model=builtin_of(_config()),
    )  # fmt: skip


def _made(_: str, __: bytes) -> Model:
    return builtin_of(_config())


@cache
def _config() -> Config:
    return load_config(None, ["grid.map_frame=odom", "grid.range_max_m=8", "learn.enabled=false"])
