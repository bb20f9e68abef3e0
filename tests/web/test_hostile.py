"""The service as a process of its own, and clients that mean it no good."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect

from stream.records import Prediction
from tests.data import ROOT
from tests.web.played import Played

PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]
TIMEOUT = 4.0
"""Of all requests here, so a busy machine is given time for the good ones."""
BODY_BYTES = 1 << 20
CONNECTIONS = 24
GROWTH_BYTES = 150 << 20
"""Far below what a server that keeps what it is sent would take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server: where it listens, its process, what it has said; tls : of its clients."""

    host: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    tls: ssl.SSLContext | None = None

    def dial(self) -> socket.socket:
        """A connection on which nothing was said."""
        return socket.create_connection((self.host, self.port), timeout=20)

    def connect(self) -> socket.socket:
        """A connection for requests."""
        connection = self.dial()
        return connection if self.tls is None else self.tls.wrap_socket(connection, server_hostname=self.host)

    def raw(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes, until the server closes the connection."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return drain(connection)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Status and body of one request."""
        head = {"host": f"{self.host}:{self.port}", "connection": "close", "content-length": str(len(body))}
        head |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        found = self.raw(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)
        return status_of(found), found.partition(b"\r\n\r\n")[2]

    def json(self, path: str) -> Any:
        """What is answered to GET."""
        return json.loads(self.ask("GET", path)[1])

    def resident_bytes(self) -> int:
        """Memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def healthy(self) -> bool:
        return self.ask("GET", "/health") == (200, b'{"healthy":true}')

    def wait_until_healthy(self) -> None:
        """Until it takes connections again."""
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError, AssertionError):
                if self.healthy():
                    return
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)


def drain(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split(b" ", 2)[1])


def problem_of(answer: bytes, status: int) -> str:
    assert status_of(answer) == status, answer[:300]
    assert b"content-type: application/problem+json" in answer
    detail: str = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    return detail


def order_of_ends(connections: list[socket.socket]) -> list[int]:
    """Numbers of connections in the order in which the server ends them."""
    found: list[int] = []
    with selectors.DefaultSelector() as selector:
        for number, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ, number)
        while len(found) < len(connections):
            ended = selector.select(20)
            assert ended, f"{len(connections) - len(found)} connections are still open"
            for key, _ in ended:
                found.append(key.data)
                selector.unregister(key.fileobj)
    return found


def serve(
    folder: Path,
    log: Path,
    *more: str,
    environment: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Served:
    """Start a server on a run folder, and wait until it is ready."""
    command = [*PROGRAM, "serve", "--replay", str(folder), "--rate", "max", "--port", "0", *more]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=os.environ | (environment or {})
        )
    end = time.monotonic() + 60
    while b"http" not in log.read_bytes():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    host, _, port = log.read_text().partition("://")[2].partition(";")[0].rpartition(":")
    return Served(host=host, port=int(port), process=process, log=log, tls=tls)


def wait_until_ready(served: Served) -> None:
    end = time.monotonic() + 60
    while served.ask("GET", "/ready")[0] != 200:
        assert time.monotonic() < end, served.log.read_text()
        time.sleep(0.05)


def wait_until_played(served: Served, city: Played) -> None:
    """Until it serves the last forecast of every robot."""
    newest = {item.robot_id: item.prediction_id for item in city.of(Prediction)}
    end = time.monotonic() + 60
    while {item["prediction_id"] for item in served.json("/robots")["robots"]} != set(newest.values()):
        assert time.monotonic() < end, served.log.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def until_told(found: Served, log: Path) -> Iterator[None]:
    """It ends well when it is told to, and has said nothing but where it serves."""
    try:
        yield
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(30) == 0, log.read_text()
        assert len(log.read_text().splitlines()) == 1, log.read_text()
    finally:
        found.process.kill()
        found.process.wait()


@pytest.fixture(scope="module")
def served(city: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("served") / "log"
    limits = ["--timeout", str(TIMEOUT), "--max-body", "1", "--max-connections", str(CONNECTIONS)]
    found = serve(city.folder, log, *limits)
    with until_told(found, log):
        wait_until_ready(found)
        wait_until_played(found, city)
        yield found


def test_it_answers_what_it_was_played(served: Served, city: Played) -> None:
    prediction = city.of(Prediction)[-1]
    body = json.dumps({"robot": "bee", "cells": prediction.cell_id[:256].tolist()}).encode()
    status, answer = served.ask("POST", "/predict", body, content_type="application/json")
    assert status == 200
    found = [row["probability"] for row in json.loads(answer)["predictions"]]
    assert np.array_equal(np.float32(found), prediction.probability[:256])


def test_giant_bodies_are_refused_and_not_kept(served: Served) -> None:
    before = served.resident_bytes()
    head = f"POST /predict HTTP/1.1\r\nhost: {served.host}\r\ncontent-type: application/json\r\n"
    announced = served.raw(f"{head}content-length: {10**15}\r\n\r\n".encode() + b"[" * 100_000)
    assert "larger than 1,048,576 bytes" in problem_of(announced, 413)
    chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
    chunked = served.raw(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunk * 2000)
    assert chunked == b"" or "larger" in problem_of(chunked, 413)
    nested = b'{"cells": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    assert served.ask("POST", "/predict", nested, content_type="application/json")[0] in (400, 422)
    numbers = b'{"cells": [' + b"9" * 900_000 + b"]}"
    assert served.ask("POST", "/predict", numbers, content_type="application/json")[0] in (400, 422)
    assert served.healthy()
    assert served.resident_bytes() - before < GROWTH_BYTES


def test_heads_without_end_are_refused(served: Served) -> None:
    endless = served.raw(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"a" * 3_000_000)
    assert endless == b"" or "head of a request is larger" in problem_of(endless, 431)
    many = served.raw(b"GET /health HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(200_000)))
    assert many == b"" or status_of(many) in (400, 431)
    long = served.raw(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n")
    assert long == b"" or status_of(long) in (400, 404, 414, 421, 431)
    assert served.healthy()


def test_slow_clients_are_let_go(served: Served) -> None:
    """A head that is never ended, a body that is never ended, and somebody who says nothing."""
    waiting = {
        "head": b"GET /health HTTP/1.1\r\nhost: 127.0",
        "body": b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"content-length: 1000\r\n\r\n{",
        "silence": b"",
    }
    connections = {name: served.connect() for name in waiting}
    for name, data in waiting.items():
        connections[name].sendall(data)
    assert served.healthy()
    answers = {name: drain(connection) for name, connection in connections.items()}
    assert f"the head of a request took longer than {TIMEOUT:g} s" in problem_of(answers["head"], 408)
    assert f"the request took longer than {TIMEOUT:g} s" in problem_of(answers["body"], 408)
    assert "the head of a request took longer" in problem_of(answers["silence"], 408)
    for connection in connections.values():
        connection.close()


def test_who_does_not_read_the_answer_is_let_go(served: Served) -> None:
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET /map?robot=ant HTTP/1.1\r\nhost: {served.host}\r\n\r\n".encode()
        connection.sendall(head * 400)
        time.sleep(TIMEOUT + 1)
        assert served.healthy()


def test_connections_have_a_bound(served: Served) -> None:
    held: list[socket.socket] = []
    try:
        held.extend(served.connect() for _ in range(CONNECTIONS + 8))
        refused = 0
        for connection in held[-4:]:
            answer = drain(connection)
            refused += f"more than {CONNECTIONS} connections" in problem_of(answer, 503)
        assert refused == 4
    finally:
        for connection in held:
            connection.close()
    served.wait_until_healthy()


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/explain/../../../etc/passwd",
        "/explain/%2e%2e%2f%2e%2e%2fconfig.yaml", "/models/..%2f..%2fconfig.yaml", "/models/%00",
        "/models/champion", "/explain/%ff%fe/x/1", "/map?robot=..%2f..%2fant", "/explain/" + "a/" * 200 + "1",
        "/labels?after=-1", "/labels?limit=99999999999999999999", "//", "/;/", "/map?lod=1e9",
        "/map?robot=ant&min=" + "9" * 5000, "/regions/worst?count=%F0%9F%92%A9", "*", "/openapi.json/..",
    ],
)  # fmt: skip
def test_odd_names_lead_nowhere(served: Served, path: str) -> None:
    status, body = served.ask("GET", path)
    assert 400 <= status < 500, (status, body[:200])
    assert b"root:" not in body and b"grid:" not in body


POST = b"POST /predict HTTP/1.1\r\n"
NO_HTTP = {
    "zeros": b"\x00" * 1000,
    "version": b"GET / HTTP/9.9\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,
    "negative length": POST + b"content-length: -5\r\n\r\n",
    "length in letters": POST + b"content-length: x\r\n\r\n",
    "two lengths": POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "bad chunk": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "words": b"GARBAGE\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_is_a_400(served: Served, data: bytes) -> None:
    answer = served.raw(data)
    assert answer == b"" or 400 <= status_of(answer) < 500
    assert served.healthy()


def test_a_strangers_name_is_refused_on_the_loopback(served: Served) -> None:
    assert served.ask("GET", "/robots", host="evil.example")[0] == 421
    status, _ = served.ask(
        "POST", "/predict", b"{}", origin="https://evil.example", content_type="text/plain"
    )
    assert status == 403


def test_a_crowd_is_answered_while_others_misbehave(served: Served) -> None:
    statuses: list[int] = []

    question = b'{"robot":"ant","radius_m":3}'
    head = b"POST /infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\nconnection: close\r\n\r\n"

    def asks() -> None:
        kind = "application/json"
        statuses.extend(served.ask("POST", "/predict", question, content_type=kind)[0] for _ in range(20))

    def misbehaves() -> None:
        for _ in range(5):
            served.raw(head + b"x" * 99)

    threads = [threading.Thread(target=work) for work in [asks] * 6 + [misbehaves] * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 120


def test_it_asks_for_keys_of_the_environment_and_interrupted_ends_in_good_order(
    city: Played, tmp_path: Path
) -> None:
    found = serve(city.folder, tmp_path / "log", "--loop", environment={"OCTA_API_KEY": "s" * 20})
    try:
        wait_until_ready(found)
        assert found.ask("GET", "/robots")[0] == 401
        assert found.ask("GET", "/robots", authorization=f"Bearer {'s' * 20}")[0] == 200
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(30) == 0, found.log.read_text()
        assert len(found.log.read_text().splitlines()) == 1, found.log.read_text()
    finally:
        found.process.kill()
        found.process.wait()


# ---- over TLS ------------------------------------------------------------------------------------------

SECURE_CONNECTIONS = 4


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    cert, key = (tmp_path_factory.mktemp("tls") / name for name in ("cert.pem", "key.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", str(cert), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(scope="module")
def secured(
    city: Played, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("secured") / "log"
    cert, key = certificate
    found = serve(
        city.folder, log, "--tls-cert", str(cert), "--tls-key", str(key), "--timeout", str(TIMEOUT),
        "--max-connections", str(SECURE_CONNECTIONS), tls=ssl.create_default_context(cafile=str(cert)),
    )  # fmt: skip
    with until_told(found, log):
        wait_until_ready(found)
        yield found


def test_silent_connections_count_before_their_handshake_which_has_a_bound(secured: Served) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(secured.dial()) for _ in range(15 * SECURE_CONNECTIONS)]
        ended = order_of_ends(held)
    assert sorted(ended[-SECURE_CONNECTIONS:]) == list(range(SECURE_CONNECTIONS))
    secured.wait_until_healthy()


def test_requests_that_come_with_the_end_of_the_handshake_are_answered(secured: Served) -> None:
    assert secured.tls is not None
    for _ in range(50):
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = secured.tls.wrap_bio(received, sent, server_hostname=secured.host)
        with secured.dial() as connection:
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(sent.read())
                    received.write(connection.recv(65536))
            client.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            connection.sendall(sent.read())
            answer = b""
            while not answer:
                part = connection.recv(65536)
                assert part, "closed without an answer"
                received.write(part)
                with contextlib.suppress(ssl.SSLWantReadError):
                    answer = client.read(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_who_speaks_no_tls_is_let_go(secured: Served) -> None:
    for data in (b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"\x16\x03\x01\x02", b"\0" * 5000):
        with secured.dial() as connection:
            connection.sendall(data)
            assert not drain(connection).startswith(b"HTTP")
    secured.dial().close()
    secured.wait_until_healthy()


def test_pages_are_followed_over_tls(secured: Served) -> None:
    with connect(f"wss://{secured.host}:{secured.port}/live", ssl=secured.tls, proxy=None) as live:
        assert live.recv(20)


def test_clients_without_a_certificate_are_let_go_where_one_is_needed(
    city: Played, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    known = ssl.create_default_context(cafile=str(cert))
    known.load_cert_chain(cert, key)
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(cert)]
    found = serve(city.folder, tmp_path / "log", *options, tls=known)
    try:
        wait_until_ready(found)
        stranger = dataclasses.replace(found, tls=ssl.create_default_context(cafile=str(cert)))
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            stranger.healthy()
        assert found.healthy()
    finally:
        found.process.kill()
        found.process.wait()


# ---- the command ---------------------------------------------------------------------------------------


def test_the_command_says_in_one_line_what_it_cannot_do(
    city: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.cli import main

    run = str(city.folder)
    refused: dict[str, list[str]] = {
        "give --replay LOG, --replay RUN or --kafka": ["serve"],
        "one of them": ["serve", "--kafka", "--replay", "x"],
        "no such file": ["serve", "--replay", str(tmp_path / "nothing.mcap")],
        "--rate 'fast'": ["serve", "--replay", run, "--rate", "fast"],
        "only for logs; a run has": ["serve", "--replay", run, "--no-learn"],
        "--provider 'None'": ["serve", "--replay", run, "--provider", "None"],
        "--history -1": ["serve", "--replay", run, "--history", "-1"],
    }  # fmt: skip
    for said, arguments in refused.items():
        assert main(arguments) == 1, arguments
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("octastream: ") and said in line, line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--replay", run, "--port", port]) == 1
        assert "another process listens there" in capsys.readouterr().err
