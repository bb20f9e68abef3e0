"""Rules about what records say: evidence, predictions, outcomes, labels, models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from agents.protocol import Restore, Train, WriteTable
from agents.simulation.evidence import Evidence
from agents.simulation.rebuilt import ExpectedOutcome
from agents.simulation.topics import fingerprint
from models.online.builtin import MODEL_ID
from stream.codecs.state import unpack
from stream.records import FREEZE, HOLDS, PIN, RELEASE, Event, Outcome
from stream.run_folder import CONTAINERS
from stream.sweep import Sweep
from stream.sweep_rows import SWEEPS
from stream.topics import ALARMS, ARCHIVE, BINNED, OUTCOMES, PERCEIVE, PREDICTIONS, PUBLISHED, SHADOWS


def wrong_value(e: Evidence) -> Iterator[str]:
    """Evidence, predictions and outcomes are what the points, the records and the model say."""
    yield from e.rebuilt.faults
    for record in e.first(PREDICTIONS).values():
        expected = e.rebuilt.predictions.get(record.prediction_id)
        if expected is None:
            yield f"prediction {record.prediction_id} does not follow from the binned records"
        else:
            for what, given, right in expected.compare(record, e.outside):
                yield f"prediction {record.prediction_id}: {what} is {given}, should be {right}"
    for record in e.first(OUTCOMES).values():
        name = (record.prediction_id, record.horizon_ns)
        outcome = e.rebuilt.outcomes.get(name)
        if outcome is None:
            yield f"outcome {name} does not follow from the binned records"
        elif outcome.observed_stamp_ns != record.observed_stamp_ns:
            yield f"outcome {name} is of {record.observed_stamp_ns}, should be {outcome.observed_stamp_ns}"
        elif fingerprint((outcome.cell_id, outcome.occupied)) != fingerprint(
            (record.cell_id, record.occupied)
        ):
            yield f"outcome {name} has other cells or states than the sweep that revealed it"


def _cells(outcome: ExpectedOutcome | Outcome) -> str:
    return fingerprint((outcome.cell_id, outcome.occupied))


def unobserved_label(e: Evidence) -> Iterator[str]:
    """A label exists only where a later sweep saw the cell, and a trainer is given what outcomes say."""
    outcomes = e.first(OUTCOMES)
    for record in outcomes.values():
        cells = e.rebuilt.unobserved(record)
        if cells:
            yield f"outcome {record.prediction_id} at {record.horizon_ns}: no ray reached {cells} cells of it"
    horizons = e.world.config.task.horizons_ns
    for request in e.outside.trained:
        for labels in request.labels:
            outcome = outcomes.get(("Outcome", labels.prediction_id, horizons[labels.horizon]))
            given = fingerprint((labels.row, labels.occupied))
            if outcome is None or fingerprint((outcome.row, outcome.occupied)) != given:
                yield f"training at {request.stamp_ns}: labels of {labels.prediction_id} are not its outcome"


def unlearned(e: Evidence) -> Iterator[str]:
    """Learn rebuilds the very features that were predicted from, and says which outcomes passed it by."""
    for record in e.first(ALARMS).values():
        if record.kind == "feature_skew":
            yield f"prediction {record.fields['prediction_id']} was not rebuilt: {record.fields['reason']}"
    shadows = e.first(SHADOWS)
    for record in e.first(PREDICTIONS).values():
        if ("Shadow", record.prediction_id) not in shadows:
            yield f"prediction {record.prediction_id} has no shadow"
    horizons = e.world.config.task.horizons_ns
    learned = {
        (labels.prediction_id, horizons[labels.horizon])
        for request in e.outside.trained
        for labels in request.labels
    }
    forgotten = {
        (record.fields["prediction_id"], horizon)
        for record in e.first(ALARMS).values()
        if record.kind == "forgotten"
        for horizon in record.fields["horizons_ns"]
    }
    closing = min((i.record.stamp_ns for i in e.world.closing if isinstance(i.record, Sweep)), default=0)
    for record in e.first(OUTCOMES).values():
        name = (record.prediction_id, record.horizon_ns)
        told = name in forgotten or record.observed_stamp_ns >= closing
        if name not in learned and not told:
            yield f"outcome {name} was never learned"
    yield from _from_scratch(e)


def _from_scratch(e: Evidence) -> Iterator[str]:
    """A trainer begins from nothing only where Learn, too, knows of no weights.

    It knows none before it has adopted some, and none once it has gone back to a prior, whose weights a new
    trainer has anyway; that may come between a request and its training.
    """
    known: set[str] = set()
    asked: set[tuple[str, int]] = set()
    excused: set[tuple[str, int]] = set()  # trainings that may begin from nothing
    for step in (step for alone in e.alone.values() for _, step in alone.steps):
        known |= {o.fields["lineage"] for o in step.outputs if isinstance(o, Event) and o.kind == "trained"}
        for effect in step.effects:
            if isinstance(effect, Restore) and not effect.weights:
                known.discard(effect.lineage)
                excused |= {name for name in asked if name[0] == effect.lineage}
            elif isinstance(effect, Train):
                asked.add((effect.lineage, effect.stamp_ns))
                excused |= {(effect.lineage, effect.stamp_ns)} if effect.lineage not in known else set()
    for request in e.outside.from_scratch:
        if (request.lineage, request.stamp_ns) not in excused:
            yield f"training at {request.stamp_ns} began from nothing, and earlier weights are known"


def unarchived(e: Evidence) -> Iterator[str]:
    """Every record is archived once, or is in a chunk that is still open."""
    found: Counter[tuple[Any, ...]] = Counter()
    for effect in e.outside.files.values():
        if isinstance(effect, WriteTable) and effect.dataset in ROWS:
            found.update(_archived(effect.dataset, effect.table))
    for task_id, state in e.states.items():
        if task_id.agent == ARCHIVE:
            tree = unpack(state)
            found.update((SWEEPS, item["stream_id"], item["stamp_ns"]) for item in tree["predictions"])
            for batch in tree["batches"]:
                found.update(_archived(CONTAINERS, pa.ipc.open_stream(batch).read_all()))
            for dataset in ROWS.keys() & tree["tables"].keys():
                found.update(_archived(dataset, pa.ipc.open_stream(tree["tables"][dataset]).read_all()))
    expected: Counter[tuple[Any, ...]] = Counter()
    for prediction in e.first(PREDICTIONS).values():
        expected[SWEEPS, prediction.stream_id, prediction.stamp_ns] = 1
    for binned in e.first(BINNED).values():
        expected[CONTAINERS, binned.robot_id, binned.seq] = 1
    for shadow in e.first(SHADOWS).values():
        expected["shadows", shadow.prediction_id] = len(shadow.cell_id)
    for outcome in e.first(OUTCOMES).values():
        expected["outcomes", outcome.prediction_id, outcome.horizon_ns] = len(outcome.cell_id)
    for name in sorted(expected.keys() | found.keys()):
        if found[name] != expected[name]:
            yield f"{name}: {found[name]} of {expected[name]} rows are archived"


ROWS = {
    SWEEPS: ("stream_id", "stamp_ns"),
    CONTAINERS: ("robot_id", "seq"),
    "shadows": ("prediction_id",),
    "outcomes": ("prediction_id", "horizon_ns"),
}
"""What the rows of a dataset are told apart by; those of a prediction have its name in common."""


def _archived(dataset: str, table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Names of a chunk's rows."""
    columns = (table[name].to_pylist() for name in ROWS[dataset])
    return ((dataset, *values) for values in zip(*columns, strict=True))


def stale_model(e: Evidence) -> Iterator[str]:
    """In the end every Perceive will serve the newest model that could be loaded, or what a person holds."""
    due = _due_models(e)
    for task_id, state in e.states.items():
        if task_id.agent != PERCEIVE:
            continue
        staged = unpack(state)["models"]["staged"]
        if staged not in due:
            yield f"{task_id} would serve {staged}, should be {' or '.join(sorted(due))}"


def _due_models(e: Evidence) -> set[str]:
    """What may be staged once everything is loaded; several where a freeze has met loads under way."""
    due, newest, held = {MODEL_ID}, MODEL_ID, False
    early: set[str] = set()  # what may have been staged on the way
    for entry in e.log.topic(PUBLISHED):
        record = entry.record
        if record.kind not in HOLDS:
            newest = record.model_id
        early |= due
        if record.kind == FREEZE:
            due, held = early | due, True
            continue
        if (record.kind == RELEASE and not held) or (held and record.kind not in HOLDS):
            continue
        wanted = newest if record.kind == RELEASE or record.kind not in HOLDS else record.model_id
        held = record.kind == PIN
        if wanted not in e.outside.damaged:
            due = {wanted}
        elif record.kind in HOLDS:  # what was staged stays, and loads under way are given up
            due = early | due
    return due
