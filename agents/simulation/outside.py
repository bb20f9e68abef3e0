"""What agents ask of the outside, slow and fallible: a model store, trainers, files; and snapshots."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from agents.manifests import requirements_of
from agents.operations import Snapshot
from agents.protocol import (
    LoadModel,
    ModelLoaded,
    Restore,
    StoreModel,
    Train,
    WriteEvent,
    WriteTable,
)
from agents.simulation.dice import Dice
from agents.simulation.faults import DiskFailed
from agents.simulation.models import Trainer, loader
from agents.simulation.world import World
from agents.task_id import TaskId
from models import canary
from models.manifest import Manifest, ModelRefused, sha256_of
from models.model import Model
from models.online.builtin import MODEL_ID, builtin_of
from stream.features import schema_of


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Job:
    """One request under way: who asked, from which process, and when it will be done."""

    task: TaskId
    request: str
    effect: LoadModel | Train
    process: str
    due_ms: float


class Outside:
    """Files and models outlive every crash; trainers and jobs die with the process that started them."""

    def __init__(self, world: World, dice: Dice) -> None:
        config = world.config
        self._dice = dice
        self._builtin = builtin_of(config)
        self._make = loader(self._builtin)
        self._requirements = requirements_of(config, schema_of(config))
        self._trainers: dict[tuple[str, str], Trainer] = {}
        self.models = dict(world.models)
        self.damaged = world.damaged
        self.files: dict[str, WriteTable | WriteEvent] = {}
        self.trained: list[Train] = []
        self.from_scratch: list[Train] = []
        self.jobs: list[Job] = []
        self._asked: set[tuple[str, str]] = set()

    def make(self, model_id: str) -> Model:
        """A model as it was published, or the built-in one.  Raises KeyError for one never stored"""
        return self._make(model_id, self.models[model_id][0]) if model_id != MODEL_ID else self._builtin

    def store(self, name: str, effect: StoreModel | WriteTable | WriteEvent) -> None:
        """Make something durable under a name; again, it changes nothing.  Raises DiskFailed"""
        if self._dice.fires("store full"):
            raise DiskFailed(name)
        if isinstance(effect, StoreModel):
            self.models.setdefault(effect.manifest.model_id, (effect.data, effect.manifest))
        elif isinstance(effect, WriteTable):  # a new process overwrites what has the same number
            self.files[f"{name.partition('/')[0]}/{effect.dataset}/{effect.chunk}"] = effect
        else:
            self.files[name] = effect

    def ask(self, task: TaskId, request: str, effect: LoadModel | Train, process: str, now: float) -> None:
        """Start a job, unless this process has been asked for it."""
        if (process, request) in self._asked:
            return
        self._asked.add((process, request))
        wait = 5 + 20 * self._dice.share()
        if self._dice.fires("effect slow"):
            wait += 800 * self._dice.share()
        due = now + wait
        self.jobs.append(Job(task=task, request=request, effect=effect, process=process, due_ms=due))

    def die(self, process: str) -> None:
        """A process has ended, and its jobs and trainers with it."""
        self.jobs = [job for job in self.jobs if job.process != process]
        self._asked = {asked for asked in self._asked if asked[0] != process}
        for key in [key for key in self._trainers if key[0] == process]:
            del self._trainers[key]

    def due(self, now: float) -> list[Job]:
        """Jobs that could end now; a process trains one after the other."""
        training: set[str] = set()
        found = []
        for job in self.jobs:
            first = not isinstance(job.effect, Train) or job.process not in training
            if isinstance(job.effect, Train):
                training.add(job.process)
            if first and job.due_ms <= now:
                found.append(job)
        return found

    def finish(self, job: Job, now: float) -> tuple[Any, bool]:
        """Do a job; returns its result and whether it is done (else it is tried again later)."""
        self.jobs.remove(job)
        if isinstance(job.effect, LoadModel):
            if self._dice.fires("model store away"):
                self.jobs.append(dataclasses.replace(job, due_ms=now + 100))
                return None, False
            return self.load(job.effect), True
        train = job.effect
        self.trained.append(train)
        if (job.process, train.lineage) not in self._trainers:
            self.from_scratch.append(train)
        trainer = self._trainer(job.process, train.lineage)
        return trainer.train(train, self._dice.fires("training diverges")), True

    def restore(self, process: str, effect: Restore) -> None:
        """Put the trainer of a process back, or give a new one what it goes on from."""
        self._trainer(process, effect.lineage).restore(effect)

    def _trainer(self, process: str, lineage: str) -> Trainer:
        return self._trainers.setdefault((process, lineage), Trainer(lineage, self._builtin))

    def load(self, effect: LoadModel) -> ModelLoaded:
        """Read, verify and make a model."""
        model: Model | None = None
        sha256 = reason = ""
        try:
            data, manifest = self._read(effect.model_id)
            if effect.sha256 not in (None, sha256_of(data)):
                raise ModelRefused(f"{effect.model_id}: sha256 is not the published one")
            made = self._make(effect.model_id, data)
            self.verify(made, manifest, data)
            model, sha256 = made, manifest.sha256
        except ModelRefused as error:
            reason = str(error)
        return ModelLoaded(
            model_id=effect.model_id,
            stamp_ns=effect.stamp_ns,
            sha256=sha256,
            model=model,
            reason=reason,
            number=effect.number,
        )

    def _read(self, model_id: str) -> tuple[bytes, Manifest]:
        if model_id not in self.models:
            raise ModelRefused(f"{model_id}: not in the registry")
        data, manifest = self.models[model_id]
        if model_id in self.damaged:
            data = b"9" + data[1:]
        return data, manifest

    def verify(self, model: Model, manifest: Manifest, data: bytes) -> None:
        """Refuse what is not the model that was published.  Raises ModelRefused"""
        manifest.check(self._requirements)
        if sha256_of(data) != manifest.sha256:
            raise ModelRefused(f"{manifest.model_id}: sha256 differs")
        canary.verify(model, manifest)


@dataclass(slots=True)
class Snapshots:
    """Where snapshots of all tasks lie; every worker reaches it."""

    kept: dict[TaskId, list[Snapshot]] = field(default_factory=lambda: defaultdict(list))
    keep: int = 3

    def write(self, task: TaskId, snapshot: Snapshot) -> None:
        """Add one; the oldest beyond ``keep`` go."""
        self.kept[task].append(snapshot)
        self.kept[task].sort(key=lambda item: item.memory.journal)
        del self.kept[task][: -self.keep]

    def newest(self, task: TaskId) -> Snapshot | None:
        """The newest whole one."""
        return next((item for item in reversed(self.kept[task]) if item.whole), None)
