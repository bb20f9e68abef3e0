"""Topics: one table for names, records, keys and readers, and the page that tells others of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from stream import records, topics
from stream.records import EndOfLog, Event, ModelPublished, SweepRejected
from stream.sweep import Sweep
from stream.topics import AGENTS, INPUTS, RECORDS, TOPICS, Topic, answer_topic, key_of, order_topic, topic_of
from stream.transform import Transform
from tests.data import ROOT

NAMES = [topic.name for topic in TOPICS]


def by_name(name: str) -> Topic:
    (topic,) = [topic for topic in TOPICS if topic.name == name]
    return topic


def transform(static: bool) -> Transform:
    return Transform(
        robot_id="r2", stamp_ns=1, parent="odom", child="base", translation=(0, 0, 0), rotation=(0, 0, 0, 1),
        static=static,
    )  # fmt: skip


def published() -> ModelPublished:
    return ModelPublished(model_id="bcc-12", sha256="builtin", kind="prior", parent_id="", stamp_ns=1)


def rejected(robot_id: str) -> SweepRejected:
    return SweepRejected(robot_id=robot_id, stream_id="", stamp_ns=1, part=0, reason="corrupt", detail="")


def sweep(robot_id: str) -> Sweep:
    return Sweep(
        stream_id=f"{robot_id}/top/front",
        stamp_ns=1,
        frame="front",
        points=np.empty((0, 3), np.float32),
        intensity=np.empty(0, np.float32),
    )


def test_names_are_unique_and_of_one_form() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [name for name in NAMES if not re.fullmatch(r"octa\.[a-z]+\.[a-z]+\.v1", name)] == []


def test_every_topic_that_is_read_or_written_is_created() -> None:
    used = {*RECORDS, *(name for names in INPUTS.values() for name in names)}
    used |= {name(agent) for agent in AGENTS for name in (order_topic, answer_topic)}
    assert used | {topics.LABELS_REQUESTED, topics.LABELS_GIVEN} == set(NAMES)


def test_every_record_has_a_topic() -> None:
    kinds = {
        kind
        for kind in vars(records).values()
        if isinstance(kind, type) and kind.__module__ == records.__name__
    }
    assert set(RECORDS.values()) == (kinds - {EndOfLog}) | {Sweep, Transform}
    assert sorted(INPUTS) == sorted(AGENTS)


@pytest.mark.parametrize(
    ("record", "topic", "key"),
    [
        (sweep("r2"), topics.SWEEPS, b"r2"),
        (sweep("Gerät 7"), topics.SWEEPS, "Gerät 7".encode()),
        (transform(static=False), topics.TRANSFORMS, b"r2"),
        (transform(static=True), topics.STATIC, b"r2"),
        (published(), topics.PUBLISHED, b"bcc-12"),
        (rejected("r2"), topics.REJECTED, b"r2"),
        (Event(kind="gap", stamp_ns=1, robot_id="r2"), topics.ALARMS, b"r2"),
        (Event(kind="trained", stamp_ns=1), topics.ALARMS, b""),
    ],
)
def test_topic_and_key_of_a_record(record: Any, topic: str, key: bytes) -> None:
    assert (topic_of(record), key_of(record)) == (topic, key)


@pytest.mark.parametrize("of", [topic_of, key_of])
def test_what_is_no_record_has_no_topic(of: Any) -> None:
    with pytest.raises(TypeError, match="EndOfLog has no topic"):
        of(EndOfLog(robot_id="r2"))


def test_agents_are_named() -> None:
    assert (order_topic("learn"), answer_topic("judge")) == ("octa.order.learn.v1", "octa.answer.judge.v1")
    for name in (order_topic, answer_topic):
        with pytest.raises(ValueError, match="agent: 'lern' is not one of perceive, judge, learn, archive"):
            name("lern")


def test_settings_are_those_of_the_contract() -> None:
    assert {topic.max_message_bytes for topic in TOPICS} == {8 * 1024 * 1024}
    assert {topic.name: topic.cleanup for topic in TOPICS if topic.cleanup != "delete"} == {
        topics.STATIC: "compact",
        topics.PUBLISHED: "compact,delete",
    }
    assert [topic.name for topic in TOPICS if topic.partitions(6) == 1] == [
        topics.PUBLISHED,
        order_topic("learn"),
        answer_topic("learn"),
    ]
    assert {topic.partitions(6) for topic in TOPICS} == {1, 6}


def test_settings_in_the_words_of_kafka() -> None:
    assert by_name(topics.STATIC).config() == {
        "cleanup.policy": "compact",
        "retention.ms": "-1",
        "max.message.bytes": "8388608",
        "message.timestamp.type": "LogAppendTime",
    }
    assert by_name(topics.SWEEPS).config()["retention.ms"] == str(24 * 60 * 60 * 1000)


def test_the_page_lists_every_topic_with_its_settings() -> None:
    rows = re.findall(r"^\| `(octa\.[^`]+)` \|(.*)\|$", (ROOT / "docs/wire.md").read_text(), re.MULTILINE)
    told = {}
    for name, rest in rows:
        _, _, cleanup, kept, partitions = (cell.strip() for cell in rest.split("|"))
        told[name] = (cleanup, kept, partitions)
    expected = {}
    for topic in TOPICS:
        name = re.sub(r"\.(order|answer)\.(?!learn).*\.v1", r".\1.<agent>.v1", topic.name)
        kept = "for ever" if topic.retention_ms is None else f"{topic.retention_ms // 86_400_000} d"
        expected[name] = (topic.cleanup, kept, "1" if topic.single else "common")
    assert told == expected
