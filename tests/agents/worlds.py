"""A tiny world for tests of agents: a sensor drives past a wall, a box moves between them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.archive import Archive
from agents.effects import LocalEffects
from agents.inprocess import Agents, InProcess
from agents.judge import Judge
from agents.learn import Learn
from agents.perceive import Perceive
from agents.protocol import (
    LoadModel,
    ModelLoaded,
    Restore,
    Step,
    StoreModel,
    Train,
    Trained,
    TrainingFailed,
)
from agents.stopwatch import Stopwatch
from models.manifest import model_id_of
from models.model import Model
from models.online.builtin import FrequencyModel
from models.probability import quantise
from stream.config import Config, NetworkConfig, load_config
from stream.features import FeatureSchema, schema_of
from stream.records import Binned, ModelPublished, Outcome, Prediction
from stream.run_folder import RunFolder
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.transform import Transform

STREAM = "robot/lidar"
FIRST_NS = 5_000_000_000
PERIOD_NS = 100_000_000
TRANSFORM_NS = 50_000_000
SPEED_M = 0.7
"""Metres a sweep."""

SETTINGS = (
    "grid.lod=6",
    "grid.map_frame=map",
    "task.warmup_sweeps=4",
    "task.horizons_ns=[200000000, 500000000]",
)


def config_of(*settings: str) -> Config:
    """Few cells, two horizons (0.2 and 0.5 s), a warm-up of 4 sweeps; then ``key=value`` settings."""
    return load_config(None, [*SETTINGS, *settings])


def builtin_of(config: Config) -> FrequencyModel:
    """The built-in model for a configuration."""
    return FrequencyModel(schema_of(config).names, len(config.task.horizons_ns))


def perceive_of(config: Config) -> Perceive:
    """A Perceive that serves the built-in model."""
    return Perceive(config, builtin_of(config))


def stamp_of(index: float) -> int:
    """Stamp of a sweep by its number."""
    return FIRST_NS + round(index * PERIOD_NS)


def points_at(index: float) -> NDArray[np.float32]:
    """Points of the wall and of the box, sensor frame, float32 (N, 3); the sensor drives along x."""
    x, z = np.meshgrid(np.arange(-12.0, 40.0, 0.45), np.arange(-0.5, 2.0, 0.7))
    wall = np.stack([x.ravel(), np.full(x.size, 9.0), z.ravel()], axis=1)
    bx, bz = np.meshgrid(np.arange(0.0, 2.4, 0.4), np.arange(-0.5, 1.5, 0.5))
    box = np.stack([bx.ravel() + 14 - 1.1 * index, np.full(bx.size, 5.0), bz.ravel()], axis=1)
    points = np.concatenate([wall, box]) - [SPEED_M * index, 0.0, 0.0]
    jitter = np.random.default_rng(round(1000 * index) + 7).normal(0, 0.02, points.shape)
    return (points + jitter).astype(np.float32)


def sweep_of(
    index: float,
    *,
    stream_id: str = STREAM,
    points: NDArray[np.float32] | None = None,
    stamp_ns: int | None = None,
    frame: str = "lidar",
    part: int = 0,
    parts: int = 1,
) -> Sweep:
    """One sweep of the world, or one with the points given."""
    points = points_at(index) if points is None else points
    return Sweep(
        stream_id=stream_id,
        stamp_ns=stamp_of(index) if stamp_ns is None else stamp_ns,
        frame=frame,
        points=points,
        intensity=np.full(len(points), 0.5, np.float32),
        part=part,
        parts=parts,
    )


def parts_of(index: float, parts: int, stream_id: str = STREAM) -> list[Sweep]:
    """One sweep of the world, cut into parts."""
    pieces = np.array_split(points_at(index), parts)
    return [
        sweep_of(index, stream_id=stream_id, points=piece, part=part, parts=parts)
        for part, piece in enumerate(pieces)
    ]


def transform_at(stamp_ns: int, *, robot_id: str = "robot", child: str = "lidar") -> Transform:
    """Where the sensor is at a stamp."""
    index = (stamp_ns - FIRST_NS) / PERIOD_NS
    return Transform(
        robot_id=robot_id,
        stamp_ns=stamp_ns,
        parent="map",
        child=child,
        translation=(SPEED_M * index, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0),
    )


def transforms_to(last: float, *, robot_id: str = "robot", child: str = "lidar") -> list[Transform]:
    """Transforms from 0.7 s before the first sweep to just past a sweep; none lies on a sweep's stamp."""
    stamps = range(stamp_of(-7) + 20_000_000, stamp_of(last) + TRANSFORM_NS + 1, TRANSFORM_NS)
    return [transform_at(stamp, robot_id=robot_id, child=child) for stamp in stamps]


def drive(sweeps: int, *, robot_id: str = "robot") -> list[Item]:
    """A log: sweeps and transforms by stamp, so that every sweep waits for the transform after it."""
    stream = f"{robot_id}/lidar"
    items: list[Item] = [sweep_of(index, stream_id=stream) for index in range(sweeps)]
    items += transforms_to(sweeps - 1, robot_id=robot_id)
    return sorted(items, key=lambda item: getattr(item, "stamp_ns", 0))


def feed(agent: Any, records: Iterable[Any]) -> list[Any]:
    """Outputs of an agent over records."""
    return [output for record in records for output in agent.handle(record).outputs]


def of_type(records: Iterable[Any], kind: type) -> list[Any]:
    """The records of one type."""
    return [record for record in records if type(record) is kind]


def perceived(config: Config, sweeps: int) -> list[Any]:
    """What Perceive makes of a drive under the built-in model."""
    return feed(perceive_of(config), drive(sweeps))


class ScriptedModel:
    """The frequency model, more or less sure of itself. Its file is its text, so it can be rebuilt.

    skill : factor of its logits; 1 is the built-in model, 1.5 is better here, -1 says the opposite
    """

    def __init__(self, config: Config, skill: float, salt: str = "") -> None:
        self.data = f"{skill} {salt}".encode()
        self._skill, self._builtin = skill, builtin_of(config)
        self.model_id = model_id_of(self.data)

    def predict(self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """As the frequency model with logits times the skill; float32 (N, H)."""
        p = self._builtin.predict(np.maximum(x, 0), neighbor_index)  # the canary holds negative counts
        p = np.clip(p, np.float32(0.01), np.float32(0.99))
        return quantise(1 / (1 + ((1 - p) / p) ** np.float32(self._skill)))


def load_scripted(config: Config) -> Callable[[str, bytes], Model]:
    """Makes scripted models of their files, and the built-in one of an empty file."""

    def load(model_id: str, data: bytes) -> Model:
        if not data:
            return builtin_of(config)
        skill, _, salt = data.decode().partition(" ")
        return ScriptedModel(config, float(skill), salt)

    return load


def learn_of(config: Config, networks: Mapping[str, NetworkConfig] | None = None, linear: Any = None) -> Learn:
    """A Learn whose models, if it gets any, are scripted ones."""
    return Learn(
        config,
        schema_of(config),
        builtin_of(config),
        networks=networks or {},
        linear=linear,
        load=load_scripted(config),
    )


class Recorder:
    """Passes records on to an agent and keeps them, with the steps they led to."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.inputs: list[Any] = []
        self.steps: list[Step] = []

    def handle(self, record: Any) -> Step:
        """As the agent."""
        step: Step = self.agent.handle(record)
        self.inputs.append(record)
        self.steps.append(step)
        return step

    def outputs(self, kind: type) -> list[Any]:
        """What the agent put out of one type, in order."""
        return [record for step in self.steps for record in step.outputs if type(record) is kind]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.agent, name)


def no_time() -> float:
    """A clock that stands still."""
    return 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """The four agents in one process, with everything they were given and gave."""

    perceive: Recorder
    judge: Recorder
    learn: Recorder
    archive: Recorder
    runtime: InProcess
    folder: RunFolder

    def run(self, items: Iterable[Item]) -> Loop:
        """Feed a log to its end and finish."""
        self.runtime.run(items)
        self.runtime.finish()
        return self


def loop_of(
    config: Config,
    path: Path,
    *,
    networks: Mapping[str, NetworkConfig] | None = None,
    learn: Learn | None = None,
    effects: Callable[..., LocalEffects] = LocalEffects,
    clock: Callable[[], float] = no_time,
) -> Loop:
    """The whole loop into a run folder; ``networks`` trains for real and needs torch."""
    folder = RunFolder(path)
    folder.create()
    schema, networks, stopwatch = schema_of(config), dict(networks or {}), Stopwatch(clock)
    recorders = {
        "perceive": Recorder(Perceive(config, builtin_of(config), stopwatch)),
        "judge": Recorder(Judge(config)),
        "learn": Recorder(learn or learn_of(config, networks)),
        "archive": Recorder(Archive()),
    }
    agents: Any = Agents(**recorders)
    runtime = InProcess(
        agents,
        effects(config, schema, folder, networks),
        stopwatch,
        clock=clock,
        on_sweep=lambda sweep: None,
        on_latency=lambda milliseconds: None,
    )
    return Loop(**recorders, runtime=runtime, folder=folder)


def interleave(seed: int, *sequences: Sequence[Any]) -> list[Any]:
    """The sequences merged at random, each in its own order."""
    order = [which for which, sequence in enumerate(sequences) for _ in sequence]
    random.Random(seed).shuffle(order)
    iterators = [iter(sequence) for sequence in sequences]
    return [next(iterators[which]) for which in order]


def plain(value: Any) -> Any:
    """Anything an agent takes or gives, as plain values that compare bit for bit."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if hasattr(value, "to_pydict"):  # a pyarrow table
        return (str(value.schema), [plain(column.to_pylist()) for column in value.columns])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, plain(getattr(value, field.name))) for field in dataclasses.fields(value)]
        return (type(value).__name__, fields)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if hasattr(value, "predict"):
        return value.model_id
    return repr(value) if isinstance(value, float) else value


def joined(records: Iterable[Any]) -> list[Any]:
    """The records that Judge reads, out of any."""
    return [record for record in records if isinstance(record, Binned | Prediction)]


def keyed(outcomes: Iterable[Any]) -> dict[tuple[str, int], Any]:
    """Outcomes by prediction and horizon, as plain values; a second one for a key is an error."""
    found: dict[tuple[str, int], Any] = {}
    for outcome in of_type(outcomes, Outcome):
        key = (outcome.prediction_id, outcome.horizon_ns)
        assert key not in found, f"{key} has two outcomes"
        found[key] = plain(outcome)
    return found


def published(records: Iterable[Any]) -> list[ModelPublished]:
    """Models published, in order."""
    return of_type(records, ModelPublished)


Script = Callable[[Train, int], float | None]
"""Skill of the scripted model that a training makes, by request and number; None when training diverges."""


class ScriptedEffects(LocalEffects):
    """Training by a script, models in memory; everything else as in a real run."""

    def __init__(self, config: Config, schema: FeatureSchema, folder: RunFolder, script: Script) -> None:
        super().__init__(config, schema, folder, {})
        self._config, self._script = config, script
        self.trained: list[ScriptedModel] = []
        self.requests: list[Train] = []
        self.restored: list[Restore] = []
        self.stored: dict[str, StoreModel] = {}

    def perform(self, effect: Any) -> Any:
        """Keep what is asked; train by the script; load what was stored."""
        if isinstance(effect, Train):
            return self._train(effect)
        if isinstance(effect, Restore):
            self.restored.append(effect)
            return None
        if isinstance(effect, StoreModel):
            self.stored[effect.manifest.model_id] = effect
            return None
        if isinstance(effect, LoadModel):
            return self._loaded(effect)
        return super().perform(effect)

    def _train(self, request: Train) -> Trained | TrainingFailed:
        self.requests.append(request)
        skill = self._script(request, len(self.requests))
        if skill is None:
            return TrainingFailed(lineage=request.lineage, stamp_ns=request.stamp_ns, reason="loss is inf")
        model = ScriptedModel(self._config, skill, f"{request.lineage} {len(self.requests)}")
        self.trained.append(model)
        return Trained(
            lineage=request.lineage,
            stamp_ns=request.stamp_ns,
            data=model.data,
            model=model,
            weights={"skill": np.array([skill], np.float32)},
            report={
                "steps": request.steps, "total_steps": 16 * len(self.requests), "loss": 0.5, "examples": 1,
                "first_stamp_ns": FIRST_NS, "last_stamp_ns": request.stamp_ns,
            },
        )  # fmt: skip

    def _loaded(self, effect: LoadModel) -> ModelLoaded:
        stored = self.stored[effect.model_id]
        return ModelLoaded(
            model_id=effect.model_id,
            stamp_ns=effect.stamp_ns,
            sha256=stored.manifest.sha256,
            model=load_scripted(self._config)(effect.model_id, stored.data),
        )


def scripted_loop(
    config: Config, path: Path, script: Script, lineages: Sequence[str] = ("network",)
) -> tuple[Loop, ScriptedEffects]:
    """The whole loop with training by a script."""
    made: list[ScriptedEffects] = []

    def effects(config: Config, schema: FeatureSchema, folder: RunFolder, networks: Any) -> LocalEffects:
        made.append(ScriptedEffects(config, schema, folder, script))
        return made[0]

    learn = learn_of(config, {name: NetworkConfig(width=4, layers=1) for name in lineages})
    loop = loop_of(config, path, learn=learn, effects=effects)
    return loop, made[0]
