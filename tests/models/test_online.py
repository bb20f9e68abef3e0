"""Training while outcomes arrive: it learns, it repeats bit for bit, it goes back when told."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from agents.effects import Trainer
from agents.protocol import Example as AgentExample
from agents.protocol import Labels, Train, Trained
from models.export import export_graph, with_weights
from models.nets.bcc_conv import BccNet
from models.probability import GRID
from models.runtime import OnnxModel
from models.training.online import OnlineTrainer, TrainingDiverged, to_float16
from models.training.replay import Example
from models.training.sector import cut_sector
from stream.config import Config, ConfigError, LearnConfig, NetworkConfig, Normaliser
from stream.features import schema_of
from tests.models.sweeps import MadeSweep, made_sweep

pytestmark = pytest.mark.learn

FEATURES, HORIZONS, PRIMARY = 6, 3, 1
SMALL = NetworkConfig(width=8, layers=2)
SCHEMA = schema_of(Config())


def trainer(seed: int = 0, network: NetworkConfig = SMALL, **learn: object) -> OnlineTrainer:
    return OnlineTrainer(network, LearnConfig(**learn), FEATURES, HORIZONS, PRIMARY, seed)


def feed(target: OnlineTrainer, number: int, columns: tuple[int, ...] = (0, 1, 2)) -> MadeSweep:
    """Add sweep ``number`` and its outcomes; every fifth cell is never observed."""
    sweep = made_sweep(number)
    name = f"robot/lidar/{number}"
    assert target.add_example(name, number, sweep.X, sweep.neighbor_index, sweep.azimuth)
    row = np.flatnonzero(np.arange(len(sweep.X)) % 5 != number % 5).astype(np.int32)
    for column in columns:
        assert target.add_labels(name, column, row, sweep.occupied[row])
    return sweep


def agents_trainer(normalisers: dict[str, Normaliser]) -> Trainer:
    learn = LearnConfig(prior="none", learning_rate=5e-3, normalisers=normalisers)
    return Trainer(Config(learn=learn), SCHEMA, SMALL, seed=0)


def training(number: int, sweep: MadeSweep) -> Train:
    """A request to train on one more sweep, all of whose cells are observed."""
    name, rows = f"robot/lidar/{number}", np.arange(len(sweep.X), dtype=np.int32)
    example = AgentExample(
        prediction_id=name,
        stamp_ns=number,
        x=sweep.X,
        neighbor_index=sweep.neighbor_index,
        azimuth=sweep.azimuth,
    )
    labels = Labels(prediction_id=name, horizon=PRIMARY, row=rows, occupied=sweep.occupied)
    return Train(lineage="network", stamp_ns=number, examples=(example,), labels=(labels,), steps=20)


def log_loss(probability: np.ndarray, occupied: np.ndarray) -> float:
    return float(-np.log(np.where(occupied, probability, 1 - probability)).mean())


def test_learns_and_its_weights_serve() -> None:
    target = trainer(learning_rate=5e-3)
    losses = []
    for number in range(1, 9):
        feed(target, number)
        losses.append(target.train(12).loss)
    template = export_graph(BccNet(SMALL, FEATURES, HORIZONS, seed=99))
    model = OnnxModel("m", with_weights(template, target.weights()))
    fresh = made_sweep(100)
    probability = model.predict(fresh.X, fresh.neighbor_index)[:, PRIMARY]
    blind = log_loss(np.full(len(fresh.X), fresh.occupied.mean()), fresh.occupied)
    assert losses[-1] < losses[0] - 0.1
    assert log_loss(probability, fresh.occupied) < blind - 0.1


def test_report() -> None:
    target = trainer()
    assert target.train(4).steps == 0
    assert target.train(4).loss is None
    feed(target, 7, columns=(0, 2))
    assert target.train(4).steps == 0  # nothing at the primary horizon yet
    feed(target, 9)
    report = target.train(4)
    assert (report.steps, report.total_steps, report.examples) == (4, 4, 1)
    assert (report.first_stamp_ns, report.last_stamp_ns) == (9, 9)
    feed(target, 8)
    report = target.train(16)
    assert (report.total_steps, report.examples) == (20, 2)
    assert (report.first_stamp_ns, report.last_stamp_ns) == (8, 9)


def test_two_trainers_hold_the_same_bits() -> None:
    threads = torch.get_num_threads()
    results = []
    for number_of_threads in (1, 2):
        torch.set_num_threads(number_of_threads)
        target = trainer(seed=3)
        for number in range(1, 5):
            feed(target, number)
            target.train(5)
        assert torch.get_num_threads() == number_of_threads
        results.append(target.weights())
        torch.manual_seed(number_of_threads)  # the global generator must not matter
    torch.set_num_threads(threads)
    for name, value in results[0].items():
        assert value.tobytes() == results[1][name].tobytes(), name
    other = trainer(seed=4)
    feed(other, 1)
    other.train(1)
    assert not np.array_equal(other.weights()["input.weight"], results[0]["input.weight"])


def test_weights_are_the_unbiased_average_of_the_steps() -> None:
    target = trainer(averaging=0.9)
    feed(target, 1)
    path = []
    for _ in range(5):
        target.train(1)
        path.append(target.net.input.weight.detach().numpy().copy())
    share = 0.9 ** np.arange(4, -1, -1)
    expected = np.tensordot(share / share.sum(), np.array(path), axes=1)
    np.testing.assert_allclose(target.weights()["input.weight"], expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(path[0], path[-1])


def test_a_training_that_is_cut_short_averages_over_as_long_as_a_whole_one() -> None:
    """One step of four: it forgets as much of the average as four would have."""
    target = trainer(averaging=0.9)
    feed(target, 1)
    path = []
    for _ in range(8):
        answers = iter((True, False))
        report = target.train(4, answers.__next__)
        assert (report.steps, report.total_steps) == (1, len(path) + 1)
        path.append(target.net.input.weight.detach().numpy().copy())
    share = 0.9 ** (4 * np.arange(7, -1, -1))
    expected = np.tensordot(share / share.sum(), np.array(path), axes=1)
    np.testing.assert_allclose(target.weights()["input.weight"], expected, rtol=1e-5, atol=1e-7)
    assert target.train(4, lambda: False).steps == 0


def test_weights_are_copies_with_the_standardisation() -> None:
    target = trainer()
    sweep = feed(target, 1)
    weights = target.weights()
    np.testing.assert_allclose(weights["mean"], sweep.X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(weights["inv_std"], 1 / sweep.X.std(axis=0), rtol=1e-5)
    weights["mean"][:] = 0
    assert target.weights()["mean"].any()
    assert set(weights) == set(BccNet(SMALL, FEATURES, HORIZONS).state_dict())


def test_normalisers_are_in_the_file_that_serves() -> None:
    """Through the trainer of the agents, which knows the names of the columns."""
    names = SCHEMA.names
    target = agents_trainer(normalisers={"*": "min_max", "hits_*": "standardised", "range": "raw"})
    sweeps = [made_sweep(number, features=len(names)) for number in (1, 2)]
    answer = [target.train(training(number, sweep)) for number, sweep in enumerate(sweeps)][-1]
    assert isinstance(answer, Trained)
    rows = np.concatenate([sweep.X for sweep in sweeps])
    normal = (rows - answer.weights["mean"]) * answer.weights["inv_std"]
    hits, bounded = names.index("hits_1"), names.index("coarse2_hit_share")
    np.testing.assert_allclose([normal[:, hits].mean(), normal[:, hits].std()], [0, 1], atol=2e-3)
    np.testing.assert_allclose([normal[:, bounded].min(), normal[:, bounded].max()], [0, 1], atol=1e-6)
    assert np.array_equal(normal[:, names.index("range")], rows[:, names.index("range")])

    net = BccNet(SMALL, len(names), HORIZONS)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in answer.weights.items()})
    fresh = made_sweep(100, features=len(names))
    with torch.no_grad():
        logits = net(torch.from_numpy(fresh.X), torch.from_numpy(fresh.neighbor_index))
    expected = torch.sigmoid(logits).numpy()
    actual = OnnxModel("m", answer.data).predict(fresh.X, fresh.neighbor_index)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1.001 / GRID)
    assert actual.std() > 0.02  # it has learnt something to compare


def test_a_normaliser_of_no_column_is_refused_where_the_columns_are_known() -> None:
    with pytest.raises(ConfigError, match=r"learn\.normalisers\.nope_\*"):
        agents_trainer(normalisers={"nope_*": "raw"})


def test_load_goes_back() -> None:
    target = trainer()
    feed(target, 1)
    target.train(30)
    kept = target.weights()
    feed(target, 2)
    target.train(10)
    target.load(kept)
    for name, value in target.weights().items():
        if name != "inv_std":
            assert np.array_equal(value, kept[name]), name
    np.testing.assert_allclose(target.weights()["inv_std"], kept["inv_std"], rtol=1e-6)
    first = target.net.input.weight.detach().clone()
    target.train(1)
    moved = (target.net.input.weight.detach() - first).abs().max()
    assert 0 < moved < 1.2e-4  # learning rate 2e-3, first of 20 warm-up steps
    average = np.abs(target.weights()["input.weight"] - kept["input.weight"]).max()
    assert 0 < average < 2e-6  # and that one step counts 1 %


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "mean"),
        ({"mean": np.zeros(3, np.float32)}, r"weights\[mean\]: expected float32 \(6,\)"),
        ({"mean": np.full(6, np.inf, np.float32)}, r"weights\[mean\]: holds values that are not finite"),
        ({"other": np.zeros(6, np.float32)}, "other"),
    ],
)
def test_load_refuses_what_does_not_fit(change: dict[str, np.ndarray | None], message: str) -> None:
    target = trainer()
    before = target.weights()
    weights = {name: value for name, value in (before | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        target.load(weights)
    for name, value in target.weights().items():
        assert np.array_equal(value, before[name])


def test_refuses_bad_examples_and_changes_nothing() -> None:
    target, sweep = trainer(), made_sweep(1)
    bad = sweep.X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="r/s/1: holds values that are not finite"):
        target.add_example("r/s/1", 1, bad, sweep.neighbor_index, sweep.azimuth)
    with pytest.raises(ValueError, match=r"azimuth: expected float32"):
        target.add_example("r/s/1", 1, sweep.X, sweep.neighbor_index, sweep.azimuth[:-1])
    with pytest.raises(ValueError, match="neighbor_index: expected int32"):
        target.add_example("r/s/1", 1, sweep.X, sweep.neighbor_index.astype(np.int64), sweep.azimuth)
    assert target.weights()["mean"].tolist() == [0] * FEATURES
    assert target.add_example("r/s/1", 1, sweep.X, sweep.neighbor_index, sweep.azimuth)
    mean = target.weights()["mean"]
    assert not target.add_example("r/s/1", 1, sweep.X, sweep.neighbor_index, sweep.azimuth)
    assert np.array_equal(target.weights()["mean"], mean)


def test_the_buffer_is_capped() -> None:
    target = trainer(buffer_bytes=150_000)
    for number in range(1, 8):
        feed(target, number)
        target.train(1)
        assert target.replay.nbytes <= 150_000
    assert target.replay.evicted > 0


def test_divergence_is_loud() -> None:
    target = trainer()
    feed(target, 1)
    with torch.no_grad():
        target.net.input.weight[0, 0] = math.nan
    before = target.weights()
    with pytest.raises(TrainingDiverged, match="robot/lidar/1: loss nan"):
        target.train(1)
    for name, value in target.weights().items():
        assert np.array_equal(value, before[name])


def labelled_example(number: int) -> Example:
    sweep = made_sweep(number)
    label = np.full((len(sweep.X), HORIZONS), -1, np.int8)
    label[::2, PRIMARY] = sweep.occupied[::2]
    label[1::4, 0] = sweep.occupied[1::4]
    return Example(
        prediction_id="p",
        stamp_ns=number,
        X=to_float16(sweep.X),
        neighbor_index=sweep.neighbor_index,
        azimuth=sweep.azimuth,
        label=label,
        loss=np.full(4, np.nan, np.float32),
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("centre", [0.1, 3.0, -3.1, 5.0])
def test_a_sector_answers_like_the_whole_sweep(layers: int, centre: float) -> None:
    example = labelled_example(1)
    net = BccNet(NetworkConfig(width=8, layers=layers), FEATURES, HORIZONS, seed=1)
    sector = cut_sector(example, centre, math.pi / 2, layers, PRIMARY)
    X = torch.from_numpy(example.X).float()
    with torch.no_grad():
        whole = net(X, torch.from_numpy(example.neighbor_index)).numpy()
        part = net(
            X[torch.from_numpy(sector.rows)], torch.from_numpy(sector.neighbor_index), sector.scored
        ).numpy()
    rows = sector.rows[: sector.scored]
    np.testing.assert_allclose(part, whole[rows], rtol=0, atol=1e-5)
    turned = np.angle(np.exp(1j * (example.azimuth - centre)))
    labelled = (example.label >= 0).any(axis=1)
    assert np.array_equal(rows, np.flatnonzero(labelled & (np.abs(turned) <= math.pi / 4)))
    assert len(rows) < len(sector.rows) < len(example.X)


def test_a_sector_without_labels_is_the_whole_sweep() -> None:
    example = labelled_example(1)
    example.label[np.abs(example.azimuth) < 1, PRIMARY] = -1
    sector = cut_sector(example, 0.0, math.pi / 2, 2, PRIMARY)
    labelled = np.flatnonzero((example.label >= 0).any(axis=1))
    assert np.array_equal(sector.rows[: sector.scored], labelled)


def test_the_loss_counts_observed_cells_only() -> None:
    target = trainer(sector_degrees=360.0, auxiliary_weight=0.5)
    sweep = made_sweep(1)
    target.add_example("a", 1, sweep.X, sweep.neighbor_index, sweep.azimuth)
    row = np.arange(0, len(sweep.X), 3, dtype=np.int32)
    target.add_labels("a", PRIMARY, row, sweep.occupied[row])
    target.add_labels("a", 2, row[:50], sweep.occupied[row[:50]])
    with torch.no_grad():
        half = torch.from_numpy(to_float16(sweep.X)).float()
        logits = target.net(half, torch.from_numpy(sweep.neighbor_index)).numpy().astype(np.float64)
    p = 1 / (1 + np.exp(-logits))
    expected = log_loss(p[row, PRIMARY], sweep.occupied[row])
    expected += 0.5 * log_loss(p[row[:50], 2], sweep.occupied[row[:50]])
    assert target.train(1).loss == pytest.approx(expected, rel=1e-4)


def test_float16_is_close_and_clamped() -> None:
    values = np.float32([0, 1e-3, 3.14159, -40.02, 1e9, -1e9])
    half = to_float16(values)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half[:4], values[:4], rtol=2**-11)
    assert half[4:].tolist() == [65504, -65504]


def test_primary_is_checked() -> None:
    with pytest.raises(ValueError, match=r"primary: 3 must be 0\.\.2"):
        OnlineTrainer(SMALL, LearnConfig(), FEATURES, HORIZONS, 3, 0)


def test_the_schedule_is_the_configuration() -> None:
    changed = [
        dataclasses.replace(LearnConfig(), **{name: value})
        for name, value in {
            "learning_rate": 1e-3,
            "weight_decay": 0.5,
            "warmup_steps": 1,
            "newest_share": 0.0,
            "hard_share": 1.0,
            "auxiliary_weight": 0.0,
            "averaging": 0.5,
            "sector_degrees": 180.0,
        }.items()
    ]
    seen = set()
    for learn in [LearnConfig(), *changed]:
        target = OnlineTrainer(SMALL, learn, FEATURES, HORIZONS, PRIMARY, 0)
        for number in (1, 2):
            feed(target, number)
        target.train(6)
        seen.add(target.weights()["input.weight"].tobytes())
    assert len(seen) == 1 + len(changed)
