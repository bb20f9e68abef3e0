"""The jars of Apache Kafka: fetched by Maven once, kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.data import ROOT

POM = ROOT / "deploy" / "kafka" / "pom.xml"
FETCH_SECONDS = 240.0
WAY_OUT = "or name a running broker: OCTA_KAFKA=HOST:PORT"


class BrokerError(RuntimeError):
    """A broker that cannot be had, or that does not do what it should; the message says the way out."""


def kafka_version() -> str:
    """The version of Apache Kafka that the pom names."""
    found = ET.parse(POM).findtext("{*}properties/{*}kafka.version")
    if not found:
        raise BrokerError(f"no property kafka.version in {POM}")
    return found


def cache_folder(environment: Mapping[str, str]) -> Path:
    """``$XDG_CACHE_HOME/octastream``, with ``~/.cache`` where the variable is unset or not absolute."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "octastream"


def program(name: str, package: str) -> str:
    """Full path of a program; BrokerError that says what to install where it is missing."""
    path = shutil.which(name)
    if path is None:
        raise BrokerError(f"{name} not found: install {package}, {WAY_OUT}")
    return path


def libraries(cache: Path | None = None) -> Path:
    """Folder with all jars, fetched when it is not there yet.

    Several processes may ask at once: one fetches, the others wait for it. The folder appears whole or not at
    all, so a fetch that was cut off leaves nothing that a later one would take for the jars.
    """
    cache = cache or cache_folder(os.environ)
    folder = cache / f"kafka-{kafka_version()}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / "fetch.lock"):
            if not folder.exists():
                _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as name:
        target = Path(name, "libs")
        command = [program("mvn", "Maven"), "--quiet", "--batch-mode", "--file", str(POM), f"-Dlibs={target}",
                   "dependency:copy-dependencies"]  # fmt: skip
        try:
            subprocess.run(command, check=True, timeout=FETCH_SECONDS, text=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        except subprocess.CalledProcessError as error:
            said = "\n".join(error.stdout.splitlines()[-15:])
            raise BrokerError(
                f"Maven could not fetch Kafka; check its settings, {WAY_OUT}\n{said}"
            ) from error
        except subprocess.TimeoutExpired as error:
            reason = f"Maven fetched for {FETCH_SECONDS:.0f} s without an end; run it by hand ({POM})"
            raise BrokerError(f"{reason}, {WAY_OUT}") from error
        if not any(target.glob("kafka_*.jar")):
            raise BrokerError(f"Maven ended well and left no Kafka in {target}; look at {POM}, {WAY_OUT}")
        target.rename(folder)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the kernel frees it when its owner dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
