"""Retained messages of a cluster as a log: which they are, their order, and what a replay makes of them."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from agents.cli import main
from agents.cluster_options import ClusterOptions, TopicOptions
from agents.kafka import partitions as partitions_module
from agents.kafka import stretch as stretch_module
from agents.kafka.admin import ClusterError, admin_client, run
from agents.kafka.messages import Message
from agents.kafka.partitions import Partitions
from agents.kafka.produce import Producer
from agents.kafka.retained import items_of, open_retained
from agents.kafka.settings import KafkaSettings
from agents.kafka.stretch import Cut, Location, iso_of
from agents.options import LogOptions
from agents.simulation.topics import fingerprint, identity
from stream.config import ConfigError, load_config
from stream.records import Binned, Prediction, SweepRejected
from stream.sources.base import Item, Source, SourceError
from stream.sweep import Sweep
from stream.topics import PREDICTIONS, STATIC, SWEEPS, TRANSFORMS
from stream.transform import Transform
from tests.data import ROOT
from tests.kafka.broker import LocalBroker, free_ports
from tests.kafka.harness import fresh_topics, in_turn, uninterrupted

ROBOTS = {"ant": 3, "bee": 4}
"""Name to seed of the world; the two lie in different partitions, ant in 1 and bee in 0."""
COUNT = 12
LOG = f"kafka://{SWEEPS}"


def world(robot: str) -> str:
    return f"sim:city?sweeps={COUNT}&beams=32&azimuths=128&seed={ROBOTS[robot]}"


def recorded(robot: str) -> Source:
    return LogOptions(robot=robot).open(world(robot))


@pytest.fixture(scope="module")
def filled(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> KafkaSettings:
    """Two partitions that hold the logs of both robots, sent at the same time; nobody adds to them."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path_factory.mktemp("state"))
    fresh_topics(settings)

    async def send() -> None:
        """One stamp after the other, each appended at a time of its own, however slow all is."""
        async with Producer.open(settings) as producer:
            for _, messages in groupby(in_turn(map(recorded, ROBOTS)), key=itemgetter(0)):
                for _, message in messages:
                    await producer.send(message)
                await producer.confirmed()
                await asyncio.sleep(0.005)

    asyncio.run(send())
    return settings


@pytest.fixture
def cluster(filled: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """The same, on the broker that commands talk to by default."""
    monkeypatch.setenv("OCTA_BOOTSTRAP", filled.bootstrap)
    return filled


Make = Callable[[str, int], None]


@pytest.fixture
def make_topic(cluster: KafkaSettings) -> Iterator[Make]:
    """Makes topics of so many partitions, which keep the producer's times; they are gone afterwards."""
    made: list[str] = []

    async def create(name: str, count: int) -> None:
        config = {"message.timestamp.type": "CreateTime"}
        async with admin_client(cluster) as client:
            await client.create_topics([NewTopic(name, count, 1, topic_configs=config)])
            while name not in await client.list_topics():
                await asyncio.sleep(0.1)

    async def remove() -> None:
        async with admin_client(cluster) as client:
            await client.delete_topics(made)

    def make(name: str, count: int) -> None:
        made.append(name)
        run(create(name, count))

    yield make
    run(remove())


@pytest.fixture
def mirror(cluster: KafkaSettings, topic_prefix: str, make_topic: Make) -> str:
    """A topic under another name with the same messages, with their times as well."""
    name = f"{topic_prefix}mirror"
    make_topic(name, 2)
    append(cluster, name, held(cluster, SWEEPS))
    return name


def append(settings: KafkaSettings, topic: str, messages: list[Message]) -> None:
    """Append messages to the partitions that they came from, with their times where the topic lets them."""

    async def work() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
            for message in messages:
                value: Any = message.value
                await producer.send_and_wait(
                    topic,
                    value,
                    key=message.key,
                    partition=message.place[1],
                    headers=list(message.headers),
                    timestamp_ms=message.appended_ms,
                )

    run(work())


def held(settings: KafkaSettings, *topics: str) -> list[Message]:
    """Everything in the topics, partition by partition."""

    async def work() -> list[Message]:
        async with Partitions.open(settings) as partitions:
            spans = await partitions.spans([(topic, number) for topic in topics for number in range(2)])
            return [item for place, span in spans.items() async for item in partitions.messages(place, span)]

    return run(work())


def sweeps_of(source: Source) -> list[tuple[str, int]]:
    return [(item.stream_id, item.stamp_ns) for item in source if isinstance(item, Sweep)]


def prints(items: list[Item]) -> list[str]:
    return [fingerprint(item) for item in items]


def one_line(text: str) -> str:
    """The only line of a stderr, which starts with the program's name."""
    lines = text.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("octastream: ")
    return lines[0].removeprefix("octastream: ")


# ---- what a replay makes of it -------------------------------------------------------------------------


def test_robots_of_a_topic_are_forecast_as_from_their_own_logs(cluster: KafkaSettings) -> None:
    config = load_config(None, ["grid.map_frame=odom"])
    alone = [recorded(robot) for robot in ROBOTS]
    chosen = [open_retained(f"{LOG}?robot={robot}", cluster) for robot in ROBOTS]
    said = {}
    for name, logs in (("alone", alone), ("chosen", chosen), ("all", [open_retained(LOG, cluster)])):
        outputs = [item for item in uninterrupted(config, logs) if isinstance(item, Binned | Prediction)]
        said[name] = {(type(item), identity(item)): fingerprint(item) for item in outputs}
    assert said["chosen"] == said["all"] == said["alone"]
    assert len(said["alone"]) == 2 * 2 * COUNT


def test_the_command_gives_the_run_of_the_log(
    cluster: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, location in (("log", [world("ant"), "--robot", "ant"]), ("topic", [f"{LOG}?robot=ant"])):
        flags = ["--no-learn", "--set", "task.warmup_sweeps=3", "--out", str(tmp_path / name)]
        assert main(["replay", *location, *flags]) == 0, capsys.readouterr().err
    files = sorted(path.relative_to(tmp_path / "log") for path in (tmp_path / "log/predictions").iterdir())
    assert files
    for file in files:
        assert (tmp_path / "topic" / file).read_bytes() == (tmp_path / "log" / file).read_bytes()
    assert f"kafka://{SWEEPS}?robot=ant --from 20" in (tmp_path / "topic/config.yaml").read_text()


def test_a_replay_may_stop_early(
    cluster: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", LOG, "--no-learn", "--sweeps", "7", "--out", str(tmp_path / "run"),
                 "--set", "task.warmup_sweeps=1"]) == 0  # fmt: skip
    assert capsys.readouterr().err == ""
    items = iter(open_retained(LOG, cluster))
    assert len(list(islice(items, 5))) == 5
    del items
    gc.collect()  # a loop or client that is left open is a warning, which is an error


def test_doctor_prints_a_command_that_can_be_typed(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = iso_of(min(message.appended_ms for message in held(cluster, SWEEPS)))
    assert main(["doctor", LOG, "--from", begin, "--to", "2999-01-01", "--sweeps", "4"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("\\\n", " ").split())
    assert f"octastream replay {LOG} --out runs/kafka-octa.sweep.received.v1" in shown
    assert f"--bootstrap {cluster.bootstrap} --from {begin} --to 2999-01-01" in shown


# ---- which messages, and in which order ----------------------------------------------------------------


def test_messages_come_by_the_time_of_appending(cluster: KafkaSettings) -> None:
    source = open_retained(LOG, cluster)
    topics = (STATIC, TRANSFORMS, SWEEPS)

    def order(message: Message) -> tuple[int, int, int, int]:
        topic, partition = message.place
        return message.appended_ms, topics.index(topic), partition, message.offset

    messages = sorted(held(cluster, *topics), key=order)
    start_ms = next(message.appended_ms for message in messages if message.place[0] == SWEEPS)
    mounts = [message for message in messages if message.place[0] == STATIC]
    assert all(message.appended_ms <= start_ms + 1000 for message in mounts), "sent before sweeps"
    early, seen = [], set()
    for message in mounts:
        if message.appended_ms < start_ms or message.key not in seen:
            early.append(message)
            seen.add(message.key)
    expected = [item for message in early for item in items_of(message)]
    expected += [item for message in messages if message not in early for item in items_of(message)]
    assert prints(list(source)) == prints(expected)


def test_a_source_gives_the_same_again_whatever_is_appended(mirror: str, cluster: KafkaSettings) -> None:
    source = open_retained(f"kafka://{mirror}", cluster)
    first = prints(list(source))
    append(cluster, mirror, held(cluster, SWEEPS)[:5])
    assert source.info().sweeps == 2 * COUNT
    assert prints(list(source)) == first
    assert len(sweeps_of(open_retained(f"kafka://{mirror}", cluster))) == 2 * COUNT + 5


def test_offsets_cut_a_partition(cluster: KafkaSettings) -> None:
    stamps = sweeps_of(recorded("ant"))
    cut = open_retained(f"{LOG}/1", cluster, begin="3", end="9")
    assert sweeps_of(cut) == stamps[3:9]
    assert cut.info().sweeps == 6
    assert cut.info().location == f"{LOG}/1 --from 3 --to 9"
    assert sweeps_of(open_retained(f"{LOG}/1", cluster)) == stamps
    assert sweeps_of(open_retained(f"{LOG}/1", cluster, begin="10")) == stamps[10:]
    assert {item.robot_id for item in open_retained(f"{LOG}/0", cluster)} == {"bee"}


def test_times_cut_all_partitions_and_transforms_reach_beyond(
    cluster: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = sorted(held(cluster, SWEEPS, TRANSFORMS), key=lambda message: message.appended_ms)
    sweeps = [message for message in messages if message.place[0] == SWEEPS]
    begin, end = sweeps[6].appended_ms, sweeps[18].appended_ms
    inside = [message for message in sweeps if begin <= message.appended_ms < end]
    last = inside[-1].appended_ms
    assert 0 < len(inside) < len(sweeps)
    monkeypatch.setattr(stretch_module, "LEAD_MS", 30)
    monkeypatch.setattr(stretch_module, "TRAIL_MS", 10)
    source = open_retained(LOG, cluster, begin=iso_of(begin), end=iso_of(end))
    found = [item for item in source if not (isinstance(item, Transform) and item.static)]
    near = [
        item
        for message in messages
        if message.place[0] == TRANSFORMS and begin - 30 <= message.appended_ms <= last + 10
        for item in items_of(message)
    ]
    assert sweeps_of(found) == [(item.stream_id, item.stamp_ns) for m in inside for item in items_of(m)]
    moving = [item for item in found if isinstance(item, Transform)]
    assert sorted(prints(moving)) == sorted(prints(near))
    assert 0 < len(near) < sum(message.place[0] == TRANSFORMS for message in messages)
    assert {item.robot_id for item in source if isinstance(item, Transform) and item.static} == set(ROBOTS)
    again = source.info().location.split(" --from ")[1].split(" --to ")
    assert sweeps_of(open_retained(LOG, cluster, begin=again[0], end=again[1])) == sweeps_of(found)


def test_a_time_is_utc_and_rounded_up_to_what_a_topic_keeps() -> None:
    where = Location.parse(LOG)

    def milliseconds(text: str) -> int:
        return Cut.parse("--from", text, where).appended_ms

    assert milliseconds("1970-01-02") == milliseconds("1970-01-02T00:00:00Z") == 86_400_000
    assert milliseconds("1970-01-01T02:00+02:00") == 0
    assert milliseconds("1970-01-01T00:00:00.0010") == 1
    assert milliseconds("1970-01-01T00:00:00.001001") == 2
    assert milliseconds("1950-01-01") == 0
    assert milliseconds(iso_of(1_777_777_777_777)) == 1_777_777_777_777


def test_mounts_that_were_sent_later_serve_where_no_older_ones_are_kept(
    cluster: KafkaSettings, topic_prefix: str, make_topic: Make
) -> None:
    """Sweeps that lie before all static transforms, as after a compaction, which keeps the newest only."""
    old = [message for message in held(cluster, SWEEPS) if message.key == b"ant"][:3]
    past = [message.appended_ms - 3_600_000 for message in old]
    moved = [
        Message(place=m.place, offset=0, key=m.key, value=m.value, headers=m.headers, appended_ms=ms)
        for m, ms in zip(old, past, strict=True)
    ]
    name = f"{topic_prefix}yesterday"
    make_topic(name, 2)
    append(cluster, name, moved)
    items = list(open_retained(f"kafka://{name}?robot=ant", cluster))
    first = next(message for message in held(cluster, STATIC) if message.key == b"ant")
    assert prints(items[: len(items) - 3]) == prints(list(items_of(first)))
    assert all(isinstance(item, Sweep) for item in items[-3:])


def test_a_message_that_cannot_be_decoded_is_rejected_with_its_place(
    mirror: str, cluster: KafkaSettings
) -> None:
    good = held(cluster, SWEEPS)[-1]
    cut = Message(place=(mirror, 1), offset=0, key=b"ant", value=b"\x00\x01\x00\x00cut", headers=(),
                  appended_ms=good.appended_ms + 10)  # fmt: skip
    append(cluster, mirror, [cut])
    source = open_retained(f"kafka://{mirror}/1", cluster)
    (found,) = (item for item in source if isinstance(item, SweepRejected))
    assert (found.robot_id, found.reason) == ("ant", "corrupt")
    assert found.detail.startswith(f"{mirror}-1@{COUNT} sha256:")
    assert sweeps_of(source) == sweeps_of(recorded("ant"))


def test_a_stretch_is_described(cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    info = open_retained(LOG, cluster).info()
    counts = {
        name: sum(message.place[0] == name for message in held(cluster, name))
        for name in (SWEEPS, TRANSFORMS, STATIC)
    }
    assert (info.format, info.sweeps, info.root_frame) == ("kafka", 2 * COUNT, "odom")
    assert {name: count for name, (_, count) in info.topics.items()} == counts
    assert info.sensor_frames == recorded("ant").info().sensor_frames
    times = [message.appended_ms * 1_000_000 for message in held(cluster, SWEEPS)]
    assert (info.start_ns, info.end_ns) == (min(times), max(times))
    assert main(["info", f"{LOG}?robot=bee"]) == 0
    shown = capsys.readouterr().out
    assert "unknown until read" in shown
    assert "Sweep of all robots" in shown


# ---- what goes wrong -----------------------------------------------------------------------------------


def test_retention_that_passes_the_stretch_is_said(mirror: str, cluster: KafkaSettings) -> None:
    source = open_retained(f"kafka://{mirror}", cluster)

    async def delete() -> None:
        async with admin_client(cluster) as client:
            await client.delete_records({TopicPartition(mirror, 1): RecordsToDelete(before_offset=4)})

    run(delete())
    with pytest.raises(SourceError, match="retention has passed the stretch while it was read"):
        list(source)
    with pytest.raises(ConfigError, match=rf"--from 2: {re.escape(mirror)}-1 retains offsets 4 to 11"):
        open_retained(f"kafka://{mirror}/1", cluster, begin="2")


def test_messages_that_do_not_come_are_not_waited_for_for_ever(
    cluster: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions_module, "STALL_SECONDS", 1)

    async def work() -> None:
        async with Partitions.open(cluster) as partitions:
            async for _ in partitions.merged({(SWEEPS, 0): range(COUNT + 1)}):
                pass

    with pytest.raises(ClusterError, match=f"{SWEEPS}-0: nothing has come for 1 s, but messages up to"):
        run(work())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kafka://"], "kafka://: must be kafka://TOPIC or kafka://TOPIC/PARTITION, each with"),
        ([f"{LOG}/one"], f"{LOG}/one: must be kafka://TOPIC"),
        ([f"{LOG}?"], f"{LOG}?: must be kafka://TOPIC"),
        ([f"{LOG}?ant"], "must be kafka://TOPIC"),
        ([f"{LOG}?sensor=top"], f"{LOG}?sensor=top: sensor=top names no robot; must be"),
        ([f"{LOG}?robot="], "robot= names no robot"),
        ([f"{LOG}?robot=ant/top"], "robot=ant/top names no robot"),
        ([f"kafka://{PREDICTIONS}"], f"holds Prediction, not Sweep; name {SWEEPS}, or a topic of yours"),
        (["kafka://octa.order.judge.v1"], "holds no record, not Sweep"),
        (["kafka://nowhere"], "no topic nowhere on 127.0.0.1:"),
        (["kafka://nowhere"], f"; topics that hold sweeps: {SWEEPS}"),
        ([f"{LOG}/2"], f"partitions of {SWEEPS} are 0 to 1"),
        ([LOG, "--from", "5"], f"--from 5: an offset needs its partition, as {LOG}/0"),
        ([LOG, "--to", "20260501"], "--to 20260501: an offset needs its partition"),
        ([LOG, "--to", "noon"], "--to 'noon': must be a time, as 2026-05-01T10:30 (UTC)"),
        ([f"{LOG}/1", "--to", "13"], f"--to 13: {SWEEPS}-1 retains offsets 0 to {COUNT - 1}"),
        (
            [LOG, "--to", "2020-01-01"],
            "no message between --from and --to; retained: 24 messages, appended 20",
        ),
        ([f"{LOG}/1", "--from", "5", "--to", "5"], "retained: offsets 0 to 11, appended 20"),
        ([f"{LOG}/1", "--from", "6", "--to", "5"], "no message between --from and --to"),
        ([LOG, "--rate-hz", "10"], "--rate-hz 10: messages of a topic have stamps; leave it out"),
        ([LOG, "--poses", "p.txt"], "--poses p.txt: the transforms of a topic lie beside it"),
        ([LOG, "--topic", "/points"], "--topic /points: the location names the topic, as kafka://TOPIC"),
        ([LOG, "--robot", "ant"], "--robot ant: messages name their robots; to choose one give"),
        ([world("ant"), "--from", "2026-05-01"], "--from 2026-05-01: only for kafka://TOPIC, and sim:city"),
        ([world("ant"), "--to", "7"], "--to 7: only for kafka://TOPIC"),
        ([LOG, "--security-protocol", "TLS"], "--security-protocol 'TLS': must be one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str], words: str, cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", *arguments]) == 1
    assert words in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("command", ["replay", "doctor", "info"])
def test_no_broker_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"127.0.0.1:{free_ports()}"
    out = ["--out", str(tmp_path / "run")] if command == "replay" else []
    assert main([command, LOG, "--bootstrap", nobody, *out]) == 1
    assert one_line(capsys.readouterr().err).startswith(f"{nobody}: no broker to talk to (")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["produce"], ["prior", "--out", "x"]], ids=" ".join)
def test_other_commands_read_no_topics(
    command: list[str], cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], LOG, *command[1:]]) == 1
    assert "this command reads no topics" in one_line(capsys.readouterr().err)


def test_robots_that_are_not_there_are_said(
    cluster: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--no-learn", "--set", "grid.map_frame=odom", "--out", str(tmp_path / "run")]
    assert main(["replay", f"{LOG}?robot=cow", *flags]) == 1
    line = one_line(capsys.readouterr().err)
    assert line.endswith("no sweep of the robots named; robots there: ant, bee")


def test_a_partition_needs_as_many_of_transforms(
    cluster: KafkaSettings, topic_prefix: str, make_topic: Make
) -> None:
    name = f"{topic_prefix}wide"
    make_topic(name, 3)
    with pytest.raises(SourceError, match=f"has 3 partitions, {re.escape(TRANSFORMS)} has 2.*leave out /1"):
        open_retained(f"kafka://{name}/1", cluster)
    with pytest.raises(SourceError, match="no message is retained there"):
        open_retained(f"kafka://{name}", cluster)
    append(cluster, name, held(cluster, SWEEPS))
    assert len(sweeps_of(open_retained(f"kafka://{name}", cluster))) == 2 * COUNT


def test_without_the_extra_a_topic_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(['aiokafka', 'faust', 'mode']);"
        "from agents.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "info", LOG], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 1
    assert one_line(shown.stderr) == "Kafka needs aiokafka: pip install 'octastream[kafka]'"


def test_options_are_typed_again_for_topics_only() -> None:
    options = TopicOptions(bootstrap="a:1", begin="2026-05-01", end="7", username="me")
    assert options.arguments_for(world("ant")) == []
    assert options.arguments_for(LOG) == [
        "--bootstrap", "a:1", "--username", "me", "--from", "2026-05-01", "--to", "7",
    ]  # fmt: skip
    assert ClusterOptions(bootstrap="a:1").to_settings().clients()["bootstrap_servers"] == "a:1"


def test_an_empty_cluster_has_nothing_to_replay(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of this module: it empties the topics."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path)
    fresh_topics(settings)
    with pytest.raises(SourceError, match=f"{re.escape(LOG)}: no message is retained there"):
        open_retained(LOG, settings)

    async def delete() -> None:
        async with admin_client(settings) as client:
            await client.delete_topics([STATIC])
            while STATIC in await client.list_topics():
                await asyncio.sleep(0.1)

    run(delete())
    with pytest.raises(SourceError, match=f"no topic {re.escape(STATIC)} beside it"):
        open_retained(LOG, settings)
    with pytest.raises(SourceError, match=r"no topic nowhere on .*; no topic holds sweeps"):
        open_retained("kafka://nowhere", settings)
