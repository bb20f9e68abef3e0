"""What a worker says and ends with when Faust's client gives up."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, UnknownError, for_code

from agents.journal import Claim, Place
from agents.kafka.messages import Message, encode_entry
from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Runner, Worker
from agents.task import TakenOver
from agents.task_id import TaskId
from stream.config import load_config

JOURNAL: Place = TaskId("archive", 0, 1).journal
EXPECTED = 3
"""Offset that the next entry of the task would have."""


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    ("reason", "code", "said"),
    [
        (KafkaError(repr(for_code(82)())), 1, "archive: another worker has the name --instance a-0, so this"),
        (GroupAuthorizationFailedError("octa-archive"), 1, "archive: cannot go on: GroupAuthorization"),
        (KafkaError(repr(UnknownError())), 70, "archive: cannot go on: KafkaError"),
    ],
)
def test_a_client_that_gives_up_ends_its_worker_with_the_reason(
    reason: Exception,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def give_up(runner: Any) -> None:
        runner.crash_reason = reason
        raise SystemExit(1)

    monkeypatch.setattr(Runner, "execute_from_commandline", give_up)
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=tmp_path, instance="a-0")
    worker = Worker(
        "archive", settings, play_of("archive", load_config(None, ["grid.map_frame=odom"]), settings)
    )
    with caplog.at_level(logging.CRITICAL), pytest.raises(SystemExit) as ended:
        worker.run()
    assert ended.value.code == code
    assert said in caplog.text


class Journal:
    """As KafkaLog, of one journal that ends with claims of others."""

    def __init__(self, *processes: str) -> None:
        self._messages = [
            Message(
                place=JOURNAL,
                offset=EXPECTED + number,
                key=None,
                value=encode_entry(Claim(process)),
                headers=(),
                appended_ms=0,
            )
            for number, process in enumerate(processes)
        ]

    async def end(self, places: list[Place]) -> dict[Place, int]:
        return dict.fromkeys(places, EXPECTED + len(self._messages))

    async def read(self, place: Place, first: int, end: int) -> list[Message]:
        return self._messages


@pytest.mark.fault(44)
def test_a_task_that_was_given_to_another_of_the_same_name_is_not_taken_back(tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=tmp_path, instance="a-0")
    play = play_of("archive", load_config(None, ["grid.map_frame=odom"]), settings)
    worker = Worker("archive", settings, play)
    task = SimpleNamespace(identity=TaskId("archive", 0, 1), expected=EXPECTED)

    def was_away(*processes: str) -> bool:
        running: Any = SimpleNamespace(turn=asyncio.Lock(), driver=SimpleNamespace(task=task))
        host: Any = SimpleNamespace(log=Journal(*processes))
        return asyncio.run(worker._was_away(running, host))

    assert not was_away()
    assert was_away("elsewhere-7@a-1")
    assert was_away("elsewhere-7@a-0", "elsewhere-8@a-1")  # the last one counts
    with pytest.raises(TakenOver) as taken:
        was_away("elsewhere-8@a-1", "elsewhere-7@a-0")
    assert taken.value.by == "elsewhere-7@a-0"
