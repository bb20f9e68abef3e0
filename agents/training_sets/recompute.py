"""Features of a training set under another schema, from the same binned sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.targets.stored import StoredSweep, stored_sweeps
from agents.training_sets.build import RunSource, feature_hash
from agents.training_sets.rows import schema_said, set_schema
from models.training_sets.additions import Additions
from models.training_sets.columns import FEATURE_SCHEMAS, feature_columns, feature_schemas, require_new
from models.training_sets.manifest import TrainingSetError
from models.training_sets.merge import Merged, merge
from models.training_sets.partition import CELL, STAMP, STREAM, PartitionWriter
from models.training_sets.read import TrainingSet
from stream.config import Config, ConfigError, with_overrides
from stream.features import FeatureSchema, schema_of
from stream.progress import Progress
from stream.run_folder import RunFolder


def recompute(
    root: Path,
    sources: Sequence[RunSource],
    overrides: Sequence[str],
    name: str,
    *,
    replace: bool = False,
    progress: Progress,
) -> Merged:
    """Add the features of another schema as columns ``NAME_…``; all others stay, byte for byte.

    overrides : ``key=value``, of the runs' configuration; name : of the schema within the set
    Cells that the other window does not hold have nulls. Deterministic.
    Raises TrainingSetError (runs that are not in the set, the same schema), ConfigError (another grid, a
    window that reaches back farther than what is stored), TableError, OSError
    """
    stored = TrainingSet(root)
    changed = [_changed(source, list(overrides)) for source in sources]
    schema, prefix = schema_of(changed[0]), f"{name}_"
    for source, config in zip(sources, changed, strict=True):
        _require_other(stored, source, schema_of(config), schema)
    require_new([prefix + column for column in schema.names], stored.schema, replace)
    with TemporaryDirectory(prefix="_recompute-", dir=root) as beside:
        writer = PartitionWriter(_writer(Path(beside)), stored.manifest.region_lod, 0)
        known = stored.manifest.known()
        for source, config in zip(sources, changed, strict=True):
            only = {f"{stream}/{stamp}" for stream, stamp in known}
            known -= _add(source, config, only, prefix, writer, progress)
        writer.flush()
        if not writer.rows:
            raise TrainingSetError(f"{root}: holds no sweep of these runs; name those it was built from")
        schemas = feature_schemas(stored.schema) | {prefix: schema_said(schema)}
        said = {FEATURE_SCHEMAS: json.dumps(schemas)}
        return merge(root, Additions(Path(beside)), replace=replace, said=said, progress=progress)


def _add(
    source: RunSource,
    config: Config,
    only: set[str],
    prefix: str,
    writer: PartitionWriter,
    progress: Progress,
) -> set[tuple[str, int]]:
    """Write the features of a run's sweeps that are in the set; which those are."""
    names, done = schema_of(config).names, set()
    for number, sweep in enumerate(stored_sweeps(RunFolder(source.path), config, only), 1):
        progress(number, None, sweep.stream_id)
        writer.add(_rows(sweep, names, prefix))
        done.add((sweep.stream_id, sweep.stamp_ns))
    return done


def _rows(sweep: StoredSweep, names: Sequence[str], prefix: str) -> pa.Table:
    found = sweep.features
    return pa.table(
        {
            CELL: pa.array(found.cell_id),
            STAMP: pa.array(np.full(len(found.cell_id), sweep.stamp_ns, np.int64)),
            STREAM: pa.repeat(sweep.stream_id, len(found.cell_id)),
            **feature_columns(names, found.x, prefix),
        }
    )


def _writer(root: Path) -> Callable[[str, pa.Table], None]:
    def write(name: str, table: pa.Table) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / name, compression="zstd")

    return write


def _changed(source: RunSource, overrides: list[str]) -> Config:
    config = with_overrides(source.config, overrides)
    if config.grid != source.config.grid:
        raise ConfigError(
            "--set grid: decides the cells, and so the ids; replay the log, and build another set"
        )
    reach_ns, stored_ns = config.reach_ns, source.config.reach_ns
    if reach_ns > stored_ns:
        raise ConfigError(
            f"--set window: cells would be kept for {reach_ns / 1e9:g} s, but {source.path} has stored what "
            f"was seen of them for {stored_ns / 1e9:g} s; choose a shorter window"
        )
    return config


def _require_other(
    stored: TrainingSet, source: RunSource, schema: FeatureSchema, first: FeatureSchema
) -> None:
    if feature_hash(set_schema(source.config)) != feature_hash(stored.schema):
        raise TrainingSetError(f"{source.path}: has other features than {stored.root} was built from")
    if schema.hash != first.hash:
        raise TrainingSetError(f"{source.path}: its feature schema would differ from that of the first run")
    if schema.hash == feature_hash(stored.schema):
        raise TrainingSetError(
            "--set: the feature schema is that of the set; change the window or the horizon"
        )
