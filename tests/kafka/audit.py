"""What must hold of the topics and the archive once everything that robots sent has been dealt with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from agents.kafka.admin import run
from agents.kafka.settings import KafkaSettings
from stream.config import Config
from stream.topics import BINNED, OUTCOMES, SHADOWS
from tests.kafka.archived import Archived, read_archived
from tests.kafka.ledger import Ledger, read_published

LOSSES = {
    "gap", "feature_skew", "outcome_missed", "robot_forgotten", "stream_forgotten", "refused",
    "model_failed", "training_failed", "transform_refused",
}  # fmt: skip
"""Kinds of events that must not come."""
SHOWN = 5
"""Names of a kind that are shown; all are counted."""


@dataclass(slots=True)
class Report:
    """rows : what is counted, how many were expected, how many are there; wrong : names by what is wrong"""

    rows: list[tuple[str, str, int]] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def equal(self, what: str, expected: Iterable[object], found: Iterable[object]) -> None:
        """Two sets that must be equal."""
        wanted, there = set(expected), set(found)
        self.rows.append((what, f"{len(wanted):,}", len(there)))
        self.none(f"{what}: missing", wanted - there)
        self.none(f"{what}: unexpected", there - wanted)

    def some(self, what: str, found: Iterable[object]) -> None:
        """A set that must not be empty."""
        count = len(set(found))
        self.rows.append((what, "some", count))
        if not count:
            self.wrong[what] = ["none"]

    def none(self, what: str, names: Iterable[object]) -> None:
        """Things that must not be."""
        listed = sorted(map(str, names))
        if listed:
            self.wrong[what] = listed

    def table(self) -> Table:
        """All counts."""
        table = Table()
        table.add_column("what")
        table.add_column("expected", justify="right")
        table.add_column("found", justify="right")
        for what, expected, found in self.rows:
            table.add_row(what, expected, f"{found:,}")
        return table

    def lines(self) -> list[str]:
        """What is wrong, a line a kind."""
        found = []
        for what, names in self.wrong.items():
            more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
            found.append(escape(f"{what}: {', '.join(names[:SHOWN])}{more}"))
        return found


def audit(
    settings: KafkaSettings,
    config: Config,
    ledgers: Sequence[Ledger],
    sent: Mapping[str, int],
    perceives: Mapping[str, Sequence[int]],
    nonsense: int = 0,
) -> Report:
    """Compare what was sent with what became of it.

    config : of the workers; ledgers : what lies in the topics
    sent : sweeps by robot, as the robots' logs have them; nonsense : messages that were no sweeps
    perceives : partitions by Perceive worker
    """
    report = Report()
    _sweeps(report, ledgers, sent)
    _nonsense(report, ledgers, nonsense)
    _outcomes(report, ledgers, config)
    trained = {item.model_id for item in run(read_published(settings)) if item.kind == "update"}
    _models(report, ledgers, trained, perceives)
    _events(report, ledgers)
    compare_archives(report, ledgers, [read_archived(settings, ledger.partition) for ledger in ledgers])
    return report


def _union(ledgers: Sequence[Ledger], names: Callable[[Ledger], Iterable[object]]) -> set[object]:
    return {name for ledger in ledgers for name in names(ledger)}


def _sweeps(report: Report, ledgers: Sequence[Ledger], sent: Mapping[str, int]) -> None:
    """Each sweep is one prediction and none a dead letter: all are good. What comes again is the same."""
    received = _union(ledgers, lambda ledger: ledger.sweep_ms)
    for robot, count in sent.items():
        there = sum(str(name).startswith(f"{robot}/") for name in received)
        report.rows.append((f"sweeps of {robot}", f"{count:,}", there))
        report.none(f"sweeps of {robot}", [f"{there} of {count}"] if there != count else [])
    predicted = _union(ledgers, lambda ledger: ledger.models)
    rejected = _union(ledgers, lambda ledger: ledger.rejected)
    report.equal("sweeps with a prediction or a reason", received, predicted | rejected)
    report.rows.append(("of these rejected", "0", len(rejected)))
    report.none(
        "good sweeps rejected",
        (f"{name} ({why})" for ledger in ledgers for name, why in ledger.rejected.items()),
    )
    report.none("both predicted and rejected", predicted & rejected)
    report.equal("sweeps binned", predicted, _union(ledgers, _binned))
    compare_shadows(report, ledgers)
    report.none("came again, with other contents", _union(ledgers, lambda ledger: ledger.contradicted))
    report.rows.append(("records that came again", "", sum(ledger.repeated.total() for ledger in ledgers)))


def _nonsense(report: Report, ledgers: Sequence[Ledger], sent: int) -> None:
    """Each message that is no sweep has its dead letter."""
    there = _union(ledgers, lambda ledger: ledger.nonsense)
    report.rows.append(("messages that are no sweeps", f"{sent:,}", len(there)))
    report.none("messages that are no sweeps", [f"{len(there)} of {sent}"] if len(there) != sent else [])
    report.equal("of these with a dead letter", there, _union(ledgers, lambda ledger: ledger.letters))


def _binned(ledger: Ledger) -> Iterable[object]:
    return (f"{stream_id}/{stamp_ns}" for _, stream_id, stamp_ns, _ in ledger.names(BINNED))


def _predictions(ledger: Ledger, topic: str) -> Iterable[object]:
    return (prediction_id for _, prediction_id, *_ in ledger.names(topic))


def _outcomes(report: Report, ledgers: Sequence[Ledger], config: Config) -> None:
    """Wherever a sweep was taken at a horizon there is an outcome, and it is what one Judge says."""
    due = {
        ("Outcome", name, horizon)
        for ledger in ledgers
        for name, (stream_id, stamp_ns) in ledger.stamps.items()
        for horizon in config.task.horizons_ns
        if f"{stream_id}/{stamp_ns + horizon}" in ledger.models
    }
    report.equal("outcomes", due, _union(ledgers, lambda ledger: ledger.names(OUTCOMES)))
    report.none(
        "outcome differs from that of one Judge without a break",
        _union(ledgers, lambda ledger: ledger.expected.items() ^ ledger.prints.get(OUTCOMES, {}).items()),
    )


def _models(
    report: Report, ledgers: Sequence[Ledger], trained: set[str], perceives: Mapping[str, Sequence[int]]
) -> None:
    """Predictions are of the model that their stream activated last; each Perceive served what was learnt."""
    report.some("models trained and published", trained)
    for worker, partitions in perceives.items():
        own = [ledger for ledger in ledgers if ledger.partition in partitions]
        report.some(f"of these activated by {worker}", trained & _union(own, Ledger.activated))
        report.some(f"of these served by {worker}", trained & _union(own, _served))
    report.none("not of the model that was activated", _union(ledgers, _unannounced))


def _served(ledger: Ledger) -> Iterable[object]:
    return ledger.models.values()


def _unannounced(ledger: Ledger) -> Iterable[object]:
    return (name for name, model in ledger.models.items() if model != ledger.active(name))


def _events(report: Report, ledgers: Sequence[Ledger]) -> None:
    """Agents themselves tell of no loss. Learn may leave out outcomes that come late; that is counted."""
    told = _union(ledgers, lambda ledger: ledger.events)
    report.none("events that tell of a loss", told & LOSSES)
    forgotten = sum(ledger.events["forgotten"] for ledger in ledgers)
    report.rows.append(("predictions that Learn could not wait for", "", forgotten))


def compare_shadows(report: Report, ledgers: Sequence[Ledger]) -> None:
    """Learn has said of every prediction what others would have said, so it has passed over none."""
    predicted = _union(ledgers, lambda ledger: ledger.models)
    shadows = _union(ledgers, lambda ledger: _predictions(ledger, SHADOWS))
    report.equal("predictions with shadows", predicted, shadows)


def compare_archives(report: Report, ledgers: Sequence[Ledger], archives: Sequence[Archived]) -> None:
    """Every row of predictions and outcomes, every container, and all shadows, beside the topics."""
    parts = {part for archived in archives for part in archived.parts}
    report.equal("archived predictions and outcomes", _union(ledgers, lambda ledger: ledger.parts()), parts)
    containers = {item for archived in archives for item in archived.containers.items()}
    report.equal(
        "archived containers",
        _union(ledgers, lambda ledger: ledger.prints.get(BINNED, {}).items()),
        containers,
    )
    report.equal(
        "archived shadows",
        _union(ledgers, lambda ledger: _predictions(ledger, SHADOWS)),
        {name for archived in archives for name in archived.shadows},
    )
    report.equal(
        "archived sweeps",
        _union(ledgers, lambda ledger: ledger.models),
        {name for archived in archives for name in archived.sweeps},
    )
    report.none("of these archived twice", {name for archived in archives for name in archived.doubled})
