"""A learned detector: every cell tells what it lies on and where its box is; votes that agree are one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import ModelRefused
from models.objects.boxes import Boxes
from models.objects.cells import SweepCells, cell_inputs
from models.objects.components import Found
from models.objects.kinds import KINDS
from models.objects.onnx_models import ObjectModel

AGREE_M = np.array([1.5, 0.9, 0.7, 3.0])
"""Votes of one object of a class lie so near to each other."""
LEAST = 0.2
"""Cells less sure than that have no vote."""

DETECT_INPUTS, DETECT_OUTPUTS = ("X", "neighbor_index"), ("output",)


class DetectorModel(ObjectModel):
    """A detector from ``export_detector``. Raises ModelRefused for another model, or other classes"""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name, data, "objects")
        if tuple(self.facts.get("classes", ())) != KINDS:
            raise ModelRefused(f"{name}: knows {self.facts.get('classes')}, needed is {KINDS}")

    def find(self, cells: SweepCells) -> Found:
        """Objects of one sweep, standing ones too. Raises ModelFailed"""
        rows = np.arange(len(cells.cell_id))
        (output,) = self.run(X=cell_inputs(cells), neighbor_index=cells.neighbors(rows))
        return decode_votes(output.astype(np.float64), cells.centroid)


def decode_votes(output: NDArray[np.float64], centroid: NDArray[np.float64]) -> Found:
    """Objects that cells vote for.

    output : float64 (N, len(KINDS) + 8): logits of the classes; centre less centroid, metres; logarithms of
        the size; sine and cosine of twice the yaw
    The surest cell that has no object yet makes one, with all others whose centres agree. Its box is the mean
    of their votes, by how sure they are; its score is the mean of the three surest
    """
    probability = 1 / (1 + np.exp(-output[:, : len(KINDS)]))
    sure = probability.max(1)
    vote = centroid + output[:, len(KINDS) : len(KINDS) + 3]
    instance = np.full(len(output), -1, np.int32)
    rows: list[Any] = []
    for cell in np.argsort(-sure, kind="stable"):
        if sure[cell] < LEAST:
            break
        if instance[cell] >= 0:
            continue
        agree = AGREE_M[probability[cell].argmax()]
        near = np.hypot(*(vote[:, :2] - vote[cell, :2]).T) <= agree
        own = np.flatnonzero(near & (instance < 0) & (sure >= LEAST))
        instance[own] = len(rows)
        weight = sure[own] / sure[own].sum()
        box = weight @ output[own, len(KINDS) + 3 :]
        kind = int((weight @ probability[own]).argmax())
        score = float(np.sort(probability[own, kind])[-3:].mean())
        yaw = 0.5 * np.arctan2(box[3], box[4])
        rows.append((*(weight @ vote[own]), *np.exp(np.clip(box[:3], -3, 4)), yaw, kind, score))
    table = np.array(rows).reshape(-1, 9)
    boxes = Boxes.of(
        table[:, :3], table[:, 3:6], table[:, 6], kind=table[:, 7].astype(np.int32), score=table[:, 8]
    )
    return Found(boxes=boxes, instance=instance)
