"""How fast does learning recover from drift, beside frozen, periodic and oracle networks?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agents.studies.measure import WINDOW, Series, excess, mean, smooth, time_to_recover
from agents.studies.result import Cell, Chart, Finding, Mark, Table, line, number

WITHIN = 0.05
"""Recovered: within so much of the oracle's log loss."""

WANTED = ("rain", "dropped-beams")
"""Under these, online is to recover and frozen is not."""

CONTESTANTS = ("online", "periodic", "frozen", "oracle")
STRETCHES = ((0, 10), (10, 20), (20, 40), (40, None))

Drive = Mapping[str, Series]
"""Log losses by sweep of every contestant on one drive."""


def tables(found: Mapping[str, Sequence[Drive]], begin: int) -> tuple[Table, ...]:
    """Sweeps until recovered, losses by stretch, and excess over the oracle; ``found`` by what began."""
    return _recovery_table(found, begin), _loss_table(found, begin), _excess_table(found, begin)


def _recovered(drives: Sequence[Drive], name: str, begin: int) -> list[int | None]:
    return [time_to_recover(drive[name], drive["oracle"], begin, WITHIN, WINDOW) for drive in drives]


def _last(drives: Sequence[Drive], name: str, begin: int) -> float:
    """Excess over the oracle in the last third of what was scored, mean over drives."""
    values = []
    for drive in drives:
        known = np.flatnonzero(np.isfinite(drive["oracle"]))
        if len(known):
            values.append(excess(drive[name], drive["oracle"], int(known[-(len(known) // 3) :][0])))
    return float(np.mean(values)) if values else float("nan")


def findings(found: Mapping[str, Sequence[Drive]], begin: int) -> list[Finding]:
    """One a drift; it holds, where that was hoped for, if online recovers and frozen does not."""
    said = []
    for event, drives in found.items():
        online, frozen = (_recovered(drives, name, begin) for name in ("online", "frozen"))
        last = {name: _last(drives, name, begin) for name in ("online", "frozen")}
        back = [sweeps for sweeps in online if sweeps is not None]
        text = (
            f"{event}: online is within {WITHIN:.0%} of the oracle "
            + (_after(float(np.mean(back))) if len(back) == len(online) else
               f"in {len(back)} of {len(online)} drives")
            + f", and {last['online']:+.1%} from it in the last third; frozen "
            + ("is not within it in any drive" if not any(s is not None for s in frozen) else
               f"is within it in {sum(s is not None for s in frozen)} of {len(frozen)} drives")
            + f", and {last['frozen']:+.1%} from it in the last third."
        )  # fmt: skip
        holds = len(back) == len(online) and last["online"] <= WITHIN < last["frozen"]
        said.append(Finding(text=text, holds=holds if event in WANTED else None))
    return said


def _after(sweeps: float) -> str:
    return f"after {sweeps:.0f} sweeps" if sweeps >= 0.5 else "at once"


def _recovery_table(found: Mapping[str, Sequence[Drive]], begin: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        cells: list[Cell] = [event]
        for name in ("online", "periodic", "frozen"):
            sweeps = _recovered(drives, name, begin)
            cells.append(", ".join("never" if count is None else str(count) for count in sweeps))
        rows.append(tuple(cells))
    return Table(
        title="Sweeps until recovered, by drive",
        columns=("drift", "online", "periodic", "frozen"),
        rows=tuple(rows),
        note=f"The first of ten sweeps over which the mean loss is within {WITHIN:.0%} of the oracle's.",
    )


def _loss_table(found: Mapping[str, Sequence[Drive]], begin: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        for name in CONTESTANTS:
            means = [_stretch(drives, name, begin, *stretch) for stretch in STRETCHES]
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
    return float(np.mean([mean(drive[name], begin + first, last) for drive in drives]))


def _excess_table(found: Mapping[str, Sequence[Drive]], begin: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for event, drives in found.items():
        cells: list[Cell] = [event]
        for name, reference in (
            ("online", "oracle"),
            ("frozen", "oracle"),
            ("online", "frozen"),
            ("periodic", "oracle"),
        ):
            values = [excess(d[name], d[reference], begin) for d in drives]
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


def chart(event: str, drives: Sequence[Drive], begin: int) -> Chart:
    """Losses of the first drive."""
    first = drives[0]
    return Chart(
        title=f"{event}: log loss, mean of ten sweeps",
        x_title="sweep",
        y_title="log loss (nats a cell)",
        lines=tuple(line(name, smooth(first[name])) for name in CONTESTANTS),
        marks=(Mark(x=begin, text=event),),
    )
