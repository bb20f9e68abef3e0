"""Make a prior: train on logs whose outcomes are known, without serving, and write a model folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.effects import Trainer
from agents.in_order import epoch_of, first_seq
from agents.judge import Judge
from agents.learn_robot import Pending
from agents.lineage import Version
from agents.manifests import architecture_of, manifest_of
from agents.perceive import Perceive
from agents.protocol import Labels, Train, Trained
from agents.replay import with_map_frame
from models.online.builtin import builtin_of
from stream.config import Config
from stream.container import RollingContainer
from stream.features import FeatureSchema, schema_of
from stream.progress import Progress
from stream.records import Binned, Outcome, Prediction, robot_of
from stream.sources.base import Damage, Source

LOGS = tuple(
    f"sim:{drive}&sweeps=80"
    for drive in (
        "city?seed=101&beams=64&azimuths=1800",
        "city?seed=102&beams=64&azimuths=2048",
        "city?seed=103&beams=64&azimuths=1800",
        "city?seed=104&beams=64&azimuths=1024",
        "city?seed=105&beams=64&azimuths=1024",
        "city?seed=106&beams=64&azimuths=512",
        "city?seed=107&beams=32&azimuths=1024",
        "city?seed=108&beams=32&azimuths=2048",
        "city?seed=109&beams=64&azimuths=2048&events=district@40",
        "city?seed=110&beams=64&azimuths=1800&events=district@40",
        "city?seed=111&beams=64&azimuths=1800&events=rain@40",
        "city?seed=112&beams=32&azimuths=1800&misses=1",
        "highway?seed=113&beams=64&azimuths=1800",
        "highway?seed=114&beams=64&azimuths=2048",
        "highway?seed=115&beams=64&azimuths=1024",
        "highway?seed=116&beams=32&azimuths=1024",
        "yard?seed=117&beams=64&azimuths=1800",
        "yard?seed=118&beams=64&azimuths=1024",
        "yard?seed=119&beams=32&azimuths=2048",
        "yard?seed=120&beams=64&azimuths=2048&misses=1",
        "city?seed=121&beams=64&azimuths=1800&rate=20",
        "city?seed=122&beams=64&azimuths=1800&rate=5",
        "city?seed=123&beams=64&azimuths=1800",
        "city?seed=124&beams=64&azimuths=2048",
    )
)
"""The worlds behind the shipped prior: sensors of every density, as how many beams meet a cell is what
differs most from one to the next. No recorded data is in it."""

STEPS = 12_000
MANY = 1_000_000
"""More sweeps than there are: all of them decide how features are standardised."""

KEEP_EVERY = 3
"""Sweeps a tenth of a second apart are nearly the same: every third one is enough."""


def make_prior(sources: Sequence[Source], config: Config, out: Path, steps: int, progress: Progress) -> Path:
    """Train the configured network on all labelled sweeps of some logs and write ``out``.

    Deterministic: logs, configuration and seed decide the file. Returns the folder
    Raises SourceError for a log that cannot be read, ValueError when nothing in it has an outcome
    """
    config = with_map_frame(config, [source.info().root_frame for source in sources])
    # No sweep is newer than the others here, and a long average suits weights that do not have to follow.
    learn = dataclasses.replace(config.learn, newest_share=0.0, averaging=0.998, standard_sweeps=MANY)
    config = dataclasses.replace(config, learn=learn)
    schema = schema_of(config)
    trainer = Trainer(config, schema, config.network, config.seed)
    examples, labels = [], []
    for place, source in enumerate(sources):
        progress(place, len(sources), source.info().location)
        for pending, outcomes in _labelled(source, config, schema):
            examples.append(pending.example(schema))
            labels += [_labels(outcome, config) for outcome in outcomes]
    answer = None
    for done in range(0, steps, 100):
        progress(done, steps, "training")
        request = Train(
            lineage="prior", stamp_ns=done, examples=tuple(examples), labels=tuple(labels), steps=100
        )
        answer = trainer.train(request)
        examples, labels = [], []
    if not isinstance(answer, Trained):
        raise ValueError(f"prior: nothing to train on: {answer}")
    _write(answer, config, schema, out)
    return out


def _labels(outcome: Outcome, config: Config) -> Labels:
    return Labels(
        prediction_id=outcome.prediction_id,
        horizon=config.task.horizons_ns.index(outcome.horizon_ns),
        row=outcome.row,
        occupied=outcome.occupied,
    )


def _labelled(
    source: Source, config: Config, schema: FeatureSchema
) -> Iterator[tuple[Pending, list[Outcome]]]:
    """Every third sweep with its features and its outcomes at all horizons."""
    perceive = Perceive(config, builtin_of(config))
    judge = Judge(config)
    containers: dict[str, RollingContainer] = {}
    waiting: dict[str, tuple[Pending, list[Outcome]]] = {}
    for item in source:
        records: list[Any] = [] if isinstance(item, Damage) else list(perceive.handle(item).outputs)
        for record in records:
            if isinstance(record, Binned):
                if record.seq == first_seq(epoch_of(record.seq)):  # what was seen before is of another map
                    containers[record.robot_id] = RollingContainer(config)
                containers[record.robot_id].fold(record)
            elif isinstance(record, Prediction):
                pending = _pending(record, containers[robot_of(record.stream_id)])
                if pending is not None and record.seq % KEEP_EVERY == 0:
                    waiting[record.prediction_id] = (pending, [])
            if isinstance(record, Binned | Prediction):
                for outcome in judge.handle(record).outputs:
                    if isinstance(outcome, Outcome) and outcome.prediction_id in waiting:
                        waiting[outcome.prediction_id][1].append(outcome)
    yield from (found for found in waiting.values() if found[1])


def _pending(prediction: Prediction, container: RollingContainer) -> Pending | None:
    record = container.record_of(prediction.stream_id, prediction.stamp_ns)
    if record is None:
        return None
    return Pending(
        prediction=prediction, features=container.features(record), challengers={}, open_horizons=set()
    )


def _write(trained: Trained, config: Config, schema: FeatureSchema, out: Path) -> None:
    version = Version(model=trained.model, data=trained.data, weights=trained.weights, report=trained.report)
    manifest = manifest_of(
        config,
        schema,
        version,
        architecture=architecture_of(config.network),
        kind="prior",
        parent_id="",
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(trained.data)
    (out / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
