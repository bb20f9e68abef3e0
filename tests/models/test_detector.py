"""The learned detector: votes of cells become boxes; it learns, exports and answers alike."""

from __future__ import annotations

import numpy as np
import pytest

from models.objects.cells import CellExample, cell_inputs
from models.objects.detector import DetectorModel, decode_votes
from models.objects.kinds import KINDS
from tests.models.objects import cells_of, cuboid

OUTPUTS = len(KINDS) + 8


def votes_for(
    centroid: np.ndarray, centre: tuple[float, float, float], kind: int, logit: float
) -> np.ndarray:
    """What cells say that are sure of one box: 4 x 2 x 1.5 metres, turned by 0.3."""
    output = np.full((len(centroid), OUTPUTS), -6.0)
    output[:, kind] = logit
    output[:, len(KINDS) : len(KINDS) + 3] = np.array(centre) - centroid
    output[:, len(KINDS) + 3 : len(KINDS) + 6] = np.log([4.0, 2.0, 1.5])
    output[:, -2:] = np.sin(0.6), np.cos(0.6)
    return output


def test_votes_that_agree_are_one_object() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)) + np.array([9.0, 0.0, 0.0])
    ground = rng.normal(size=(5, 3))
    output = np.concatenate([
        votes_for(left, (0.0, 0.5, 0.8), KINDS.index("car"), 2.0),
        votes_for(right, (9.0, 0.0, 0.8), KINDS.index("pedestrian"), 3.0),
        np.full((5, OUTPUTS), -6.0),
    ])  # fmt: skip
    found = decode_votes(output, np.concatenate([left, right, ground]))
    assert found.instance.tolist() == [1] * 6 + [0] * 4 + [-1] * 5  # the surest first
    assert [KINDS[kind] for kind in found.boxes.kind] == ["pedestrian", "car"]
    assert found.boxes.centre[1] == pytest.approx([0.0, 0.5, 0.8])
    assert found.boxes.size[1] == pytest.approx([4.0, 2.0, 1.5])
    assert found.boxes.yaw == pytest.approx([0.3, 0.3])
    assert found.boxes.score[1] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert len(decode_votes(output[10:], ground).boxes) == 0


@pytest.mark.learn
@pytest.mark.long
def test_a_detector_learns_exports_and_finds() -> None:
    """A car on the ground, told by one column: after a few steps its file finds it, and nothing else."""
    from models.manifest import ModelRefused
    from models.object_export import export_detector
    from models.training.detection import train_detector

    car, ground = cuboid((5.0, 1.0, 0.8), (4.4, 1.8, 1.5)), cuboid((12.0, 0.0, -0.3), (6.0, 6.0, 0.1))
    points = np.concatenate([car, ground])
    cells = cells_of(points, np.concatenate([np.ones(len(car)), np.zeros(len(ground))]))
    on = cells.centroid[:, 2] > 0
    box = np.zeros((len(on), 8), np.float32)
    box[on, :3] = np.array([5.0, 1.0, 0.8]) - cells.centroid[on]
    box[on, 3:] = [*np.log([4.4, 1.8, 1.5]), 0.0, 1.0]
    example = CellExample(
        x=cell_inputs(cells).astype(np.float16), neighbor_index=cells.neighbors(np.arange(len(on))),
        kind=np.where(on, KINDS.index("car"), -1).astype(np.int8), box=box,
    )  # fmt: skip
    net = train_detector([example] * 10, seed=2, epochs=8, hidden_dim=16, progress=lambda *_: None)
    data = export_detector(net)
    assert data == export_detector(net)
    found = DetectorModel("detector", data).find(cells)
    assert len(found.boxes) == 1 and KINDS[found.boxes.kind[0]] == "car"
    assert found.boxes.centre[0] == pytest.approx([5.0, 1.0, 0.8], abs=0.5)
    assert (found.instance[on] == 0).mean() > 0.9 and (found.instance[~on] == -1).all()
    with pytest.raises(ModelRefused, match="kind"):
        from models.objects.onnx_models import ForecastModel

        ForecastModel("detector", data)
    with pytest.raises(ValueError, match="none to learn from"):
        train_detector([], seed=0, progress=lambda *_: None)
