"""Rebuild the features behind one stored prediction, from stored containers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from agents.care.receipt import FOLDER, WHY, deleted_by
from agents.in_order import epoch_of
from agents.sweep_ends import SweepEnd, with_ends
from native.errors import OctaError
from native.window import CellFeatures
from stream.config import Config, ConfigError, parse_config, read_values
from stream.container import RollingContainer
from stream.features import FeatureSchema, digest, schema_of
from stream.records import Binned, robot_of
from stream.run_folder import RunFolder
from stream.sweep_rows import read_sweeps
from stream.tables import TableError


class ExplainError(ValueError):
    """A prediction that cannot be explained: unknown, or its containers are gone."""


class UnknownPrediction(ExplainError):
    """A prediction that the run does not hold."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explanation:
    """One prediction, its rebuilt features and what became of it.

    names : feature columns; features : float32 (N, F); cell_id : uint64 (N,); neighbor_index : int32 (N, 14)
    probability : float32 (N, H); occupied : int8 (N, H), -1 where the later sweep did not observe the cell
    """

    prediction_id: str
    model_id: str
    stamp_ns: int
    horizons_ns: tuple[int, ...]
    digest_stored: str
    digest_rebuilt: str
    names: tuple[str, ...]
    cell_id: NDArray[np.uint64]
    features: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    probability: NDArray[np.float32]
    occupied: NDArray[np.int8]
    half_edge_m: float

    @property
    def matches(self) -> bool:
        """Whether the rebuilt features are those that were predicted from, bit for bit."""
        return self.digest_stored == self.digest_rebuilt

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.cell_id)


def run_config(folder: RunFolder) -> Config:
    """The configuration of a run; raises ConfigError when the folder holds none that can be read."""
    path = folder.path / "config.yaml"
    if not path.exists():
        raise ConfigError(f"{folder.path}: not a run folder (no config.yaml)")
    values = read_values(path)
    if not values:
        raise ConfigError(f"{path}: is empty; put back the configuration that the run was made with")
    values.pop("logs", None)
    values.pop("versions", None)
    return parse_config(values)


def rebuild(
    folder: RunFolder, config: Config, stream_id: str, stamp_ns: int, look: Callable[[], None] = lambda: None
) -> tuple[CellFeatures, FeatureSchema]:
    """Features at one sweep, from the stored records of the rolling container up to it.

    look : called at each record that is read, as all from the first one are; what it raises ends this
    Raises ExplainError when the records are not stored or make no container, TableError when they are damaged
    """
    first_ns = stamp_ns - config.keep_ns
    try:
        records = folder.records(robot_of(stream_id), first_ns, 2**62, look)
        features = features_at(records, config, stream_id, stamp_ns)
    except (ExplainError, TableError):
        raise
    except (OctaError, ValueError, ArithmeticError) as error:
        raise ExplainError(f"{stream_id}/{stamp_ns}: its stored containers are damaged: {error}") from error
    return features, schema_of(config)


def features_at(records: Iterable[Binned], config: Config, stream_id: str, stamp_ns: int) -> CellFeatures:
    """Features at one sweep, from its robot's records in their order, as far back as the window reaches.

    Raises ExplainError when the sweep is not among them, OctaError for records that make no container
    """
    container, epoch = RollingContainer(config), 0
    for step in with_ends(records, container.keep_ns):
        if isinstance(step, SweepEnd):
            if (step.record.stream_id, step.record.stamp_ns) == (stream_id, stamp_ns):
                return container.features(step.record)
            continue
        if step.stream_id == stream_id and not step.late and step.stamp_ns > stamp_ns:
            break
        if epoch_of(step.seq) != epoch:  # of another map, or the robot had been forgotten
            container, epoch = RollingContainer(config), epoch_of(step.seq)
        container.fold(step)
    raise ExplainError(f"{stream_id}/{stamp_ns}: no stored container for this sweep")


def explain(
    run: Path, prediction_id: str, config: Config | None = None, look: Callable[[], None] = lambda: None
) -> Explanation:
    """Rebuild a prediction's features and compare their digest with the stored one.

    prediction_id : ``robot/sensor/stamp_ns``; config : of archives, which hold none; None reads the run's
    look : as in ``rebuild``
    Raises ExplainError when the run does not hold it, ConfigError when ``run`` is no run folder
    """
    folder = RunFolder(run)
    config = run_config(folder) if config is None else config
    sweeps = read_sweeps(run, filters=[("prediction_id", "=", prediction_id)]).to_pylist()
    if not sweeps:
        _refuse_deleted(run, prediction_id, 0)
        raise UnknownPrediction(f"{prediction_id}: not in this run; its rows of sweeps list the ids")
    sweep = sweeps[0]
    try:
        features, schema = rebuild(folder, config, sweep["stream_id"], sweep["stamp_ns"], look)
    except ExplainError:
        _refuse_deleted(run, prediction_id, config.keep_ns)
        raise
    if digest(features) != sweep["feature_digest"]:
        _refuse_deleted(run, prediction_id, config.keep_ns)
    horizons = config.task.horizons_ns
    return Explanation(
        prediction_id=prediction_id,
        model_id=sweep["model_id"],
        stamp_ns=sweep["stamp_ns"],
        horizons_ns=horizons,
        digest_stored=sweep["feature_digest"],
        digest_rebuilt=digest(features),
        names=schema.names,
        cell_id=features.cell_id,
        features=features.x,
        neighbor_index=features.neighbor_index,
        probability=_by_horizon(
            run / "predictions", prediction_id, features, horizons, "probability", np.float32(np.nan)
        ).astype(np.float32),
        occupied=_by_horizon(
            run / "outcomes", prediction_id, features, horizons, "occupied", np.int8(-1)
        ).astype(np.int8),
        half_edge_m=config.grid.half_edge_m,
    )


def _refuse_deleted(run: Path, prediction_id: str, window_ns: int) -> None:
    """Raises ExplainError where a receipt says that a prediction, or what it was made from, was deleted."""
    stream_id, _, stamp = prediction_id.rpartition("/")
    if not stamp.isdigit():
        return
    stamp_ns = int(stamp)
    for first_ns, words in ((stamp_ns, "was"), (stamp_ns - window_ns, "part of its window was")):
        receipt = deleted_by(run, robot_of(stream_id), first_ns, stamp_ns)
        if receipt is not None:
            raise ExplainError(
                f"{prediction_id}: {words} deleted on {receipt.at} ({WHY[receipt.kind]}); "
                f"see {FOLDER}/{receipt.receipt}.json"
            )


def _by_horizon(
    dataset: Path,
    prediction_id: str,
    features: CellFeatures,
    horizons: tuple[int, ...],
    column: str,
    absent: np.generic,
) -> NDArray[Any]:
    """A stored column of one prediction, laid out by cell and horizon."""
    values = np.full((len(features.cell_id), len(horizons)), absent)
    paths = sorted(map(str, dataset.glob("*.parquet")))
    if not paths:
        return values
    table = ds.dataset(paths, format="parquet").to_table(
        columns=["horizon_ns", "cell_id", column], filter=ds.field("prediction_id") == prediction_id
    )
    horizon, cell = table["horizon_ns"].to_numpy(), table["cell_id"].to_numpy()
    stored = table[column].to_numpy(zero_copy_only=False)
    for place, horizon_ns in enumerate(horizons):
        chosen = horizon == horizon_ns
        row = np.searchsorted(features.cell_id, cell[chosen])
        known = row < len(features.cell_id)
        known[known] = features.cell_id[row[known]] == cell[chosen][known]
        values[row[known], place] = stored[chosen][known]
    return values
