"""A robot's share of an agent's state: which robots a snapshot holds, and the snapshot without one of them.

An agent from whose state a robot was taken is where it would be had it forgotten the robot
(``limits.max_robots``): if the robot is heard again it begins anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agents.archive import robot_of_name, table_from_bytes, table_pieces
from agents.operations import Memory, Snapshot, digest_of
from agents.protocol import Key, Train
from stream.codecs.state import pack, unpack
from stream.records import robot_of
from stream.topics import ARCHIVE, JUDGE, LEARN, PERCEIVE

_NAMED = {
    PERCEIVE: ("robots", "done"),
    JUDGE: ("streams", "orders", "stream_rosters"),
    LEARN: ("robots",),
    ARCHIVE: ("known", "latency"),
}
"""Lists of pairs whose first is a robot, or begins with one."""


def robots_in(agent: str, snapshot: Snapshot) -> set[str]:
    """Ids of the robots of whom a snapshot holds anything."""
    tree = unpack(snapshot.agent)
    names = [_named(field)(pair[0]) for field in _NAMED[agent] for pair in tree[field]]
    names += tree.get("roster", [])
    for pairs in tree.get("forgotten", {}).values():
        names += [robot_of(pair[0]) for pair in pairs]
    if agent == LEARN:
        names += [robot_of(pair[0]) for pair in tree["drift"]["streams"]]
        for lineage in tree["lineages"]["lineages"].values():
            names += map(robot_of, lineage["sent"])
            names += [robot_of(item["prediction_id"]) for item in [*lineage["examples"], *lineage["labels"]]]
    if agent == ARCHIVE:
        names += [robot_of(row[1]) for row in tree["digest"] or []]
        names += [
            robot for data in tree["batches"] for robot in table_from_bytes(data)["robot_id"].to_pylist()
        ]
        names += [robot_of(name) for data in tree["tables"].values()
                  for name in pc.unique(table_from_bytes(data)["prediction_id"]).to_pylist()]  # fmt: skip
    names += [robot for key in snapshot.memory.waiting if (robot := _robot_of_key(key))]
    for effect in snapshot.memory.open.values():
        if isinstance(effect, Train):
            names += [robot_of(example.prediction_id) for example in effect.examples]
            names += [robot_of(labels.prediction_id) for labels in effect.labels]
    return set(names)


def without_robot(agent: str, snapshot: Snapshot, robot_id: str) -> Snapshot:
    """The snapshot without a robot; inputs of it that waited count as done.

    What is no robot's stays: weights, scores and counts, to which its data have contributed, and with weights
    the ranges that say what they have learnt from.
    """
    tree = unpack(snapshot.agent)
    if agent == PERCEIVE:
        gone = [state["epoch"] for name, state in tree["robots"] if name == robot_id]
        tree["epoch"] = max(
            [tree["epoch"], *(epoch + 1 for epoch in gone)]
        )  # no place in order is used twice
    for field in _NAMED[agent]:
        tree[field] = _pairs_without(tree[field], robot_id, _named(field))
    if "roster" in tree:
        tree["roster"] = [name for name in tree["roster"] if name != robot_id]
    if "forgotten" in tree:
        tree["forgotten"] = {
            kind: _pairs_without(pairs, robot_id) for kind, pairs in tree["forgotten"].items()
        }
    if agent == LEARN:
        tree["drift"]["streams"] = _pairs_without(tree["drift"]["streams"], robot_id)
        for lineage in tree["lineages"]["lineages"].values():
            _lineage_without(lineage, robot_id)
    if agent == ARCHIVE:
        _archive_without(tree, robot_id)
    data = pack(tree)
    return Snapshot(agent=data, digest=digest_of(data), memory=_memory_without(snapshot.memory, robot_id))


def _named(field: str) -> Callable[[str], str]:
    """What finds the robot in the names of a list of pairs."""
    return robot_of_name if field == "known" else robot_of


def _robot_of_key(key: Key) -> str:
    """The robot of the name of an input: kind, stream, and so on."""
    return robot_of(str(key[1])) if len(key) > 1 else ""


def _pairs_without(pairs: list[Any], robot_id: str, named: Callable[[str], str] = robot_of) -> list[Any]:
    return [pair for pair in pairs if named(pair[0]) != robot_id]


def _lineage_without(lineage: dict[str, Any], robot_id: str) -> None:
    lineage["sent"] = [name for name in lineage["sent"] if robot_of(name) != robot_id]
    for field in ("examples", "labels"):
        lineage[field] = [item for item in lineage[field] if robot_of(item["prediction_id"]) != robot_id]


def _archive_without(tree: dict[str, Any], robot_id: str) -> None:
    if tree["digest"] is not None:
        tree["digest"] = [row for row in tree["digest"] if robot_of(row[1]) != robot_id]
    tree["predictions"] = [item for item in tree["predictions"] if item["robot_id"] != robot_id]
    batches = [table_from_bytes(data) for data in tree["batches"]]
    tree["batches"] = [table_pieces(batch) for batch in batches if batch["robot_id"][0].as_py() != robot_id]
    tables = {name: _rows_without(table_from_bytes(data), robot_id) for name, data in tree["tables"].items()}
    tree["tables"] = {name: table_pieces(table) for name, table in tables.items() if len(table)}


def _rows_without(table: pa.Table, robot_id: str) -> pa.Table:
    ids = pc.unique(table["prediction_id"]).to_pylist()
    own = pa.array([name for name in ids if robot_of(name) == robot_id], pa.string())
    return table.filter(pc.invert(pc.is_in(table["prediction_id"], own)))


def _memory_without(memory: Memory, robot_id: str) -> Memory:
    waiting = {key: places for key, places in memory.waiting.items() if _robot_of_key(key) != robot_id}
    requests = {
        name: _request_without(effect, robot_id) if isinstance(effect, Train) else effect
        for name, effect in memory.open.items()
    }
    return dataclasses.replace(memory, waiting=waiting, open=requests)


def _request_without(request: Train, robot_id: str) -> Train:
    return dataclasses.replace(
        request,
        examples=tuple(item for item in request.examples if robot_of(item.prediction_id) != robot_id),
        labels=tuple(item for item in request.labels if robot_of(item.prediction_id) != robot_id),
    )
