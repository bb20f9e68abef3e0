"""What foreign bytes are given to, and what may come of it: a record, or an error written for people."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from agents.judge import Judge
from agents.kafka.messages import Message, record_of
from agents.perceive import Perceive
from agents.task import Undecodable
from models.manifest import Manifest, ModelRefused
from models.online.builtin import builtin_of
from stream.codecs.content_type import CDR, PROTOBUF
from stream.codecs.foxglove import CLOUD, TRANSFORMS
from stream.codecs.state import StateError, unpack
from stream.codecs.wire import CONTENT_TYPE
from stream.config import Config, load_config
from stream.config_errors import ConfigError
from stream.records import Binned, Prediction
from stream.sources import open_source
from stream.sources.base import SourceError, SourceOptions
from stream.sweep import Sweep
from stream.topics import STATIC, SWEEPS
from stream.topics import TRANSFORMS as MOVES
from stream.transform import Transform
from tests.decoders.names import LOGS, MESSAGES
from tests.decoders.seeds import ROBOT

ITEMS = 200
"""Of a log; what follows is decoded by the same code."""
KINDS = (
    (CDR, CDR),
    (CONTENT_TYPE, CONTENT_TYPE),
    (f"{PROTOBUF}; schema={CLOUD}", f"{PROTOBUF}; schema={TRANSFORMS}"),
)
"""What sweeps and transforms are in, by the first byte of an input."""


def message_of(topic: str, kind: int, data: bytes) -> Message:
    """A message as a robot sends it."""
    content_type = KINDS[kind % len(KINDS)][topic != SWEEPS]
    headers = (("content-type", content_type.encode()),) if topic in (SWEEPS, MOVES, STATIC) else ()
    return Message(
        place=(topic, 0), offset=0, key=ROBOT.encode(), value=data, headers=headers, appended_ms=1_000
    )


def give_message(topic: str, data: bytes) -> None:
    """One of a topic: a record, or a dead letter of one line."""
    record = record_of(message_of(topic, data[0] if data else 0, data[1:]))
    if isinstance(record, Undecodable):
        assert record.letter.detail.isprintable(), record.letter.detail


def give_agents(data: bytes) -> None:
    """A sweep that can be decoded is one that Perceive and Judge can take."""
    record = record_of(message_of(SWEEPS, data[0] if data else 0, data[1:]))
    if isinstance(record, Sweep):
        perceive, judge = Perceive(_config(), builtin_of(_config())), Judge(_config())
        for item in (*mount(record), record):
            for output in perceive.handle(item).outputs:
                if isinstance(output, Binned | Prediction):
                    judge.handle(output)


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


def give_moves(data: bytes) -> None:
    """Transforms that can be decoded are such that Perceive can take."""
    record = record_of(message_of(MOVES, data[0] if data else 0, data[1:]))
    if isinstance(record, tuple):
        perceive = Perceive(_config(), builtin_of(_config()))
        for item in record:
            assert isinstance(item, Transform)
            perceive.handle(item)


def give_log(suffix: str, data: bytes) -> None:
    """A file of a format: what it holds, then its items; or an error that names it."""
    path = _folder() / f"foreign{suffix}"
    path.write_bytes(data)
    try:
        source = open_source(str(path), SourceOptions(rate_hz=10))
        source.info()
        for _ in itertools.islice(source, ITEMS):
            pass
    except SourceError as error:
        assert "foreign" in str(error), error


def give_config(data: bytes) -> None:
    """A configuration, or an error that names what is wrong."""
    path = _folder() / "foreign.yaml"
    path.write_bytes(data)
    try:
        load_config(path, [])
    except ConfigError as error:
        assert str(error)


def give_state(data: bytes) -> None:
    """A snapshot's bytes."""
    try:
        unpack(data)
    except StateError as error:
        assert str(error)


def give_manifest(data: bytes) -> None:
    """A model's manifest."""
    try:
        Manifest.from_json(data)
    except ModelRefused as error:
        assert str(error)


@cache
def _config() -> Config:
    return load_config(None, ["grid.map_frame=odom", "grid.range_max_m=8", "learn.enabled=false"])


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="octastream-fuzz-"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{name: partial(give_message, topic) for topic, name in MESSAGES.items()},
    "agents": give_agents,
    "moves": give_moves,
    **{name: partial(give_log, suffix) for suffix, name in LOGS.items()},
    "config": give_config,
    "state": give_state,
    "manifest": give_manifest,
}
"""By name."""
