"""The trainer: what it learns, that it resumes exactly, and what it says when something goes wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models.nets.attention import BCCAttention
from models.nets.bcc_model import BCCModel
from models.training.checkpoint import BEST, CheckpointRefused, load_model, newest_checkpoint
from models.training.faults import OutOfMemory
from models.training.online import TrainingDiverged
from models.training.trainer import BCCTrainer, EpochResult
from models.training.trainer_config import TrainerConfig
from tests.models.made_graphs import FEATURES, ball, graph_of, learnable, rows_of

pytestmark = pytest.mark.learn

FOUR = torch.zeros(1, FEATURES)
QUIET = TrainerConfig(epochs=2, track=())


def loader(seed: int = 0, rows: int = 96, **options: Any) -> DataLoader[Any]:
    return DataLoader(rows_of(learnable(seed, rows)), **({"batch_size": 16} | options))  # type: ignore[arg-type]


def model(**changes: Any) -> BCCModel:
    return BCCModel(**{"hidden_dim": 16, "num_layers": 1, "feature_count": FEATURES, "seed": 1} | changes)


def trainer(out: Path, net: nn.Module | None = None, data: Any = None, **changes: Any) -> BCCTrainer:
    config = dataclasses.replace(QUIET, **changes)
    data = loader() if data is None else data
    return BCCTrainer(net or model(), data, loader(1), out=out, config=config)


def weights(net: nn.Module) -> list[Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---- what it learns ------------------------------------------------------------------------------------


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    shown: list[tuple[int, int | None, str]] = []
    own = trainer(tmp_path, data=loader(rows=480, shuffle=True), epochs=6, lr=0.02)
    history = own.train(lambda *said: shown.append(said))
    assert history[-1].val_loss < 0.4 < 0.55 < history[0].train_loss
    assert history[-1].val_error < 0.12
    assert [path.name for path in sorted(tmp_path.glob("*.pt"))] == [
        BEST, *(f"checkpoint_epoch_{epoch}.pt" for epoch in range(1, 7))
    ]  # fmt: skip
    best = min(history, key=lambda result: result.val_loss)
    content = torch.load(tmp_path / BEST, weights_only=True)
    assert content["result"] == dataclasses.asdict(best)
    assert content["model_config"] == own.model.model_config
    at_best = torch.load(tmp_path / f"checkpoint_epoch_{best.epoch}.pt", weights_only=True)
    batch = learnable(2)
    with torch.no_grad():
        own.model.load_state_dict(at_best["model"])
        expected = own.model.eval()(batch["features"], batch["neighbors"], batch["neighbor_mask"])
        actual = load_model(tmp_path / BEST)(batch["features"], batch["neighbors"], batch["neighbor_mask"])
    assert torch.equal(actual, expected)
    assert shown[-1][:2] == (180, 180)
    assert shown[-1][2].startswith("epoch 6, loss 0.")


def test_it_trains_on_window_graphs(tmp_path: Path) -> None:
    graph = graph_of(ball(5))
    rng = np.random.default_rng(0)
    windows = []
    for _ in range(6):
        features = torch.from_numpy(rng.normal(size=(len(graph["lod"]), FEATURES)).astype(np.float32))
        truth = (features[:, :1] > 0).float()
        windows.append(
            graph | {"features": features, "target": truth, "observed": torch.ones_like(truth) > 0}
        )
    net = BCCAttention(feature_count=FEATURES, hidden_dim=8, num_layers=1)
    own = BCCTrainer(
        net, windows, windows[:1], out=tmp_path, config=TrainerConfig(epochs=8, lr=0.03, track=())
    )
    history = own.train()
    assert history[-1].val_loss < 0.5 * history[0].train_loss


def test_squared_error_of_numbers(tmp_path: Path) -> None:
    batch = learnable(0)
    batch["target"] = 5 + batch["features"][:, :1]
    own = BCCTrainer(
        model(),
        [batch],
        [batch],
        out=tmp_path,
        config=TrainerConfig(epochs=150, lr=0.05, loss="mse", track=()),
    )
    while own.epoch < 150:
        own.train_epoch()
    scores = own.validate()
    assert scores["loss"] == pytest.approx(scores["error"])
    assert scores["loss"] < 0.01
    assert scores["observed"] == int(batch["observed"].sum())


def test_outcomes_that_were_not_observed_do_not_count(tmp_path: Path) -> None:
    junk = learnable(0)
    junk["target"] = torch.where(junk["observed"], junk["target"], math.nan)
    found = []
    for number, batch in enumerate((learnable(0), junk)):
        own = trainer(tmp_path / str(number), data=[batch] * 3)
        own.train_epoch()
        found.append(weights(own.model))
    assert same(*found)
    blind = learnable(0) | {"observed": torch.zeros(96, 1, dtype=torch.bool)}
    own = trainer(tmp_path / "blind", data=[blind])
    before = weights(own.model)
    assert math.isnan(own.train_epoch())
    assert same(before, weights(own.model))


def test_the_rate_falls_along_a_cosine(tmp_path: Path) -> None:
    own = trainer(tmp_path, epochs=3, lr=0.01)
    rates = [result.lr for result in own.train()]
    expected = [0.005 * (1 + math.cos(math.pi * epoch / 3)) for epoch in (1, 2, 3)]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """The first step of AdamW does not depend on the length of the gradient, the moments do."""
    tight, loose = (trainer(tmp_path / name, clip_norm=norm) for name, norm in (("a", 1e-3), ("b", 1e3)))
    norms = []
    for own in (tight, loose):
        own.train_epoch()
        moments = [state["exp_avg_sq"].sum() for state in own._optimizer.state.values()]
        norms.append(float(torch.stack(moments).sum()))
    assert norms[0] <= 6 * 1e-6 * (1 - 0.999) * 1.01
    assert norms[1] > 100 * norms[0]


# ---- the same by another way ---------------------------------------------------------------------------


def test_accumulation_is_the_large_batch_and_the_last_window_steps_too(tmp_path: Path) -> None:
    rows = rows_of(learnable(0, 80))
    small = DataLoader(rows, batch_size=8)  # type: ignore[arg-type]
    large = DataLoader(rows, batch_size=32)  # type: ignore[arg-type]
    many = trainer(tmp_path / "many", data=small, accumulation=4)
    few = trainer(tmp_path / "few", data=large)
    assert many.steps_per_epoch == few.steps_per_epoch == 3  # 32, 32 and 16 rows
    for own in (many, few):
        own.train_epoch()
        own.train_epoch()
    np.testing.assert_allclose(many.step_losses, few.step_losses, rtol=1e-5)
    assert len({int(row["observed"]) for row in rows}) == 2  # so batches differ in how much is observed
    for a, b in zip(weights(many.model), weights(few.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Stopped(Exception):
    """Whatever ends a process."""


def losses_by_epoch(own: BCCTrainer, stop_after: int | None = None) -> list[list[float]]:
    losses = []

    def note(result: EpochResult) -> None:
        losses.append(own.step_losses)
        if result.epoch == stop_after:
            raise Stopped

    try:
        own.train(on_epoch=note)
    except Stopped:
        assert stop_after is not None
    return losses


@pytest.mark.parametrize("kind", ["plain", "generator", "half"])
def test_a_resumed_training_equals_an_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"epochs": 4, "accumulation": 2, "mixed_precision": kind == "half"}

    def begin(name: str) -> BCCTrainer:
        own = torch.Generator().manual_seed(5) if kind == "generator" else None
        data = loader(shuffle=True, generator=own)
        return trainer(tmp_path / name, model(dropout=0.3), data, **changes)

    whole, first = begin("whole"), begin("parts")
    expected = losses_by_epoch(whole)
    got = losses_by_epoch(first, stop_after=2)
    torch.rand(7)  # where torch's own generator stands does not matter
    second = begin("parts")
    newest = newest_checkpoint(tmp_path / "parts")
    assert newest is not None
    second.load_checkpoint(newest)
    got += losses_by_epoch(second)
    assert got == expected
    assert len({tuple(losses) for losses in expected}) == 4
    assert same(weights(whole.model), weights(second.model))
    assert second.history == whole.history
    for name in (BEST, "checkpoint_epoch_4.pt"):
        own, other = (
            torch.load(tmp_path / folder / name, weights_only=True) for folder in ("whole", "parts")
        )
        assert str(own) == str(other)


def test_training_leaves_torchs_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    trainer(tmp_path, model(dropout=0.5), loader(shuffle=True)).train()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_seed_decides_dropout_and_order(tmp_path: Path) -> None:
    losses = []
    for seed in (0, 0, 1):
        own = trainer(tmp_path / str(len(losses)), model(dropout=0.5), loader(shuffle=True), seed=seed)
        own.train_epoch()
        losses.append(own.step_losses)
    assert losses[0] == losses[1] != losses[2]


def test_a_sampler_hears_of_the_epoch(tmp_path: Path) -> None:
    heard: list[int] = []

    class Sampler(torch.utils.data.SequentialSampler):
        def set_epoch(self, epoch: int) -> None:
            heard.append(epoch)

    rows = rows_of(learnable(0))
    trainer(tmp_path, data=DataLoader(rows, batch_size=16, sampler=Sampler(rows))).train()  # type: ignore[arg-type]
    assert heard == [0, 1]


def test_half_precision_on_the_cpu_is_bfloat16(tmp_path: Path) -> None:
    kinds: set[torch.dtype] = set()
    net = model()
    net.output.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    half = trainer(tmp_path / "half", net, mixed_precision=True, epochs=4, lr=0.02)
    plain = trainer(tmp_path / "plain", epochs=4, lr=0.02)
    assert half.train()[-1].val_loss == pytest.approx(plain.train()[-1].val_loss, abs=0.03)
    assert kinds == {torch.bfloat16}
    assert {value.dtype for value in weights(half.model)} == {torch.float32}
    assert half.step_losses != plain.step_losses


def test_checkpointed_gradients_train_the_same(tmp_path: Path) -> None:
    losses = []
    for again in (False, True):
        own = trainer(tmp_path / str(again), model(dropout=0.3, num_layers=3), gradient_checkpointing=again)
        own.train_epoch()
        losses.append(own.step_losses)
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.long
def test_a_compiled_network_trains_the_same(tmp_path: Path) -> None:
    plain, compiled = trainer(tmp_path / "plain"), trainer(tmp_path / "compiled", compile=True)
    for own in (plain, compiled):
        own.train()
    assert [result.train_loss for result in plain.history] == pytest.approx(
        [result.train_loss for result in compiled.history], rel=1e-4
    )
    assert load_model(tmp_path / "compiled" / BEST).model_config == plain.model.model_config


def test_on_a_cuda_device(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("not run: no CUDA device")
    config = TrainerConfig(epochs=4, lr=0.02, mixed_precision=True, track=())
    own = BCCTrainer(model(), loader(), loader(1), out=tmp_path, config=config, device="cuda")
    assert own._scaler.is_enabled()
    plain = trainer(tmp_path / "plain", epochs=4, lr=0.02)
    assert own.train()[-1].val_loss == pytest.approx(plain.train()[-1].val_loss, abs=0.03)
    again = BCCTrainer(model(), loader(), loader(1), out=tmp_path, config=config, device="cuda")
    again.load_checkpoint(tmp_path / "checkpoint_epoch_3.pt")
    assert again.train()[-1].val_loss == pytest.approx(own.history[-1].val_loss, rel=1e-3)


# ---- what it shows -------------------------------------------------------------------------------------


def test_tensorboard_has_every_step_by_default(tmp_path: Path) -> None:
    own = BCCTrainer(model(), loader(), loader(1), out=tmp_path, config=TrainerConfig(epochs=2))
    own.train()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [item.step for item in events.Scalars("train/loss")] == list(range(1, 13))
    assert [item.value for item in events.Scalars("train/loss")][6:] == pytest.approx(own.step_losses)
    assert [item.value for item in events.Scalars("val/loss")] == pytest.approx(
        [r.val_loss for r in own.history]
    )
    assert events.Scalars("train/lr")[-1].value < events.Scalars("train/lr")[0].value == pytest.approx(1e-3)


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.tracking.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match="track: wandb is not installed: pip install wandb, or track="
    ):
        trainer(tmp_path, track=("wandb",))


def test_a_step_is_profiled_and_changes_nothing(tmp_path: Path) -> None:
    own, twin = (trainer(tmp_path, model(dropout=0.2)) for _ in range(2))
    for each in (own, twin):
        each.train_epoch()
    table = own.profile_training_step(tmp_path / "trace.json")
    assert "aten::addmm" in table
    assert "CPU Mem" in table
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert "aten::addmm" in names
    assert (own.epoch, own.steps) == (1, 6)
    for each in (own, twin):
        each.train_epoch()
    assert own.step_losses == twin.step_losses


# ---- what goes wrong -----------------------------------------------------------------------------------


def poisoned(key: str, value: float, place: tuple[int, ...]) -> list[dict[str, Tensor]]:
    batches = [learnable(seed, 32) for seed in range(3)]
    batches[1]["observed"][:] = True
    batches[1][key][place] = value
    return batches


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("key", "value", "place", "message"),
    [
        ("features", math.nan, (4, 2), r"step 2, epoch 1: features: column 2 \(height\) holds .*, 1 of 32"),
        ("features", math.inf, (slice(5), 3), r"features: column 3 \(hits\) holds NaN or Inf, 5 of 32 rows"),
        ("neighbors", math.nan, (0, 3, 1), r"neighbors: column 1 \(y\)"),
        ("target", math.nan, (7, 0), "target: column 0 holds NaN"),
    ],
)  # fmt: skip
def test_not_a_number_stops_and_says_where(
    key: str, value: float, place: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    names = ("x", "y", "height", "hits")
    data = poisoned(key, value, place)
    own = BCCTrainer(model(), data, out=tmp_path, config=QUIET, feature_names=names)
    with pytest.raises(TrainingDiverged, match=message):
        own.train()
    clean = BCCTrainer(model(), data, out=tmp_path / "clean", config=QUIET)
    clean._step(next(clean._windows()))
    assert same(weights(own.model), weights(clean.model))  # as after the step before it
    assert not list(tmp_path.glob("*.pt"))


class Root(nn.Module):
    """Finite in its answer, not in its gradient: the root of nothing."""

    def __init__(self, scale: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([scale]))

    def forward(self, features: Tensor, neighbors: Tensor) -> Tensor:
        return self.weight.abs().sqrt() * features[:, :1]


class Overflow(Root):
    def forward(self, features: Tensor, neighbors: Tensor) -> Tensor:
        return torch.exp(self.weight * features[:, :1].abs())


def test_gradients_and_outputs_that_are_not_finite_are_named(tmp_path: Path) -> None:
    own = trainer(tmp_path, Root())
    with pytest.raises(TrainingDiverged, match="step 1, epoch 1: the gradient of weight is not finite"):
        own.train_epoch()
    assert own.model.weight.item() == 0
    own = trainer(tmp_path, Overflow(1e4))
    with pytest.raises(TrainingDiverged, match="step 1, epoch 1: output: column 0 holds NaN or Inf"):
        own.train_epoch()


def test_not_a_number_in_validation(tmp_path: Path) -> None:
    own = BCCTrainer(model(), loader(), poisoned("features", math.nan, (0, 0)), out=tmp_path, config=QUIET)
    with pytest.raises(TrainingDiverged, match="validation after epoch 0: features: column 0"):
        own.validate()


class Greedy(Root):
    """Asks for more memory than any machine has, as a batch that is too large does."""

    def forward(self, features: Tensor, neighbors: Tensor) -> Tensor:
        return self.weight * torch.empty(2**58)


class CudaGreedy(Root):
    def forward(self, features: Tensor, neighbors: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.fault(35)
@pytest.mark.parametrize("net", [Greedy(), CudaGreedy()], ids=["cpu", "cuda"])
def test_out_of_memory_names_the_ways_out(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: isinstance(net, CudaGreedy))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: cleared.append(True))
    own = trainer(tmp_path, net, accumulation=2)
    with pytest.raises(
        OutOfMemory, match=r"step of 2 x 16 rows.* batches of 8 rows with accumulation=4 .*mixed_precision"
    ):
        own.train_epoch()
    assert cleared == [True] * isinstance(net, CudaGreedy)


def test_other_errors_are_not_taken_for_lack_of_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tensor a \(4\) must match"):
        trainer(tmp_path, model(feature_count=3)).train()


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("exploded",)


def test_what_is_no_checkpoint_of_this_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer(tmp_path).train()
    path = tmp_path / "checkpoint_epoch_1.pt"
    for changes, message in (
        ({"lr": 0.5}, r"trainer_config.lr: 0.001 in the file, 0.5 here"),
        ({"epochs": 3}, "trainer_config.epochs: 2 in the file, 3 here"),
    ):
        with pytest.raises(CheckpointRefused, match=message):
            trainer(tmp_path, **changes).load_checkpoint(path)
    with pytest.raises(CheckpointRefused, match=r"trainer_config.steps_per_epoch: 6 in the file, 12 here"):
        trainer(tmp_path, data=loader(batch_size=8)).load_checkpoint(path)
    with pytest.raises(CheckpointRefused, match=r"model_config.hidden_dim: 16 in the file, 8 here"):
        trainer(tmp_path, model(hidden_dim=8)).load_checkpoint(path)
    with pytest.raises(CheckpointRefused, match=r"trainer_config.accumulation: None in the file"):
        trainer(tmp_path).load_checkpoint(tmp_path / BEST)
    Path("half.pt").write_bytes(path.read_bytes()[:1000])
    Path("text.pt").write_text("hello")
    Path("bomb.pt").write_bytes(pickle.dumps({"model_config": Bomb()}))
    torch.save({"model_config": Bomb()}, "zip-bomb.pt")
    torch.save({"weights": 1}, "other.pt")
    for name in ("half.pt", "text.pt", "bomb.pt", "zip-bomb.pt", "other.pt"):
        with pytest.raises(CheckpointRefused, match=name):
            trainer(tmp_path).load_checkpoint(Path(name))
        with pytest.raises(CheckpointRefused, match=name):
            load_model(Path(name))
    assert not Path("exploded").exists()
    assert newest_checkpoint(tmp_path / "none") is None


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(tmp_path)
    own.save_checkpoint(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        own.save_checkpoint(tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == before


def endless() -> Iterator[dict[str, Tensor]]:
    return itertools.repeat(learnable(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: trainer(out, data=[]), "train_loader: is empty"),
        (lambda out: trainer(out, data=endless()), "train_loader: has no length"),
        (lambda out: trainer(out, data=[{"features": FOUR}]).train(), "batch: has no 'target', only"),
        (lambda out: trainer(out, Root(), gradient_checkpointing=True), "checkpointing: Root does not know"),
        (lambda out: TrainerConfig(epochs=0), "epochs: 0 must be >= 1"),
        (lambda out: TrainerConfig(lr=0), "lr: 0 must be above 0"),
        (lambda out: TrainerConfig(weight_decay=-1), "weight_decay: -1 must be >= 0"),
        (lambda out: TrainerConfig(loss="l1"), "loss: 'l1' must be bce or mse"),
        (lambda out: TrainerConfig(track=("mlflow",)), "track: 'mlflow' must be"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path)
