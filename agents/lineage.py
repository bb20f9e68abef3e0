"""A lineage of models: one network, one schedule, one trainer; served or in shadow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Example, Labels, Train, Trained
from models.model import Model
from models.online.gate import PromotionGate, UpdateGuard
from models.prior import Prior
from stream.codecs.state import from_dict, to_dict

Weights = Mapping[str, NDArray[np.float32]]
Load = Callable[[str, bytes], Model]
"""Makes a model of its id and file; empty bytes mean the built-in one."""


@dataclass(slots=True, kw_only=True)
class Version:
    """One state of a lineage's weights, and the model they make."""

    model: Model
    data: bytes
    weights: Weights
    report: Mapping[str, Any]

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model_id": self.model.model_id,
            "data": self.data,
            "weights": dict(self.weights),
            "report": dict(self.report),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], load: Load) -> Version:
        """Rebuild from ``state``; ``load`` makes the model of its file."""
        return cls(
            model=load(state["model_id"], state["data"]),
            data=state["data"],
            weights=state["weights"],
            report=state["report"],
        )


def prior_version(prior: Prior) -> Version:
    """A prior as the first state of a lineage; it has no weights to roll back to but those in its file."""
    training = prior.manifest.training
    return Version(
        model=prior.model,
        data=prior.data,
        weights={},
        report={
            "steps": 0,
            "total_steps": training.steps,
            "loss": prior.manifest.metrics.get("training_loss"),
            "examples": training.examples,
            "first_stamp_ns": training.first_stamp_ns,
            "last_stamp_ns": training.last_stamp_ns,
        },
    )


@dataclass(slots=True, kw_only=True)
class Lineage:
    """What Learn knows of one lineage; the trainer itself lives with the runtime.

    gate : judges the lineage while it is a challenger; guard : judges its updates while it is champion
    latest : newest weights; anchor : the weights accepted last
    probation : its updates were rolled back, so the anchor serves until newer weights are proven not worse
    """

    name: str
    gate: PromotionGate
    guard: UpdateGuard
    latest: Version | None = None
    anchor: Version | None = None
    probation: bool = False
    sent: set[str] = field(default_factory=set)
    examples: list[Example] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)

    def add(self, example: Example, labels: Labels) -> None:
        """Queue labels for the next training, with their example the first time."""
        if example.prediction_id not in self.sent:
            self.sent.add(example.prediction_id)
            self.examples.append(example)
        self.labels.append(labels)

    def train(
        self, stamp_ns: int, steps: int, budget_ms: float | None, sources: tuple[Mapping[str, Any], ...]
    ) -> Train:
        """The queued examples and labels as a request, leaving the queue empty."""
        request = Train(
            lineage=self.name,
            stamp_ns=stamp_ns,
            examples=tuple(self.examples),
            labels=tuple(self.labels),
            steps=steps,
            budget_ms=budget_ms,
            sources=sources,
        )
        self.examples, self.labels = [], []
        return request

    def take(self, trained: Trained) -> None:
        """Adopt newly trained weights."""
        self.latest = Version(
            model=trained.model, data=trained.data, weights=trained.weights, report=trained.report
        )

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "gate": self.gate.state(),
            "guard": self.guard.state(),
            "latest": self.latest.state() if self.latest else None,
            "anchor": self.anchor.state() if self.anchor else None,
            "probation": self.probation,
            "sent": sorted(self.sent),
            "examples": [to_dict(example) for example in self.examples],
            "labels": [to_dict(labels) for labels in self.labels],
        }

    @classmethod
    def from_state(cls, name: str, state: dict[str, Any], load: Load) -> Lineage:
        """Rebuild from ``state``."""
        return cls(
            name=name,
            gate=PromotionGate.from_state(state["gate"]),
            guard=UpdateGuard.from_state(state["guard"]),
            latest=Version.from_state(state["latest"], load) if state["latest"] else None,
            anchor=Version.from_state(state["anchor"], load) if state["anchor"] else None,
            probation=state["probation"],
            sent=set(state["sent"]),
            examples=[from_dict(Example, values) for values in state["examples"]],
            labels=[from_dict(Labels, values) for values in state["labels"]],
        )

    def forget(self, prediction_id: str) -> None:
        """No more labels will come for a prediction."""
        self.sent.discard(prediction_id)
