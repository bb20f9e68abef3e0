"""What a model of a run has learnt from, compared with what the run has stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from agents.sources import add_digests, sweep_digest
from models.manifest import Manifest, SourceRange
from stream.records import robot_of
from stream.sweep_rows import read_sweeps
from stream.tables import OUTCOME_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One source of a model: as its manifest has it, and as the run's own rows say.

    sweeps, digest : of the run's predictions in the source's range that have an outcome
    """

    source: SourceRange
    sweeps: int
    digest: str

    @property
    def matches(self) -> bool:
        """Whether the model has learnt from just what is stored."""
        return (self.sweeps, self.digest) == (self.source.sweeps, self.source.digest)


def check_sources(run: Path, manifest: Manifest) -> list[Checked]:
    """Digest the stored rows that a model says it was trained on.

    Raises FileNotFoundError where the run holds no sweeps
    """
    table = read_sweeps(run, ["prediction_id", "stream_id", "stamp_ns", "feature_digest", "state_digest"])
    stored = ds.dataset(run / "outcomes", schema=OUTCOME_SCHEMA, format="parquet")
    outcomes = stored.to_table(columns=["prediction_id"])
    observed = set(pc.unique(outcomes["prediction_id"]).to_pylist())
    rows = [row for row in table.to_pylist() if row["prediction_id"] in observed]
    return [_checked(source, rows) for source in manifest.training.sources]


def _checked(source: SourceRange, rows: list[dict[str, object]]) -> Checked:
    parts = [
        sweep_digest(
            str(row["prediction_id"]),
            feature_digest=str(row["feature_digest"]),
            state_digest=str(row["state_digest"]),
        )
        for row in rows
        if robot_of(str(row["stream_id"])) == source.robot_id
        and source.first_stamp_ns <= int(str(row["stamp_ns"])) <= source.last_stamp_ns
    ]
    return Checked(source=source, sweeps=len(parts), digest=add_digests(parts))
