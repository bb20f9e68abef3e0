"""How well objects are found: average precision by class, and the errors of what was found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import Boxes

Floats = NDArray[np.float64]

DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
"""A detection is right when its centre lies so near to an object's, on the ground plane; AP is the mean over
these, as in the nuScenes benchmark."""
ERRORS_AT_M = 2.0


@dataclass(slots=True, eq=False)
class _Class:
    """Detections of one class, and what they met."""

    truths: int = 0
    score: list[Floats] = field(default_factory=list)
    right: list[NDArray[np.bool_]] = field(default_factory=list)
    counted: list[NDArray[np.bool_]] = field(default_factory=list)
    place_m: list[float] = field(default_factory=list)
    size_m: list[float] = field(default_factory=list)
    yaw_rad: list[float] = field(default_factory=list)


class DetectionScores:
    """Counts detections against truths, sweep by sweep; the order of sweeps does not matter.

    classes : names; a detection's class by code. With one class alone, codes do not matter
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._of = [_Class() for _ in classes]

    def add(self, found: Boxes, truth: Boxes, ignored: Boxes) -> None:
        """Count one sweep.

        truth : objects to be found; ignored : objects that need not be found, and whose detection is no error
        Each detection takes the nearest object of its class that none with a higher score has taken.
        """
        for code, tally in enumerate(self._of):
            if len(self.classes) == 1:
                own, known, free = found, truth, ignored
            else:
                own, known, free = (b.take(b.kind == code) for b in (found, truth, ignored))
            own = own.take(np.argsort(-own.score, kind="stable"))
            tally.truths += len(known)
            right = np.zeros((len(own), len(DISTANCES_M)), np.bool_)
            counted = np.ones((len(own), len(DISTANCES_M)), np.bool_)
            for column, limit in enumerate(DISTANCES_M):
                match = _match(own, known, limit)
                right[:, column] = match >= 0
                missed = match < 0
                counted[missed, column] = ~_near(own.take(missed), free, limit)
                if limit == ERRORS_AT_M:
                    self._errors(tally, own.take(~missed), known.take(match[~missed]))
            tally.score.append(own.score)
            tally.right.append(right)
            tally.counted.append(counted)

    def _errors(self, tally: _Class, own: Boxes, known: Boxes) -> None:
        tally.place_m += np.hypot(*(own.centre - known.centre)[:, :2].T).tolist()
        tally.size_m += np.abs(own.size - known.size).mean(1).tolist()
        turn = np.abs((own.yaw - known.yaw + np.pi / 2) % np.pi - np.pi / 2)
        tally.yaw_rad += turn.tolist()

    def scores(self) -> dict[str, dict[str, float | None]]:
        """By class: ``average_precision``, ``recall`` at 2 m, ``objects``, ``detections``, and mean errors of
        what was found within 2 m: ``place_m``, ``size_m``, ``yaw_deg`` (whichever end is ahead).

        None where there is no object, or none was found
        """
        return {name: _scores(tally) for name, tally in zip(self.classes, self._of, strict=True)}


def average_precision(score: Floats, right: NDArray[np.bool_], truths: int) -> float:
    """Area under precision by recall, precision at each recall the best at any higher one.

    score : float64 (N,); right : bool (N,); truths : at least 1
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(order) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * right[order]).sum() / truths)


def _scores(tally: _Class) -> dict[str, float | None]:
    score = np.concatenate([np.zeros(0), *tally.score])
    columns = len(DISTANCES_M)
    right = np.concatenate([np.zeros((0, columns), np.bool_), *tally.right])
    counted = np.concatenate([np.zeros((0, columns), np.bool_), *tally.counted])
    found = [
        average_precision(score[counted[:, c]], right[counted[:, c], c], tally.truths)
        for c in range(columns) if tally.truths
    ]  # fmt: skip
    at = DISTANCES_M.index(ERRORS_AT_M)
    return {
        "average_precision": float(np.mean(found)) if found else None,
        "recall": float(right[:, at].sum() / tally.truths) if tally.truths else None,
        "objects": tally.truths,
        "detections": int(counted[:, at].sum()),
        "place_m": float(np.mean(tally.place_m)) if tally.place_m else None,
        "size_m": float(np.mean(tally.size_m)) if tally.size_m else None,
        "yaw_deg": float(np.degrees(np.mean(tally.yaw_rad))) if tally.yaw_rad else None,
    }


def _match(own: Boxes, known: Boxes, limit: float) -> NDArray[np.int64]:
    """Row of the object that each detection takes, int64 (N,), -1 for none; own : the surest first."""
    match = np.full(len(own), -1)
    if not len(known):
        return match
    distance = np.hypot(*(own.centre[:, None, :2] - known.centre[None, :, :2]).transpose(2, 0, 1))
    for row in range(len(own)):
        nearest = int(distance[row].argmin())
        if distance[row, nearest] <= limit:
            match[row] = nearest
            distance[:, nearest] = np.inf
    return match


def _near(own: Boxes, others: Boxes, limit: float) -> NDArray[np.bool_]:
    """Whether a detection lies near any of the objects, or within their length."""
    if not len(others):
        return np.zeros(len(own), np.bool_)
    distance = np.hypot(*(own.centre[:, None, :2] - others.centre[None, :, :2]).transpose(2, 0, 1))
    near: NDArray[np.bool_] = (distance <= np.maximum(limit, others.size[:, 0] / 2)[None]).any(1)
    return near
