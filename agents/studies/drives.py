"""Which logs a study replays: simulated drives with what goes wrong in them, or a log that was asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from stream.sources.base import SourceOptions
from stream.sources.simulation.events import parse_events
from stream.sources.simulator import parse_location

DRIVE = "sim:city?seed=301&beams=32&azimuths=512"
"""A city, with half the points a turn of the simulator's default, so that a study takes minutes."""


class StudyError(ValueError):
    """A study that cannot be made of this log or with these numbers; one line with the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What a study is made of.

    logs : simulated drives without events, and recorded logs
    sweeps : of each replay; begin : number of the sweep at which something happens, and scores begin
    drives : of each simulated one, with seeds one after the other; a recorded log is one
    settings : ``key=value`` of the configuration, of all contestants
    oracle_steps : optimiser steps of the oracle; periodic : sweeps from one retraining to the next
    """

    logs: tuple[str, ...] = (DRIVE,)
    sweeps: int = 120
    begin: int = 50
    drives: int = 1
    settings: tuple[str, ...] = ()
    oracle_steps: int = 2000
    periodic: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.begin < self.sweeps:
            raise StudyError(f"--begin {self.begin}: must be above 0 and below --sweeps {self.sweeps}")
        if self.drives > 1 and not any(map(_simulated, self.logs)):
            raise StudyError(
                f"--drives {self.drives}: {self.logs[0]} is one log; only sim:... has other seeds"
            )

    @property
    def count(self) -> int:
        """How many logs there are, drives of each simulated one counted."""
        return sum(self.drives if _simulated(log) else 1 for log in self.logs)

    @property
    def scored_from(self) -> str:
        """The setting that has scores begin, and the frozen baseline end, at ``begin``."""
        return f"task.warmup_sweeps={self.begin}"

    def periodic_trigger(self, steps_per_sweep: int) -> str:
        """The setting that has all steps taken every ``periodic`` sweeps, as many as otherwise at each."""
        steps = steps_per_sweep * self.periodic
        return f"learn.triggers.steady={{when: amount, sweeps: {self.periodic}, steps: {steps}}}"


def _simulated(log: str) -> bool:
    """Whether other seeds and events can be had."""
    return log.startswith("sim:")


def locations(options: StudyOptions, event: str = "") -> list[str]:
    """The logs to replay, one a drive. event : name of what begins at ``options.begin``, empty for nothing

    Raises StudyError for an event in a recorded log, SourceError
    """
    return [location for log in options.logs for location in _drives(log, options, event)]


def _drives(log: str, options: StudyOptions, event: str) -> list[str]:
    if not _simulated(log):
        if event:
            raise StudyError(f"{log}: {event} can be planted in a simulated drive only; give sim:...")
        return [log]
    drive = parse_location(log, SourceOptions())
    if drive.events:
        raise StudyError(f"{log}: leave its events out; the study plants its own")
    events = parse_events(f"{event}@{options.begin}") if event else ()
    return [
        dataclasses.replace(drive, seed=drive.seed + place, sweeps=options.sweeps, events=events).location
        for place in range(options.drives)
    ]
