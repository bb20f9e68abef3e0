"""Passwords and keys are never said: not in a log, not in an error, not in what a run or a server writes."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import threading
import traceback
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from pyarrow import fs
from websockets.sync.server import serve

from agents.cli import main
from agents.cluster_options import PASSWORD, KafkaOptions
from agents.kafka.credentials import credentials_of
from agents.kafka.settings import KafkaSettings, Security
from agents.web.access import Access
from agents.web.options import API_KEY, ListenOptions
from models import store as stores
from models.datasets import place as places
from models.datasets.cache import cached_table
from models.datasets.cells import cache_of
from models.datasets.place import Place
from models.datasets.stored import StoredContainer, StoredError
from models.datasets.writer import ContainerWriter
from models.manifest import ModelRefused
from models.registry import ModelRegistry
from native.schema import MismatchError
from stream.addresses import shown, text_shown
from stream.sources.base import SourceError
from stream.sources.foxglove_live import FoxgloveLive
from stream.sources.foxglove_session import SUBPROTOCOLS
from stream.sources.inbox import Inbox
from stream.sources.offers import LiveOptions
from tests.models.datasets.stores import NAMES, WHERE, store, window

PASS, KEY = "open-sesame-4711", "0123456789abcdef-key"
CITY = "sim:city?sweeps=2&beams=32&azimuths=64"
LOGIN = ["--security-protocol", "SASL_PLAINTEXT", "--username", "operator", "--bootstrap", "127.0.0.1:1"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, PASS)
    monkeypatch.setenv(API_KEY, KEY)


def kafka_options() -> KafkaOptions:
    return KafkaOptions(security_protocol="SASL_PLAINTEXT", username="operator")


def test_what_holds_a_secret_does_not_show_it() -> None:
    settings = kafka_options().to_settings()
    access = ListenOptions().access()
    assert settings.security.password == PASS and access.keys == (KEY,)  # they do hold it
    credentials = credentials_of(settings.security)
    shown = [f"{item!r} {item!s}" for item in (settings, settings.security, access, credentials)]
    shown += [" ".join(kafka_options().arguments())]  # what `worker all` gives to its processes
    assert [text for text in shown if PASS in text or KEY in text] == []


def test_a_refusal_does_not_repeat_the_key_that_was_sent() -> None:
    access = Access(keys=(KEY,))
    for header, value in ((b"x-api-key", KEY[:-1]), (b"authorization", f"Bearer {KEY}x")):
        status, why = access.refusal("GET", "/v1/robots", {header: value.encode()}) or (0, "")
        assert status == 401 and KEY[:-1] not in why


@pytest.mark.parametrize("arguments", [["lag"], ["topics", "check"], ["replay", "kafka://t", "--out", "RUN"],
                                       ["data", "repair", "--folder", "RUN"]])  # fmt: skip
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_cluster_that_cannot_be_reached_is_told_of_without_the_password(
    arguments: list[str],
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OCTA_LOG", form)
    (tmp_path / "archive").mkdir()
    with caplog.at_level(logging.DEBUG):
        code = main([*(str(tmp_path) if item == "RUN" else item for item in arguments), *LOGIN])
    said = capfd.readouterr()
    assert code == 1 and "127.0.0.1:1" in said.err
    assert PASS not in said.out + said.err + caplog.text


def test_no_file_of_a_run_holds_a_secret(tmp_path: Path) -> None:
    assert main(["replay", CITY, "--no-learn", "--out", str(tmp_path / "run")]) == 0
    assert main(["trace", str(tmp_path / "run"), "--out", str(tmp_path / "spans.jsonl")]) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.yaml", "report.html", "spans.jsonl"} <= {path.name for path in files}
    for path in files:
        data = path.read_bytes()
        assert PASS.encode() not in data and KEY.encode() not in data, path


def test_a_worker_keeps_the_password_out_of_what_its_libraries_say(tmp_path: Path) -> None:
    from agents.kafka.play import play_of
    from agents.kafka.worker import Worker
    from stream.config import load_config

    security = Security(protocol="SASL_PLAINTEXT", username="operator", password=PASS)
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=tmp_path, security=security)
    play = play_of("archive", load_config(None, ["grid.map_frame=odom"]), settings)
    app = Worker("archive", settings, play).app
    assert (
        app.conf.broker_credentials[0].password == PASS
        if isinstance(app.conf.broker_credentials, list)
        else app.conf.broker_credentials.password == PASS
    )
    assert PASS not in f"{app!r} {app.conf!r} {app.conf.broker_credentials!r}"


# ---- addresses -----------------------------------------------------------------------------------------

BUCKET = f"s3://AKID:{PASS}@bucket/city"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"wss://bob:{PASS}@robot:8765/x", "wss://***@robot:8765/x"),
        (f"ws://{PASS}@robot", "ws://***@robot"),
        (f"ws://bob:p@{PASS}/?#w@robot", "ws://***@robot"),
        (f"ws://bob:my {PASS}@robot", "ws://***@robot"),
        (f"{BUCKET}?region=eu", "s3://***@bucket/city?region=eu"),
        (f"s3://AKID:a/{PASS}@bucket/city", "s3://***@bucket/city"),
        (f"s3:/AKID:{PASS}@bucket", "s3:/***@bucket"),
        (f"s3://bucket?secret_key={PASS}&region=eu", "s3://bucket?secret_key=***&region=eu"),
        (f"s3://bucket?endpoint_override=AKID:{PASS}@h:1", "s3://bucket?endpoint_override=***@h:1"),
        (f"http://h:1/v1?api_key={PASS}", "http://h:1/v1?api_key=***"),
        (f"ws://h:1/?Access-Token={PASS}&a=b", "ws://h:1/?Access-Token=***&a=b"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert text_shown(f"cannot reach {expected} 'x@y'") == f"cannot reach {expected} 'x@y'"


@pytest.mark.parametrize(
    "address",
    ["ws://[::1]:8765/a@b", "s3://bucket/a@b/c", "kafka://octa.sweep.received.v1/3?robot=ant", CITY,
     "http://127.0.0.1:4318/v1/traces", "ws://robot:8765", "/data/run@2/x.mcap", "file:///data/a@b"],
)  # fmt: skip
def test_an_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert shown(address) == address


class Refuses(http.server.BaseHTTPRequestHandler):
    """Asks for another login, whatever is sent."""

    sent: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.sent.append(self.headers.get("authorization", ""))
        self.send_error(401)

    do_POST = do_GET  # noqa: N815 - as the base class has it

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that refuses."""
    Refuses.sent.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_robot_that_refuses_the_login_is_told_of_without_it(refusing: int) -> None:
    live = FoxgloveLive(
        f"ws://bob:{PASS}@127.0.0.1:{refusing}", LiveOptions(robot_id="ant"), [].append, inbox=Inbox()
    )
    with pytest.raises(
        SourceError, match=rf"^ws://\*\*\*@127.0.0.1:{refusing}: no Foxglove server"
    ) as caught:
        list(live)
    assert Refuses.sent == [f"Basic {b64encode(f'bob:{PASS}'.encode()).decode()}"]
    assert PASS not in "".join(traceback.format_exception(caught.value))


def test_what_a_bridge_says_of_a_robot_is_without_its_login() -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        live.stop()

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    live = FoxgloveLive(f"ws://bob:{PASS}@127.0.0.1:{port}", LiveOptions(robot_id="ant"), say)
    assert list(live) == []
    assert len(said) == 1 and said[0].startswith(f"ws://***@127.0.0.1:{port}: not reached (")

    with serve(lambda connection: connection.close(), "127.0.0.1", 0, subprotocols=SUBPROTOCOLS) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        said.clear()
        port = server.socket.getsockname()[1]
        live = FoxgloveLive(f"ws://bob:{PASS}@127.0.0.1:{port}", LiveOptions(robot_id="ant"), say)
        assert list(live) == []
        server.shutdown()
        thread.join()
    assert said[0] == f"ws://***@127.0.0.1:{port}: connected ({SUBPROTOCOLS[0]})"


def test_a_container_behind_a_uri_is_named_without_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store(tmp_path / "city", [window(0)])
    monkeypatch.setattr(places, "file_system_of", lambda uri: (fs.LocalFileSystem(), str(place)))
    stored = StoredContainer(BUCKET, **WHERE)
    cached_table(stored, NAMES, None, tmp_path / "cache")
    (about,) = (tmp_path / "cache").rglob("table.json")
    assert json.loads(about.read_text())["container"] == "s3://***@bucket/city"
    with pytest.raises(MismatchError, match=r"^s3://\*\*\*@bucket/city: no cells of frame 9"):
        StoredContainer(BUCKET, 9, 9)
    with pytest.raises(FileExistsError, match=r"^s3://\*\*\*@bucket/city: is not an empty folder"):
        ContainerWriter(BUCKET)
    with pytest.raises(StoredError, match=r"^s3://\*\*\*@bucket/city: is not on this machine"):
        monkeypatch.setattr(Place, "local", None)
        cache_of(Place(BUCKET))


def test_a_registry_behind_a_uri_is_named_without_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "file_system_of", lambda uri: (fs.LocalFileSystem(), str(tmp_path)))
    with pytest.raises(ModelRefused, match=r"^bcc-1: not in the registry s3://\*\*\*@bucket/city"):
        ModelRegistry(BUCKET).manifest("bcc-1")


@pytest.mark.parametrize(
    "uri",
    [f"nosuch://AKID:{PASS}@bucket", f"s3://AKID:a/{PASS}@bucket", f"s3://AKID:a {PASS}@bucket",
     f"s3://AKID:{PASS}@bucket?nothing=1", f"file://AKID:{PASS}@host/x"],
)  # fmt: skip
def test_a_uri_that_is_none_is_told_of_without_its_keys(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        Place(uri)
    assert PASS not in "".join(traceback.format_exception(caught.value))
    assert main(["models", "list", uri]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "***@" in line and PASS not in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["bridge", f"ws://bob:{PASS}@[", "--robot", "ant"],
        ["bridge", f"http://bob:{PASS}@robot", "--robot", "ant"],
        ["lag", "--bootstrap", f"SASL_SSL://operator:{PASS}@kafka:9092"],
        ["lag", "--bootstrap", f"operator:{PASS}@kafka:9092"],
        ["replay", f"kafka://operator:{PASS}@kafka/topic", "--out", "x"],
        ["replay", f"https://bob:{PASS}@host/log.mcap", "--out", "x"],
        ["serve", "--replay", f"s3://AKID:{PASS}@bucket/run"],
        ["serve", "--replay", "x", "--cors", f"https://bob:{PASS}@host/x"],
    ],
)
def test_an_address_that_is_refused_is_repeated_without_its_secrets(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) in (1, 2)
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and PASS not in said.err + said.out


def test_a_collector_that_refuses_traces_is_named_without_its_key(
    refusing: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", CITY, "--no-learn", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert (
        main(["trace", str(tmp_path / "run"), "--otlp", f"http://127.0.0.1:{refusing}/?api_key={PASS}"]) == 1
    )
    line = capsys.readouterr().err
    assert "401" in line and PASS not in line
    assert main(["trace", str(tmp_path / "run"), "--otlp", f"http://bob:{PASS}@127.0.0.1/v1/traces"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("octastream: http://***@127.0.0.1/v1/traces: ") and PASS not in line
