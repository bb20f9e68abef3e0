"""/predict for 256 cells beside an endpoint of the same server that does nothing, at 1, 16 and 64 clients.

``python -m tests.bench.bench_serve [--seconds N] [--out FILE]``: the recorded log is replayed once without
learning; then ``octastream serve --replay RUN --loop`` folds its records at the pace of the sensor, and
clients in another process ask as fast as they are answered, over connections that stay open. Rounds of both
endpoints take turns. Ids are those of the newest forecast when a round begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.data import ROOT, data_path

CELLS = 256
CLIENTS = (1, 16, 64)
ROUNDS = 3
QUESTIONS = 64
"""Different ones a round, each with cells of its own."""
WARM_UP_SECONDS = 0.5
GOAL_CLIENTS, GOAL_P99_MS, GOAL_SHARE = 16, 20.0, 0.5
PROGRAM = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())"]
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
READY_SECONDS = 60


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """A server of the log's run; its port."""
    run = folder / "run"
    replay = ["replay", str(data_path(LOG)), "--robot", "car", "--no-learn", "--out", str(run)]
    subprocess.run([*PROGRAM, *replay], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    command = [*PROGRAM, "serve", "--replay", str(run), "--loop", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2].split(";")[0])
        asyncio.run(_ready(port))
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


async def _ready(port: int) -> None:
    end = time.monotonic() + READY_SECONDS
    while (await ask(port, request("GET", "/ready", port)))[0] != 200:
        if time.monotonic() > end:
            raise RuntimeError("the server is not ready")
        await asyncio.sleep(0.2)


def request(method: str, path: str, port: int, body: Any = None) -> bytes:
    """One request, ready to be sent."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
    if body is not None:
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n"
    return f"{head}\r\n".encode() + data


async def ask(port: int, question: bytes) -> tuple[int, bytes]:
    """Status and body of one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(question)
    found = await _answer(reader)
    writer.close()
    return found


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12]), body


class Client(asyncio.Protocol):
    """Asks one question after the other over one connection, and times each answer.

    A protocol and no stream: the load must cost less than what it is to measure
    """

    def __init__(self, questions: Sequence[bytes], begin: float, end: float) -> None:
        self._questions, self._begin, self._end = questions, begin, end
        self.waits: list[float] = []
        self.failed = 0
        self.done = asyncio.get_running_loop().create_future()
        self._left, self._head = 0, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._asked = time.perf_counter()
        if self._asked >= self._end:
            self._transport.close()
            self.done.set_result(None)
            return
        self._transport.write(random.choice(self._questions))

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            length = LENGTH.search(head)
            self.failed += head[9:12] != b"200"
            self._left, self._head = int(length[1]) if length else 0, b""
            data = rest
        self._left -= len(data)
        if self._left <= 0:
            now = time.perf_counter()
            if self._asked >= self._begin:
                self.waits.append(1e3 * (now - self._asked))
            self._left = 0
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed by the server"))


async def round_of(port: int, questions: Sequence[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """Rate and waits of one round."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + seconds
    found = [
        (await loop.create_connection(lambda: Client(questions, begin, end), "127.0.0.1", port))[1]
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for client in found))
    waits = np.concatenate([client.waits for client in found])
    return {"waits": waits, "per_s": len(waits) / seconds, "failed": sum(client.failed for client in found)}


async def questions_of(port: int, dice: random.Random) -> tuple[list[bytes], float]:
    """Questions about cells of the newest forecast; and the share of them that is answered with a number."""
    _, body = await ask(port, request("POST", "/predict", port, {"robot": "car"}))
    cells = [row["cell_id"] for row in json.loads(body)["predictions"]]
    chosen = [dice.sample(cells, CELLS) for _ in range(QUESTIONS)]
    found = [request("POST", "/predict", port, {"cells": item}) for item in chosen]
    _, body = await ask(port, found[0])
    rows = json.loads(body)["predictions"]
    return found, sum(row["probability"] is not None for row in rows) / len(rows)


async def rounds(port: int, seconds: float) -> dict[str, Any]:
    """All rounds, both endpoints in turn; by endpoint and clients."""
    noop = [request("GET", "/health", port)]
    found: dict[str, dict[int, list[dict[str, Any]]]] = {
        name: {clients: [] for clients in CLIENTS} for name in ("noop", "predict")
    }
    known = []
    for number in range(ROUNDS):
        for clients in CLIENTS:
            found["noop"][clients].append(await round_of(port, noop, clients, seconds))
            questions, share = await questions_of(port, random.Random(number))
            known.append(share)
            found["predict"][clients].append(await round_of(port, questions, clients, seconds))
    return {
        "endpoints": {
            name: {str(clients): summary(items) for clients, items in by_clients.items()}
            for name, by_clients in found.items()
        },
        "known_share": round(min(known), 3),
    }


def summary(items: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Over all rounds of one kind."""
    waits = np.concatenate([item["waits"] for item in items])
    p50, p99, most = np.percentile(waits, [50, 99, 100])
    return {
        "requests_per_s": round(float(np.mean([item["per_s"] for item in items])), 1),
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "max_ms": round(float(most), 3),
        "failed": int(sum(item["failed"] for item in items)),
    }


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """Everything."""
    with server(folder) as port:
        found = uvloop.run(rounds(port, seconds))
    return {"machine": machine.describe(), "log": LOG, "cells": CELLS, "seconds": seconds, **found}


def show(result: dict[str, Any]) -> None:
    """The table that people read."""
    table = Table(box=SIMPLE, title=f"/predict for {CELLS} cells beside an endpoint that does nothing")
    for name in ("clients", "endpoint", "requests/s", "p50, ms", "p99, ms", "of the no-op's rate"):
        table.add_column(name, justify="right")
    endpoints = result["endpoints"]
    for clients in map(str, CLIENTS):
        for name, found in endpoints.items():
            row = found[clients]
            share = row["requests_per_s"] / endpoints["noop"][clients]["requests_per_s"]
            times = (f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms"))
            table.add_row(clients, name, f"{row['requests_per_s']:,.0f}", *times, f"{share:.2f}")
    Console().print(
        table,
        f"goals at {GOAL_CLIENTS} clients: p99 under {GOAL_P99_MS:g} ms, {GOAL_SHARE:g} of that rate or more",
    )


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (default 5)")
    parser.add_argument("--out", type=Path, default=RESULTS / "serve.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), given.seconds)
    show(result)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
