"""The sweeps of a run folder again, one after the other, as they were predicted from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from agents.in_order import epoch_of
from agents.sweep_ends import with_ends
from native.window import CellFeatures
from stream.config import Config
from stream.container import RollingContainer
from stream.features import digest
from stream.records import Binned, robot_of
from stream.run_folder import RunFolder
from stream.sweep_rows import read_sweeps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredSweep:
    """One sweep that was predicted from: its rebuilt features, and its binned records.

    matches : the features are those that were predicted from, bit for bit
    """

    prediction_id: str
    stream_id: str
    stamp_ns: int
    features: CellFeatures
    parts: list[Binned]
    matches: bool


def stored_sweeps(
    folder: RunFolder, config: Config, only: Collection[str] | None = None
) -> Iterator[StoredSweep]:
    """Every predicted sweep, robot by robot, in the order of their folding; a window is held, never the run.

    only : ids of predictions; of a robot nothing is read that is older than the window of the first of them
    Raises TableError for damaged containers, OSError
    """
    table = read_sweeps(folder.path, ["prediction_id", "feature_digest"])
    digests = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    if only is not None:
        digests = {name: digest for name, digest in digests.items() if name in only}
    for robot_id in sorted({robot_of(name) for name in digests}):
        yield from _of_robot(folder, config, robot_id, digests)


def _of_robot(
    folder: RunFolder, config: Config, robot_id: str, digests: dict[str, str]
) -> Iterator[StoredSweep]:
    container, epoch = RollingContainer(config), 0
    first_ns = min(int(name.rpartition("/")[2]) for name in digests if robot_of(name) == robot_id)
    records = folder.records(robot_id, first_ns - container.keep_ns, 2**62)
    for step in with_ends(records, container.keep_ns):
        if isinstance(step, Binned):
            if epoch_of(step.seq) != epoch:  # what was seen before is of another map
                container, epoch = RollingContainer(config), epoch_of(step.seq)
            container.fold(step)
            continue
        record = step.record
        if record.prediction_id not in digests:
            continue
        features = container.features(record)
        yield StoredSweep(
            prediction_id=record.prediction_id, stream_id=record.stream_id, stamp_ns=record.stamp_ns,
            features=features, parts=list(step.parts),
            matches=digest(features) == digests[record.prediction_id],
        )  # fmt: skip
