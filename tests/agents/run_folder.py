"""A synthetic run folder in the shape of the public contract, with truth known to the test that asks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss

Scored = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]

HORIZONS_NS = (200_000_000, 500_000_000, 1_000_000_000)
PRIMARY_NS = 500_000_000
PERIOD_NS = 103_000_000
FIRST_NS = 1_317_000_000_000_000_000
HALF_EDGE_M = 0.4
STREAM = "kitti/velodyne"
FIRST_MODEL = 6
BASELINES = ("persistence", "frequency", "linear", "frozen")
STAGES = ("decode", "bin", "visibility", "features", "inference")
SKILL = {"persistence": 0.9, "frequency": 1.4, "linear": 2.0, "frozen": 2.4, "online": 2.7}
"""How far each name's logit moves towards the truth."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What the synthetic run holds.

    skill : logit gain by name; ``online`` is the served model, every other name a shadow
    events : further event objects, appended as they are
    """

    sweeps: int = 54
    cells: int = 600
    warmup: int = 30
    seed: int = 0
    models: bool = True
    outcomes: bool = True
    rows_per_file: int = 9_000
    skill: dict[str, float] = field(default_factory=lambda: dict(SKILL))
    events: list[dict[str, Any]] = field(default_factory=list)


def encode(sites: NDArray[np.int64], lod: int = 7, frame: int = 2) -> NDArray[np.uint64]:
    """Index64 of signed sites by the documented bit layout, one bit at a time."""
    key = np.zeros(len(sites), np.uint64)
    biased = (sites + 32768).astype(np.uint64)
    for bit in range(16):
        for axis in range(3):
            key |= ((biased[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return key | np.uint64(0b10 << 62 | frame << 52 | lod << 48)


def street(rng: np.random.Generator, ego: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    """BCC sites of ground and two facades within 40 m of ``ego`` (metres); int64 (<= cells, 3)."""
    radius, angle = 40 * np.sqrt(rng.random(cells)), rng.random(cells) * 2 * np.pi
    xyz = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), -1.7 + 0.1 * rng.standard_normal(cells)], 1
    )
    wall = rng.random(cells) < 0.45
    xyz[wall, 1] = np.sign(xyz[wall, 1]) * (11 + 0.3 * rng.standard_normal(int(wall.sum())))
    xyz[wall, 2] = -1.7 + 6 * rng.random(int(wall.sum()))
    half = np.round((xyz + ego) / HALF_EDGE_M / 2 - 0.25)
    return np.unique((2 * half + (rng.random(cells) < 0.5)[:, None]).astype(np.int64), axis=0)


def stamp_of(sweep: int) -> int:
    """Stamp of the ``sweep``-th sweep, ns."""
    return FIRST_NS + sweep * PERIOD_NS


def prediction_id(sweep: int) -> str:
    """Prediction id of the ``sweep``-th sweep."""
    return f"{STREAM}/{stamp_of(sweep)}"


@dataclass
class _Rows:
    """Tables by folder, and the scored rows (probability, occupied, before) by name and horizon, by sweep."""

    tables: dict[str, list[pa.Table]] = field(
        default_factory=lambda: {"predictions": [], "shadows": [], "outcomes": []}
    )
    scored: dict[tuple[str, int], list[Scored]] = field(default_factory=dict)
    cells: list[int] = field(default_factory=list)


def write_run(folder: Path, spec: RunSpec) -> Path:
    """Write the run folder that ``spec`` describes and return it; the same spec gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(spec.seed)
    rows = _Rows()
    for sweep in range(spec.sweeps):
        _add_sweep(rows, rng, spec, sweep)
    for name, parts in rows.tables.items():
        _write_parts(folder / name, parts, spec.rows_per_file)
    _write_containers(folder / "containers", spec)
    _write_sweeps(folder, rng, spec, rows.cells)
    _write_models(folder, spec)
    _write_texts(folder, spec, rows)
    return folder


def ego_of(sweep: int) -> NDArray[np.float64]:
    """Position of the sensor at a sweep, metres, float64 (3,)."""
    return np.array([0.9 * sweep, 0.004 * sweep**2, 0.0])


def _forecast(rng: np.random.Generator, truth: NDArray[np.bool_], skill: float) -> NDArray[np.float32]:
    logit = skill * (truth - 0.5) + 1.1 * rng.standard_normal(len(truth)) + 0.5
    steps = np.clip(np.round(2**17 / (1 + np.exp(-1.2 * logit))), 1, 2**17 - 1)
    return (steps / 2**17).astype(np.float32)


def _add_sweep(rows: _Rows, rng: np.random.Generator, spec: RunSpec, sweep: int) -> None:
    cell_id = np.sort(encode(street(rng, ego_of(sweep), spec.cells)))
    truth = rng.random(len(cell_id)) < 0.64
    before = rng.integers(0, 3, len(cell_id)).astype(np.uint8)
    rows.cells.append(len(cell_id))
    shadows = _add_shadow(rows, rng, spec, sweep, cell_id, truth)
    growth = 1 - np.exp(-(sweep + 3) / 12)
    for horizon in HORIZONS_NS:
        skill = spec.skill["online"] * growth * (1.15 - 0.3 * horizon / 1e9)
        online = _forecast(rng, truth, skill)
        rows.tables["predictions"].append(_prediction(spec, sweep, horizon, cell_id, online))
        seen = rng.random(len(cell_id)) < 0.75
        if not spec.outcomes or stamp_of(sweep) + horizon > stamp_of(spec.sweeps - 1):
            continue
        count = int(seen.sum())
        rows.tables["outcomes"].append(pa.table({
            "prediction_id": pa.array([prediction_id(sweep)] * count), "horizon_ns": np.full(count, horizon),
            "observed_stamp_ns": np.full(count, stamp_of(sweep) + horizon), "cell_id": cell_id[seen],
            "occupied": truth[seen], "before": before[seen],
        }))  # fmt: skip
        if sweep >= spec.warmup:
            named = {"online": online} | (shadows if horizon == PRIMARY_NS else {})
            for name, values in named.items():
                kept = rows.scored.setdefault((name, horizon), [])
                kept.append((values[seen], truth[seen], before[seen]))


def _prediction(spec: RunSpec, sweep: int, horizon: int, cell_id: NDArray[np.uint64],
                probability: NDArray[np.float32]) -> pa.Table:  # fmt: skip
    n = len(cell_id)
    return pa.table({
        "prediction_id": pa.array([prediction_id(sweep)] * n), "stream_id": pa.array([STREAM] * n),
        "stamp_ns": np.full(n, stamp_of(sweep)), "horizon_ns": np.full(n, horizon),
        "model_id": pa.array([_model_of(spec, sweep)] * n), "cell_id": cell_id, "probability": probability,
    })  # fmt: skip


def _model_of(spec: RunSpec, sweep: int) -> str:
    return f"m{sweep:04d}" if spec.models and sweep >= FIRST_MODEL else "frequency"


def _add_shadow(rows: _Rows, rng: np.random.Generator, spec: RunSpec, sweep: int, cell_id: NDArray[np.uint64],
                truth: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:  # fmt: skip
    given: dict[str, NDArray[np.float32]] = {}
    for name in BASELINES:
        if name in spec.skill and (name != "frozen" or sweep >= spec.warmup):
            growth = 1 - np.exp(-(sweep + 3) / 12) if name == "linear" else 1.0
            given[name] = _forecast(rng, truth, spec.skill[name] * growth)
    n = len(cell_id)
    columns: dict[str, Any] = {"prediction_id": pa.array([prediction_id(sweep)] * n), "cell_id": cell_id}
    columns |= {name: pa.array(given.get(name, [None] * n), pa.float32()) for name in BASELINES}
    rows.tables["shadows"].append(pa.table(columns))
    return given


def _write_containers(folder: Path, spec: RunSpec) -> None:
    folder.mkdir()
    schema = pa.schema([("stamp_ns", pa.int64()), ("pose", pa.list_(pa.float64()))])
    with pa.OSFile(str(folder / "part-00000.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for sweep in range(spec.sweeps):
            pose = np.column_stack([np.eye(3), ego_of(sweep)]).reshape(-1).tolist()
            writer.write_batch(
                pa.record_batch([pa.array([stamp_of(sweep)]), pa.array([pose])], schema=schema)
            )


def _write_parts(folder: Path, parts: list[pa.Table], rows_per_file: int) -> None:
    folder.mkdir()
    pending: list[pa.Table] = []
    number = 0
    for part in [*parts, None]:
        if pending and (part is None or sum(map(len, pending)) >= rows_per_file):
            table = pa.concat_tables(pending)
            pq.write_table(
                table, folder / f"part-{number:05d}.parquet", row_group_size=max(1, rows_per_file // 2)
            )
            pending, number = [], number + 1
        if part is not None:
            pending.append(part)


def _write_sweeps(folder: Path, rng: np.random.Generator, spec: RunSpec, cells: list[int]) -> None:
    n = spec.sweeps
    base = {"decode": 2.2, "bin": 1.4, "visibility": 9.5, "features": 4.2, "inference": 7.8}
    stage = {name: base[name] * (1 + 0.15 * rng.gamma(1.2, 1.0, n)) for name in STAGES}
    stage["total"] = sum(stage.values(), np.full(n, 0.6))
    columns: dict[str, Any] = {
        "prediction_id": [prediction_id(i) for i in range(n)], "stream_id": [STREAM] * n,
        "stamp_ns": np.array([stamp_of(i) for i in range(n)], np.int64),
        "model_id": [_model_of(spec, i) for i in range(n)],
        "feature_digest": [f"{i:064x}" for i in range(n)], "cells": np.array(cells, np.int32),
        "state_digest": [f"{i + 7:064x}" for i in range(n)],
    }  # fmt: skip
    columns |= {f"{name}_ms": values for name, values in stage.items()}
    pq.write_table(pa.table(columns), folder / "sweeps.parquet")


def _write_models(folder: Path, spec: RunSpec) -> None:
    if not spec.models:
        return
    for sweep in range(FIRST_MODEL, spec.sweeps):
        model_id = f"m{sweep:04d}"
        kind = "rollback" if sweep == 41 else "promotion" if sweep == 47 else "update"
        manifest = {
            "model_id": model_id, "sha256": f"{sweep:064x}", "kind": kind,
            "parent_id": _model_of(spec, sweep - 1),
            "training": {"first_stamp_ns": FIRST_NS, "last_stamp_ns": stamp_of(sweep - 1),
                         "steps": 16 * (sweep - FIRST_MODEL + 1), "examples": 8_000 * sweep},
            "metrics": {"log_loss": 0.62 * np.exp(-sweep / 20) + 0.35},
        }  # fmt: skip
        (folder / "models" / model_id).mkdir(parents=True)
        (folder / "models" / model_id / "manifest.json").write_text(json.dumps(manifest))


def _events(spec: RunSpec) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for sweep in range(FIRST_MODEL, spec.sweeps if spec.models else 0):
        parent = _model_of(spec, sweep - 1)
        loss = 0.62 * float(np.exp(-sweep / 20)) + 0.37
        found.append({"event": "trained", "stamp_ns": str(stamp_of(sweep - 1)), "model_id": f"m{sweep:04d}",
                      "parent_id": parent, "kind": "update", "loss": loss, "steps": 16})  # fmt: skip
        if sweep == 41:
            found.append({"event": "rolled_back", "stamp_ns": str(stamp_of(sweep - 1)), "model_id": parent,
                          "reason": "loss 0.031 nats above the anchor over 10 sweeps"})  # fmt: skip
        if sweep == 47:
            found.append({"event": "promoted", "stamp_ns": str(stamp_of(46)), "model_id": "m0047"})
        found.append({"event": "activated", "stamp_ns": stamp_of(sweep), "model_id": f"m{sweep:04d}"})
    return [*found, *spec.events]


def _write_texts(folder: Path, spec: RunSpec, rows: _Rows) -> None:
    lines = [json.dumps(event) for event in _events(spec)]
    (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines))
    config = {"seed": spec.seed, "task": {"horizons_ns": list(HORIZONS_NS), "primary_horizon_ns": PRIMARY_NS,
              "warmup_sweeps": spec.warmup}, "grid": {"half_edge_lod0_m": 51.2, "lod": 7}}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps(_summary(folder, spec, rows)))


def _summary(folder: Path, spec: RunSpec, rows: _Rows) -> dict[str, Any]:
    scores = {name: _scores(rows.scored.get((name, PRIMARY_NS), [])) for name in (*BASELINES, "online")}
    table = pq.read_table(folder / "sweeps.parquet")
    latency = {}
    for name in (*STAGES, "total"):
        values = table.column(f"{name}_ms").to_numpy()
        latency[name] = {"p50": float(np.quantile(values, 0.5)), "p99": float(np.quantile(values, 0.99)),
                         "max": float(values.max())}  # fmt: skip
    scored = any(rows.scored.values())
    published = spec.sweeps - FIRST_MODEL if spec.models else 0
    activated = published + 1  # the built-in model is activated first
    return {
        "warmup_sweeps": spec.warmup,
        "grid": {"half_edge_m": HALF_EDGE_M, "lod": 7, "map_frame": "odom"},
        "sweeps": spec.sweeps, "points": 118_000 * spec.sweeps, "dead_letters": {"no_pose": 1},
        "cells_predicted": sum(rows.cells), "cells_due": sum(rows.cells),
        "cells_observed": int(0.75 * sum(rows.cells)),
        "scores": scores,
        "brier_parts": {str(PRIMARY_NS): {name: {"reliability": 0.001, "resolution": 0.05,
                        "uncertainty": 0.23, "within": 0.0} for name in scores}},
        "scores_by_range": dict.fromkeys(("0-10", "10-20", "20-30"), scores) if scored else {},
        "scores_windowed": {"sweeps": 50, "scores": scores},
        "scores_fading": {"half_life_sweeps": 20.0, "scores": scores},
        "scores_by_horizon": {
            str(h): {"online": _scores(rows.scored.get(("online", h), []))} for h in HORIZONS_NS
        },
        "models": {"trained": published, "activated": activated, "promoted": 1, "rejected": 0,
                   "rolled_back": 1},
        "latency_ms": latency, "rebuild": {"checked": 1200, "identical": 1200}, "run_digest": "ab" * 32,
    }  # fmt: skip


def _scores(rows: list[Scored]) -> dict[str, Any]:
    """Scores by scikit-learn, an oracle that shares no code with the report; null without rows."""
    if not rows:
        return _no_scores()
    p, y, before = (np.concatenate(part) for part in zip(*rows, strict=True))
    hit, through = before == 2, before == 1
    by_sweep = [average_precision_score(occupied, given) for given, occupied, _ in rows]
    return {
        "average_precision": average_precision_score(y, p),
        "average_precision_per_sweep": float(np.mean(by_sweep)),
        "log_loss": log_loss(y, p.astype(np.float64)), "brier": float(np.mean((p - y) ** 2)),
        "ece": abs(float(p.mean() - y.mean())),
        "freed_average_precision": average_precision_score(~y[hit], 1 - p[hit]),
        "appeared_average_precision": average_precision_score(y[through], p[through]), "n": len(y),
    }  # fmt: skip


def _no_scores() -> dict[str, Any]:
    names = ("average_precision", "average_precision_per_sweep", "log_loss", "brier", "ece",
             "freed_average_precision", "appeared_average_precision")  # fmt: skip
    return {**dict.fromkeys(names), "n": 0}
