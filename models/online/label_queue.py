"""Which regions are worth a person's word, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.scores.region_errors import ErrorTable, RegionErrors

REASONS = ("wrong", "uncertain", "contradicted", "novel")
"""In the order in which equal ranks take turns; ``drawn`` comes after all of them."""

LABELLED = 0.5
"""A region with so many of its cells labelled is done, unless words on them contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Words on the cells of one region: cells that have one, and those whose words contradict each other."""

    labelled: int = 0
    contradicted: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request:
    """One region of the queue.

    reason : one of REASONS, or ``drawn``; value : by which it ranks among those with this reason
    inclusion : probability that it is in the queue: 1, but for what is drawn
    """

    region: RegionErrors
    reason: str
    value: float
    inclusion: float
    standing: Standing


def measures(region: RegionErrors, standing: Standing) -> dict[str, float]:
    """How much a region has of every reason; above 0 where it has any.

    wrong : nats of loss beyond what the forecasts expected of themselves
    uncertain : nats of loss that they expected
    contradicted : share of its labelled cells on which words differ, else of observations of a cell that
        differ from the one before
    novel : one over the number of sweeps that saw it: the model has hardly learnt there
    """
    told = standing.contradicted / standing.labelled if standing.contradicted else None
    return {
        "wrong": region.excess or 0.0,
        "uncertain": region.tally.entropy() or 0.0,
        "contradicted": told if told is not None else region.flips or 0.0,
        "novel": 1.0 / (1 + region.sweeps),
    }


def label_queue(
    table: ErrorTable,
    standings: Mapping[int, Standing],
    *,
    count: int,
    least: float,
    drawn: int = 0,
    seed: int = 0,
) -> list[Request]:
    """The regions to label, most worth it first.

    standings : by region id, where there are words; count : regions that are chosen by a reason
    least : forecasts that a region must have had
    drawn : further regions, uniformly from the others: what is measured on chosen regions alone is biased
        towards hard ones, and weights of 1 / inclusion take the bias out
    The reasons take turns: a region stands once, under the reason by which it ranks highest. Deterministic.
    """
    left = [
        (region, standing)
        for region in table.regions
        for standing in [standings.get(region.region, Standing())]
        if region.due >= least and (standing.contradicted or standing.labelled < LABELLED * region.cells)
    ]
    best: dict[int, tuple[int, int, float]] = {}
    for place, reason in enumerate(REASONS):
        values = {region.region: measures(region, standing)[reason] for region, standing in left}
        ranking = sorted((name for name, value in values.items() if value > 0), key=lambda n: (-values[n], n))
        for rank, name in enumerate(ranking):
            best[name] = min(best.get(name, (rank, place, values[name])), (rank, place, values[name]))
    order = sorted((turn[:2], region.region) for region, _ in left if (turn := best.get(region.region)))
    chosen = [name for _, name in order[:count]]
    known = {region.region: (region, standing) for region, standing in left}
    requests = [
        Request(
            region=known[name][0], standing=known[name][1], reason=REASONS[best[name][1]],
            value=best[name][2], inclusion=1.0,
        )
        for name in chosen
    ]  # fmt: skip
    rest = sorted(set(known) - set(chosen))
    some = np.random.default_rng(seed).permutation(len(rest))[:drawn]
    return requests + [
        Request(
            region=known[rest[place]][0], standing=known[rest[place]][1], reason="drawn",
            value=known[rest[place]][0].loss or 0.0, inclusion=len(some) / len(rest),
        )
        for place in sorted(some.tolist())
    ]  # fmt: skip
