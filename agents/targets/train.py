"""Train a target on a stored run as it would have been trained live: predict, wait, score, learn."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.explain import run_config
from agents.report.rows import PredictionRows
from agents.targets.stored import StoredSweep, stored_sweeps
from agents.targets.tasks import Changed, Intensity, Observed, Semantic, Task, Truth
from models.export import export_graph, with_weights
from models.training.online import OnlineTrainer
from models.training.standard import normalisers_of
from models.training.symmetry import symmetries
from stream.config import Config
from stream.features import FeatureSchema, schema_of
from stream.labels import read_labels
from stream.progress import Progress
from stream.run_folder import RunFolder

Name = Literal["class", "changed", "intensity"]


class TargetError(ValueError):
    """A target that a run cannot be trained for; says what it lacks and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """What a training came to.

    sweeps : gone through; skewed : of these, whose features could not be rebuilt; labelled : trained on
    """

    target: str
    classes: tuple[str, ...]
    sweeps: int
    skewed: int
    labelled: int
    steps: int
    scores: dict[str, Any]


def train_target(
    run: Path, name: Name, out: Path, *, delay_s: float, steps: int | None, progress: Progress
) -> TargetResult:
    """Train ``name`` on a run and write ``out``: ``model.onnx`` and ``target.json``.

    delay_s : of labels, seconds after their sweep
    steps : optimiser steps a labelled sweep, default as in the run
    Deterministic: the run decides the result, bit for bit.
    Raises TargetError where nothing is labelled, ConfigError, TableError, OSError
    """
    config = run_config(RunFolder(run))
    schema = schema_of(config)
    classes: tuple[str, ...] = ()
    if name == "class":
        labels = read_labels(run)
        classes = labels.classes
        if len(classes) < 2:
            raise TargetError(
                f"{run}: has labels of {len(classes)} classes, it takes 2: octastream label give RUN FILE"
            )
        lod = max(config.grid.lod - config.task.region_levels, 0)
        task: Task = Semantic(labels, round(1e9 * delay_s), lod)
    else:
        observed = Observed(PredictionRows(run / "outcomes"), config.task.primary_horizon_ns)
        task = (
            Intensity(observed, schema) if name == "intensity"
            else Changed(observed, PredictionRows(run / "predictions"), config.task.primary_horizon_ns)
        )  # fmt: skip
    loop = _Loop(config, schema, task, config.learn.steps_per_sweep if steps is None else steps)
    for done, sweep in enumerate(stored_sweeps(RunFolder(run), config)):
        loop.take(sweep)
        progress(done + 1, None, sweep.stream_id)
    if not loop.labelled:
        raise TargetError(f"{run}: no sweep has a label of the target {name!r}; the log may be too short")
    result = TargetResult(
        target=name, classes=classes, sweeps=loop.sweeps, skewed=loop.skewed, labelled=loop.labelled,
        steps=loop.steps, scores=task.scores(),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    template = export_graph(loop.trainer.net, task.target.activation)
    (out / "model.onnx").write_bytes(with_weights(template, loop.trainer.weights()))
    text = json.dumps(dataclasses.asdict(result) | {"feature_schema": schema.hash}, indent=1, allow_nan=False)
    (out / "target.json").write_text(text + "\n", encoding="utf-8")
    return result


class _Loop:
    """Sweeps in order; a truth is scored and learnt with its stream's first sweep at or after its stamp."""

    def __init__(self, config: Config, schema: FeatureSchema, task: Task, steps: int) -> None:
        self._task, self._schema, self._per_sweep = task, schema, steps
        learn = dataclasses.replace(config.learn, recalibrate=False)
        self.trainer = OnlineTrainer(
            config.network, learn, schema.count, 1, 0, config.seed,
            symmetries(schema.names) if learn.symmetry else (),
            normalisers_of(schema.names, learn.normalisers), task.target,
        )  # fmt: skip
        self._waiting: defaultdict[str, list[tuple[int, StoredSweep, NDArray[np.float32] | None]]]
        self._waiting = defaultdict(list)  # by stream
        self.sweeps = self.skewed = self.labelled = self.steps = 0

    def take(self, sweep: StoredSweep) -> None:
        """Predict one sweep, and learn what is known by now of earlier ones."""
        self.sweeps += 1
        if not sweep.matches:
            self.skewed += 1
            return
        self._task.see(sweep)
        self._learn(sweep)
        output = None
        if self.steps:
            output = self.trainer.predict(sweep.features.x, sweep.features.neighbor_index)
        due = self._task.due_ns(sweep)
        if due is not None:
            self._waiting[sweep.stream_id].append((due, sweep, output))

    def _learn(self, now: StoredSweep) -> None:
        waiting = self._waiting[now.stream_id]
        known = [item for item in waiting if item[0] <= now.stamp_ns]
        self._waiting[now.stream_id] = [item for item in waiting if item[0] > now.stamp_ns]
        for _, sweep, output in known:
            truth = self._task.truth(sweep)
            self._task.score(sweep, truth, output)
            self._add(sweep, truth)
        if known:
            self.steps += self.trainer.train(self._per_sweep).steps

    def _add(self, sweep: StoredSweep, truth: Truth) -> None:
        own = truth.trained
        if not own.any():
            return
        x = sweep.features.x
        azimuth = np.arctan2(x[:, self._schema.names.index("y")], x[:, self._schema.names.index("x")])
        weight = np.ones(len(x), np.float32)
        weight[truth.row] = truth.weight
        self.trainer.add_example(
            sweep.prediction_id, sweep.stamp_ns, x, sweep.features.neighbor_index, azimuth, weight
        )
        self.trainer.add_labels(sweep.prediction_id, 0, truth.row[own], truth.value[own])
        self.labelled += 1
