"""Learn with something done to it: what it gives to trainers is kept, delayed or falsified on the way."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.learn import Learn
from agents.protocol import Example, Labels, Step, Train, Trained
from models.model import Model
from native.index64 import ancestor
from stream.config_sections import CHAMPION_LINEAGE
from stream.records import Outcome, Prediction


class StudiedLearn(Learn):
    """A Learn whose training requests pass by a study. ``rewrite`` may change them; here it does not."""

    def handle(self, record: Any) -> Step:
        """As Learn, with its requests rewritten."""
        if isinstance(record, Outcome):
            record = self.heard(record)
        step = super().handle(record)
        effects = tuple(self.rewrite(e) if isinstance(e, Train) else e for e in step.effects)
        return dataclasses.replace(step, effects=effects)

    def heard(self, outcome: Outcome) -> Outcome:
        """An outcome as it comes in; what is returned is what Learn folds."""
        return outcome

    def rewrite(self, request: Train) -> Train:
        """A request as it goes out; what is returned is what trainers get."""
        return request


def made_of(kind: type[StudiedLearn], **values: Any) -> Callable[..., Learn]:
    """Makes one kind of Learn with a study's values set on it."""

    def make(*arguments: Any, **named: Any) -> Learn:
        learn = kind(*arguments, **named)
        for name, value in values.items():
            setattr(learn, name, value)
        return learn

    return make


# ---- kept ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Capture:
    """All examples and labels that the champion's trainer was given, by prediction id.

    trained : the networks that it made, each with the stamp of the newest prediction made until then
    """

    examples: dict[str, Example] = field(default_factory=dict)
    labels: dict[str, list[Labels]] = field(default_factory=dict)
    trained: list[tuple[int, Model]] = field(default_factory=list)
    newest_ns: int = -1

    def clear(self) -> None:
        """Forget it: a drive's takes hundreds of megabytes."""
        self.examples.clear()
        self.labels.clear()
        self.trained.clear()

    def add(self, request: Train) -> None:
        """Keep what is new."""
        self.examples |= {example.prediction_id: example for example in request.examples}
        for labels in request.labels:
            self.labels.setdefault(labels.prediction_id, []).append(labels)


class CapturedLearn(StudiedLearn):
    """Keeps what goes to the champion's trainer, and every network that comes back, served or not."""

    capture: Capture

    def handle(self, record: Any) -> Step:
        """As Learn; a network could serve the predictions after the newest one that Learn has seen."""
        if isinstance(record, Prediction):
            self.capture.newest_ns = max(self.capture.newest_ns, record.stamp_ns)
        if isinstance(record, Trained) and record.lineage == CHAMPION_LINEAGE:
            self.capture.trained.append((self.capture.newest_ns, record.model))
        return super().handle(record)

    def rewrite(self, request: Train) -> Train:
        """The same."""
        if request.lineage == CHAMPION_LINEAGE:
            self.capture.add(request)
        return request


# ---- delayed -------------------------------------------------------------------------------------------


class DelayedLearn(StudiedLearn):
    """Labels reach trainers so many labelled sweeps late; gate and guard still see outcomes at once.

    delay : labelled sweeps
    """

    delay: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting: dict[str, deque[tuple[Labels, ...]]] = {}

    def rewrite(self, request: Train) -> Train:
        """The request with the labels of an earlier one."""
        waiting = self._waiting.setdefault(request.lineage, deque())
        waiting.append(request.labels)
        late = waiting.popleft() if len(waiting) > self.delay else ()
        return dataclasses.replace(request, labels=late)


# ---- falsified -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """Labels turned round, a random share of them.

    share : of labels; begin_ns, end_ns : of the predictions they are about
    lod : only in one region of this level, that with the most outcomes at the beginning; None for everywhere
    """

    share: float
    begin_ns: int
    end_ns: int = 2**62
    lod: int | None = None


class PoisonedLearn(StudiedLearn):
    """Falsifies labels on their way to trainers, or outcomes on their way to Learn.

    poisons : one after the other; at_source : outcomes themselves, so that gate and guard are deceived, too
    seed : decides which labels
    """

    poisons: tuple[Poison, ...]
    at_source: bool
    seed: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._turned: dict[tuple[str, int], NDArray[np.bool_]] = {}
        self._regions: dict[Poison, int] = {}
        self.flipped = 0

    def heard(self, outcome: Outcome) -> Outcome:
        """Decide which labels of an outcome are turned round; turn the outcome's own where asked to."""
        turned = self._which(outcome)
        if not turned.any():
            return outcome
        self.flipped += int(turned.sum())
        if self.at_source:
            return dataclasses.replace(outcome, occupied=outcome.occupied ^ turned)
        horizon = self._config.task.horizons_ns.index(outcome.horizon_ns)
        self._turned[outcome.prediction_id, horizon] = turned
        return outcome

    def _which(self, outcome: Outcome) -> NDArray[np.bool_]:
        turned = np.zeros(len(outcome.row), np.bool_)
        for poison in self.poisons:
            if poison.begin_ns <= outcome.stamp_ns < poison.end_ns and len(outcome.row):
                draw = np.random.default_rng((self.seed, outcome.stamp_ns, outcome.horizon_ns))
                turned |= (draw.random(len(turned)) < poison.share) & self._there(poison, outcome)
        return turned

    def _there(self, poison: Poison, outcome: Outcome) -> NDArray[np.bool_]:
        if poison.lod is None:
            return np.ones(len(outcome.row), np.bool_)
        region = ancestor(outcome.cell_id, poison.lod)
        if poison not in self._regions:
            names, count = np.unique(region, return_counts=True)
            self._regions[poison] = int(names[count.argmax()])
        there: NDArray[np.bool_] = region == np.uint64(self._regions[poison])
        return there

    def rewrite(self, request: Train) -> Train:
        """The request with the labels that were decided on turned round."""
        return dataclasses.replace(request, labels=tuple(self._falsified(request.labels)))

    def _falsified(self, labels: Iterable[Labels]) -> Iterable[Labels]:
        for part in labels:
            turned = self._turned.get((part.prediction_id, part.horizon))
            if turned is None:
                yield part
            else:
                yield dataclasses.replace(part, occupied=part.occupied ^ turned)
