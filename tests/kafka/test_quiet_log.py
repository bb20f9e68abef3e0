"""A library that says the same again and again is heard once in ten seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.kafka.play import play_of
from agents.kafka.quiet_log import INTERVAL_SECONDS, MAX_TEMPLATES, QuietFilter
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Runner, Worker
from stream.config import load_config
from stream.topics import JUDGE


class Listener(logging.Handler):
    """Keeps what comes through its filters; the time stands still until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.lines = 0.0, list[str]()
        self.quiet = QuietFilter(lambda: self.now)
        self.addFilter(self.quiet)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    logging.getLogger().addHandler(listener)
    yield listener
    logging.getLogger().removeHandler(listener)


def complain(seconds: float = 0.0, name: str = "aiokafka.conn", template: str = "%s is away") -> None:
    logging.getLogger(name).warning(template, f"broker after {seconds:g} s")


def test_a_line_that_comes_again_is_left_out_and_counted(listener: Listener) -> None:
    for tick in range(41):
        listener.now = tick * 0.5
        complain(listener.now)
    assert INTERVAL_SECONDS == 10
    assert listener.lines == [
        "broker after 0 s is away",
        "broker after 10 s is away (19 more like it were left out)",
        "broker after 20 s is away (19 more like it were left out)",
    ]


def test_a_line_after_a_pause_is_whole(listener: Listener) -> None:
    complain(0)
    listener.now = 60
    complain(60)
    assert listener.lines == ["broker after 0 s is away", "broker after 60 s is away"]


def test_other_loggers_and_other_templates_are_not_held_up_by_it(listener: Listener) -> None:
    complain()
    complain(template="%s is back")
    complain(name="aiokafka.consumer.fetcher")
    complain(name="faust.transport.consumer")
    complain(name="faustian")
    complain(name="faustian")
    assert len(listener.lines) == 6


def test_what_a_message_is_formatted_from_may_change(listener: Listener) -> None:
    for seconds in range(5):
        complain(seconds, name="faust")
    assert listener.lines == ["broker after 0 s is away"]


def test_it_remembers_a_bounded_number_of_templates_and_the_newest_of_them(listener: Listener) -> None:
    for number in range(2 * MAX_TEMPLATES):
        complain(template=f"%s {number}")
    assert len(listener.quiet._seen) == MAX_TEMPLATES
    listener.lines.clear()
    complain(template=f"%s {2 * MAX_TEMPLATES - 1}")
    assert listener.lines == []
    complain(template="%s 0")
    assert listener.lines == ["broker after 0 s 0"]


def test_a_workers_log_is_quiet(tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:9", partitions=1, folder=tmp_path)
    worker = Worker(JUDGE, settings, play_of(JUDGE, load_config(None, ["grid.map_frame=odom"]), settings))
    logger = logging.Logger("root of a worker")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    runner = Runner(worker.app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    runner.spinner = None
    runner.on_setup_root_logger(logger, logging.WARNING)
    assert [type(item) for item in handler.filters] == [QuietFilter]
