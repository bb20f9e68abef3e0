"""What must hold of every run, by the names that readers of Flink's and Jepsen's reports know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agents.in_order import epoch_of, first_seq
from agents.journal import Place, Receipt
from agents.lineages import REMEMBERED_MAKERS
from agents.simulation.evidence import Evidence
from agents.simulation.faults import Violation
from agents.simulation.log import Entry
from agents.simulation.smear import smeared
from agents.simulation.topics import Identity, fingerprint, identity, place_of
from agents.simulation.values import stale_model, unarchived, unlearned, unobserved_label, wrong_value
from agents.task_id import TaskId
from models.scores.breakdown import WINDOW_SWEEPS
from stream.codecs.state import unpack
from stream.sweep import Sweep
from stream.topics import (
    ACTIVATED,
    ALARMS,
    ARCHIVE,
    BINNED,
    JUDGE,
    LEARN,
    OUTCOMES,
    PERCEIVE,
    PREDICTIONS,
    PUBLISHED,
    REJECTED,
    SHADOWS,
    SWEEPS,
)

OUTPUT_TOPICS = (
    BINNED, PREDICTIONS, SHADOWS, OUTCOMES, PUBLISHED, ACTIVATED, REJECTED, ALARMS,
)  # fmt: skip

LONGEST = {PERCEIVE: 24, JUDGE: 24, LEARN: 24, ARCHIVE: 32}
"""Items that any collection in an agent's state may hold once the story is over; a leak passes this. Archive
knows four kinds of records of each of six streams, and three robots."""

ON_PURPOSE = {(JUDGE, ".windowed."): WINDOW_SWEEPS, (LEARN, ".lineages.makers"): REMEMBERED_MAKERS}
"""By an agent and a part of the path: what holds more on purpose, and how much; longer than most stories."""


def _sweep_key(record: Any) -> tuple[str, int, int]:
    return (record.stream_id, record.stamp_ns, record.part)


def lost(e: Evidence) -> Iterator[str]:
    """Every sweep sent has a fate; one without a fault has become evidence; what follows from it is there."""
    binned = {_sweep_key(record) for record in e.first(BINNED).values()}
    rejected = {_sweep_key(record): record.reason for record in e.first(REJECTED).values()}
    for item in (*e.world.story, *e.world.closing):
        if not isinstance(item.record, Sweep):
            continue
        key = _sweep_key(item.record)
        if key not in binned and key not in rejected:
            yield f"sweep {key} has no fate"
        elif key not in binned and not item.fault and item.record.robot_id not in e.world.disordered:
            yield f"sweep {key} was good, and is rejected as {rejected[key]}"
    predictions, outcomes = e.first(PREDICTIONS), e.first(OUTCOMES)
    for prediction_id in e.rebuilt.predictions:
        if ("Prediction", prediction_id) not in predictions:
            yield f"prediction {prediction_id} was never made"
    for prediction_id, horizon in e.rebuilt.outcomes:
        if ("Outcome", prediction_id, horizon) not in outcomes:
            yield f"outcome of {prediction_id} at {horizon} was never given"


def duplicate(e: Evidence) -> Iterator[str]:
    """Records with one identity are equal; no sweep is both evidence and a dead letter."""
    for topic in OUTPUT_TOPICS:
        kept = e.first(topic)
        for entry in e.log.topic(topic):
            first = kept[identity(entry.record)]
            if first is not entry.record and fingerprint(first) != fingerprint(entry.record):
                yield f"{topic}: {identity(entry.record)} is there twice, and differs"
    fates = {_sweep_key(record): "evidence" for record in e.first(BINNED).values()}
    for record in e.first(REJECTED).values():
        key, fate = _sweep_key(record), f"rejected as {record.reason}: {record.detail}"
        if fates.setdefault(key, fate) != fate and key not in e.world.repeats:
            yield f"sweep {key} is {fates[key]}, and {fate}"


def out_of_order(e: Evidence) -> Iterator[str]:
    """Records lie in their partition, binned ones count up from the start of their epoch, a stream is
    predicted by stamp."""
    for topic in OUTPUT_TOPICS:
        for entry in e.log.topic(topic):
            if place_of(entry.record) != entry.place:
                yield f"{identity(entry.record)} is in {entry.place}, belongs in {place_of(entry.record)}"
    next_seq: dict[str, int] = {}
    for record in e.first(BINNED).values():
        expected = next_seq.get(record.robot_id, 0)
        begins = record.seq == first_seq(epoch_of(record.seq)) > expected
        if record.seq != expected and not begins:
            yield f"{record.robot_id}: binned record {record.seq} comes where {expected} should"
        next_seq[record.robot_id] = record.seq + 1
    newest: dict[str, int] = {}
    for record in e.first(PREDICTIONS).values():
        if record.stamp_ns <= newest.get(record.stream_id, -1):
            yield f"prediction {record.prediction_id} comes after {newest[record.stream_id]}"
        newest[record.stream_id] = record.stamp_ns


def unannounced(e: Evidence) -> Iterator[str]:
    """A prediction is made under the model that was activated last, and the log says so before it."""
    activated: dict[str, list[Entry]] = {}
    for entry in e.kept.get(ACTIVATED, {}).values():
        activated.setdefault(entry.record.stream_id, []).append(entry)
    for entry in e.kept.get(PREDICTIONS, {}).values():
        record = entry.record
        before = [
            other
            for other in activated.get(record.stream_id, [])
            if other.record.first_stamp_ns <= record.stamp_ns and other.number < entry.number
        ]
        if not before or before[-1].record.model_id != record.model_id:
            active = before[-1].record.model_id if before else "nothing"
            yield f"prediction {record.prediction_id} is by {record.model_id}, active is {active}"


def unseen(e: Evidence) -> Iterator[str]:
    """Everything in the log has been folded by every group that reads it, and every request is answered."""
    for task_id in e.task_ids:
        task = e.tasks.get(task_id)
        if task is None:
            yield f"{task_id} does not run"
            continue
        for place in task_id.sources:
            if task.positions[place] < e.log.end(place):
                yield f"{task_id} stands at {task.positions[place]} of {e.log.end(place)} in {place}"
        for request, effect in task.open.items():
            yield f"{task_id}: {type(effect).__name__} {request} has no answer"


def unreleased(e: Evidence) -> Iterator[str]:
    """Once all is quiet, every input of every group is acknowledged."""
    for task_id in e.task_ids:
        for place in task_id.inputs:
            committed, end = e.log.committed(task_id.agent, place), e.log.end(place)
            if committed < end:
                what = identity(e.log.get(place, committed).record)
                yield f"{task_id} has committed {committed} of {end} in {place}; next is {what}"


def early(e: Evidence) -> Iterator[str]:
    """What is acknowledged is done with: its fate, and all that it led to, was in the log before."""
    for task_id, alone in e.alone.items():
        needs = {receipt: [identity(output) for output in step.outputs] for receipt, step in alone.steps}
        yield from _early(e, task_id, needs)


def _early(e: Evidence, task_id: TaskId, needs: Mapping[Receipt, list[Identity]]) -> Iterator[str]:
    numbers = {name: entry.number for topic in e.kept.values() for name, entry in topic.items()}
    for topic in (BINNED, REJECTED):
        for entry in e.kept.get(topic, {}).values():
            fate = ("Fate", *_sweep_key(entry.record))
            numbers[fate] = min(entry.number, numbers.get(fate, entry.number))
    done: dict[Place, int] = {}
    for commit in e.log.commits:
        place = commit.place
        if commit.group != task_id.agent or place not in task_id.inputs:
            continue
        for offset in range(done.get(place, 0), commit.offset):
            names = list(needs.get((place, offset), []))
            if place[0] == SWEEPS:
                names.append(("Fate", *_sweep_key(e.log.get(place, offset).record)))
            for name in names:
                if numbers.get(name, commit.number) >= commit.number:
                    yield f"{task_id} has acknowledged {place}@{offset} before {name} was in the log"
        done[place] = commit.offset


def unbounded(e: Evidence) -> Iterator[str]:
    """Nothing in an agent's state grows with the story."""
    for task_id, state in e.states.items():
        for path, length in _lengths(str(task_id), unpack(state)):
            limits = [
                most for (agent, part), most in ON_PURPOSE.items() if agent == task_id.agent and part in path
            ]
            if length > max([LONGEST[task_id.agent], *limits]):
                yield f"{path} holds {length} items"


def _lengths(path: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        yield path, len(value)
        for name, item in value.items():
            yield from _lengths(f"{path}.{name}", item)
    elif isinstance(value, list):
        yield path, len(value)
        for item in value:
            yield from _lengths(f"{path}[]", item)


def digest(e: Evidence) -> Iterator[str]:
    """An agent that folds the journals without a break ends in the same state, and says the same."""
    for task_id, alone in e.alone.items():
        if alone.agent.snapshot() != e.states[task_id]:
            yield f"{task_id}: state differs from that of an uninterrupted run"
        for output in (output for _, step in alone.steps for output in step.outputs):
            name = identity(output)
            found = e.kept.get(place_of(output)[0], {}).get(name)
            if found is None:
                yield f"{task_id}: {name} is not in the log"
            elif fingerprint(found.record) != fingerprint(output):
                yield f"{task_id}: {name} differs from that of an uninterrupted run"


CHECKERS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "lost": lost,
    "duplicate": duplicate,
    "out of order": out_of_order,
    "unannounced activation": unannounced,
    "unseen": unseen,
    "unreleased": unreleased,
    "early acknowledgement": early,
    "wrong value": wrong_value,
    "outcome without observation": unobserved_label,
    "smeared": smeared,
    "unlearned": unlearned,
    "unarchived": unarchived,
    "stale model": stale_model,
    "unbounded memory": unbounded,
    "state digest": digest,
}


def check(e: Evidence) -> list[Violation]:
    """Everything that any checker has to say."""
    return [Violation(name, detail) for name, checker in CHECKERS.items() for detail in checker(e)]
