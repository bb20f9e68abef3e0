"""What becomes of what is served when labels are falsified?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.studies.doubles import Poison, PoisonedLearn, made_of
from agents.studies.drives import StudyOptions, locations
from agents.studies.measure import Series, excess, mean, smooth
from agents.studies.result import Cell, Chart, Finding, Mark, StudyResult, Table, line, number
from agents.studies.track import Runner, Track

SHARE = 0.2
REGION_LEVELS = 6
"""The region is so many levels coarser than cells: 51 m wide by default."""

TOLERATED = 0.02
"""Served quality may fall by so much, relative to the same drive with true labels."""

UNGUARDED = "learn.guard_margin=1e9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One contestant. guarded : with the guard; at_source : outcomes themselves are false, not only labels"""

    name: str
    guarded: bool = True
    at_source: bool = False
    true: bool = False


ATTACKS = (
    Attack(name="true labels", true=True),
    Attack(name="false labels"),
    Attack(name="false labels, no guard", guarded=False),
    Attack(name="false outcomes", at_source=True),
)


def replays(options: StudyOptions) -> int:
    """How many logs are replayed."""
    return len(ATTACKS) * options.count


def second(options: StudyOptions) -> int:
    """Sweep from which labels are false everywhere: in the middle of what is left."""
    return (options.begin + options.sweeps) // 2


def run(options: StudyOptions, runner: Runner) -> StudyResult:
    """Replay with true labels, and with a share of them turned round in one region, then everywhere."""
    tracks = {
        attack: [_replay(attack, log, options, runner) for log in locations(options)] for attack in ATTACKS
    }
    true = tracks[ATTACKS[0]]
    return StudyResult(
        study="poison",
        title="Poisoned labels",
        question="When labels are falsified, does what is served get worse?",
        method=(
            f"From sweep {options.begin} on {SHARE:.0%} of the labels in one region are turned round, from "
            f"sweep {second(options)} on everywhere. False labels are those that trainers get; gate and "
            "guard still see what happened. False outcomes deceive these as well: nothing in Learn can tell "
            "them from the truth, so they show where this protection ends. Scores are always against what "
            "happened."
        ),
        logs=tuple(runner.logs),
        findings=tuple(_findings(tracks, true, options)),
        tables=(_table(tracks, true, options),),
        charts=(_chart(tracks, options),),
    )  # fmt: skip


def _replay(attack: Attack, log: str, options: StudyOptions, runner: Runner) -> Track:
    if attack.true:
        return runner.run(log, attack.name, options.scored_from)
    config = runner.config(log)
    stamps = _stamps(log, options)
    lod = max(config.grid.lod - REGION_LEVELS, 0)
    poisons = (
        Poison(share=SHARE, begin_ns=stamps[0], end_ns=stamps[1], lod=lod),
        Poison(share=SHARE, begin_ns=stamps[1]),
    )
    learn = made_of(PoisonedLearn, poisons=poisons, at_source=attack.at_source, seed=config.seed)
    settings = () if attack.guarded else (UNGUARDED,)
    return runner.run(log, attack.name, options.scored_from, *settings, learn=learn)


def _stamps(log: str, options: StudyOptions) -> tuple[int, int]:
    """Stamps of the sweeps at which falsifying begins, and at which it spreads."""
    from stream.sources import open_source
    from stream.sweep import Sweep

    wanted = (options.begin, second(options))
    found = []
    sweeps = (item for item in open_source(log) if isinstance(item, Sweep) and item.part == 0)
    for number_, sweep in enumerate(sweeps):
        if number_ in wanted:
            found.append(sweep.stamp_ns)
        if len(found) == len(wanted):
            break
    return found[0], found[1]


def _fall(some: list[Track], true: list[Track], first: int, end: int | None) -> float:
    return float(
        np.mean([excess(a.losses(), b.losses(), first, end) for a, b in zip(some, true, strict=True)])
    )


def _over_frozen(some: list[Track], true: list[Track], first: int) -> float:
    excesses = [excess(a.losses(), b.losses("frozen"), first) for a, b in zip(some, true, strict=True)]
    return float(np.mean(excesses))


def _table(tracks: dict[Attack, list[Track]], true: list[Track], options: StudyOptions) -> Table:
    begin, middle = options.begin, second(options)
    rows: list[tuple[Cell, ...]] = []
    for attack, some in tracks.items():
        loss = float(np.mean([mean(track.losses(), begin) for track in some]))
        rolled = [event for track in some for event in track.named("rolled_back")]
        first = min((some[0].sweep_of(int(event["stamp_ns"])) for event in rolled), default=None)
        rows.append((
            attack.name, number(loss), number(_fall(some, true, begin, middle)),
            number(_fall(some, true, middle, None)), number(_fall(some, true, begin, None)),
            number(_over_frozen(some, true, begin)),
            len(rolled), sum(len(track.named("held_back")) for track in some), first,
        ))  # fmt: skip
    return Table(
        title="What was served, against what happened",
        columns=(
            "labels", "log loss", "relative, one region", "relative, everywhere", "relative, all",
            "over frozen", "rolled back", "held back", "first at sweep",
        ),
        rows=tuple(rows),
        note="Relative to true labels on the same sweeps; 0.02 is 2 % more loss. Over frozen: relative to "
        "the model that served when it began, over all sweeps since. Rolled back: served updates "
        "that lost to their anchor; held back: later ones that lost again and never served.",
    )  # fmt: skip


def _findings(tracks: dict[Attack, list[Track]], true: list[Track], options: StudyOptions) -> list[Finding]:
    findings = []
    for attack, some in tracks.items():
        if attack.true:
            continue
        fall = _fall(some, true, options.begin, None)
        text = (
            f"{attack.name}: log loss {fall:+.1%} against true labels, "
            f"{_over_frozen(some, true, options.begin):+.1%} against the model that served when it began"
        )
        findings.append(
            Finding(
                text=f"{text}.", holds=fall <= TOLERATED if attack.guarded and not attack.at_source else None
            )
        )
    return findings


def _chart(tracks: dict[Attack, list[Track]], options: StudyOptions) -> Chart:
    shown: dict[str, Series] = {attack.name: smooth(some[0].losses()) for attack, some in tracks.items()}
    shown["frozen"] = smooth(tracks[ATTACKS[0]][0].losses("frozen"))
    return Chart(
        title="Log loss of what is served, mean of ten sweeps",
        x_title="sweep",
        y_title="log loss (nats a cell)",
        lines=tuple(line(name, values) for name, values in shown.items()),
        marks=(Mark(x=options.begin, text="one region"), Mark(x=second(options), text="everywhere")),
    )
