"""Deletion from what workers share: snapshots, the registry, and the topics of their cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.care.deletion import change_of, finished
from agents.care.models import Mode, models_that_saw, treat_models
from agents.care.receipt import Left, Receipt, begun_for, removed_span, union
from agents.care.states import robots_in, without_robot
from agents.care.subject import Subject
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from models.registry import ModelRegistry


def snapshots_of(folder: Path) -> dict[str, list[str]]:
    """Robots that are in the snapshots of each task."""
    store = SnapshotStore(_settings(folder).snapshots)
    return {
        task: sorted({
            robot
            for _, snapshot in store.stored(task)
            if snapshot is not None
            for robot in robots_in(_agent(task), snapshot)
        })
        for task in store.tasks()
    }  # fmt: skip


def delete_shared(
    settings: KafkaSettings,
    subject: Subject,
    archived: Sequence[Receipt],
    now_ns: int,
    *,
    mode: Mode,
    snapshots: bool,
    topics: bool,
    dry_run: bool,
) -> Receipt:
    """Delete a subject from what lies beside the archive; workers must be stopped.

    archived : what was removed from the archive just now: its time is that of the models in question
    Raises ClusterError, KafkaError where ``topics`` are asked for, OSError
    """
    folder = settings.folder
    receipt = begun_for(folder, subject) or Receipt.begin("deletion", subject, now_ns)
    spans = [(item.first_ns, item.last_ns) for item in [receipt, *archived]]
    if mode != "list":  # of an earlier call, which may have listed the models only
        spans += [removed_span(place, subject) for place in [folder, *sorted((folder / "archive").glob("*"))]]
    first_ns, last_ns = union(spans)
    receipt = replace(receipt, first_ns=first_ns, last_ns=last_ns)
    held = _holding(settings, subject)
    if snapshots:
        known = {item.file for item in receipt.files}
        changes = [change_of(folder, path, 0) for path, _, _ in held]
        receipt = replace(
            receipt, files=[*receipt.files, *(item for item in changes if item.file not in known)]
        )
    if not dry_run and (held or topics or receipt.first_ns is not None):
        receipt.write(folder)
    if topics and subject.robot_id is not None:
        from agents.kafka.admin import run
        from agents.kafka.care_topics import delete_messages

        found, left = run(delete_messages(settings, subject.robot_id, dry_run=dry_run))
        receipt = replace(receipt, topics=found, left=left)
    else:
        receipt = replace(receipt, left=[_TOPICS_LEFT])
    receipt = _snapshots(settings, subject, receipt, held, asked=snapshots, dry_run=dry_run)
    receipt = _registry(folder, receipt, mode, dry_run=dry_run)
    if dry_run or not _says_anything(receipt):
        return receipt
    receipt = finished(folder, receipt)
    receipt.write(folder)
    return receipt


_TOPICS_LEFT = Left(
    what="topics of the cluster",
    why="they hold what they retain (7 days, sweeps 1 day, unless set otherwise), and a worker whose last "
    "snapshot is older writes it to the archive again; add --topics, or wait",
)

Held = tuple[Path, str, str]
"""A snapshot that holds the robot, by path; as the store names it; and its task."""


def _says_anything(receipt: Receipt) -> bool:
    return bool(receipt.files or receipt.topics or receipt.models or receipt.first_ns is not None)


def _settings(folder: Path) -> KafkaSettings:
    return KafkaSettings(bootstrap="", partitions=0, folder=folder)


def _agent(task: str) -> str:
    return task.rpartition("-")[0]


def _holding(settings: KafkaSettings, subject: Subject) -> list[Held]:
    """Snapshots that hold the robot, and those that nobody can read any more."""
    if subject.robot_id is None:
        return []
    store = SnapshotStore(settings.snapshots)
    found = []
    for task in store.tasks():
        for path, snapshot in store.stored(task):
            if snapshot is None or subject.robot_id in robots_in(_agent(task), snapshot):
                found.append((settings.folder / "snapshots" / task / Path(path).name, path, task))
    return found


def _snapshots(
    settings: KafkaSettings,
    subject: Subject,
    receipt: Receipt,
    held: list[Held],
    *,
    asked: bool,
    dry_run: bool,
) -> Receipt:
    if subject.robot_id is None:
        why = "they hold the newest seconds of each robot; newer ones replace them as workers go on"
        return replace(receipt, left=[*receipt.left, Left(what="snapshots", why=why)])
    if held and not asked:
        tasks = ", ".join(dict.fromkeys(task for _, _, task in held))
        why = "stop the workers and add --snapshots"
        return replace(receipt, left=[*receipt.left, Left(what=f"{len(held)} snapshots of {tasks}", why=why)])
    if dry_run or not held:
        return receipt
    store = SnapshotStore(settings.snapshots)
    for _, path, task in held:
        snapshot = store.read(path)
        agent = _agent(task)
        store.replace(path, None if snapshot is None else without_robot(agent, snapshot, subject.robot_id))
    learned = any(_agent(task) == "learn" for _, _, task in held)
    left = Left(
        what="weights in snapshots of learn",
        why="weights cannot forget a part of what they were trained on, and their sources name whose that "
        "was; removing these snapshots and learning from scratch can",
    )
    return replace(receipt, left=[*receipt.left, *([left] if learned else [])])


def _registry(folder: Path, receipt: Receipt, mode: Mode, *, dry_run: bool) -> Receipt:
    models = folder / "models"
    if not dry_run:
        treated, left = treat_models(models, receipt, mode)
        return replace(receipt, models=treated, left=[*receipt.left, *left])
    if receipt.first_ns is None or receipt.last_ns is None or not models.is_dir():
        return receipt
    found = models_that_saw(ModelRegistry(models), receipt.first_ns, receipt.last_ns)
    return replace(receipt, models=dict.fromkeys(found, f"would be: {mode}"))
