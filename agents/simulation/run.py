"""One seed from world to verdict; many seeds; and the shortest history that still fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agents.simulation.cast import Cast
from agents.simulation.checkers import check
from agents.simulation.cluster import Cluster, Line
from agents.simulation.dice import Dice, Fault
from agents.simulation.evidence import evidence_of
from agents.simulation.faults import Violation
from agents.simulation.world import make_world
from stream.transform import Transform


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left out of a seed's history: robots, inputs by number, faults by name and number."""

    robots: frozenset[str] = frozenset()
    inputs: frozenset[int] = frozenset()
    faults: frozenset[Fault] = frozenset()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Result:
    """What one seed led to.

    faults : those that struck, in order; robots : their names
    inputs : sweeps and models sent, by number; counts : records in the log by topic
    """

    seed: int
    violations: list[Violation]
    faults: list[Fault]
    robots: list[str]
    inputs: list[int]
    counts: Counter[str]
    steps: int
    history: list[Line] = field(repr=False)

    @property
    def checkers(self) -> set[str]:
        """Names of the rules that were broken."""
        return {violation.checker for violation in self.violations}


def stage(seed: int, cast: Cast | None = None, cut: Cut | None = None) -> Cluster:
    """The world and the cluster of a seed, before anything has happened."""
    cast, cut = cast or Cast(), cut or Cut()
    dice = Dice(seed, cast.rates, cut.faults, cast.enabled_share)
    world = make_world(dice, cut.inputs, cut.robots)
    return Cluster(
        world,
        dice,
        cast.outside(world, dice),
        make_driver=lambda task_id, host: cast.drive(task_id, world.config, host),
    )


def simulate(seed: int, cast: Cast | None = None, cut: Cut | None = None) -> Result:
    """Run one seed and check it; the same arguments give the same result."""
    cluster = stage(seed, cast, cut)
    cluster.run()
    violations = cluster.violations or check(evidence_of(cluster))
    cluster.close()
    sent = (*cluster.world.story, *cluster.world.closing)
    return Result(
        seed=seed,
        violations=violations,
        faults=cluster.dice.fired,
        robots=sorted({item.robot for item in sent if item.robot}),
        inputs=[item.number for item in sent if not isinstance(item.record, Transform)],
        counts=Counter(entry.place[0] for entry in cluster.log.all()),
        steps=cluster.steps,
        history=cluster.history,
    )
