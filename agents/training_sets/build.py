"""Training sets out of runs and archives: what is not in the set yet is added, what is in it stays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.explain import run_config
from agents.targets.stored import stored_sweeps
from agents.training_sets.rows import RowMaker, set_schema
from models.datasets.window import said_of
from models.training_sets.columns import feature_schemas
from models.training_sets.manifest import MANIFEST, Build, Manifest, TrainingSetError
from models.training_sets.partition import BUFFER_ROWS, PartitionWriter
from models.training_sets.publish import publishing
from models.training_sets.read import TrainingSet
from stream.config import Config
from stream.progress import Progress
from stream.run_folder import RunFolder
from stream.sweep_rows import read_sweeps

Cells = Mapping[str, NDArray[np.uint64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSource:
    """A run to build from.

    config : the run's own, or, of an archive, which holds none, that of the workers
    cells : those that were chosen, by prediction; None for all.  where : the expression that chose them
    """

    path: Path
    config: Config
    cells: Cells | None = None
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build brought: rows in parts, of so many sweeps.

    known : sweeps that were in the set; waiting : whose outcomes may still come
    skewed : left out, since their features could not be rebuilt as they were predicted from
    empty : names of columns that were merged before, and are null in the new rows
    """

    sweeps: int
    rows: int
    parts: int
    known: int
    waiting: int
    skewed: int
    empty: tuple[str, ...]


def source_of(run: Path, archives: Config | None = None) -> RunSource:
    """A run with its configuration; archives : that of folders which hold none. Raises ConfigError"""
    if archives is not None and not (run / "config.yaml").exists():
        return RunSource(path=run, config=archives)
    return RunSource(path=run, config=run_config(RunFolder(run)))


def build(
    sources: Iterable[RunSource],
    out: Path,
    *,
    region_lod: int | None = None,
    buffer_rows: int = BUFFER_ROWS,
    progress: Progress,
) -> Built:
    """Add the sweeps of runs to a training set, which is made where there is none.

    region_lod : of the partitions; None takes the set's, and of a new one that of the run's error map
    A sweep is added once, whatever run it comes from, and only when all its outcomes are in. Files that are
    there are not touched; all new ones appear together. Deterministic.
    Raises TrainingSetError (another grid, features or regions than the set's), TableError, OSError
    """
    sources = list(sources)
    _require_place(out)
    with publishing(out) as publication:
        stored = TrainingSet(out) if (out / MANIFEST).is_file() else None
        manifest = stored.manifest if stored else _begin(sources[0].config, region_lod)
        if region_lod not in (None, manifest.region_lod):
            raise TrainingSetError(
                f"--region-lod {region_lod}: regions of {out} are of LOD {manifest.region_lod}"
            )
        schema = stored.schema if stored else set_schema(sources[0].config)
        writer = PartitionWriter(publication.stage, manifest.region_lod, len(manifest.builds), buffer_rows)
        counts: Counter[str] = Counter()
        known, builds = manifest.known(), []
        for source in sources:
            sweeps = _add(source, schema, known, writer, counts, progress)
            known |= {(stream, stamp) for stream, stamps in sweeps.items() for stamp in stamps}
            if sweeps:
                builds.append(
                    Build(
                        source=str(source.path),
                        where=source.where,
                        sweeps={k: tuple(v) for k, v in sweeps.items()},
                    )
                )
        writer.flush()
        if writer.rows:
            publication.publish(manifest.with_parts(publication.parts, *builds))
        elif stored is None:
            raise TrainingSetError(
                f"{out}: there is nothing to build: no sweep has rows and all its outcomes"
            )
        parts = len(publication.parts)
    added = set(set_schema(sources[0].config).names)
    return Built(
        sweeps=counts["sweeps"], rows=writer.rows, parts=parts, known=counts["known"],
        waiting=counts["waiting"], skewed=counts["skewed"],
        empty=tuple(name for name in schema.names if name not in added) if writer.rows else (),
    )  # fmt: skip


def _add(
    source: RunSource,
    schema: pa.Schema,
    known: set[tuple[str, int]],
    writer: PartitionWriter,
    counts: Counter[str],
    progress: Progress,
) -> dict[str, list[int]]:
    """Add what is new of a run; the stamps of its sweeps by stream."""
    _require_same(schema, set_schema(source.config), source.path)
    new = _new_sweeps(source, known, counts)
    maker, added = RowMaker(source.path, source.config), defaultdict(list)
    for number, sweep in enumerate(stored_sweeps(RunFolder(source.path), source.config, new), 1):
        progress(number, len(new), sweep.stream_id)
        if not sweep.matches:
            counts["skewed"] += 1
            continue
        rows = maker.rows(sweep, None if source.cells is None else source.cells[sweep.prediction_id])
        if len(rows):
            writer.add(_widened(rows, schema))
            added[sweep.stream_id].append(sweep.stamp_ns)
            counts["sweeps"] += 1
    return dict(added)


def _new_sweeps(source: RunSource, known: set[tuple[str, int]], counts: Counter[str]) -> set[str]:
    """Predictions that are not in the set and whose outcomes are all in."""
    table = read_sweeps(source.path, ["prediction_id", "stream_id", "stamp_ns"])
    finished = (source.path / "summary.json").exists()
    seen_ns = {} if finished else observed_until(source.path)
    reach_ns = source.config.task.horizons_ns[-1] + source.config.task.tolerance_ns
    new = set()
    for name, stream, stamp_ns in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        if source.cells is not None and name not in source.cells:
            continue
        if (stream, stamp_ns) in known:
            counts["known"] += 1
        elif not finished and stamp_ns + reach_ns >= seen_ns.get(stream, 0):
            counts["waiting"] += 1
        else:
            new.add(name)
    return new


def observed_until(run: Path) -> dict[str, int]:
    """The newest sweep of every stream that outcomes were written from: those of older sweeps are all in."""
    newest: dict[str, int] = {}
    for path in sorted((run / "outcomes").glob("*.parquet")):
        table = pq.read_table(path, columns=["prediction_id", "observed_stamp_ns"])
        found = table.group_by("prediction_id").aggregate([("observed_stamp_ns", "max")])
        for name, stamp_ns in zip(*(column.to_pylist() for column in found.columns), strict=True):
            stream = name.rpartition("/")[0]
            newest[stream] = max(newest.get(stream, 0), stamp_ns)
    return newest


def _begin(config: Config, region_lod: int | None) -> Manifest:
    coarse = config.grid.lod - config.task.region_levels if region_lod is None else region_lod
    return Manifest(region_lod=max(coarse, 0))


def _require_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file; name a folder")
    if (
        out.is_dir()
        and not (out / MANIFEST).exists()
        and any(not path.name.startswith(("_", "date=")) for path in out.iterdir())
    ):
        raise FileExistsError(f"{out}: is not empty and holds no training set; name another folder")


def _require_same(schema: pa.Schema, own: pa.Schema, run: Path) -> None:
    """Raises TrainingSetError unless a set can take the rows of a run."""
    mine, given = said_of(schema), said_of(own)
    for name in ("frame", "tier", "lod", "half_edge_m", "targets"):
        if mine.get(name) != given[name]:
            raise TrainingSetError(
                f"{run}: {name} is {given[name]}, that of the set {mine.get(name)}; build another set"
            )
    for field in own:
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise TrainingSetError(f"{run}: {field.name} is no column of the set; build another set")
    if feature_hash(schema) != feature_hash(own):
        raise TrainingSetError(
            f"{run}: its feature schema is {feature_hash(own)[:12]}, that of the set "
            f"{feature_hash(schema)[:12]}; build another set"
        )


def feature_hash(schema: pa.Schema) -> str:
    """Of the feature schema that builds write."""
    return str(feature_schemas(schema).get("", {}).get("sha256", "none"))


def _widened(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with all columns of a set, null where a build knows nothing of them."""
    columns = [
        rows[field.name] if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
