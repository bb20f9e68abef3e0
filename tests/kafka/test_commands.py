"""The commands for Kafka as a user meets them: on a real broker, and without one."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from agents.cli import main
from agents.cluster_options import PASSWORD, KafkaOptions
from agents.failure import describe
from agents.kafka.admin import ClusterError, admin_client, check_topics, create_topics, run
from agents.kafka.lag import Lag
from agents.kafka.messages import message_of, record_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.kafka.supervisor import Patience, supervise
from agents.options import ConfigOptions
from agents.task import Undecodable
from agents.tempo import speed_of
from stream.codecs.inputs import decode_sweep, headers_of
from stream.codecs.wire import encode
from stream.config import ConfigError
from stream.records import SweepRejected
from stream.topics import PREDICTIONS, PUBLISHED, REJECTED, SWEEPS, TOPICS
from tests.data import ROOT
from tests.kafka.broker import LocalBroker, free_ports
from tests.kafka.harness import fresh_topics

SIM = "sim:city?sweeps=6&beams=32&azimuths=256&seed=3"
PARTITIONS = "2"
WORKER = ["--set", "grid.map_frame=odom", "--set", "learn.enabled=false"]
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]


def one_line(text: str) -> str:
    """The only line of a stderr, which starts with the program's name."""
    lines = text.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("octastream: ")
    return lines[0].removeprefix("octastream: ")


@pytest.fixture
def cluster(kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Empty topics of two partitions, on the broker that commands talk to by default."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    monkeypatch.setenv("OCTA_BOOTSTRAP", kafka.bootstrap)
    return settings


def command(*arguments: str) -> int:
    return main([*arguments, "--partitions", PARTITIONS])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command as a process of its own; its output goes to ``log``. All are gone afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [*PROGRAM, *arguments, "--partitions", PARTITIONS, "--folder", str(tmp_path / "state")],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
        process.wait(60)


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.5)


async def messages(settings: KafkaSettings, topic: str) -> list[Any]:
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans([(topic, partition) for partition in range(settings.partitions)])
        return [item for at, span in spans.items() async for item in partitions.messages(at, span)]


def send(settings: KafkaSettings, topic: str, value: bytes, **options: Any) -> None:
    async def work() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
            await producer.send_and_wait(topic, value, **options)

    run(work())


# ---- topics --------------------------------------------------------------------------------------------


async def delete(settings: KafkaSettings, *topics: str) -> None:
    async with admin_client(settings) as client:
        await client.delete_topics(list(topics))
        while set(topics) & set(await client.list_topics()):
            await asyncio.sleep(0.1)


def test_topics_are_made_checked_and_left_alone(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(delete(cluster, SWEEPS, PUBLISHED))
    assert command("topics", "check") == 1
    assert capsys.readouterr().out.splitlines() == [f"{SWEEPS}: not there", f"{PUBLISHED}: not there"]

    assert command("topics", "create") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"made {SWEEPS}", f"made {PUBLISHED}", f"2 topics made on {cluster.bootstrap}"]
    assert command("topics", "check") == 0
    assert command("topics", "create") == 0
    assert "0 topics made" in capsys.readouterr().out


def test_topics_with_another_number_of_partitions_are_an_error(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(delete(cluster, PUBLISHED))
    assert main(["topics", "create", "--partitions", "3"]) == 1
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"{SWEEPS}: 2 partitions, expected 3, and 18 more; give --partitions")
    assert run(check_topics(cluster)) == [f"{PUBLISHED}: not there"], "nothing may be made then"
    assert main(["topics", "check", "--partitions", "3"]) == 1
    wrong = capsys.readouterr().out.splitlines()
    assert len(wrong) == sum(not topic.single for topic in TOPICS) + 1


def test_a_topic_that_keeps_the_producers_time_is_found(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async def spoil() -> None:
        await delete(cluster, SWEEPS)
        async with admin_client(cluster) as client:
            config = {"message.timestamp.type": "CreateTime", "max.message.bytes": str(8 * 2**20)}
            await client.create_topics([NewTopic(SWEEPS, 2, 1, topic_configs=config)])

    run(spoil())
    assert command("topics", "check") == 1
    expected = f"{SWEEPS}: message.timestamp.type is CreateTime, expected LogAppendTime"
    assert capsys.readouterr().out.splitlines() == [expected]


def test_more_copies_than_brokers_are_refused_with_the_brokers_words(cluster: KafkaSettings) -> None:
    run(delete(cluster, PUBLISHED))
    with pytest.raises(
        ClusterError, match=rf"{re.escape(PUBLISHED)}: the broker does not make it: .*eplication"
    ):
        run(create_topics(cluster, replication=3))


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker", "perceive", *WORKER],
        ["worker", "all", *WORKER],
        ["produce", SIM],
        ["lag"],
        ["dead-letters", "list"],
        ["dead-letters", "show", f"{REJECTED}-0@0"],
        ["dead-letters", "replay", "--reason", "late"],
    ],
    ids=" ".join,
)
def test_what_needs_topics_says_so_instead_of_waiting(
    arguments: list[str], cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    run(delete(cluster, REJECTED))
    assert command(*arguments) == 1
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"topics: {REJECTED}: not there; octastream topics check shows all")


# ---- the cluster ---------------------------------------------------------------------------------------


def test_no_broker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"127.0.0.1:{free_ports()}"
    assert main(["lag", "--bootstrap", nobody]) == 1
    assert re.match(rf"{nobody}: no broker to talk to \(.*refused|{nobody}: .*Connect call failed",
                    one_line(capsys.readouterr().err))  # fmt: skip


class GuardedBroker(LocalBroker):
    """Has a second listener, on which clients log in."""

    @property
    def guarded(self) -> str:
        return f"127.0.0.1:{self.port + 2}"

    def _write_settings(self) -> Path:
        path = super()._write_settings()
        lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
        lines["listeners"] += f",GUARDED://{self.guarded}"
        lines["advertised.listeners"] += f",GUARDED://{self.guarded}"
        lines["listener.security.protocol.map"] += ",GUARDED:SASL_PLAINTEXT"
        lines["sasl.enabled.mechanisms"] = "PLAIN"
        lines["listener.name.guarded.plain.sasl.jaas.config"] = (
            'org.apache.kafka.common.security.plain.PlainLoginModule required user_operator="open sesame";'
        )
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return path


@pytest.mark.kafka
def test_a_login_is_taken_or_refused_and_the_password_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with GuardedBroker(tmp_path) as broker:
        login = ["--bootstrap", broker.guarded, "--username", "operator", "--security-protocol"]
        monkeypatch.setenv(PASSWORD, "open sesame")
        assert command("topics", "create", *login, "SASL_PLAINTEXT") == 0
        assert "22 topics made" in capsys.readouterr().out
        assert command("lag", *login, "SASL_PLAINTEXT") == 0
        assert "lag: 0 messages" in capsys.readouterr().out

        monkeypatch.setenv(PASSWORD, "close sesame")
        assert command("lag", *login, "SASL_PLAINTEXT") == 1
        line = one_line(capsys.readouterr().err)
        assert line.startswith(f"{broker.guarded}: no broker to talk to (")
        assert "uthentication" in line
        assert "sesame" not in line


# ---- producing, working, lag ---------------------------------------------------------------------------


def test_logs_are_sent_as_their_robots_would(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("produce", SIM, SIM + "&misses=1", "--robot", "ant", "--rate", "max") == 0
    shown = capsys.readouterr()
    assert re.findall(r"messages sent, (\d+) of them sweeps", shown.out) == ["6", "6"]
    assert shown.err == ""
    found = [decode_sweep(item.value, item.headers, item.key) for item in run(messages(cluster, SWEEPS))]
    assert [sweep.stream_id for sweep in found] == ["ant/lidar"] * 12
    assert [len(sweep.misses) > 0 for sweep in found] == [False] * 6 + [True] * 6

    assert command("lag") == 0
    sent = sum(map(int, re.findall(r"(\d+) messages sent", shown.out)))
    assert f"lag: {sent} messages" in capsys.readouterr().out


def test_a_rate_is_kept(cluster: KafkaSettings) -> None:
    begin = time.monotonic()
    assert command("produce", SIM, "--rate", "0.5") == 0
    assert time.monotonic() - begin > 2 * 0.5, "six sweeps of 10 Hz at half the pace"


def test_a_worker_works_off_what_is_sent_and_ends_in_good_order(
    cluster: KafkaSettings,
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker = start("worker", "perceive", "--instance", "perceive-0", *WORKER)
    assert command("produce", SIM, "--robot", "ant", "--rate", "max") == 0
    send(cluster, SWEEPS, b"\x00\x01\x00\x00cut", key=b"ant")
    capsys.readouterr()

    def at_rest() -> bool:
        assert worker.poll() is None, (tmp_path / "log").read_text()
        assert command("lag") == 0
        return re.search(r"perceive +│ total +│ +│ +│ +│ +0 │", capsys.readouterr().out) is not None

    wait_until(at_rest, 120, "perceive has lag")
    assert len(run(messages(cluster, PREDICTIONS))) == 6
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0

    assert command("dead-letters", "list", "--robot", "ant") == 0
    shown = capsys.readouterr().out
    assert "1 dead letters: 1 corrupt" in shown
    name = re.search(rf"{re.escape(REJECTED)}-\d@\d", shown)
    assert name is not None
    assert command("dead-letters", "replay", name[0]) == 0
    again = run(messages(cluster, SWEEPS))[-1]
    assert (again.key, again.value) == (b"ant", b"\x00\x01\x00\x00cut")


@pytest.mark.fault(36)
@pytest.mark.long
@pytest.mark.slow
def test_all_workers_start_and_stop_together(
    cluster: KafkaSettings, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    workers = start("worker", "all", *WORKER)
    log = tmp_path / "log"

    def running() -> bool:
        assert workers.poll() is None, log.read_text()
        return log.read_text().count("runs on partitions") >= 4

    wait_until(running, 200, "not all workers run")
    assert command("produce", SIM, "--rate", "max") == 0
    wait_until(lambda: len(run(messages(cluster, PREDICTIONS))) == 6, 60, "no predictions")
    children = [int(pid) for pid in re.findall(r"\] \[(\d+)\] \[WARNING\] \w+: runs on", log.read_text())]
    assert len(set(children)) == 4
    assert [os.getpriority(os.PRIO_PROCESS, pid) > 0 for pid in children].count(True) == 1, "learn is nice"
    workers.send_signal(signal.SIGTERM)
    assert workers.wait(90) == 0, log.read_text()
    assert "starts again" not in log.read_text()
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


# ---- dead letters --------------------------------------------------------------------------------------


def letter_of(sweep: Any, reason: str, source: str = "octastream/perceive") -> tuple[bytes, Any]:
    record = SweepRejected(
        robot_id=sweep.robot_id,
        stream_id=sweep.stream_id,
        stamp_ns=sweep.stamp_ns,
        part=sweep.part,
        reason=reason,
        detail="it is [late]",
    )
    return encode(record), headers_of(record, source)


@pytest.fixture
def letters(cluster: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sweeps of two robots; of each, the third is rejected as late."""
    monkeypatch.setattr("agents.kafka.originals.BLOCK", 2)
    rejected = []
    for robot in ("ant", "bee"):
        assert command("produce", SIM, "--robot", robot, "--rate", "max") == 0
    for robot in ("ant", "bee"):
        sent = [item for item in run(messages(cluster, SWEEPS)) if item.key == robot.encode()]
        rejected.append(sent[2])
        value, headers = letter_of(decode_sweep(sent[2].value, sent[2].headers, sent[2].key), "late")
        send(cluster, REJECTED, value, key=robot.encode(), headers=headers)
    return rejected


def names(shown: str) -> list[str]:
    return re.findall(rf"{re.escape(REJECTED)}-\d+@\d+", shown)


def test_letters_are_listed_and_counted(
    letters: list[Any], cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    send(cluster, REJECTED, b"nonsense", key=b"")
    capsys.readouterr()
    assert command("dead-letters", "list") == 0
    shown = capsys.readouterr().out
    assert len(names(shown)) == 3 + 1, "and the nonsense names itself"
    assert "it is [late]" in shown
    assert "3 dead letters: 2 late, 1 schema" in shown or "3 dead letters: 2 late, 1 corrupt" in shown
    assert command("dead-letters", "list", "--last", "1", "--reason", "late") == 0
    shown = capsys.readouterr().out
    assert len(names(shown)) == 1
    assert "bee" in shown, "the newest"
    assert "2 dead letters: 2 late" in shown
    assert command("dead-letters", "list", "--robot", "cat") == 0
    assert capsys.readouterr().out == "0 dead letters\n"


def test_a_letter_is_shown_with_the_sweep_it_is_about(
    letters: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command("dead-letters", "list", "--robot", "ant") == 0
    [name] = names(capsys.readouterr().out)
    assert command("dead-letters", "show", name) == 0
    shown = capsys.readouterr().out
    (topic, partition), offset = letters[0].place, letters[0].offset
    for line in (
        rf"letter +{re.escape(name)}",
        r"reason +late",
        r"detail +it is \[late\]",
        rf"message +{re.escape(topic)}-{partition}@{offset}\b",
        rf"size +{len(letters[0].value):,} bytes",
        rf"sha256 +{hashlib.sha256(letters[0].value).hexdigest()}",
        r"key +ant",
        r"header octa_sensor +lidar",
    ):
        assert re.search(rf"^{line}", shown, re.MULTILINE), (line, shown)


def test_the_messages_of_letters_are_sent_again_byte_for_byte_and_once(
    letters: list[Any], cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    value, headers = letter_of(decode_sweep(letters[0].value, letters[0].headers, letters[0].key), "late")
    send(cluster, REJECTED, value, key=b"ant", headers=headers)  # a second letter about the same sweep
    before = {(item.place, item.offset) for item in run(messages(cluster, SWEEPS))}
    capsys.readouterr()
    assert command("dead-letters", "replay", "--reason", "late") == 0
    assert "3 sent again, 0 not" in capsys.readouterr().out
    new = [item for item in run(messages(cluster, SWEEPS)) if (item.place, item.offset) not in before]
    assert len(new) == 2
    for item, original in zip(sorted(new, key=lambda item: item.key), letters, strict=True):
        assert item.place == original.place
        assert (item.key, item.value, item.headers) == (original.key, original.value, original.headers)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("octastream/produce", "it was never sent: the log that was played in could not be read there"),
        ("octastream/perceive", "its sweep is not among the last 1000 messages before it"),
    ],
)
def test_a_letter_whose_sweep_is_nowhere_says_so(
    source: str, words: str, letters: list[Any], cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = decode_sweep(letters[0].value, letters[0].headers, b"cat")
    value, headers = letter_of(sweep, "lost", source)
    send(cluster, REJECTED, value, key=b"cat", headers=headers)
    capsys.readouterr()
    assert command("dead-letters", "replay", "--reason", "lost") == 1
    shown = capsys.readouterr().out
    assert words in shown
    assert "0 sent again, 1 not" in shown
    [name] = names(shown)
    assert command("dead-letters", "show", name) == 0
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_message_that_is_no_more_is_not_sent_again(
    cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    record = SweepRejected(
        robot_id="ant",
        stream_id=f"ant/{SWEEPS}",
        stamp_ns=1,
        part=0,
        reason="corrupt",
        detail=f"{SWEEPS}-1@7: cut off",
    )
    send(cluster, REJECTED, encode(record), key=b"ant", headers=headers_of(record, "octastream/perceive"))
    assert command("dead-letters", "replay", "--reason", "corrupt") == 1
    assert f"{SWEEPS}-1@7 is no more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "17"], "'17': must be octa.sweep.rejected.v1-PARTITION@OFFSET, with a partition below 2"),
        (["show", f"{SWEEPS}-0@0"], f"'{SWEEPS}-0@0': must be"),
        (["show", f"{REJECTED}-2@0"], "must be"),
        (["show", f"{REJECTED}-0@4"], "no dead letter lies there (any more)"),
        (["replay"], "dead-letters replay: name letters, or --reason REASON, one of both"),
        (["replay", f"{REJECTED}-0@4"], "no dead letter lies there (any more)"),
        (["replay", "17"], "must be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_name_is_one_line(
    arguments: list[str], words: str, cluster: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("dead-letters", *arguments) == 1
    assert words in one_line(capsys.readouterr().err)


# ---- without a broker: options -------------------------------------------------------------------------


def test_options_become_settings_and_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "sesame")
    options = KafkaOptions(
        bootstrap="a:1,b:2",
        partitions=8,
        folder=tmp_path,
        security_protocol="sasl_plaintext",
        sasl_mechanism="scram-sha-512",
        username="operator",
    )
    settings = options.to_settings("perceive-0")
    assert (settings.bootstrap, settings.partitions, settings.folder) == ("a:1,b:2", 8, tmp_path)
    assert settings.instance == "perceive-0"
    assert settings.clients() == {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "operator",
        "sasl_plain_password": "sesame",
    }
    assert "sesame" not in repr(settings)
    assert options.arguments() == [
        "--bootstrap", "a:1,b:2",
        "--security-protocol", "sasl_plaintext", "--sasl-mechanism", "scram-sha-512",
        "--username", "operator", "--partitions", "8", "--folder", str(tmp_path),
    ]  # fmt: skip
    assert KafkaOptions().arguments() == []


def test_content_types_by_topic_become_settings_and_arguments() -> None:
    kinds = {
        SWEEPS: "application/x-protobuf; schema=foxglove.PointCloud; framing=confluent",
        "mirror": "application/cdr",
    }
    given = [f"{topic}={kind}" for topic, kind in kinds.items()]
    options = KafkaOptions(content_type=given)
    settings = options.to_settings()
    assert settings.content_types == kinds
    assert options.arguments() == ["--content-type", given[0], "--content-type", given[1]]
    framed = b"\x00\x00\x00\x00\x01\x00"
    record = SimpleNamespace(
        topic=SWEEPS, partition=0, offset=0, key=b"ant", value=framed, headers=(), timestamp=0
    )
    silent = message_of(record, settings)
    said = dataclasses.replace(silent, headers=(("content-type", b"application/cdr"),))
    for message, words in (
        (silent, "foxglove.PointCloud: frame_id: the frame name is empty"),
        (said, "PointCloud2: header.stamp.sec: 4 bytes expected, 2 left in the message"),
    ):
        letter = record_of(message)
        assert isinstance(letter, Undecodable)
        assert words in letter.letter.detail


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bootstrap": "kafka"}, "--bootstrap 'kafka': must be HOST:PORT"),
        ({"security_protocol": "TLS"}, "--security-protocol 'TLS': must be one of PLAINTEXT, SSL"),
        ({"security_protocol": "SASL_SSL"}, f"needs --username and the variable {PASSWORD}"),
        ({"username": "me"}, "--username 'me': needs --security-protocol SASL_SSL"),
        ({"ca_file": Path("ca.pem")}, "--ca-file ca.pem: needs --security-protocol SSL or SASL_SSL"),
        ({"security_protocol": "SSL", "ca_file": Path("no.pem")}, "--ca-file no.pem: no such file"),
        (
            {"content_type": ["octa.sweep.v1=application/cdr"]},
            "--content-type 'octa.sweep.v1=application/cdr': producers send to octa.sweep.received.v1,",
        ),
        ({"content_type": ["mirror"]}, "--content-type 'mirror': must be TOPIC=TYPE: content-type ''"),
        (
            {"content_type": [f"{SWEEPS}=application/x-protobuf; schema=foxglove.FrameTransform"]},
            "content-type: schema 'foxglove.FrameTransform', expected foxglove.PointCloud",
        ),
        (
            {"content_type": ["mirror=application/cdr"] * 2},
            "--content-type 'mirror=application/cdr': mirror is there twice",
        ),
        ({"security_protocol": "SSL", "key_file": ROOT / "LICENSE"}, "needs --cert-file"),
        ({"security_protocol": "SSL", "ca_file": ROOT / "LICENSE"}, "not PEM files of TLS"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "username": "me", "sasl_mechanism": "MD5"},
            "--sasl-mechanism 'MD5': must be one of PLAIN",
        ),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(
    options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(ConfigError) as failure:
        KafkaOptions(**options).to_settings()
    assert words in str(failure.value)


def test_a_rate_is_a_word_or_a_number() -> None:
    assert [speed_of(rate) for rate in ("real", "max", "2.5")] == [1.0, None, 2.5]
    for wrong in ("0", "-1", "nan", "inf", "fast"):
        with pytest.raises(ConfigError, match=rf"--rate '{wrong}': must be real, max, or"):
            speed_of(wrong)


def test_workers_need_a_map_frame_and_have_a_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", "judge"]) == 1
    assert one_line(capsys.readouterr().err).startswith(
        "grid.map_frame: 'auto' cannot be found without a log"
    )

    from agents.kafka.worker_command import _worker_config

    frame = "grid.map_frame=odom"
    assert _worker_config("learn", ConfigOptions(set=[frame])).learn.budget_ms == 75
    assert "learn.budget_ms is not set: 75 ms a sweep" in capsys.readouterr().err
    assert _worker_config("learn", ConfigOptions(set=[frame, "learn.budget_ms=30"])).learn.budget_ms == 30
    assert _worker_config("learn", ConfigOptions(set=[frame, "learn.budget_ms=null"])).learn.budget_ms is None
    assert _worker_config("learn", ConfigOptions(set=[frame, "learn.enabled=false"])).learn.budget_ms is None
    assert capsys.readouterr().err == ""


def test_help_needs_no_kafka_and_a_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(['aiokafka', 'faust', 'mode']);"
        "from agents.cli import main; sys.exit(main(sys.argv[1:]))"
    )

    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
        )

    shown = ran("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(name in shown.stdout for name in ("topics", "worker", "produce", "lag", "dead-letters"))
    assert ran("dead-letters", "replay", "--help").returncode == 0
    shown = ran("lag")
    assert shown.returncode == 1
    assert one_line(shown.stderr) == "Kafka needs aiokafka: pip install 'octastream[kafka]'"


def test_errors_of_kafka_are_one_line() -> None:
    from aiokafka.errors import MessageSizeTooLargeError

    assert describe(MessageSizeTooLargeError("9 MB"))[1] == 1
    assert describe(MessageSizeTooLargeError("9 MB"))[0].startswith("Kafka: MessageSizeTooLargeError:")


@pytest.mark.fault(13, 41)
@pytest.mark.parametrize(
    ("committed", "first", "end", "left", "lost"),
    [(None, 0, 5, 5, 0), (None, 3, 5, 2, 0), (4, 0, 5, 1, 0), (2, 3, 5, 2, 1), (5, 5, 5, 0, 0)],
)
def test_lag_counts_what_is_left_and_what_was_deleted_unread(
    committed: int | None, first: int, end: int, left: int, lost: int
) -> None:
    lag = Lag(agent="judge", place=("t", 0), committed=committed, first=first, end=end)
    assert (lag.left, lag.lost) == (left, lost)


# ---- without a broker: several workers -----------------------------------------------------------------


def child(folder: Path, name: str, then: str) -> list[str]:
    """A process that notes that it was started and does something."""
    code = f"""
import os, pathlib, signal, sys, time
starts = pathlib.Path({str(folder / name)!r})
with starts.open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
count = len(starts.read_text().split())
{then}
"""
    return [sys.executable, "-c", code]


STAY = "time.sleep(600)"
READY = "pathlib.Path(str(starts) + '.ready').touch()"
OBEY = f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); {READY}; {STAY}"
QUICK = Patience(pauses_s=(0.05, 0.1), grace_s=20.0)


def once_there(path: Path) -> str:
    """What a child does that waits for a file."""
    return f"while not pathlib.Path({str(path)!r}).exists(): time.sleep(0.01)\n"


def pids(folder: Path, name: str) -> list[int]:
    return [int(line) for line in (folder / name).read_text().split()]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_one_that_crashes_is_started_again_up_to_a_limit(tmp_path: Path) -> None:
    commands = {
        "a": child(tmp_path, "a", once_there(tmp_path / "b.ready") + "sys.exit(70)"),
        "b": child(tmp_path, "b", f"{READY}; {STAY}"),
    }
    assert supervise(commands, QUICK) == 70
    assert len(pids(tmp_path, "a")) == 1 + len(QUICK.pauses_s)
    assert len(pids(tmp_path, "b")) == 1
    assert gone(pids(tmp_path, "b")[0])


def test_one_that_is_killed_is_started_again_and_any_other_end_ends_all(tmp_path: Path) -> None:
    end = "os.kill(os.getpid(), 9) if count < 2 else sys.exit(1)"
    commands = {
        "a": child(tmp_path, "a", once_there(tmp_path / "b.ready") + end),
        "b": child(tmp_path, "b", f"{READY}; {STAY}"),
    }
    assert supervise(commands, QUICK) == 1
    assert len(pids(tmp_path, "a")) == 2
    assert gone(pids(tmp_path, "b")[0])


def test_one_that_ran_for_long_begins_with_the_first_pause_again(tmp_path: Path) -> None:
    commands = {"a": child(tmp_path, "a", "sys.exit(70 if count < 6 else 0)")}
    assert supervise(commands, Patience(pauses_s=(0.01,), healthy_s=0.0)) == 0
    assert len(pids(tmp_path, "a")) == 6


@pytest.mark.fault(7)
def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}; {STAY}"
    commands = {
        "a": child(tmp_path, "a", deaf),
        "b": child(tmp_path, "b", once_there(tmp_path / "a.ready")),
    }
    assert supervise(commands, Patience(grace_s=0.2)) == 128 + 9
    assert gone(pids(tmp_path, "a")[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda item: item.name)
def test_signals_are_passed_on_and_the_worst_exit_code_counts(number: int, tmp_path: Path) -> None:
    commands = {"a": child(tmp_path, "a", f"{READY}; {STAY}"), "b": child(tmp_path, "b", OBEY)}
    code = (
        "import json, sys; from agents.kafka.supervisor import supervise;"
        "sys.exit(supervise(json.loads(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(commands)], cwd=ROOT)
    try:
        there = [tmp_path / f"{name}.ready" for name in "ab"]
        wait_until(lambda: all(path.exists() for path in there), 60, "children do not start")
        process.send_signal(number)
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
    assert gone(pids(tmp_path, "a")[0])
    assert gone(pids(tmp_path, "b")[0])
