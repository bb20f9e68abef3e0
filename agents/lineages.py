"""All lineages: which one is champion, what it serves, and who takes its place.

A lineage with a prior is champion from the first prediction on; one without has to pass the gate first, on
outcomes it was not trained on. Every training of the champion is published as an update, compared with an
anchor on outcomes not yet trained on, and rolled back when it loses; the anchor serves then, and nothing
newer is published before it has proven not to be worse. The built-in model is a challenger like any other: a
champion that is proven worse than it gives way to it, and has to pass the gate again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.comparison import log_losses, score
from agents.learn_robot import Pending
from agents.lineage import Lineage, Load, Version, prior_version
from agents.manifests import architecture_of, manifest_of
from agents.protocol import Example, Labels, Restore, StepBuilder, StoreModel, Trained, TrainingFailed
from agents.sources import Sources
from agents.training_plan import Plan
from models.model import Model
from models.online.gate import Decision, PromotionGate, UpdateGuard
from models.prior import Prior
from models.scores.tally import SweepScore
from native.window import CellFeatures
from stream.config import Config, NetworkConfig
from stream.features import FeatureSchema
from stream.records import Event, ModelPublished, Outcome

QUEUED = 32
"""Sweeps that wait for a training; more are handed over without one."""
REMEMBERED_MAKERS = 256
"""Models published last whose lineage is known: each sweep may publish one, Learn may be behind Perceive, and
forecasts wait for outcomes as long as the longest horizon."""
REMEMBERED_MODELS = 16
"""Models published last: predictions in flight may still name them."""


class Lineages:
    """The lineages of one Learn: trained side by side, one of them champion at most.

    networks : networks to train by lineage name
    priors : what lineages start from, by name; the first lineage that has one is champion from the start
    """

    def __init__(
        self,
        config: Config,
        schema: FeatureSchema,
        builtin: Model,
        networks: Mapping[str, NetworkConfig],
        priors: Mapping[str, Prior],
    ) -> None:
        self._config, self._schema, self._builtin = config, schema, builtin
        self._networks = dict(networks)
        self._lineages = {name: self._new_lineage(name, priors.get(name)) for name in networks}
        self._fallback = self._new_gate()
        self._champion = next((name for name in networks if name in priors), None)
        if self._champion is not None:
            lineage = self._lineages[self._champion]
            lineage.anchor = lineage.latest
        self._served_id = builtin.model_id
        self._versions: OrderedDict[str, Version] = OrderedDict()
        self._makers: OrderedDict[str, str] = OrderedDict()
        self._sources = Sources()

    def _new_lineage(self, name: str, prior: Prior | None) -> Lineage:
        learn = self._config.learn
        return Lineage(
            name=name,
            gate=self._new_gate(),
            guard=UpdateGuard(learn.guard_sweeps, learn.guard_margin),
            latest=prior_version(prior) if prior else None,
        )

    def _new_gate(self) -> PromotionGate:
        return PromotionGate(self._config.learn.gate_sweeps)

    def begin(self, stamp_ns: int, step: StepBuilder) -> None:
        """Publish the prior, if there is one and nothing has been published yet."""
        if self._champion is None or self._served_id != self._builtin.model_id:
            return
        lineage = self._lineages[self._champion]
        if lineage.latest is not None:
            self._publish(lineage, lineage.latest, "prior", stamp_ns, step)

    def version(self, model_id: str) -> Version | None:
        """A model that was published lately, or the built-in one."""
        if model_id == self._builtin.model_id:
            return Version(model=self._builtin, data=b"", weights={}, report={})
        return self._versions.get(model_id)

    def challenge(self, features: CellFeatures) -> dict[str, NDArray[np.float32]]:
        """What every challenger would have predicted at the primary horizon, float32 (N,)."""
        models = {
            lineage.name: lineage.latest.model
            for lineage in self._lineages.values()
            if lineage.name != self._champion and lineage.latest is not None
        }
        if self._champion is not None:
            models[self._builtin.model_id] = self._builtin
        primary = self._config.task.primary
        return {
            name: np.ascontiguousarray(model.predict(features.x, features.neighbor_index)[:, primary])
            for name, model in models.items()
        }

    def forget(self, prediction_id: str) -> None:
        """No more labels will come for a prediction."""
        for lineage in self._lineages.values():
            lineage.forget(prediction_id)

    # ---- outcomes --------------------------------------------------------------------------------------

    def compare(
        self,
        pending: Pending,
        outcome: Outcome,
        example: Example,
        labels: Labels,
        turn: int,
        step: StepBuilder,
    ) -> None:
        """Gate challengers and guard the champion, on an outcome at the primary horizon not yet trained on.

        turn : decides which cells the guard compares
        """
        self._gate(pending, outcome, step)
        self._guard(example, labels, outcome.observed_stamp_ns, turn, step)

    def queue(self, pending: Pending, example: Example, labels: Labels) -> None:
        """Queue labels with every lineage, for the next training."""
        if any(example.prediction_id not in lineage.sent for lineage in self._lineages.values()):
            self._sources.note(pending.prediction)  # one sweep's labels come to all lineages, or to none
        for lineage in self._lineages.values():
            lineage.add(example, labels)

    @property
    def is_full(self) -> bool:
        """Whether more is queued than should wait: a primary horizon that is never observed trains nobody."""
        return any(len(lineage.examples) >= QUEUED for lineage in self._lineages.values())

    def train(self, now_ns: int, plan: Plan, step: StepBuilder) -> None:
        """Give every lineage what is queued, and have those train that the plan names."""
        learn, sources = self._config.learn, self._sources.plain()
        share = learn.budget_ms / len(self._lineages) if learn.budget_ms and self._lineages else None
        step.outputs.extend(plan.events)
        for name in sorted(plan.renewed):
            self._renew(self._lineages[name], now_ns, step)
        for lineage in self._lineages.values():
            step.effects.append(lineage.train(now_ns, plan.steps.get(lineage.name, 0), share, sources))

    def _renew(self, lineage: Lineage, stamp_ns: int, step: StepBuilder) -> None:
        """Have a challenger begin again at the champion's newest weights, and be judged anew."""
        champion = self._lineages[self._champion].latest if self._champion else None
        if lineage.name == self._champion or champion is None or not champion.weights:
            return
        lineage.latest, lineage.gate = champion, self._new_gate()
        step.effects.append(Restore(lineage=lineage.name, weights=champion.weights))
        fields = {"lineage": lineage.name, "model_id": champion.model.model_id}
        step.outputs.append(Event(kind="renewed", stamp_ns=stamp_ns, fields=fields))

    def _gate(self, pending: Pending, outcome: Outcome, step: StepBuilder) -> None:
        """Score challengers on the predictions they made in shadow; act on what is proven.

        Beside what the champion served alone: what its predecessor served, or a model that a person pinned,
        says nothing of the champion. Without one, they are compared with what serves, wherever it is from.
        """
        row, occupied = outcome.row, outcome.occupied
        served = score(pending.prediction.probability[row, self._config.task.primary], occupied)
        for name, probability in pending.challengers.items():
            if name != self._champion and self._is_champions(pending.prediction.model_id):
                self._judge(name, served, score(probability[row], occupied), outcome.observed_stamp_ns, step)

    def _is_champions(self, model_id: str) -> bool:
        """Whether the champion made this model; without one, whether any but our lineages did."""
        return self._makers.get(model_id) == self._champion

    def _judge(
        self, name: str, served: SweepScore, challenger: SweepScore, stamp_ns: int, step: StepBuilder
    ) -> None:
        """One sweep's scores of what was served and of a challenger; promote or reject it when proven."""
        if name == self._builtin.model_id:
            self._judge_champion(served, challenger, stamp_ns, step)
            return
        lineage = self._lineages[name]
        lineage.gate.add(served, challenger)
        decision = lineage.gate.decide()
        if decision.verdict == "promote":
            self._promote(lineage, decision, stamp_ns, step)
        elif decision.verdict == "reject":
            lineage.gate = self._new_gate()  # it trains on, judged anew
            step.outputs.append(_event("rejected", stamp_ns, lineage, decision))

    def _judge_champion(
        self, served: SweepScore, builtin: SweepScore, stamp_ns: int, step: StepBuilder
    ) -> None:
        """Serve the built-in model again once it is proven better; the champion becomes a challenger."""
        if self._champion is None:
            return
        self._fallback.add(served, builtin)
        decision = self._fallback.decide()
        if decision.verdict == "reject":
            self._fallback = self._new_gate()  # not better so far; it goes on being compared
        if decision.verdict != "promote":
            return
        step.outputs.append(_event("rolled_back", stamp_ns, self._lineages[self._champion], decision))
        step.outputs.append(
            ModelPublished(
                model_id=self._builtin.model_id,
                sha256="builtin",
                kind="rollback",
                parent_id=self._served_id,
                stamp_ns=stamp_ns,
            )
        )
        self._served_id, self._champion = self._builtin.model_id, None
        self._renew_gates()

    def _renew_gates(self) -> None:
        """Another model serves: whoever was compared with the one before begins anew."""
        self._fallback = self._new_gate()
        for lineage in self._lineages.values():
            lineage.gate = self._new_gate()

    def _promote(self, lineage: Lineage, decision: Decision, stamp_ns: int, step: StepBuilder) -> None:
        if lineage.latest is None:
            return
        self._champion = lineage.name
        lineage.anchor, lineage.probation = lineage.latest, False
        lineage.guard.reset()
        step.outputs.append(_event("promoted", stamp_ns, lineage, decision))
        self._publish(lineage, lineage.latest, "promotion", stamp_ns, step)
        self._renew_gates()  # the old champion goes on in shadow

    def _guard(self, example: Example, labels: Labels, stamp_ns: int, turn: int, step: StepBuilder) -> None:
        """Compare the champion's newest weights with the anchor on outcomes that neither was trained on."""
        if self._champion is None:
            return
        lineage = self._lineages[self._champion]
        if lineage.latest is None or lineage.anchor is None:
            return
        models = (lineage.latest.model, lineage.anchor.model)
        if lineage.probation and models[0].model_id == models[1].model_id:
            return  # nothing newer to prove itself yet
        layers = self._networks[lineage.name].layers
        losses = log_losses(models, example, labels, layers=layers, turn=turn)
        if losses[0] is None or losses[1] is None:
            return
        lineage.guard.add(losses[0], losses[1])
        decision = lineage.guard.verdict()
        if decision.verdict == "accept":
            lineage.anchor = lineage.latest
            lineage.guard.reset()
            if lineage.probation:
                lineage.probation = False
                self._publish(lineage, lineage.latest, "update", stamp_ns, step)
        elif decision.verdict == "rollback":
            self._roll_back(lineage, lineage.anchor, decision, stamp_ns, step)

    def _roll_back(
        self, lineage: Lineage, anchor: Version, decision: Decision, stamp_ns: int, step: StepBuilder
    ) -> None:
        """Go back to the anchor, in serving and in training. What is trained from now on has to prove itself
        first: whatever spoiled it may still be in the outcomes, or in the sweeps that are replayed."""
        held_back = lineage.probation
        step.outputs.append(_event("held_back" if held_back else "rolled_back", stamp_ns, lineage, decision))
        lineage.latest, lineage.probation = anchor, True
        lineage.guard.reset()
        step.effects.append(Restore(lineage=lineage.name, weights=anchor.weights))
        if not held_back:
            self._publish(lineage, anchor, "rollback", stamp_ns, step)

    # ---- models ----------------------------------------------------------------------------------------

    def trained(self, trained: Trained, step: StepBuilder) -> None:
        """Adopt what a training made; what the champion made is published."""
        lineage = self._lineages[trained.lineage]
        lineage.take(trained)
        told = {name: value for name, value in trained.report.items() if name != "sources"}  # in the manifest
        step.outputs.append(
            Event(
                kind="trained",
                stamp_ns=trained.stamp_ns,
                fields={"lineage": lineage.name, "model_id": trained.model.model_id, **told},
            )
        )
        if lineage.name == self._champion and lineage.latest is not None and not lineage.probation:
            self._publish(lineage, lineage.latest, "update", trained.stamp_ns, step)

    def training_failed(self, failed: TrainingFailed, step: StepBuilder) -> None:
        """Go on from the weights before; what is served is not touched."""
        lineage = self._lineages[failed.lineage]
        fields = {"lineage": lineage.name, "reason": failed.reason}
        step.outputs.append(Event(kind="training_failed", stamp_ns=failed.stamp_ns, fields=fields))
        if lineage.latest is not None:
            step.effects.append(Restore(lineage=lineage.name, weights=lineage.latest.weights))

    def _publish(
        self, lineage: Lineage, version: Version, kind: str, stamp_ns: int, step: StepBuilder
    ) -> None:
        manifest = manifest_of(
            self._config,
            self._schema,
            version,
            architecture=architecture_of(self._networks[lineage.name]),
            kind=kind,
            parent_id=self._served_id,
        )
        step.effects.append(StoreModel(data=version.data, manifest=manifest, champion=True))
        step.outputs.append(
            ModelPublished(
                model_id=manifest.model_id,
                sha256=manifest.sha256,
                kind=kind,
                parent_id=manifest.parent_id,
                stamp_ns=stamp_ns,
                manifest=manifest.to_dict(),
            )
        )
        self._served_id = manifest.model_id
        self._versions[manifest.model_id] = version
        self._versions.move_to_end(manifest.model_id)
        while len(self._versions) > REMEMBERED_MODELS:
            self._versions.popitem(last=False)
        self._makers[manifest.model_id] = lineage.name
        self._makers.move_to_end(manifest.model_id)
        while len(self._makers) > REMEMBERED_MAKERS:
            self._makers.popitem(last=False)

    def resume(self) -> tuple[Restore, ...]:
        """Newest weights of every lineage that has trained; a prior is in its trainer anyway."""
        return tuple(
            Restore(lineage=lineage.name, weights=lineage.latest.weights)
            for lineage in self._lineages.values()
            if lineage.latest and lineage.latest.weights
        )

    # ---- snapshots -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values; trainers are the runtime's."""
        return {
            "versions": [version.state() for version in self._versions.values()],
            "makers": [list(pair) for pair in self._makers.items()],
            "lineages": {name: lineage.state() for name, lineage in self._lineages.items()},
            "champion": self._champion,
            "fallback": self._fallback.state(),
            "served_id": self._served_id,
            "sources": list(self._sources.plain()),
        }

    def restore(self, state: dict[str, Any], load: Load) -> None:
        """Continue from ``state``; ``load`` makes models of their files."""
        versions = [Version.from_state(values, load) for values in state["versions"]]
        self._versions = OrderedDict((version.model.model_id, version) for version in versions)
        self._lineages = {
            name: Lineage.from_state(name, values, load) for name, values in state["lineages"].items()
        }
        self._champion, self._served_id = state["champion"], state["served_id"]
        older = [] if self._champion is None else [(self._served_id, self._champion)]
        self._makers = OrderedDict(state.get("makers", older))
        self._fallback = PromotionGate.from_state(state["fallback"])
        self._sources = Sources.from_plain(state["sources"])


def _event(kind: str, stamp_ns: int, lineage: Lineage, decision: Decision) -> Event:
    model_id = lineage.latest.model.model_id if lineage.latest else ""
    fields = {"lineage": lineage.name, "model_id": model_id, **decision.reason}
    return Event(kind=kind, stamp_ns=stamp_ns, fields=fields)
