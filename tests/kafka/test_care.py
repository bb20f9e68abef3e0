"""Deletion from what workers share: snapshots without a robot, and topics of a real broker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from agents.archive import Archive
from agents.care.states import robots_in, without_robot
from agents.care.subject import CareError
from agents.cli import main
from agents.judge import Judge
from agents.kafka.care import snapshots_of
from agents.kafka.care_topics import ROBOTS_TOPICS, delete_messages, require_stopped
from agents.kafka.messages import Message, record_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from agents.operations import Memory, Snapshot, digest_of
from agents.options import LogOptions
from agents.perceive import Perceive
from agents.protocol import Agent, Example, Labels, Train
from agents.task_id import TaskId, input_key
from models.online.builtin import builtin_of
from stream.records import Prediction
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.topics import ARCHIVE, JUDGE, LEARN, PERCEIVE, STATIC, TRANSFORMS
from tests.agents.loops import learn_of, loop_of
from tests.agents.worlds import config_of, drive, plain
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, wait_for_rest

GONE, STAYS = "kestrel-7", "plover-3"
CONFIG = config_of()
SWEEPS = 12


# ---- snapshots, without a broker -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """States of the four agents in the middle of a drive of two robots."""
    loop = loop_of(CONFIG, tmp_path_factory.mktemp("care"))
    items = [*drive(SWEEPS, robot_id=GONE), *drive(SWEEPS, robot_id=STAYS)]
    loop.runtime.run(sorted(items, key=lambda item: getattr(item, "stamp_ns", 0)))
    return {agent: getattr(loop, agent).snapshot() for agent in (PERCEIVE, JUDGE, LEARN, ARCHIVE)}


def make(agent: str) -> Agent:
    if agent == PERCEIVE:
        return Perceive(CONFIG, builtin_of(CONFIG))
    return {JUDGE: lambda: Judge(CONFIG), LEARN: lambda: learn_of(CONFIG), ARCHIVE: Archive}[agent]()


def train_on(*robots: str) -> Train:
    array: Any = None
    examples = [Example(prediction_id=f"{name}/lidar/7", stamp_ns=7, x=array, neighbor_index=array,
                        azimuth=array) for name in robots]  # fmt: skip
    labels = [
        Labels(prediction_id=f"{name}/lidar/7", horizon=0, row=array, occupied=array) for name in robots
    ]
    return Train(lineage="network", stamp_ns=7, examples=tuple(examples), labels=tuple(labels), steps=1)


def snapshot_of(agent: str, data: bytes) -> Snapshot:
    """As a task would take it, with an input of each robot that waits, and a request about both."""
    sweeps = {name: drive(1, robot_id=name)[-1] for name in (GONE, STAYS)}
    keys = {name: ("sweep", f"{name}/lidar", 7, 0) for name in sweeps}
    assert input_key(PERCEIVE, next(s for s in drive(1) if hasattr(s, "part"))) is not None
    waiting = {key: [(("topic", 0), place)] for place, key in enumerate(keys.values())}
    memory = Memory(claim=0, journal=9, positions={}, waiting=waiting, open={"a": train_on(GONE, STAYS)})
    return Snapshot(agent=data, digest=digest_of(data), memory=memory)


@pytest.mark.parametrize("agent", [PERCEIVE, JUDGE, LEARN, ARCHIVE])
def test_a_snapshot_without_a_robot_names_it_nowhere_and_can_be_restored(
    agent: str, states: dict[str, bytes]
) -> None:
    whole = snapshot_of(agent, states[agent])
    assert robots_in(agent, whole) == {GONE, STAYS}
    assert GONE.encode() in whole.agent
    rest = without_robot(agent, whole, GONE)
    assert rest.whole
    assert robots_in(agent, rest) == {STAYS}
    assert GONE.encode() not in rest.agent
    assert STAYS.encode() in rest.agent
    assert list(rest.memory.waiting) == [("sweep", f"{STAYS}/lidar", 7, 0)]
    assert plain(rest.memory.open["a"]) == plain(train_on(STAYS))
    make(agent).restore(rest.agent)
    again = without_robot(agent, rest, GONE)
    assert (again.agent, plain(again.memory.waiting)) == (rest.agent, plain(rest.memory.waiting))


def test_the_other_robot_goes_on_as_if_nothing_had_happened(states: dict[str, bytes]) -> None:
    said = []
    for data in (
        states[PERCEIVE],
        without_robot(PERCEIVE, snapshot_of(PERCEIVE, states[PERCEIVE]), GONE).agent,
    ):
        perceive = Perceive(CONFIG, builtin_of(CONFIG))
        perceive.restore(data)
        rest = [item for item in drive(SWEEPS + 3, robot_id=STAYS)
                if getattr(item, "stamp_ns", 0) > drive(SWEEPS)[-1].stamp_ns - 10**8]  # fmt: skip
        said.append([plain(output) for item in rest for output in perceive.handle(item).outputs])
    assert said[0] == said[1]
    assert len(said[0]) > 3


def test_a_robot_that_comes_back_gets_no_place_in_order_that_it_had(states: dict[str, bytes]) -> None:
    perceive = Perceive(CONFIG, builtin_of(CONFIG))
    perceive.restore(without_robot(PERCEIVE, snapshot_of(PERCEIVE, states[PERCEIVE]), GONE).agent)
    said = [output for item in drive(SWEEPS, robot_id=GONE) for output in perceive.handle(item).outputs]
    seqs = [output.seq for output in said if isinstance(output, Prediction)]
    assert seqs
    assert min(seqs) >= 2**32


def test_a_tombstone_is_no_transform_and_no_dead_letter() -> None:
    def empty(topic: str) -> Message:
        return Message(place=(topic, 0), offset=0, key=b"ant", value=None, headers=(), appended_ms=0)

    assert record_of(empty(STATIC)) == ()
    assert record_of(empty(TRANSFORMS)) != ()
    assert Perceive(CONFIG, builtin_of(CONFIG)).handle(()).outputs == ()


def test_the_folder_of_workers_is_shown_and_snapshots_that_are_left_are_named(
    states: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SnapshotStore(KafkaSettings(bootstrap="", partitions=1, folder=tmp_path).snapshots)
    for agent, data in states.items():
        store.write(TaskId(agent, 0, 1), data, snapshot_of(agent, data).memory)
    (tmp_path / "archive").mkdir()
    assert snapshots_of(tmp_path) == {f"{agent}-0": [GONE, STAYS] for agent in sorted(states)}
    assert main(["data", "show", "--folder", str(tmp_path)]) == 0
    assert f"snapshots of archive-0 hold {GONE}, {STAYS}" in capsys.readouterr().out
    assert main(["data", "delete", "--robot", GONE, "--folder", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "4 snapshots of archive-0, judge-0, learn-0, perceive-0: stop the workers and add --snapshots"
        in shown
    )
    assert snapshots_of(tmp_path)["judge-0"] == [GONE, STAYS]


# ---- on a broker ---------------------------------------------------------------------------------------

AGENTS = ("perceive", "judge", "archive")
WORKERS = tuple(f"{agent}-0" for agent in AGENTS)
OVERRIDES = ("grid.map_frame=odom", "learn.enabled=false")
SIM = "sim:city?sweeps=6&beams=32&azimuths=256&seed=3"


def named(partition: int, taken: int = 0) -> str:
    """A name of a robot whose messages lie in one of two partitions."""
    names = [f"heron-{number}" for number in range(100)]
    return [name for name in names if (murmur2(name.encode()) & 0x7FFFFFFF) % 2 == partition][taken]


def count_by_key(settings: KafkaSettings) -> dict[str, int]:
    """Messages with a value in all topics, by robot."""

    async def work() -> dict[str, int]:
        found: dict[str, int] = {}
        async with Partitions.open(settings) as partitions:
            places = [(topic, partition) for topic in ROBOTS_TOPICS for partition in range(2)]
            for place, span in (await partitions.spans(places)).items():
                async for message in partitions.messages(place, span):
                    if message.value is not None:
                        key = (message.key or b"").decode()
                        found[key] = found.get(key, 0) + 1
        return found

    return asyncio.run(work())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_robot_is_deleted_from_archive_snapshots_and_topics_and_workers_go_on(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    monkeypatch.setenv("OCTA_BOOTSTRAP", kafka.bootstrap)
    alone, first, second = named(0), named(1), named(1, 1)
    logs = [LogOptions(robot=robot).open(SIM) for robot in (alone, first, second)]

    def delete(robot: str) -> tuple[int, dict[str, Any]]:
        code = main(["data", "delete", "--robot", robot, "--folder", str(settings.folder), "--snapshots",
                     "--topics"])  # fmt: skip
        receipts = sorted(
            (settings.folder / "deletions").glob("*.json"), key=lambda path: path.stat().st_mtime
        )
        return code, json.loads(receipts[-1].read_text()) if receipts else {}

    with Workers(settings, tmp_path, OVERRIDES) as workers:
        for name in WORKERS:
            workers.start(name)
        workers.wait_until_running(WORKERS)
        with pytest.raises(CareError, match=r"workers run \(perceive, judge, archive\)"):
            require_stopped(settings, patience_s=0)
        send(settings, logs)
        wait_for_rest(workers, settings, AGENTS, 120)
        assert set(workers.stop().values()) == {0}
    capsys.readouterr()
    before = count_by_key(settings)
    assert set(before) == {alone, first, second}

    half = settings.folder / "snapshots" / "judge-0" / f"{9:020d}.state.writing"
    half.write_bytes(b"of a worker that was killed")
    code, receipt = delete(alone)
    assert code == 0
    assert not half.exists()
    assert "nothing found" not in capsys.readouterr().out.splitlines()[-1]
    after = count_by_key(settings)
    assert after == {robot: count for robot, count in before.items() if robot != alone} | {
        robot: count for robot, count in after.items() if robot == alone
    }
    assert after.get(alone, 0) <= 1, "the static transforms, until compaction"
    assert sum(item["deleted"] for item in receipt["topics"]) >= before[alone] - 1
    assert [item["topic"] for item in receipt["topics"] if item["tombstone"]] == [STATIC]
    assert not any(alone in robots for robots in snapshots_of(settings.folder).values())

    code, receipt = delete(second)
    assert code == 0
    assert count_by_key(settings)[first] == before[first]
    assert any("messages of other robots lie before or among them" in item["why"] for item in receipt["left"])

    with Workers(settings, tmp_path, OVERRIDES) as workers:
        for name in WORKERS:
            workers.start(name)
        workers.wait_until_running(WORKERS)
        later = [SourceOptions(robot_id=robot, first_stamp_ns=9 * 10**9) for robot in (alone, first)]
        send(settings, [open_source(SIM, options) for options in later])
        wait_for_rest(workers, settings, AGENTS, 120)
        assert set(workers.stop().values()) == {0}
    made = [item.robot_id for item in read(settings, "octa.prediction.made.v1")]
    assert (made.count(alone), made.count(first)) == (6, 12), "it began anew, the other one went on"
    assert read(settings, "octa.sweep.rejected.v1") == []


@pytest.mark.slow
def test_what_workers_have_not_done_with_is_left_and_said(kafka: LocalBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    robot = named(0)
    send(settings, [LogOptions(robot=robot).open(SIM)])
    before = count_by_key(settings)[robot]
    found, left = asyncio.run(delete_messages(settings, robot, dry_run=True))
    assert count_by_key(settings)[robot] == before
    assert sum(item.messages for item in found) == before
    assert [item.what.split()[-1] for item in left] == [f"{STATIC}-0"], "nobody has ever read them"
