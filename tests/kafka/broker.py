"""A real Kafka broker without Docker: one Java process that can be killed and started again with its data.

``python -m tests.kafka.broker`` (``make kafka``) runs one in the foreground.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.data import ROOT
from tests.kafka.libraries import BrokerError, kafka_version, libraries, program
from tests.kafka.watcher import Watcher

SETTINGS = ROOT / "deploy" / "kafka" / "server.properties"
HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the ports that kernels give to outgoing connections: a client that calls a dead broker again and
again from such a port may meet itself, and hold the port against the broker's return."""

JVM_OPTIONS = (
    "-Xmx512m",
    # Half the processor time of a start, which is all that most tests see of a broker.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
READY_SECONDS = 120.0
STOP_SECONDS = 30.0
FORMAT_SECONDS = 60.0
LOG_LINES = 25


class LocalBroker:
    """Apache Kafka on the loopback: broker and controller in one process.

    folder : holds settings, ``data/`` and ``broker.log``; made when missing, never removed
    port : where clients connect; the controller takes the next one. Free ports below 32,000 by default

    Ports and data are kept over ``kill``, ``stop`` and ``start``, so clients find their way back. The process
    ends with this one, even when this one is killed. Calls block; in a coroutine use ``asyncio.to_thread``.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = free_ports() if port is None else port
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: Watcher | None = None
        self._turn = threading.RLock()  # whoever asks for the number may be the one that finds it ended

    @property
    def bootstrap(self) -> str:
        """Address for clients, ``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Number of the running process; None while there is none."""
        with self._turn:
            if self._process is not None and self._process.poll() is not None:
                self._ended()
            return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """What the broker printed, over all its starts."""
        return self.folder / "broker.log"

    def start(self, ready_seconds: float = READY_SECONDS) -> None:
        """Start, with the data of before where there are any, and wait until clients are served.

        Raises BrokerError, with the end of the broker's log, when it ends on its own or takes longer.
        """
        if self.pid is not None:
            raise BrokerError(f"the broker on {self.bootstrap} runs already, as process {self.pid}")
        java = [program("java", "Java 17"), *JVM_OPTIONS, "-cp", f"{libraries()}/*"]
        self._refuse_taken_ports()
        settings = self._write_settings()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, settings)
        with self.log.open("ab") as log:
            # Its own session: Ctrl-C is for us, who then stop it in good order.
            self._process = subprocess.Popen(
                [*java, "kafka.Kafka", str(settings)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watcher = Watcher(self._process.pid)
        try:
            self._wait_until_ready(ready_seconds)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for a broker that has not ended after 30 s; nothing to do when none runs."""
        if self.pid is None or self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._ended()

    def kill(self) -> None:
        """SIGKILL, the crash; nothing to do when none runs."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Stopped for a while: connections stay, and nothing comes over them, as if packets were dropped."""
        pid = self.pid
        if pid is None:
            raise BrokerError(f"the broker on {self.bootstrap} does not run")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop in good order where it runs, then start with the data of before."""
        self.stop()
        self.start()

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _ended(self) -> None:
        with self._turn:
            if self._watcher is not None:
                self._watcher.release()
            if self._process is not None:
                self._process.wait()
            self._process = self._watcher = None

    def _refuse_taken_ports(self) -> None:
        # Kafka says so too, but if the owner is a broker, it would answer in place of ours until then.
        for port in (self.port, self.port + 1):
            try:
                with _bound(port):
                    pass
            except OSError as error:
                why = os.strerror(error.errno or 0)
                way_out = "end what listens there, or choose another: LocalBroker(port=...)"
                raise BrokerError(f"port {port} cannot be had on {HOST} ({why}): {way_out}") from error

    def _write_settings(self) -> Path:
        clients, controller = f"PLAINTEXT://{self.bootstrap}", f"{HOST}:{self.port + 1}"
        settings = read_settings() | {
            "listeners": f"{clients},CONTROLLER://{controller}",
            "advertised.listeners": clients,
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.folder / "data"),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    def _format(self, java: list[str], settings: Path) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(settings)]
        with self.log.open("ab") as log:
            ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                 timeout=FORMAT_SECONDS)  # fmt: skip
        if ran.returncode:
            raise BrokerError(f"Kafka could not format {self.folder / 'data'}\n{self._log_end()}")

    def _wait_until_ready(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not answers(self.bootstrap):
            if self.pid is None:
                raise BrokerError(f"the broker on {self.bootstrap} ended by itself\n{self._log_end()}")
            if time.monotonic() > end:
                what = f"the broker on {self.bootstrap} served nobody within {seconds:g} s"
                raise BrokerError(f"{what}\n{self._log_end()}")
            time.sleep(0.1)

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"the end of {self.log}:", *lines[-LOG_LINES:]])


def read_settings() -> dict[str, str]:
    """The settings in ``deploy/kafka/server.properties`` by name."""
    lines = (line.strip() for line in SETTINGS.read_text().splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def cluster_id() -> str:
    """A new name for a cluster as Kafka writes them; never with a "-" in front, which would be an option."""
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def free_ports() -> int:
    """The first of two neighbouring ports that are free now."""
    for port in random.sample(PORTS, 200):
        with contextlib.suppress(OSError), _bound(port), _bound(port + 1):
            return port
    raise BrokerError(
        f"no two free ports from {PORTS.start} to {PORTS.stop}; name one: LocalBroker(port=...)"
    )


@contextlib.contextmanager
def _bound(port: int) -> Iterator[None]:
    with socket.create_server((HOST, port)):
        yield


def answers(bootstrap: str, seconds: float = 5.0) -> bool:
    """Whether a broker at one of these addresses answers an administrator's call within so many seconds."""
    return any(_connects(address) for address in bootstrap.split(",")) and asyncio.run(
        _describes(bootstrap, seconds)
    )


def _connects(address: str) -> bool:
    # aiokafka logs an error for every connection refused; a start would fill pages.
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except OSError:
        return False
    return True


async def _describes(bootstrap: str, seconds: float) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(1000 * seconds))
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
            cluster: dict[str, Any] = await admin.describe_cluster()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    return bool(cluster["brokers"])


def main() -> None:
    """Run a broker in the foreground until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    broker = LocalBroker(ROOT / "runs" / "kafka", port=9092)
    try:
        with broker:
            where = broker.folder.relative_to(ROOT)
            print(f"Kafka {kafka_version()} on {broker.bootstrap}, data and log in {where}; Ctrl-C ends it")
            print(f"tests use it with OCTA_KAFKA={broker.bootstrap}", flush=True)
            while broker.pid is not None:
                time.sleep(0.5)
        raise SystemExit(f"the broker ended by itself; see {broker.log}")
    except KeyboardInterrupt:
        print("stopped")
    except BrokerError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
