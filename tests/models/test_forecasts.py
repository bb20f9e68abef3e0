"""Forecasts of motion: the simple ones, the scores, and networks that learn, export and answer alike."""

from __future__ import annotations

import numpy as np
import pytest

from models.objects.forecasts import Modes, constant_turn, constant_velocity, forecast_scores
from models.objects.motion import HORIZONS_S, STEP_S, STEPS, Motions
from models.objects.surroundings import WIDTH, pooled_from
from stream.config import load_config

T = np.array(HORIZONS_S)
POOLED = pooled_from(load_config(None, []))


def motions_on(speed: float, rate: float, count: int = 1) -> Motions:
    """Objects on a circle, or straight on for rate 0, each going ahead now."""
    t = (np.arange(STEPS) - STEPS + 1) * STEP_S
    history = circle(speed, rate, t).astype(np.float32)
    return Motions(
        place=np.zeros((count, 3)), yaw=np.zeros(count), history=np.repeat(history[None], count, 0),
        known=np.ones((count, STEPS), np.float32), size=np.ones((count, 3), np.float32),
        kind=np.zeros(count, np.int32), around=np.zeros((count, WIDTH), np.float32),
    )  # fmt: skip


def circle(speed: float, rate: float, t: np.ndarray) -> np.ndarray:
    """Places at times, from the origin along x, turning left."""
    if rate == 0:
        return np.stack([speed * t, 0 * t], 1)
    return speed / rate * np.stack([np.sin(rate * t), 1 - np.cos(rate * t)], 1)


def test_constant_velocity_goes_straight_on() -> None:
    modes = constant_velocity(motions_on(8.0, 0.0))
    assert modes.path[0, 0] == pytest.approx(circle(8.0, 0.0, T), abs=1e-4)
    assert modes.probability.tolist() == [[1.0]]


@pytest.mark.parametrize("rate", [-0.4, 0.2, 0.4])
def test_constant_turn_stays_on_its_circle(rate: float) -> None:
    motions, truth = motions_on(6.0, rate), circle(6.0, rate, T)
    assert constant_turn(motions).path[0, 0] == pytest.approx(truth, abs=0.15)
    straight = forecast_scores(constant_velocity(motions), truth[None])["min_fde_m"]
    assert straight is not None and straight > 3.0
    with pytest.raises(ValueError, match="span"):
        constant_turn(motions, span=2)


def test_scores_by_hand() -> None:
    truth = np.zeros((2, len(T), 2))
    path = np.zeros((2, 2, len(T), 2))
    path[:, 0, :, 0] = 3.0  # the probable mode is 3 m off throughout
    path[0, 1, -1, 0] = 1.0  # the other one of the first object only at the end
    path[1, 1, :, 1] = 5.0
    scores = forecast_scores(Modes(path=path, probability=np.array([[0.6, 0.4], [0.9, 0.1]])), truth)
    assert scores["min_fde_m"] == pytest.approx((1.0 + 3.0) / 2)
    assert scores["min_ade_m"] == pytest.approx((1.0 / len(T) + 3.0) / 2)
    assert (scores["top_fde_m"], scores["top_ade_m"]) == (3.0, 3.0)
    assert (scores["miss_rate"], scores["n"]) == (0.5, 2)
    nothing = forecast_scores(Modes(path=path[:0], probability=np.zeros((0, 2))), truth[:0])
    assert nothing["min_fde_m"] is None and nothing["n"] == 0


@pytest.mark.learn
@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_a_network_answers_as_its_file_does(encoder: str) -> None:
    import torch

    from models.manifest import ModelRefused
    from models.nets.trajectory import TrajectoryForecaster
    from models.object_export import export_forecaster
    from models.objects.onnx_models import ForecastModel
    from models.training.forecasting import tensors

    net = TrajectoryForecaster(
        encoder=encoder, around_width=WIDTH, horizons_s=HORIZONS_S, steps=STEPS, hidden_dim=16, seed=3
    ).eval()
    data = export_forecaster(net, POOLED)
    assert data == export_forecaster(net, POOLED) and b"/home" not in data and b".py" not in data
    model = ForecastModel("forecaster", data)
    rng = np.random.default_rng(0)
    for count in (0, 1, 15):
        motions = motions_on(6.0, 0.2, count)
        motions.history[:] += rng.normal(size=motions.history.shape) * 0.1
        motions.around[:] = rng.normal(size=motions.around.shape)
        modes = model.forecast(motions)
        with torch.no_grad():
            path, probability = net(*tensors(motions))
        assert modes.path.shape == (count, 6, len(T), 2)
        assert modes.path == pytest.approx(path.numpy(), abs=1e-4)
        assert modes.probability == pytest.approx(probability.numpy(), abs=1e-5)
        assert modes.probability.sum(1) == pytest.approx(np.ones(count))
    with pytest.raises(ModelRefused, match="not a usable"):
        ForecastModel("forecaster", data[: len(data) // 2])


@pytest.mark.learn
def test_steps_that_are_not_known_are_not_read() -> None:
    import torch

    from models.nets.trajectory import TrajectoryForecaster
    from models.training.forecasting import tensors

    for encoder in ("gru", "transformer"):
        net = TrajectoryForecaster(
            encoder=encoder, around_width=WIDTH, horizons_s=HORIZONS_S, steps=STEPS, hidden_dim=16
        ).eval()
        motions = motions_on(6.0, 0.2)
        with torch.no_grad():
            whole = net(*tensors(motions))[0]
            motions.known[:, :5] = 0
            part = net(*tensors(motions))[0]
            motions.history[:, :5] = 7.0
            same = net(*tensors(motions))[0]
        assert torch.equal(part, same) and not torch.equal(whole, part)


@pytest.mark.learn
def test_ends_of_modes_lie_apart_among_the_cells() -> None:
    import torch

    from models.nets.trajectory import TrajectoryForecaster, coarse_cells
    from native.lattice import snap

    sites = coarse_cells(0.8, 4)
    assert (snap(sites / 0.8) * 0.8 == sites).all()  # they are cells of the lattice
    net = TrajectoryForecaster(encoder="gru", around_width=WIDTH, horizons_s=HORIZONS_S, steps=STEPS)
    drawn = torch.rand(4, len(net.cells), generator=torch.Generator().manual_seed(1))
    ends, share = net.choose(drawn / drawn.sum(1, keepdim=True))
    assert (torch.cdist(ends, ends) + 10 * torch.eye(net.modes)).min() > 0.8
    assert torch.allclose(share.sum(1), torch.ones(4))
    assert (share.diff(dim=1) <= 0).all()  # so the first way on is the likeliest


@pytest.mark.learn
def test_the_likeliest_end_is_amid_most_of_the_probability_and_no_lone_cell() -> None:
    """A broad hill left of the straight way, and a spike to its right that is higher than any cell of it."""
    import torch

    from models.nets.trajectory import TrajectoryForecaster

    net = TrajectoryForecaster(encoder="gru", around_width=WIDTH, horizons_s=HORIZONS_S, steps=STEPS)
    hill, spike = torch.tensor([0.0, 3.3]), torch.tensor([0.0, -4.8])
    away = (net.cells - hill).norm(dim=1)
    probability = torch.exp(-(away**2) / 2)
    probability[(net.cells - spike).norm(dim=1).argmin()] = 1.5
    ends, share = net.choose((probability / probability.sum())[None])
    assert (ends[0, 0] - hill).norm() < 0.2
    assert (ends[0] - spike).norm(dim=1).min() < 0.5  # it is one of the ways on
    assert share[0, 0] > 2 * share[0, 1]


@pytest.mark.learn
@pytest.mark.long
def test_what_is_drawn_more_often_is_not_told_to_be_likelier() -> None:
    """Of the same history one in four turns: however often turns are drawn, that is what is told."""
    from models.objects.motion import joined_motions
    from models.training.forecasting import ForecastTraining, tensors, train_forecaster

    motions = joined_motions([motions_on(6.0, 0.0, 40)])
    turns = np.arange(40) % 4 == 0
    path = np.where(turns[:, None, None], circle(6.0, 0.4, T), circle(6.0, 0.0, T))
    path[turns, :, 1] *= np.where(np.arange(turns.sum()) % 2, 1, -1)[:, None]  # to either side
    net = train_forecaster(
        motions, path, turns, encoder="gru", seed=1, progress=lambda *_: None,
        training=ForecastTraining(epochs=25, batch=60, lr=2e-2, turn_weight=5, scale=0.0, hide=0.0),
    )  # fmt: skip
    ways, probability = net(*tensors(motions.take(np.arange(1))))
    straight = np.abs(ways[0, :, -1, 1].detach().numpy()) < 2.0
    assert probability[0].detach().numpy()[straight].sum() == pytest.approx(0.75, abs=0.08)


@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.long
def test_a_forecaster_learns_to_turn_and_the_seed_decides() -> None:
    """Objects that turn left and right at one rate: after a few epochs straight on is beaten by far."""
    from models.nets.trajectory import TrajectoryForecaster
    from models.object_export import export_forecaster
    from models.objects.motion import joined_motions
    from models.objects.onnx_models import ForecastModel
    from models.training.forecasting import ForecastTraining, train_forecaster

    rates = (-0.4, 0.0, 0.4)
    motions = joined_motions([motions_on(6.0, rate, 40) for rate in rates])
    path = np.concatenate([np.repeat(circle(6.0, rate, T)[None], 40, 0) for rate in rates])
    turns = np.repeat(np.array(rates) != 0, 40)

    def train() -> TrajectoryForecaster:
        return train_forecaster(
            motions, path, turns, encoder="gru", seed=1, progress=lambda *_: None,
            training=ForecastTraining(epochs=12, batch=32, lr=5e-3),
        )  # fmt: skip

    data = export_forecaster(train(), POOLED)
    assert data == export_forecaster(train(), POOLED)
    learnt = forecast_scores(ForecastModel("f", data).forecast(motions), path)["min_fde_m"]
    straight = forecast_scores(constant_velocity(motions), path)["min_fde_m"]
    assert learnt is not None and straight is not None and learnt < 0.4 * straight
    with pytest.raises(ValueError, match="none to learn from"):
        train_forecaster(
            motions.take(turns & ~turns), path[:0], turns[:0], encoder="gru", seed=1,
            progress=lambda *_: None,
        )  # fmt: skip
