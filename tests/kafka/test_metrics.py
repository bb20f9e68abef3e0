"""What a worker counts: against a task that is driven by hand, and against what lies in the topics."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.journal import Place
from agents.kafka.driver import Entry
from agents.kafka.log import KafkaLog
from agents.kafka.meter import WAITING_SWEEPS, MeteredSnapshots, MeteredTask
from agents.kafka.metrics import Metrics, Standing, Written
from agents.kafka.settings import KafkaSettings
from agents.operations import (
    AppendJournal,
    Handle,
    Mark,
    Memory,
    Next,
    ReadJournal,
    Send,
    Snapshot,
    digest_of,
)
from agents.protocol import Step
from agents.task_id import TaskId
from stream.records import Event, ModelActivated, Prediction, SweepRejected
from stream.sweep import Sweep
from stream.topics import (
    ACTIVATED,
    ALARMS,
    BINNED,
    PERCEIVE,
    PREDICTIONS,
    REJECTED,
    STATIC,
    SWEEPS,
    TRANSFORMS,
)
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import read, send, wait_for_rest
from tests.kafka.scenes import PARTITIONS, REST_SECONDS, scene
from tests.kafka.test_probe import BY_COMMAND, Clock, ask, url_in_log

IDENTITY = TaskId(PERCEIVE, 3, 4)
PLACE, OTHER = (SWEEPS, 3), (STATIC, 3)
LABELS = {"agent": "perceive", "partition": "3"}

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values_of(text: str) -> Values:
    """Every sample of an exposition, by name and labels; no sample is there twice."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def by_label(values: Values, name: str, label: str, **fixed: str) -> dict[str, float]:
    """Sums of one metric by one of its labels, where the others are as given."""
    sums = Counter[str]()
    for (sample, labels), value in values.items():
        if sample == name and fixed.items() <= dict(labels).items():
            sums[dict(labels)[label]] += value
    return dict(sums)


# ---- a task driven by hand -----------------------------------------------------------------------------


class Said:
    """An agent that says what it is told to say of each sweep."""

    def __init__(self, *steps: Sequence[Any]) -> None:
        self._steps = iter(steps)

    def handle(self, record: Any) -> Step:
        key = ("sweep", record.stream_id, record.stamp_ns, record.part)
        outputs = tuple(next(self._steps))
        return Step(outputs=outputs, released=(key,) if outputs else ())

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        raise AssertionError(data)


class Bench:
    """One task without a broker: operations are answered as a log without anybody else would."""

    def __init__(self, *steps: Sequence[Any]) -> None:
        self.metrics, self.clock = Metrics(PERCEIVE), Clock()
        self.task = MeteredTask(IDENTITY, Said(*steps), "process", 100, self.metrics, self.clock)
        self._journal = 0

    def fold(self, *entries: Entry) -> None:
        """Run the task until these are folded and it waits."""
        waiting, steps = list(entries), self.task.run()
        operation = next(steps)
        while not (isinstance(operation, Mark) and operation.label == "waiting"):
            operation = steps.send(self._reply(operation, waiting))

    def _reply(self, operation: Any, waiting: list[Entry]) -> Any:
        if isinstance(operation, Next):
            return waiting.pop(0) if waiting else None
        if isinstance(operation, Handle):
            self.clock.now += 0.25
            return self.task.agent.handle(operation.record)
        if isinstance(operation, AppendJournal):
            self._journal += 1
            return self._journal - 1
        if isinstance(operation, Send):
            self.clock.now += 0.5
        return [] if isinstance(operation, ReadJournal) else None

    def values(self, name: str, label: str) -> dict[str, float]:
        return by_label(values_of(self.metrics.exposition().decode()), name, label, **LABELS)


def entry(offset: int, stamp_ns: int, appended_s: float = 100.0, place: Place = PLACE) -> Entry:
    points = np.zeros((0, 3), np.float32)
    sweep = Sweep(stream_id="ant/top", stamp_ns=stamp_ns, frame="top", points=points, intensity=points[:, 0])
    return Entry(place, offset, sweep, int(1e3 * appended_s))


def prediction(stamp_ns: int) -> Prediction:
    nothing = np.zeros(0)
    return Prediction(
        prediction_id=f"ant/top/{stamp_ns}",
        robot_id="ant",
        stream_id="ant/top",
        stamp_ns=stamp_ns,
        seq=0,
        model_id="frequency",
        horizons_ns=(),
        cell_id=nothing.astype(np.uint64),
        probability=nothing.astype(np.float32).reshape(0, 0),
        before=nothing.astype(np.uint8),
        feature_digest="",
        state_digest="",
    )


def letter(reason: str) -> SweepRejected:
    return SweepRejected(
        robot_id="ant", stream_id="ant/top", stamp_ns=1, part=0, reason=reason, detail="for a test"
    )


def test_outputs_are_counted_by_topic_reason_and_kind() -> None:
    activated = ModelActivated(
        robot_id="ant", stream_id="ant/top", first_stamp_ns=1, model_id="m1", sha256="s"
    )
    bench = Bench(
        [letter("late"), letter("no_pose")],
        [Event(kind="duplicate", stamp_ns=2), letter("late")],
        [activated],
    )
    bench.fold(*(entry(number, number + 1) for number in range(3)))
    assert bench.values("octastream_dead_letters_total", "reason") == {"late": 2, "no_pose": 1}
    assert bench.values("octastream_events_total", "kind") == {"duplicate": 1}
    sent = {REJECTED: 3, ALARMS: 1, ACTIVATED: 1}
    assert bench.values("octastream_messages_sent_total", "topic") == sent
    assert bench.values("octastream_messages_handled_total", "topic") == {SWEEPS: 3}
    assert bench.values("octastream_model_activations_total", "agent") == {"perceive": 1}
    standing = bench.task.standing({}.fromkeys(IDENTITY.inputs, 5), None)
    assert standing is not None
    assert (standing.model_id, standing.activated_s, standing.recovery_s) == ("m1", bench.clock.now, 0.0)


def test_latency_is_from_the_append_of_the_last_part_to_the_confirmed_prediction() -> None:
    bench = Bench([], [prediction(7)], [prediction(8)])
    bench.fold(entry(0, 7, 90.0), entry(1, 7, 99.0), entry(2, 8, 200.0))  # the last by a clock that is ahead
    assert bench.values("octastream_prediction_latency_seconds_count", "agent") == {"perceive": 2}
    waited = 1.0 + 2 * 0.25 + 0.5  # until the fold began, two handled, one sent
    assert bench.values("octastream_prediction_latency_seconds_sum", "agent") == {"perceive": waited}


def test_sweeps_that_are_never_predicted_do_not_fill_the_memory() -> None:
    bench = Bench(*([] for _ in range(WAITING_SWEEPS + 10)))
    bench.fold(*(entry(number, number + 1) for number in range(WAITING_SWEEPS + 10)))
    assert len(bench.task._appended_s) == WAITING_SWEEPS
    standing = bench.task.standing({}.fromkeys(IDENTITY.inputs, WAITING_SWEEPS + 20), None)
    assert standing is not None
    assert standing.held == WAITING_SWEEPS + 10  # nothing was released
    assert standing.lag[PLACE] == WAITING_SWEEPS + 20


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    ("entries", "lost"),
    [
        ([(PLACE, 0), (PLACE, 1)], {}),
        ([(PLACE, 5), (PLACE, 6)], {}),  # it has never run before, so nobody waited for them
        ([(PLACE, 0), (PLACE, 4)], {SWEEPS: 3.0}),
        ([(OTHER, 0), (OTHER, 4)], {}),  # compacted
    ],
)
def test_messages_that_were_deleted_unread_are_counted(
    entries: list[tuple[Place, int]], lost: dict[str, float]
) -> None:
    bench = Bench([], [])
    bench.fold(*(entry(offset, offset + 1, place=place) for place, offset in entries))
    assert bench.values("octastream_messages_lost_total", "topic") == lost


# ---- gauges and snapshots ------------------------------------------------------------------------------


def test_a_partition_that_is_anothers_leaves_no_gauge_behind() -> None:
    metrics = Metrics(PERCEIVE)
    written = Written(at_s=12.5, size_bytes=4096)
    metrics.standings = (
        Standing(partition=0, held=2, recovery_s=0.5, lag={(SWEEPS, 0): 7, (TRANSFORMS, 0): 1}),
        Standing(partition=1, held=0, recovery_s=1.5, snapshot=written, model_id="m", activated_s=9.0),
    )
    values = values_of(metrics.exposition().decode())
    assert by_label(values, "octastream_consumer_lag_messages", "topic") == {SWEEPS: 7, TRANSFORMS: 1}
    assert by_label(values, "octastream_held_inputs", "partition") == {"0": 2, "1": 0}
    assert by_label(values, "octastream_recovery_seconds", "partition") == {"0": 0.5, "1": 1.5}
    assert by_label(values, "octastream_snapshot_timestamp_seconds", "partition") == {"1": 12.5}
    assert by_label(values, "octastream_snapshot_size_bytes", "partition") == {"1": 4096}
    assert by_label(values, "octastream_model_activation_timestamp_seconds", "partition") == {"1": 9.0}
    assert by_label(values, "octastream_assigned_partitions", "agent") == {"perceive": 2}
    metrics.standings = metrics.standings[:1]
    values = values_of(metrics.exposition().decode())
    gauges = {name for name, labels in values if ("partition", "1") in labels}
    assert gauges == set()


def test_snapshots_are_counted_and_so_are_those_that_fail(tmp_path: Path) -> None:
    metrics, folder = Metrics(PERCEIVE), tmp_path / "snapshots"
    store = MeteredSnapshots(f"file://{folder}", metrics, Clock())
    memory = Memory(claim=0, journal=1, positions={}, waiting={}, open={})
    snapshot = Snapshot(agent=b"state", digest=digest_of(b"state"), memory=memory)
    assert store.written(IDENTITY) is None
    store.write(IDENTITY, snapshot.agent, snapshot.memory)
    found = store.newest(IDENTITY)
    assert found is not None
    assert found.agent == b"state"
    assert store.written(IDENTITY) == Written(at_s=100.0, size_bytes=5)
    (folder / str(IDENTITY)).rename(folder / "away")
    (folder / str(IDENTITY)).write_text("no folder")
    with pytest.raises(OSError, match=str(IDENTITY)):
        store.write(IDENTITY, snapshot.agent, snapshot.memory)
    values = values_of(metrics.exposition().decode())
    assert by_label(values, "octastream_snapshots_total", "partition") == {"3": 1}
    assert by_label(values, "octastream_snapshot_failures_total", "partition") == {"3": 1}


def test_the_page_for_operators_lists_every_metric_once_with_its_type() -> None:
    metrics = Metrics(PERCEIVE)
    metrics.standings = (Standing(partition=0, held=0, recovery_s=0.0),)
    families = text_string_to_metric_families(metrics.exposition().decode())
    known = {
        family.name + "_total" * (family.type == "counter"): family.type
        for family in families
        if family.name.startswith("octastream_")
    }
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = re.findall(r"^\| `(octastream_\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(known.items())


# ---- a worker on a broker ------------------------------------------------------------------------------


def counted(records: Sequence[Any], of: str) -> dict[str, int]:
    return dict(Counter(getattr(record, of) for record in records))


def settled(url: str, seconds: float = 30.0) -> Values:
    """What a worker counts once it has seen that nothing is left, and nothing is held."""
    end = time.monotonic() + seconds
    while True:
        values = values_of(ask(f"{url}/metrics")[1])
        left = by_label(values, "octastream_consumer_lag_messages", "topic")
        held = by_label(values, "octastream_held_inputs", "partition")
        if len(left) == 3 and len(held) == PARTITIONS and not any((*left.values(), *held.values())):
            return values
        assert time.monotonic() < end, (left, held)
        time.sleep(0.5)


def assert_counts(values: Values, settings: KafkaSettings) -> None:
    """Everything that went through a Perceive which nothing has interrupted."""
    found = {topic: read(settings, topic) for topic in (BINNED, PREDICTIONS, ACTIVATED, REJECTED, ALARMS)}
    sent = by_label(values, "octastream_messages_sent_total", "topic")
    assert sent == {topic: len(records) for topic, records in found.items() if records}
    reasons = by_label(values, "octastream_dead_letters_total", "reason")
    assert reasons == counted(found[REJECTED], "reason")
    assert reasons["corrupt"] == 1
    kinds = by_label(values, "octastream_events_total", "kind")
    assert kinds == counted(found[ALARMS], "kind")
    latency = by_label(values, "octastream_prediction_latency_seconds_count", "partition")
    assert sum(latency.values()) == len(found[PREDICTIONS]) > 0
    activations = by_label(values, "octastream_model_activations_total", "agent")
    assert activations.get("perceive", 0) == len(found[ACTIVATED])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_worker_counts_is_what_the_topics_hold(local_kafka: LocalBroker, tmp_path: Path) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", launcher=("-c", BY_COMMAND)) as here:
        url = url_in_log(here.workers, "perceive-0")
        here.robots.drive(6)
        send(here.settings, here.robots.logs())  # once more: duplicates
        spoil(here.settings)
        wait_for_rest(here.workers, here.settings, ["perceive"], REST_SECONDS)
        first = settled(url)
        assert_counts(first, here.settings)
        handled = by_label(first, "octastream_messages_handled_total", "topic")
        assert {topic: handled[topic] for topic in (SWEEPS, TRANSFORMS, STATIC)} == ends(here.settings)
        assert by_label(first, "octastream_events_total", "kind")["duplicate"] == 3 * 6
        assert by_label(first, "octastream_assigned_partitions", "agent") == {"perceive": PARTITIONS}
        assert first["process_resident_memory_bytes", frozenset()] > 50e6
        assert first["octastream_operation_seconds_count", frozenset(OPERATION.items())] > 0
        assert not by_label(first, "octastream_snapshots_total", "agent")  # too little was folded

        here.workers.kill("perceive-0")
        (tmp_path / "perceive-0.log").write_text("")
        here.workers.start("perceive-0")
        url = url_in_log(here.workers, "perceive-0")
        here.robots.drive(2)
        wait_for_rest(here.workers, here.settings, ["perceive"], REST_SECONDS)
        second = settled(url)
        assert by_label(second, "octastream_messages_refolded_total", "agent") == {
            "perceive": sum(handled.values())
        }
        both = Counter(handled) + Counter(by_label(second, "octastream_messages_handled_total", "topic"))
        assert {topic: both[topic] for topic in (SWEEPS, TRANSFORMS, STATIC)} == ends(here.settings)
        assert all(by_label(second, "octastream_recovery_seconds", "partition").values())
        sent = [by_label(values, "octastream_messages_sent_total", "topic") for values in (first, second)]
        total = Counter(sent[0]) + Counter(sent[1])  # with what a recovery sends once more
        assert total == {topic: len(read(here.settings, topic)) for topic in total}


OPERATION = {"agent": "perceive", "operation": "handle"}


def spoil(settings: KafkaSettings) -> None:
    """A message that is no sweep."""

    async def work() -> None:
        async with KafkaLog(settings) as log:
            await log.append(SWEEPS, b"\0\1\0\0no sweep", key=b"robot0", headers=[("octa_sensor", b"top")])

    asyncio.run(work())


def ends(settings: KafkaSettings) -> dict[str, int]:
    """How many messages robots have sent, by topic."""

    async def work() -> dict[Place, int]:
        async with KafkaLog(settings) as log:
            topics = (SWEEPS, TRANSFORMS, STATIC)
            return await log.end([(topic, partition) for topic in topics for partition in range(PARTITIONS)])

    found = Counter[str]()
    for (topic, _), end in asyncio.run(work()).items():
        found[topic] += end
    return dict(found)
