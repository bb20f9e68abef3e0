"""Scoring detectors on simulated drives, class by class, beside components alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from agents.objects.examples import Find, Seen
from agents.objects.truth import MOVING_MPS
from models.objects.boxes import Boxes
from models.objects.components import find_moving
from models.objects.detection_scores import DetectionScores
from models.objects.kinds import KINDS, SIZES

DRIVES = ("sim:city?seed=101&sweeps=120&robots=2&azimuths=512", "sim:yard?seed=101&sweeps=120&azimuths=512")
"""Drives to learn from."""
WARM_UP = 15
"""Sweeps of a robot before what is free is known; they are not scored."""

Scores = dict[str, dict[str, dict[str, float | None]]]


def by_size(boxes: Boxes) -> Boxes:
    """Boxes with the class whose usual size is nearest, by ratio: components have none of their own."""
    away = np.abs(np.log(boxes.size[:, None] / SIZES)).sum(2)
    kind = away.argmin(1).astype(np.int32) if len(boxes) else np.zeros(0, np.int32)
    return Boxes.of(boxes.centre, boxes.size, boxes.yaw, boxes.velocity, kind, boxes.score)


def score(drives: Iterable[Seen], finders: Mapping[str, Find]) -> Scores:
    """Scores by detector and class, of all visible objects, and of those that move.

    ``components`` is among the detectors. Objects that are hardly visible need not be found
    """
    groups = ("all", "moving")
    tallies = {(name, group): DetectionScores(KINDS) for name in ("components", *finders) for group in groups}
    seen_of: dict[str, int] = {}
    for seen in drives:
        robot_id = seen.cells.robot_id
        seen_of[robot_id] = seen_of.get(robot_id, 0) + 1
        if seen_of[robot_id] <= WARM_UP:
            continue
        boxes, moves = seen.truth.boxes, seen.truth.boxes.speed() > MOVING_MPS
        found = {"components": by_size(find_moving(seen.cells).boxes)}
        found |= {name: find(seen.cells).boxes for name, find in finders.items()}
        for (name, group), tally in tallies.items():
            wanted = seen.visible & (moves | (group == "all"))
            tally.add(found[name], boxes.take(wanted), boxes.take(~wanted))
    return {f"{name}, {group}": tally.scores() for (name, group), tally in tallies.items()}
