"""Targets by one interface: their losses, what is never a negative, that each can be learnt and served."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.export import export_graph, with_weights
from models.training.online import OnlineTrainer
from models.training.recalibration import Recalibration
from models.training.targets import Binary, Classes, Share, Target
from stream.config import LearnConfig, NetworkConfig
from tests.models.sweeps import made_sweep

pytestmark = pytest.mark.learn

TARGETS: dict[str, Target] = {
    "binary": Binary(2, 0, 0.5), "share": Share(), "classes": Classes(4)
}  # fmt: skip
SMALL = NetworkConfig(width=8, layers=1)


def labels_of(target: Target, rows: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    if target.dtype == np.float32:
        values = rng.random((rows, 1)).astype(np.float32)
    else:
        top = target.outputs if isinstance(target, Classes) else 2
        values = rng.integers(0, top, (rows, target.columns)).astype(np.int8)
    return torch.from_numpy(values)


def logits_of(target: Target, rows: int) -> torch.Tensor:
    return torch.randn(rows, target.outputs, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_not_known_adds_nothing_to_the_loss(name: str) -> None:
    """Late and missing outcomes are no negatives: neither the loss nor its gradient feels them."""
    target = TARGETS[name]
    label, logits = labels_of(target, 40), logits_of(target, 40)
    label[10:] = -1
    logits.requires_grad_()
    loss = target.loss(logits, label, None)
    loss.backward()
    assert not logits.grad[10:].any()
    assert logits.grad[:10].abs().sum(1).min() > 0
    alone = target.loss(logits.detach()[:10], label[:10], None)
    assert float(loss.detach()) == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_a_weight_of_two_is_a_row_twice(name: str) -> None:
    target = TARGETS[name]
    label, logits = labels_of(target, 12), logits_of(target, 12)
    weight = torch.ones(12)
    weight[:4] = 2
    twice = torch.cat([torch.arange(12), torch.arange(4)])
    assert float(target.loss(logits, label, weight)) == pytest.approx(
        float(target.loss(logits[twice], label[twice], None)), rel=1e-5
    )
    assert float(target.loss(logits, label, torch.ones(12))) == pytest.approx(
        float(target.loss(logits, label, None)), rel=1e-6
    )


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_known_at_all_is_no_loss(name: str) -> None:
    target = TARGETS[name]
    logits = torch.randn(5, target.outputs, requires_grad=True)
    label = torch.full((5, target.columns), -1, dtype=labels_of(target, 1).dtype)
    loss = target.loss(logits, label, None)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_losses_are_what_they_say() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.1]])
    label = torch.tensor([[1, 0], [0, -1]], dtype=torch.int8)
    each = functional.binary_cross_entropy_with_logits(logits, label.float(), reduction="none")
    wanted = each[:, 0].mean() + 0.5 * each[0, 1]
    assert float(Binary(2, 0, 0.5).loss(logits, label, None)) == pytest.approx(float(wanted))
    code = torch.tensor([[1], [0]], dtype=torch.int8)
    assert float(Classes(2).loss(logits, code, None)) == pytest.approx(
        float(functional.cross_entropy(logits, code[:, 0].long()))
    )
    share = torch.tensor([[0.25], [0.5]])
    p = torch.sigmoid(logits[:, :1])
    wanted = -(share * p.log() + (1 - share) * (1 - p).log()).mean()
    assert float(Share().loss(logits[:, :1], share, None)) == pytest.approx(float(wanted))


def test_shapes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="primary: 2 must be 0"):
        Binary(2, 2)
    for count in (1, 128):
        with pytest.raises(ValueError, match="classes, must be"):
            Classes(count)


@pytest.mark.parametrize("name", ["share", "classes"])
def test_each_is_learnt_and_its_file_says_the_same(name: str) -> None:
    """Four classes, or a share, that follow from a cell's features."""
    target = TARGETS[name]
    trainer = OnlineTrainer(SMALL, LearnConfig(learning_rate=1e-2), 6, 1, 0, 0, target=target)

    def truth(sweep) -> np.ndarray:
        x = (sweep.X - 10) / 3
        if name == "share":
            return (1 / (1 + np.exp(-x[:, 0]))).astype(np.float32)
        return (2 * (x[:, 0] > 0) + (x[:, 1] > 0)).astype(np.int8)

    for number in range(1, 9):
        sweep = made_sweep(number)
        rows = np.arange(0, len(sweep.X), 2, dtype=np.int32)
        weight = np.ones(len(sweep.X), np.float32)
        assert trainer.add_example(str(number), number, sweep.X, sweep.neighbor_index, sweep.azimuth, weight)
        assert trainer.add_labels(str(number), 0, rows, truth(sweep)[rows])
        trainer.train(25)
    fresh = made_sweep(99)
    said = trainer.predict(fresh.X, fresh.neighbor_index)
    if name == "share":
        assert np.abs(said[:, 0] - truth(fresh)).mean() < 0.5 * np.abs(truth(fresh) - 0.5).mean()
    else:
        assert said.sum(1) == pytest.approx(1, abs=1e-5)
        assert (said.argmax(1) == truth(fresh)).mean() > 0.85
    onnxruntime = pytest.importorskip("onnxruntime")
    data = with_weights(export_graph(trainer.net, target.activation), trainer.weights())
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (served,) = session.run(None, {"X": fresh.X, "neighbor_index": fresh.neighbor_index})
    assert np.abs(served - said).max() < 1e-5


def off(sweep, shift: float) -> np.ndarray:
    """Outcomes of a world that has become emptier, by a shift of all logits."""
    rng = np.random.default_rng(int(1e6 * sweep.X[0, 0]) % 2**32)
    return sweep.occupied & (rng.random(len(sweep.X)) < 1 / (1 + np.exp(-shift)))


def test_recalibration_mends_a_shift_at_once() -> None:
    """After the world changed, the corrected weights are better before the network has caught up."""
    losses = {}
    for recalibrate in (False, True):
        learn = LearnConfig(learning_rate=3e-4, averaging=0.998, recalibrate=recalibrate)
        trainer = OnlineTrainer(SMALL, learn, 6, 1, 0, 0)
        found = []
        for number in range(1, 31):
            sweep = made_sweep(number)
            occupied = sweep.occupied if number <= 20 else off(sweep, -1.0)
            rows = np.arange(len(sweep.X), dtype=np.int32)
            if number > 22:
                w = trainer.weights()
                net = trainer.net
                state = {k: torch.from_numpy(v) for k, v in w.items()}
                with torch.no_grad():
                    logits = torch.func.functional_call(
                        net, state, (torch.from_numpy(sweep.X), torch.from_numpy(sweep.neighbor_index))
                    ).numpy()[:, 0]
                found.append(np.logaddexp(0, np.where(occupied, -logits, logits)).mean())
            trainer.add_example(str(number), number, sweep.X, sweep.neighbor_index, sweep.azimuth)
            trainer.add_labels(str(number), 0, rows, occupied)
            trainer.train(10)
        losses[recalibrate] = np.mean(found)
    assert losses[True] < losses[False] - 0.02


def test_weights_that_are_loaded_are_not_corrected_twice() -> None:
    trainer = OnlineTrainer(SMALL, LearnConfig(recalibrate=True), 6, 1, 0, 0)
    for number in range(1, 6):
        sweep = made_sweep(number)
        trainer.add_example(str(number), number, sweep.X, sweep.neighbor_index, sweep.azimuth)
        trainer.add_labels(str(number), 0, np.arange(len(sweep.X), dtype=np.int32), ~sweep.occupied)
        trainer.train(4)
    weights = trainer.weights()
    trainer.load(weights)
    again = trainer.weights()
    assert all(again[name].tobytes() == value.tobytes() for name, value in weights.items())


def test_other_targets_are_not_recalibrated() -> None:
    trainer = OnlineTrainer(SMALL, LearnConfig(recalibrate=True), 6, 1, 0, 0, target=Classes(3))
    assert trainer._recalibration.platts == []
    none = Recalibration(0, 1, 1.0, np.random.default_rng(0))
    none.note("a", 0)
    weights = {"output.weight": np.ones((2, 3), np.float32), "output.bias": np.ones(2, np.float32)}
    none.fold(weights)
    assert all((value == 1).all() for value in weights.values())
