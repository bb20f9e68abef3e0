"""When the world or the sensor changes: how fast does learning recover, and how soon do detectors notice?"""

from __future__ import annotations

from dataclasses import dataclass

from agents.studies import detectors, recovery
from agents.studies.doubles import Capture, CapturedLearn, made_of
from agents.studies.drives import StudyOptions, locations
from agents.studies.oracle import oracle_losses
from agents.studies.result import StudyResult
from agents.studies.track import Runner, Track
from stream.sources.simulation.events import DRIFTS

ALL_ALARMS = "drift.max_alarms=100000"
WARMUP = 30  # sweeps; detectors wait for its end
REPLAYS = ("online", "frozen", "periodic")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Changed:
    """One drive on which something began: losses of all contestants, and what detectors watched."""

    losses: recovery.Drive
    online: Track
    frozen: Track


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return (1 + len(DRIFTS) * len(REPLAYS)) * options.count


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay calm drives for false alarms; each drift learning always, never, and now and then."""
    calm = [runner.run(log, "calm", *_settings(options)) for log in locations(options)]
    found = {
        event: [_drive(event, log, options, runner) for log in locations(options, event)] for event in DRIFTS
    }
    losses = {event: [drive.losses for drive in drives] for event, drives in found.items()}
    watched = {
        (event, served): [getattr(drive, served) for drive in drives]
        for event, drives in found.items()
        for served in ("online", "frozen")
    }
    return StudyResult(
        study="drift",
        title="Drift",
        question="When the world or the sensor changes, how fast is the forecast as good again as it can be, "
        "and how soon do the detectors notice?",
        method=(
            f"At sweep {options.begin} something begins and stays. Online trains on every labelled sweep. "
            f"Periodic takes as many steps in all, every {options.periodic} sweeps. Frozen is the model that "
            f"served the sweep before. The oracle is the same network, trained for {options.oracle_steps:,} "
            "steps on the very outcomes that it is scored on. Recovered means: over ten sweeps the mean log "
            f"loss is at most {1 + recovery.WITHIN:g} times the oracle's. {detectors.METHOD}"
        ),
        logs=tuple(runner.logs),
        findings=(
            *recovery.findings(losses, options.begin),
            *detectors.findings(calm, watched, options.begin),
        ),
        tables=(
            *recovery.tables(losses, options.begin),
            *detectors.tables(calm, watched, options.begin),
        ),
        charts=(
            *(recovery.chart(event, drives, options.begin) for event, drives in losses.items()),
            *detectors.charts(watched, options.begin),
        ),
    )


def _settings(options: StudyOptions) -> tuple[str, str]:
    return ALL_ALARMS, f"task.warmup_sweeps={min(WARMUP, options.begin // 2)}"


def _drive(event: str, log: str, options: StudyOptions, runner: Runner) -> Changed:
    settings = _settings(options)
    config, capture = runner.config(log, *settings), Capture()
    online = runner.run(log, f"{event}: online", *settings, learn=made_of(CapturedLearn, capture=capture))
    oracle = oracle_losses(config, capture, online, options.begin, options.oracle_steps, runner)
    capture.clear()
    frozen = runner.run(log, f"{event}: frozen", *settings, freeze_after=options.begin)
    trigger = options.periodic_trigger(config.learn.steps_per_sweep)
    periodic = runner.run(log, f"{event}: periodic", *settings, trigger)
    return Changed(
        losses={
            "online": online.losses(),
            "periodic": periodic.losses(),
            "frozen": frozen.losses(),
            "oracle": oracle,
        },
        online=online,
        frozen=frozen,
    )
