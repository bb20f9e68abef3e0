"""Scores of classes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss

from models.scores.confusion import Confusion


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_match_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    code = rng.integers(0, 4, 900)
    probability = rng.dirichlet(np.ones(4), 900)
    probability[np.arange(900), code] += 0.4
    probability /= probability.sum(1, keepdims=True)
    weight = rng.uniform(0.5, 3, 900) if weighted else None
    found = Confusion(4)
    for part in np.array_split(np.arange(900), 7):
        found.add(probability[part], code[part], None if weight is None else weight[part])
    said = probability.argmax(1)
    scores = found.scores()
    assert found.counts == pytest.approx(confusion_matrix(code, said, sample_weight=weight).astype(float))
    assert scores["accuracy"] == pytest.approx(accuracy_score(code, said, sample_weight=weight))
    each = jaccard_score(code, said, average=None, sample_weight=weight)
    assert found.iou() == pytest.approx(each)
    assert scores["mean_iou"] == pytest.approx(each.mean())
    assert scores["log_loss"] == pytest.approx(log_loss(code, probability, sample_weight=weight))
    assert scores["n"] == pytest.approx(900 if weight is None else weight.sum())


def test_classes_that_occur_nowhere_do_not_count_and_no_rows_are_no_scores() -> None:
    found = Confusion(3)
    assert set(found.scores().values()) == {None, 0.0}
    found.add(np.array([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]]), np.array([0, 1]))
    assert found.scores()["mean_iou"] == pytest.approx(0.25)
    assert np.isnan(found.iou()[2])
