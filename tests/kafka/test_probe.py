"""What a worker answers over HTTP: while it starts, while all is well, and while it is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import selectors
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from agents.cli import main
from agents.cluster_options import ProbeOptions
from agents.kafka import probe
from agents.kafka.metrics import Metrics, Standing
from agents.kafka.probe import Probe
from agents.kafka.vitals import (
    RECOVERING,
    REVOKED,
    SILENT_SECONDS,
    STARTING,
    UNWELL_SECONDS,
    Vitals,
)
from agents.listener import listen, url_of
from stream.config import ConfigError
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers
from tests.kafka.scenes import EXIT_FAILED, PARTITIONS, scene

BY_COMMAND = """
import json, sys
from agents.cli import main
given = json.loads(sys.argv[2])
arguments = ["worker", sys.argv[1], "--http", "127.0.0.1:0"]
for name in ("bootstrap", "partitions", "folder", "instance"):
    arguments += [f"--{name}", str(given[name])]
for text in given["set"]:
    arguments += ["--set", text]
sys.exit(main(arguments))
"""
"""A worker as a user starts it, on a port that is free."""

HANGING = """
import time
from agents.perceive import Perceive
from stream.sweep import Sweep
whole = Perceive.handle
def handle(self, record):
    if isinstance(record, Sweep):
        time.sleep(600)
    return whole(self, record)
Perceive.handle = handle
"""
"""A worker that hangs on the first sweep."""


def ask(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask_json(url: str) -> tuple[int, dict[str, Any]]:
    status, body = ask(url)
    return status, json.loads(body)


def url_in_log(workers: Workers, name: str) -> str:
    """Where a worker that was started last says that it answers."""
    end, starts = time.monotonic() + 60, len(workers.processes)
    assert starts
    while True:
        found: list[str] = re.findall(r"answers on (http://\S+)", workers.log(name))
        if found:
            return found[-1]
        assert time.monotonic() < end, workers.log(name)
        time.sleep(0.1)


# ---- signs of life -------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def no_broker() -> None:
    raise KafkaConnectionError("nobody listens")


async def a_broker() -> None:
    """Answers."""


def never(error: BaseException | None) -> None:
    raise AssertionError(error)


@pytest.mark.fault(15)
def test_a_handler_in_flight_is_told_before_the_process_ends_itself(tmp_path: Path) -> None:
    vitals = Vitals(tmp_path, a_broker)
    for looks in range(UNWELL_SECONDS):
        assert vitals.unhealthy() == ""
        assert vitals.look(7) == looks
    assert vitals.look(7) == UNWELL_SECONDS
    assert vitals.unhealthy() == f"a handler is in flight for {UNWELL_SECONDS} s"
    assert vitals.look(8) == 0  # another one, so it went on
    assert vitals.unhealthy() == ""
    assert [vitals.look(0) for _ in range(50)][-1] == 0  # none


def test_a_loop_that_does_not_turn_is_told(tmp_path: Path) -> None:
    clock = Clock()
    vitals = Vitals(tmp_path, a_broker, clock)
    clock.now += 1000  # it has not begun
    assert vitals.unhealthy() == ""

    async def turn() -> None:
        await vitals.attend(never)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert vitals.unhealthy() == ""
    clock.now += UNWELL_SECONDS
    assert vitals.unhealthy() == f"the event loop has not turned for {UNWELL_SECONDS} s"


def test_a_worker_is_ready_when_it_has_recovered_and_broker_and_folder_answer(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "models"
    vitals = Vitals(folder, a_broker, clock)
    assert vitals.unready() == STARTING
    vitals.stage = RECOVERING
    assert vitals.unready() == RECOVERING
    vitals.stage = ""
    asyncio.run(vitals.attend(never))
    assert vitals.unready().startswith(f"the folder {folder}: FileNotFoundError: ")
    folder.mkdir()
    asyncio.run(vitals.attend(never))
    assert vitals.unready() == ""
    clock.now += SILENT_SECONDS  # its thread hangs, say, on a file server
    assert vitals.unready() == f"the folder {folder} has not answered for {SILENT_SECONDS:.0f} s"
    vitals.stage = REVOKED
    assert vitals.unready() == REVOKED


def test_a_worker_is_not_ready_without_its_broker(tmp_path: Path) -> None:
    vitals = Vitals(tmp_path, no_broker)
    vitals.stage = ""
    asyncio.run(vitals.attend(never))
    assert vitals.unready() == "the broker: KafkaConnectionError: KafkaConnectionError: nobody listens"
    assert vitals.unhealthy() == ""  # starting again would not help


# ---- the server ----------------------------------------------------------------------------------------


def test_answers_follow_the_vitals(tmp_path: Path) -> None:
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    url = url_of(listener)
    with Probe(listener, vitals, metrics):
        assert ask_json(f"{url}/health") == (200, {"healthy": True})
        assert ask_json(f"{url}/ready") == (503, {"ready": False, "reason": STARTING})
        vitals.stage = ""
        metrics.standings = (Standing(partition=2, held=0, recovery_s=0.1, model_id="frequency"),)
        status, found = ask_json(f"{url}/ready")
        assert (status, found["agent"], found["partitions"]) == (200, "perceive", [2])
        assert found["models"] == {"2": "frequency"}
        for _ in range(UNWELL_SECONDS + 1):
            vitals.look(3)
        reason = f"a handler is in flight for {UNWELL_SECONDS} s"
        assert ask_json(f"{url}/health") == (503, {"healthy": False, "reason": reason})
        assert ask_json(f"{url}/ready") == (503, {"ready": False, "reason": reason})
        assert ask(f"{url}/metrics")[0] == 200
        assert ask(f"{url}/")[0] == 404
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(f"{url}/health")


HALF_A_HEAD = b"GET /health HTTP/1.1\r\nhost: 127.0"


def numbers_of_ended(connections: list[socket.socket], count: int) -> set[int]:
    """Numbers of the connections that the server has ended, once there are so many."""
    found: set[int] = set()
    with selectors.DefaultSelector() as selector:
        for number, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ, number)
        while len(found) < count:
            ready = selector.select(20)
            assert ready, f"{len(connections) - len(found)} connections are still open"
            for key, _ in ready:
                found.add(key.data)
                selector.unregister(key.fileobj)
    return found


@pytest.mark.parametrize("said", [b"", HALF_A_HEAD], ids=["nothing", "half a head"])
def test_connections_have_a_bound(said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 600.0)
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    with Probe(listener, vitals, metrics), contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(200)]
        for connection in held:
            with contextlib.suppress(ConnectionError):  # cut off already
                connection.sendall(said)
        oldest = set(range(200 - probe.CONNECTIONS))
        assert numbers_of_ended(held, len(oldest)) == oldest


@pytest.mark.parametrize("said", [b"", HALF_A_HEAD], ids=["nothing", "half a head"])
def test_connections_have_an_end(said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 0.5)
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    with Probe(listener, vitals, metrics), contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(probe.CONNECTIONS)
        ]
        for connection in held:
            with contextlib.suppress(ConnectionError):  # ended already
                connection.sendall(said)
        numbers_of_ended(held, len(held))
        assert ask_json(f"{url_of(listener)}/health") == (200, {"healthy": True})


def test_who_holds_all_connections_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 600.0)
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    with Probe(listener, vitals, metrics), contextlib.ExitStack() as stack:
        for _ in range(2 * probe.CONNECTIONS):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        for _ in range(3):
            assert ask_json(f"{url_of(listener)}/health") == (200, {"healthy": True})


def test_who_comes_before_the_probe_begins_takes_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio accepts all that wait, up to its own bound, before anyone can cut off one of them."""
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 600.0)
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(14 * probe.CONNECTIONS)
        ]
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, usual)
        # Four turns of the loop lie between a connection's acceptance and the end of the one it drives out.
        room = max(item.fileno() for item in waiting) + 8 * probe.CONNECTIONS
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, usual[1]))
        with Probe(listener, vitals, metrics):
            numbers_of_ended(waiting, len(waiting) - probe.CONNECTIONS)
            assert ask_json(f"{url_of(listener)}/health") == (200, {"healthy": True})
    assert not caplog.records


def test_a_connection_is_for_one_request(tmp_path: Path) -> None:
    metrics, vitals, listener = Metrics("perceive"), Vitals(tmp_path, a_broker), listen("127.0.0.1", 0)
    head = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with Probe(listener, vitals, metrics), socket.create_connection(listener.getsockname(), 20) as client:
        client.sendall(head)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"healthy": true}')


def test_a_port_in_use_is_one_line_that_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["worker", "perceive", "--http", where, "--set", "grid.map_frame=odom"]) == 1
    line = f"octastream: --http {where}: another process listens there; name another port\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"--http {host}:8080: no address of this machine; name one"):
        listen(host, 8080).close()


@pytest.mark.parametrize(
    ("text", "place", "address"),
    [
        ("8080", 0, ("127.0.0.1", 8080)),
        ("0.0.0.0:8080", 3, ("0.0.0.0", 8083)),
        ("localhost:0", 2, ("localhost", 0)),
        ("65532", 3, ("127.0.0.1", 65535)),
        (None, 1, None),
    ],
)
def test_an_address_is_a_host_and_a_port(
    text: str | None, place: int, address: tuple[str, int] | None
) -> None:
    options = ProbeOptions(http=text)
    assert options.address(place) == address
    assert options.arguments(place) == (["--http", f"{address[0]}:{address[1]}"] if address else [])


@pytest.mark.parametrize("text", ["", "localhost", "a:b:1", "127.0.0.1:", "65536", "-1", "http://a:1", "1 2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--http {text!r}: must be HOST:PORT or PORT")):
        ProbeOptions(http=text).address()


def test_four_workers_need_four_ports() -> None:
    with pytest.raises(ConfigError, match="with 3 more ports behind it"):
        ProbeOptions(http="65533").address(3)


# ---- a worker on a broker ------------------------------------------------------------------------------


def wait_for(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.fault(10, 34)
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_worker_is_ready_after_its_recovery_and_while_it_reaches_what_it_needs(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", launcher=("-c", BY_COMMAND)) as here:
        url = url_in_log(here.workers, "perceive-0")
        here.robots.drive(3)
        here.workers.kill("perceive-0")
        (tmp_path / "perceive-0.log").write_text("")
        here.workers.start("perceive-0")
        url = url_in_log(here.workers, "perceive-0")
        status, found = ask_json(f"{url}/ready")
        assert status == 503
        assert found["reason"] in (STARTING, REVOKED, RECOVERING)
        assert ask_json(f"{url}/health") == (200, {"healthy": True})
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "recovered")
        assert ask_json(f"{url}/ready")[1]["partitions"] == list(range(PARTITIONS))

        models = here.settings.folder / "models"
        models.rename(models.with_name("away"))
        wait_for(lambda: ask(f"{url}/ready")[0] == 503, "the folder is missed")
        assert f"the folder {models}: FileNotFoundError" in ask_json(f"{url}/ready")[1]["reason"]
        models.with_name("away").rename(models)
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "the folder is back")

        local_kafka.kill()
        wait_for(lambda: ask(f"{url}/ready")[0] == 503, "the broker is missed")
        assert "the broker" in ask_json(f"{url}/ready")[1]["reason"]
        assert ask_json(f"{url}/health") == (200, {"healthy": True})
        local_kafka.start()
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "the broker is back", 120)
        assert here.workers.ended() == {}
        assert here.workers.terminate("perceive-0") == 0


@pytest.mark.fault(15)
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
def test_a_worker_that_hangs_says_so_until_it_ends_itself(local_kafka: LocalBroker, tmp_path: Path) -> None:
    launcher = ("-c", HANGING + BY_COMMAND)
    with scene(local_kafka, tmp_path, "perceive-0", launcher=launcher) as here:
        url = url_in_log(here.workers, "perceive-0")
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "recovered")
        here.robots.drive(3)
        wait_for(lambda: ask(f"{url}/health")[0] == 503, "hangs")
        assert "a handler is in flight for 1" in ask_json(f"{url}/health")[1]["reason"]
        assert here.workers.processes["perceive-0"].wait(60) == EXIT_FAILED
