"""The four agents in one process, recorded; and training by a script, which needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.archive import Archive, RunDigest
from agents.effects import LocalEffects
from agents.inprocess import Agents, InProcess
from agents.judge import Judge
from agents.learn import Learn
from agents.lineage import Version
from agents.manifests import manifest_of
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
from models.prior import Prior
from models.probability import quantise
from stream.config import Config, NetworkConfig
from stream.features import FeatureSchema, schema_of
from stream.run_folder import RunFolder
from stream.sources.base import Item
from tests.agents.worlds import FIRST_NS, builtin_of


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


def scripted_prior(config: Config, skill: float) -> Prior:
    """A prior that is a scripted model."""
    model: Any = ScriptedModel(config, skill, "prior")
    report = {"total_steps": 1, "examples": 1, "loss": 0.5, "first_stamp_ns": 1, "last_stamp_ns": 1}
    version = Version(model=model, data=model.data, weights={}, report=report)
    manifest = manifest_of(config, schema_of(config), version, architecture="", kind="prior", parent_id="")
    return Prior(data=model.data, manifest=manifest, model=model)


def learn_of(
    config: Config,
    networks: Mapping[str, NetworkConfig] | None = None,
    linear: Any = None,
    priors: Mapping[str, Prior] | None = None,
) -> Learn:
    """A Learn whose models, if it gets any, are scripted ones."""
    return Learn(
        config,
        schema_of(config),
        builtin_of(config),
        networks=networks or {},
        priors=priors or {},
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
        "archive": Recorder(Archive(digest=RunDigest())),
    }
    agents: Any = Agents(**recorders)
    runtime = InProcess(
        agents,
        effects(config, schema, folder, networks, {}),
        stopwatch,
        clock=clock,
        on_sweep=lambda sweep: None,
        on_latency=lambda milliseconds: None,
    )
    return Loop(**recorders, runtime=runtime, folder=folder)


Script = Callable[[Train, int], float | None]
"""Skill of the scripted model that a training makes, by request and number; None when training diverges."""


class ScriptedEffects(LocalEffects):
    """Training by a script, models in memory; everything else as in a real run."""

    def __init__(self, config: Config, schema: FeatureSchema, folder: RunFolder, script: Script) -> None:
        super().__init__(config, schema, folder, {}, {})
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
            return self.store(effect)
        if isinstance(effect, LoadModel):
            return self._loaded(effect)
        return super().perform(effect)

    def store(self, effect: StoreModel) -> None:
        """Keep a model in memory."""
        self.stored[effect.manifest.model_id] = effect

    def _train(self, request: Train) -> Trained | TrainingFailed | None:
        if not request.steps:
            return None
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
            number=effect.number,
        )


def scripted_loop(
    config: Config,
    path: Path,
    script: Script,
    lineages: Sequence[str] = ("network",),
    priors: Mapping[str, Prior] | None = None,
) -> tuple[Loop, ScriptedEffects]:
    """The whole loop with training by a script."""
    made: list[ScriptedEffects] = []

    def effects(config: Config, schema: FeatureSchema, folder: RunFolder, *_: Any) -> LocalEffects:
        made.append(ScriptedEffects(config, schema, folder, script))
        return made[0]

    learn = learn_of(config, {name: NetworkConfig(width=4, layers=1) for name in lineages}, priors=priors)
    loop = loop_of(config, path, learn=learn, effects=effects)
    return loop, made[0]
