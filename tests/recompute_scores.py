"""Recompute every score of a run from its stored rows and compare with ``summary.json``.

    python tests/recompute_scores.py RUN_DIR

Reads only the public run folder (config.yaml, summary.json, sweeps, predictions, outcomes, shadows) and uses
only numpy, pyarrow, PyYAML and scikit-learn: nothing of the code whose numbers it checks. Exit status 0 when
all scores agree to 1e-6, 1 when one does not or the rows contradict each other, 2 for a folder that cannot
be read.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

TOLERANCE = 1e-6
CLIP = 1e-7
BINS = 15
SHADOWS = ("persistence", "frequency", "linear", "frozen")
SEEN_THROUGH, HIT = 1, 2


class RunFolderError(ValueError):
    """A run folder that cannot be read; names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """Scored rows of one predictor: sweep number, probability float64, occupied bool, before uint8."""

    sweep: NDArray[np.int64]
    probability: NDArray[np.float64]
    occupied: NDArray[np.bool_]
    before: NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Run:
    """The stored tables of a run. ``scored`` says by sweep whether the warm-up was over."""

    folder: Path
    horizons_ns: list[int]
    primary_ns: int
    ids: pa.Array
    scored: NDArray[np.bool_]
    problems: list[str] = field(default_factory=list)


def _table(folder: Path, name: str, columns: list[str], horizon_ns: int | None = None) -> pa.Table:
    """All chunks of one table, only the rows of one horizon when given."""
    files = sorted((folder / name).glob("*.parquet"))
    if not files and name == "outcomes":  # a log shorter than the horizon has none
        types = {
            "prediction_id": pa.string(),
            "cell_id": pa.uint64(),
            "occupied": pa.bool_(),
            "before": pa.uint8(),
        }
        return pa.table({column: pa.array([], types[column]) for column in columns})
    if not files:
        raise RunFolderError(f"{folder / name}: no parquet files")
    where = None if horizon_ns is None else [("horizon_ns", "=", horizon_ns)]
    try:
        return pa.concat_tables([pq.read_table(path, columns=columns, filters=where) for path in files])
    except (pa.ArrowInvalid, KeyError) as error:
        raise RunFolderError(f"{folder / name}: {error}") from error


def _ids(table: pa.Table) -> pa.Array:
    return table["prediction_id"].cast(pa.string()).combine_chunks()


def _open(folder: Path) -> Run:
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        config = yaml.safe_load((folder / "config.yaml").read_text())
        sweeps = pq.read_table(folder / "sweeps.parquet", columns=["prediction_id", "stream_id", "stamp_ns"])
        task = config.get("config", config)["task"]
    except (OSError, ValueError, KeyError, yaml.YAMLError, AttributeError) as error:
        raise RunFolderError(f"{folder}: {error}") from error
    stream = pc.rank(sweeps["stream_id"].cast(pa.string()), tiebreaker="min").to_numpy()
    stamp = sweeps["stamp_ns"].to_numpy()
    order = np.lexsort((stamp, stream))
    first = np.searchsorted(stream[order], stream[order], side="left")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - first
    run = Run(
        folder=folder,
        horizons_ns=[int(horizon) for horizon in task["horizons_ns"]],
        primary_ns=int(task["primary_horizon_ns"]),
        ids=_ids(sweeps),
        scored=place >= int(task["warmup_sweeps"]),
    )
    if len(pc.unique(run.ids)) != len(run.ids):
        run.problems.append("sweeps.parquet: a prediction id occurs twice")
    warmup = summary.get("warmup_sweeps")
    if warmup != task["warmup_sweeps"]:
        run.problems.append(
            f"warmup_sweeps: {warmup} in summary.json, {task['warmup_sweeps']} in config.yaml"
        )
    return run


def _keyed(run: Run, table: pa.Table, what: str) -> tuple[NDArray[np.int64], NDArray[np.uint64], pa.Table]:
    """Sweep number and cell of every row, sorted by both; of rows stored twice one is kept."""
    code = pc.fill_null(pc.index_in(_ids(table), value_set=run.ids), -1)
    sweep, cell = code.to_numpy().astype(np.int64), table["cell_id"].to_numpy()
    if np.any(sweep < 0):
        run.problems.append(f"{what}: {int(np.sum(sweep < 0))} rows name a sweep that sweeps.parquet lacks")
    order = np.lexsort((cell, sweep))
    order = order[sweep[order] >= 0]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(sweep[order]) != 0) | (cell[order][1:] != cell[order][:-1])
    kept = order[new]
    again, first = order[~new], kept[np.cumsum(new) - 1][~new]
    for name in table.column_names[2:] if len(again) else ():
        if not table[name].take(again).equals(table[name].take(first)):
            run.problems.append(f"{what}: rows stored twice differ in {name}")
    return sweep[kept], cell[kept], table.take(kept)


def _match(
    run: Run,
    left: tuple[NDArray[np.int64], NDArray[np.uint64]],
    right: tuple[NDArray[np.int64], NDArray[np.uint64]],
    what: str,
) -> NDArray[np.int64]:
    """For every (sweep, cell) of ``left`` its row in ``right``, -1 where absent (and a problem)."""
    cells = np.unique(np.concatenate([left[1], right[1]]))
    keys = [sweep * len(cells) + np.searchsorted(cells, cell) for sweep, cell in (left, right)]
    row = np.searchsorted(keys[1], keys[0])
    found = row < len(keys[1])
    found[found] = keys[1][row[found]] == keys[0][found]
    if not found.all():
        run.problems.append(f"{what}: {int(np.sum(~found))} outcomes have no such row")
    return np.where(found, row, -1)


def _column(table: pa.Table, name: str, row: NDArray[np.int64]) -> NDArray[np.float64]:
    """A float column by row, NaN where it is null or the row is -1."""
    if len(table) == 0:
        return np.full(len(row), np.nan)
    values = table[name].to_numpy().astype(np.float64)
    return np.where(row >= 0, values[row], np.nan)


def _horizon(run: Run, horizon_ns: int) -> tuple[dict[str, Rows], int, int]:
    """Scored rows by predictor at one horizon; predicted and observed cells, warm-up included."""
    label = f"horizon {horizon_ns}"
    columns = ["prediction_id", "cell_id"]
    predicted = _keyed(
        run,
        _table(run.folder, "predictions", [*columns, "probability"], horizon_ns),
        f"predictions, {label}",
    )
    outcome = _keyed(
        run, _table(run.folder, "outcomes", [*columns, "occupied", "before"], horizon_ns),
        f"outcomes, {label}",
    )  # fmt: skip
    sweep, cell, labels = outcome
    occupied = labels["occupied"].to_numpy().astype(np.bool_)
    before = labels["before"].to_numpy().astype(np.uint8)
    row = _match(run, (sweep, cell), predicted[:2], f"predictions, {label}")
    probability = {"online": _column(predicted[2], "probability", row)}
    if horizon_ns == run.primary_ns:
        probability |= _shadows(run, (sweep, cell))
    rows: dict[str, Rows] = {}
    for name, value in probability.items():
        if np.any((value <= 0) | (value >= 1)):
            run.problems.append(f"{name}, {label}: probabilities outside (0, 1)")
        keep = run.scored[sweep] & ~np.isnan(value)
        rows[name] = Rows(
            sweep=sweep[keep], probability=value[keep], occupied=occupied[keep], before=before[keep]
        )
    return rows, int(np.isin(predicted[0], np.unique(sweep)).sum()), len(sweep)


def _shadows(run: Run, key: tuple[NDArray[np.int64], NDArray[np.uint64]]) -> dict[str, NDArray[np.float64]]:
    if not list((run.folder / "shadows").glob("*.parquet")):
        return {name: np.full(len(key[0]), np.nan) for name in SHADOWS}
    table = _table(run.folder, "shadows", ["prediction_id", "cell_id", *SHADOWS])
    sweep, cell, shadows = _keyed(run, table, "shadows")
    row = _match(run, key, (sweep, cell), "shadows")
    return {name: _column(shadows, name, row) for name in SHADOWS}


def _average_precision(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float | None:
    return float(average_precision_score(label, score)) if label.any() else None


def _per_sweep(rows: Rows) -> float | None:
    """Mean over sweeps of their own average precision; rows come sorted by sweep."""
    edges = np.flatnonzero(np.diff(rows.sweep)) + 1
    pairs = zip(np.split(rows.probability, edges), np.split(rows.occupied, edges), strict=True)
    each = [_average_precision(score, label) for score, label in pairs]
    kept = [value for value in each if value is not None]
    return float(np.mean(kept)) if kept else None


def _ece(probability: NDArray[np.float64], occupied: NDArray[np.bool_]) -> float:
    """15 equal-mass bins; rows of equal probability share their mean label, so their order is no matter."""
    _, run, size = np.unique(probability, return_inverse=True, return_counts=True)
    label = (np.bincount(run, weights=occupied) / size)[run]
    order = np.argsort(probability, kind="stable")
    bins = zip(np.array_split(probability[order], BINS), np.array_split(label[order], BINS), strict=True)
    return float(sum(abs(np.sum(p) - np.sum(y)) for p, y in bins) / len(probability))


def _scores(rows: Rows) -> dict[str, float | int | None]:
    """Every score of the summary, None where nothing supports it."""
    p, occupied = rows.probability, rows.occupied
    clipped = np.clip(p, CLIP, 1 - CLIP)
    freed, appeared = rows.before == HIT, rows.before == SEEN_THROUGH
    some = len(p) > 0
    return {
        "average_precision": _average_precision(p, occupied),
        "average_precision_per_sweep": _per_sweep(rows),
        "log_loss": float(log_loss(occupied, clipped, labels=[False, True])) if some else None,
        "brier": float(brier_score_loss(occupied, p, pos_label=True)) if some else None,
        "ece": _ece(p, occupied) if some else None,
        "freed_average_precision": _average_precision(1 - p[freed], ~occupied[freed]),
        "appeared_average_precision": _average_precision(p[appeared], occupied[appeared]),
        "n": len(p),
    }


def recompute(run_dir: Path | str) -> dict[str, Any]:
    """Scores of a run from its stored rows.

    Returns ``scores`` and ``scores_by_horizon`` in the form of ``summary.json``, ``cells_predicted``,
    ``cells_due`` (of them, those whose outcome sweep came), ``cells_observed`` (primary horizon, warm-up
    included), and ``problems``: contradictions between the
    tables, empty for a sound run. Raises RunFolderError for a folder that cannot be read.
    """
    run = _open(Path(run_dir))
    _check_models(run)
    found: dict[str, Any] = {"scores": {}, "scores_by_horizon": {}, "cells_observed": 0}
    found |= _predicted_cells(run) | {"cells_due": 0}
    for horizon_ns in run.horizons_ns:
        rows, due, observed = _horizon(run, horizon_ns)
        scores = {name: _scores(part) for name, part in rows.items()}
        found["scores_by_horizon"][str(horizon_ns)] = scores
        if horizon_ns == run.primary_ns:
            found |= {"scores": scores, "cells_due": due, "cells_observed": observed}
    return found | {"problems": run.problems}


def _predicted_cells(run: Run) -> dict[str, int]:
    """Every predicted cell, counted once whatever the number of horizons."""
    horizon = _table(run.folder, "predictions", ["horizon_ns"])["horizon_ns"]
    return {"cells_predicted": int(pc.sum(pc.equal(horizon, run.primary_ns)).as_py() or 0)}


def _check_models(run: Run) -> None:
    """No prediction names two models."""
    table = _table(run.folder, "predictions", ["prediction_id", "model_id"])
    pairs = table.group_by(["prediction_id", "model_id"]).aggregate([])
    double = len(pairs) - len(pc.unique(pairs["prediction_id"]))
    if double:
        run.problems.append(f"predictions: {double} predictions name more than one model")


def compare(run_dir: Path | str) -> list[tuple[str, Any, Any, bool]]:
    """Rows (what, in summary.json, recomputed, agrees); problems come as rows that do not agree."""
    summary = json.loads((Path(run_dir) / "summary.json").read_text())
    found = recompute(run_dir)
    table: list[tuple[str, Any, Any, bool]] = []
    for group in ("scores", "scores_by_horizon", "cells_predicted", "cells_due", "cells_observed"):
        _walk(group, summary.get(group, "missing"), found[group], table)
    table.extend((f"problem: {problem}", "", "", False) for problem in found["problems"])
    return table


def _walk(name: str, stored: Any, found: Any, table: list[tuple[str, Any, Any, bool]]) -> None:
    if isinstance(stored, dict) and isinstance(found, dict):
        for key in [*found, *(key for key in stored if key not in found)]:
            _walk(f"{name}.{key}", stored.get(key, "missing"), found.get(key, "missing"), table)
        return
    numbers = all(isinstance(value, int | float) for value in (stored, found))
    table.append((name, stored, found, abs(stored - found) <= TOLERANCE if numbers else stored == found))


def main(arguments: list[str]) -> int:
    """Print the table; 0 when everything agrees, 1 when not, 2 for bad input."""
    if len(arguments) != 1:
        print("usage: python tests/recompute_scores.py RUN_DIR", file=sys.stderr)
        return 2
    try:
        table = compare(arguments[0])
    except (RunFolderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = max(len(row[0]) for row in table)
    print(f"{'score':<{width}}  {'summary':>16}  {'recomputed':>16}")
    for name, stored, found, agrees in table:
        print(f"{name:<{width}}  {_text(stored):>16}  {_text(found):>16}  {'' if agrees else 'DIFFERS'}")
    wrong = sum(not row[3] for row in table)
    print(f"{len(table) - wrong} of {len(table)} agree to {TOLERANCE:g}")
    return 1 if wrong else 0


def _text(value: Any) -> str:
    return f"{value:.9f}" if isinstance(value, float) else json.dumps(value).strip('"')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
