"""Everything small in a run folder, read once: summary, configuration, sweeps, events, manifests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream.plain_yaml import YamlError, read_yaml
from stream.sweep_rows import read_sweeps, sweep_files

DEFAULT_REGION_LEVELS = 4
DEFAULT_PRIMARY_NS = 500_000_000


class ReportError(ValueError):
    """A folder that no report can be made of; names it and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One line of ``events.jsonl``. ``seconds`` since the first sweep; ``fields`` is all that is left."""

    name: str
    stamp_ns: int
    seconds: float
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One manifest of the run's registry."""

    model_id: str
    kind: str
    parent_id: str
    sha256: str
    training: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunFolder:
    """The small files of a run.

    stamp_ns : int64 (S,), ascending; the other sweep columns are in the same order
    prediction_id, model_id, stream_id : str by sweep
    latency_ms : stage to float64 (S,), in pipeline order, ``total`` last where present
    missing : one sentence for each file that is absent or damaged
    """

    path: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    config_text: str
    prediction_id: list[str]
    model_id: list[str]
    stream_id: list[str]
    feature_digest: list[str]
    state_digest: list[str]
    stamp_ns: NDArray[np.int64]
    cells: NDArray[np.int64]
    latency_ms: dict[str, NDArray[np.float64]]
    events: list[RunEvent]
    models: list[ModelEntry]
    missing: list[str]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds since the first sweep, float64 (S,)."""
        first = self.stamp_ns[0] if len(self.stamp_ns) else 0
        seconds: NDArray[np.float64] = (self.stamp_ns - first) / 1e9
        return seconds

    @property
    def warmup(self) -> int:
        """Sweeps before scoring starts."""
        return int(
            self.summary.get("warmup_sweeps") or section(self.config, "task").get("warmup_sweeps") or 0
        )

    @property
    def learned(self) -> set[str]:
        """Ids of the models that this or an earlier run trained: they have a manifest or a training event."""
        trained = {str(event.fields.get("model_id")) for event in self.events if event.name == "trained"}
        return trained | {model.model_id for model in self.models}

    @property
    def primary_ns(self) -> int:
        """Primary horizon, ns."""
        return int(section(self.config, "task").get("primary_horizon_ns") or DEFAULT_PRIMARY_NS)

    @property
    def region_levels(self) -> int:
        """How many LODs coarser than cells the regions of the error map are."""
        return int(section(self.config, "task").get("region_levels", DEFAULT_REGION_LEVELS))

    @property
    def half_edge_m(self) -> float:
        """Half edge of a predicted cell, metres."""
        grid = section(self.config, "grid")
        fallback = grid.get("half_edge_lod0_m", 51.2) / 2.0 ** grid.get("lod", 7)
        return float(section(self.summary, "grid").get("half_edge_m") or fallback)


def section(values: dict[str, Any], key: str) -> dict[str, Any]:
    """``values[key]`` where it is a mapping, else an empty one."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def read_run(path: Path) -> RunFolder:
    """Read the small files of a run folder; what is absent is noted in ``missing``.

    Raises ReportError where the folder holds neither ``summary.json`` nor sweeps.
    """
    if not (path / "summary.json").is_file() and not sweep_files(path):
        raise ReportError(f"{path}: not a run folder: neither summary.json nor sweeps are in it")
    missing: list[str] = []
    summary = _read_json(path / "summary.json", missing)
    config, text = _read_config(path / "config.yaml", missing)
    sweeps = _read_sweeps(path, missing)
    stamps = np.asarray(sweeps.get("stamp_ns", []), np.int64)
    count = len(stamps)
    first = int(stamps[0]) if count else 0
    return RunFolder(
        path=path, summary=summary, config=config, config_text=text,
        prediction_id=_texts(sweeps, "prediction_id", count), model_id=_texts(sweeps, "model_id", count),
        stream_id=_texts(sweeps, "stream_id", count),
        feature_digest=_texts(sweeps, "feature_digest", count),
        state_digest=_texts(sweeps, "state_digest", count),
        stamp_ns=stamps, cells=np.asarray(sweeps.get("cells", np.zeros(count)), np.int64),
        latency_ms=_latency(sweeps), events=_read_events(path / "events.jsonl", first, missing),
        models=_read_models(path / "models", missing), missing=missing,
    )  # fmt: skip


def _read_json(path: Path, missing: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing.append(f"{path.name} is missing: the run has not finished, or was cut off.")
        return {}
    except ValueError as error:
        missing.append(f"{path.name} cannot be read: {error}.")
        return {}
    return values if isinstance(values, dict) else {}


def _read_config(path: Path, missing: list[str]) -> tuple[dict[str, Any], str]:
    if not path.is_file():
        missing.append("config.yaml is missing: defaults are assumed for horizons and grid.")
        return {}, ""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        values = read_yaml(text)
    except YamlError:
        missing.append("config.yaml is not valid YAML: defaults are assumed for horizons and grid.")
        return {}, text
    return (values if isinstance(values, dict) else {}), text


def _read_sweeps(run: Path, missing: list[str]) -> dict[str, Any]:
    try:
        table = read_sweeps(run)
    except (FileNotFoundError, pa.ArrowInvalid):
        missing.append(
            "sweeps.parquet, or a part in sweeps/, is missing or cut off: nothing can be shown by sweep."
        )
        return {}
    order = np.argsort(table.column("stamp_ns").to_numpy(), kind="stable")
    table = table.take(pa.array(order))
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _texts(sweeps: dict[str, Any], name: str, count: int) -> list[str]:
    return [str(value) for value in sweeps.get(name, [""] * count)]


def _latency(sweeps: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    names = [name for name in sweeps if name.endswith("_ms") and name != "total_ms"]
    names += ["total_ms"] * ("total_ms" in sweeps)
    stages = {name.removesuffix("_ms"): np.array(sweeps[name], np.float64) for name in names}
    return {name: values for name, values in stages.items() if np.isfinite(values).any()}


def _stamp(values: dict[str, Any]) -> int:
    for key in ("stamp_ns", "first_stamp_ns"):
        text = str(values.get(key, ""))
        if text.lstrip("-").isdigit():
            return int(text)
    return 0


def _read_events(path: Path, first_ns: int, missing: list[str]) -> list[RunEvent]:
    if not path.is_file():
        missing.append("events.jsonl is missing: events, alarms and dead letters cannot be listed.")
        return []
    events, damaged = [], 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                values = json.loads(line)
                name = str(values.pop("event", "") or values.pop("kind", "unnamed"))
            except (ValueError, AttributeError):
                damaged += bool(line.strip())
                continue
            stamp = _stamp(values)
            seconds = (stamp - first_ns) / 1e9 if stamp and first_ns else 0.0
            fields = {key: value for key, value in values.items() if key != "stamp_ns"}
            events.append(RunEvent(name=name, stamp_ns=stamp, seconds=seconds, fields=fields))
    if damaged:
        missing.append(f"events.jsonl: {damaged} of its lines cannot be read and were left out.")
    return events


def _read_models(folder: Path, missing: list[str]) -> list[ModelEntry]:
    models = []
    for path in sorted(folder.glob("*/manifest.json")):
        values = _read_json(path, missing)
        if not values:
            continue
        models.append(
            ModelEntry(
                model_id=str(values.get("model_id") or path.parent.name),
                kind=str(values.get("kind") or ""),
                parent_id=str(values.get("parent_id") or ""),
                sha256=str(values.get("sha256") or ""),
                training=section(values, "training"),
                metrics=section(values, "metrics"),
            )
        )
    return models
