"""How fast does learning recover when the world or the sensor changes, beside a frozen, a periodically
retrained and an oracle network?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.studies.doubles import Capture, CapturedLearn, made_of
from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import WINDOW, Series, excess, mean, smooth, time_to_recover
from agents.studies.oracle import oracle_losses
from agents.studies.result import Cell, Chart, Finding, Mark, StudyResult, Table, line, number
from agents.studies.track import Runner
from stream.sources.simulation.events import DRIFTS

WITHIN = 0.05
"""Recovered: within so much of the oracle's log loss."""

WANTED = ("rain", "dropped-beams")
"""Under these, online is to recover and frozen is not."""

CONTESTANTS = ("online", "periodic", "frozen", "oracle")
REPLAYS = 2  # online, which has frozen in shadow and the oracle's outcomes, and periodic
STRETCHES = ((0, 10), (10, 20), (20, 40), (40, None))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drive:
    """Log losses by sweep of every contestant on one drive."""

    losses: Mapping[str, Series]


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return len(DRIFTS) * REPLAYS * options.drives


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay every drift, once learning all along and once retrained now and then; train the oracle."""
    found = {event: [_drive(log, options, runner) for log in locations(options, event)] for event in DRIFTS}
    tables = (_recovery_table(found, options), _loss_table(found, options), _excess_table(found, options))
    return StudyResult(
        study="recovery",
        title="Recovery from drift",
        question="When the world or the sensor changes, how fast is the forecast as good again as it can be?",
        method=(
            f"At sweep {options.begin} something begins and stays. Online trains on every labelled sweep. "
            f"Periodic takes as many steps in all, every {options.periodic} sweeps. Frozen is the model that "
            f"served the sweep before. The oracle is the same network, trained for {options.oracle_steps:,} "
            "steps on the very outcomes that it is scored on. Recovered means: over ten sweeps the mean log "
            f"loss is at most {1 + WITHIN:g} times the oracle's."
        ),
        logs=tuple(runner.logs),
        findings=tuple(_findings(found, options)),
        tables=tables,
        charts=tuple(_chart(event, drives, options) for event, drives in found.items()),
    )


def _drive(log: str, options: StudyOptions, runner: Runner) -> Drive:
    capture = Capture()
    name = log.partition("events=")[2].partition("&")[0]
    online = runner.run(
        log, f"{name}: online", options.scored_from, learn=made_of(CapturedLearn, capture=capture)
    )
    config = runner.config(log, options.scored_from)
    oracle = oracle_losses(config, capture, online, options.begin, options.oracle_steps, runner)
    capture.examples.clear()
    steps = config.learn.steps_per_sweep * options.periodic
    periodic = runner.run(
        log, f"{name}: periodic", options.scored_from,
        f"learn.triggers.steady={{when: amount, sweeps: {options.periodic}, steps: {steps}}}",
    )  # fmt: skip
    return Drive(
        losses={
            "online": online.losses(),
            "periodic": periodic.losses(),
            "frozen": online.losses("frozen"),
            "oracle": oracle,
        }
    )


def _recovered(drives: Sequence[Drive], name: str, begin: int) -> list[int | None]:
    return [
        time_to_recover(drive.losses[name], drive.losses["oracle"], begin, WITHIN, WINDOW) for drive in drives
    ]


def _last(drives: Sequence[Drive], name: str, begin: int) -> float:
    """Excess over the oracle in the last third of what was scored, mean over drives."""
    values = []
    for drive in drives:
        known = np.flatnonzero(np.isfinite(drive.losses["oracle"]))
        if len(known):
            values.append(
                excess(drive.losses[name], drive.losses["oracle"], int(known[-(len(known) // 3) :][0]))
            )
    return float(np.mean(values)) if values else float("nan")


def _findings(found: Mapping[str, Sequence[Drive]], options: StudyOptions) -> list[Finding]:
    findings = []
    for event, drives in found.items():
        online, frozen = (_recovered(drives, name, options.begin) for name in ("online", "frozen"))
        last = {name: _last(drives, name, options.begin) for name in ("online", "frozen")}
        back = [sweeps for sweeps in online if sweeps is not None]
        text = (
            f"{event}: online is within {WITHIN:.0%} of the oracle "
            + (f"after {np.mean(back):.0f} sweeps" if len(back) == len(online) else
               f"in {len(back)} of {len(online)} drives")
            + f", and {last['online']:+.1%} from it in the last third; frozen "
            + ("is not within it in any drive" if not any(s is not None for s in frozen) else
               f"is within it in {sum(s is not None for s in frozen)} of {len(frozen)} drives")
            + f", and {last['frozen']:+.1%} from it in the last third."
        )  # fmt: skip
        holds = len(back) == len(online) and last["online"] <= WITHIN < last["frozen"]
        findings.append(Finding(text=text, holds=holds if event in WANTED else None))
    return findings


def _recovery_table(found: Mapping[str, Sequence[Drive]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        cells: list[Cell] = [event]
        for name in ("online", "periodic", "frozen"):
            sweeps = _recovered(drives, name, options.begin)
            cells.append(", ".join("never" if count is None else str(count) for count in sweeps))
        rows.append(tuple(cells))
    return Table(
        title="Sweeps until recovered, by drive",
        columns=("drift", "online", "periodic", "frozen"),
        rows=tuple(rows),
        note=f"The first of ten sweeps over which the mean loss is within {WITHIN:.0%} of the oracle's.",
    )


def _loss_table(found: Mapping[str, Sequence[Drive]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        for name in CONTESTANTS:
            means = [_stretch(drives, name, options.begin, *stretch) for stretch in STRETCHES]
            rows.append((event, name, *(number(value) for value in means)))
    heads = tuple(f"sweeps {first}" + ("+" if end is None else f" to {end - 1}") for first, end in STRETCHES)
    return Table(
        title="Log loss after the change",
        columns=("drift", "contestant", *heads),
        rows=tuple(rows),
        note="Nats a cell; sweeps since the change.",
    )


def _stretch(drives: Sequence[Drive], name: str, begin: int, first: int, end: int | None) -> float:
    """Mean loss over some sweeps after the change, mean over drives."""
    last = None if end is None else begin + end
    return float(np.mean([mean(drive.losses[name], begin + first, last) for drive in drives]))


def _excess_table(found: Mapping[str, Sequence[Drive]], options: StudyOptions) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        cells: list[Cell] = [event]
        for name, reference in (
            ("online", "oracle"),
            ("frozen", "oracle"),
            ("online", "frozen"),
            ("periodic", "oracle"),
        ):
            values = [excess(d.losses[name], d.losses[reference], options.begin) for d in drives]
            cells.append(number(float(np.mean(values))))
        rows.append(tuple(cells))
    return Table(
        title="Relative excess of log loss over all sweeps after the change",
        columns=(
            "drift",
            "online over oracle",
            "frozen over oracle",
            "online over frozen",
            "periodic over oracle",
        ),
        rows=tuple(rows),
        note="0.05 is 5 % more; negative is less.",
    )


def _chart(event: str, drives: Sequence[Drive], options: StudyOptions) -> Chart:
    first = drives[0]
    return Chart(
        title=f"{event}: log loss, mean of ten sweeps",
        x_title="sweep",
        y_title="log loss (nats a cell)",
        lines=tuple(line(name, smooth(first.losses[name])) for name in CONTESTANTS),
        marks=(Mark(x=options.begin, text=event),),
    )
