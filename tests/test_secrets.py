"""Passwords and keys are never said: not in a log, not in an error, not in what a run or a server writes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agents.cli import main
from agents.cluster_options import PASSWORD, KafkaOptions
from agents.kafka.credentials import credentials_of
from agents.kafka.settings import KafkaSettings, Security
from agents.web.access import Access
from agents.web.options import API_KEY, ListenOptions

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
