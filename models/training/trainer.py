"""Training on batches or window graphs: epochs, checkpoints, exact resume; alone or one process of many."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress as Bars
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from models.nets.graph_net import Standardised
from models.training import checkpoint
from models.training.batches import begin_epoch, count_batches, generators_of, on_device
from models.training.faults import first_fault, first_gradient_fault, first_output_fault, remedies
from models.training.objective import error_sums, loss_sum, observed_count
from models.training.online import TrainingDiverged
from models.training.ranks import ALONE, Ranks
from models.training.tracking import Track, require_trackers, tracking
from models.training.trainer_config import TrainerConfig
from stream.progress import Progress

Batch = Mapping[str, Any]

GATHERED = {"features": "features", "neighbors": "neighbors"}
"""What a network is given that does not say what it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """What one epoch came to.

    epoch : from 1; steps : optimiser steps since the start; lr : learning rate of the next step
    train_loss : mean over observed outcomes, each scored by the weights before its step
    val_loss : by the weights after the epoch; without a validation loader both are NaN
    val_error : Brier score, or with loss=mse the mean squared error
    """

    epoch: int
    steps: int
    lr: float
    train_loss: float
    val_loss: float
    val_error: float

    @property
    def score(self) -> float:
        """What the best model has least of: loss on validation, else in training."""
        return self.train_loss if math.isnan(self.val_loss) else self.val_loss


class BCCTrainer:
    """Trains a network on a loader of batches.

    model : of ``models.nets``, or any module that takes ``features`` and ``neighbors``
    train_loader, val_loader : iterables with a length, of batches or window graphs: dicts with what the
        network reads, ``target`` float32 (B, H) and ``observed`` bool (B, H)
    out : folder for ``checkpoint_epoch_N.pt``, ``best_model.pt`` and TensorBoard's files
    device : cpu, cuda, or of ``process_group``; ranks : this process among several
    feature_names : of the columns, for messages

    Deterministic on one machine type with the CPU: weights follow from the model's own, the configuration,
    and what the loader gives each epoch. A loader's order may depend on ``set_epoch``, its own generator, or
    torch's, which is seeded by epoch and left untouched outside.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: Any,
        val_loader: Any = None,
        *,
        out: Path,
        config: TrainerConfig | None = None,
        device: torch.device | str = "cpu",
        ranks: Ranks = ALONE,
        feature_names: Sequence[str] = (),
    ) -> None:
        self.config = config or TrainerConfig()
        require_trackers(self.config.track if ranks.first else ())
        self.out, self.ranks, self.device = out, ranks, torch.device(device)
        self.model = model.to(self.device)
        self._train_loader, self._val_loader = train_loader, val_loader
        self._names = tuple(feature_names)
        self._inputs: Mapping[str, str] = model.inputs if isinstance(model, Standardised) else GATHERED
        if self.config.gradient_checkpointing:
            if not isinstance(model, Standardised):
                raise ValueError(f"gradient_checkpointing: {type(model).__name__} does not know of it")
            model.gradient_checkpointing = True
        self._ddp = DistributedDataParallel(self.model) if ranks.world_size > 1 else None
        module: nn.Module = self._ddp or self.model
        self._module: Any = torch.compile(module) if self.config.compile else module
        batches = ranks.least(count_batches(train_loader), self.device)
        self.steps_per_epoch = -(-batches // self.config.accumulation)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self._optimizer, T_max=self.config.epochs * self.steps_per_epoch
        )
        scaled = self.config.mixed_precision and self.device.type == "cuda"
        self._scaler = torch.amp.GradScaler("cuda", enabled=scaled)
        self.epoch = self.steps = 0
        self.best = math.inf
        self.history: list[EpochResult] = []
        self.step_losses: list[float] = []
        """Of the last epoch, by step."""

    # ---- epochs -------------------------------------------------------------------------------------------

    def train(
        self, progress: Progress | None = None, on_epoch: Callable[[EpochResult], None] | None = None
    ) -> list[EpochResult]:
        """Train the epochs that are left; after each: validate, write a checkpoint, keep the best model.

        progress : told the steps done, and in all; None shows a bar where stderr is a terminal
        on_epoch : called with each result, before the next epoch begins
        Returns the results of all epochs, those before a resume included
        Raises TrainingDiverged, OutOfMemory, ValueError for batches that lack a key; the weights are as after
        the last good step, the files as after the last whole epoch
        """
        track: AbstractContextManager[Track] = nullcontext(_untracked)
        if self.ranks.first:
            settings = dataclasses.asdict(self.config) | {"model": getattr(self.model, "model_config", {})}
            track = tracking(self.config.track, self.out, settings)
        with _bar(progress, self.ranks.first) as shown, track as noted:
            while self.epoch < self.config.epochs:
                result = self._whole_epoch(shown, noted)
                if on_epoch is not None:
                    on_epoch(result)
        return self.history

    def train_epoch(self, progress: Progress | None = None, track: Track | None = None) -> float:
        """One pass over the training loader; the last step may be of fewer batches than the others.

        Returns the mean loss over observed outcomes, of all processes. Raises as ``train``
        """
        self.model.train()
        self.step_losses = []
        total = torch.zeros(2, dtype=torch.float64)
        with self._own_randomness():
            for window in self._windows():
                rate = self._rate()
                loss, count = self._step(window)
                self.steps += 1
                self.step_losses.append(loss)
                total += torch.tensor([loss * count, count], dtype=torch.float64)
                if track is not None:
                    track(self.steps, {"train/loss": loss, "train/lr": rate})
                if progress is not None:
                    all_steps = self.config.epochs * self.steps_per_epoch
                    progress(self.steps, all_steps, f"epoch {self.epoch + 1}, loss {loss:.4f}")
        self.epoch += 1
        return float(total[0] / total[1]) if total[1] else math.nan

    def validate(self) -> dict[str, float]:
        """``loss``, ``error`` (Brier score or mean squared error) and ``observed``, of the validation loader.

        Sums over all processes, so how outcomes are shared out does not matter. NaN where none was observed
        """
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self.model.eval()
        with torch.no_grad(), self._own_randomness():
            for batch in self._val_loader if self._val_loader is not None else ():
                moved = on_device(batch, self.device)
                if fault := first_fault(moved, self._names):
                    raise TrainingDiverged(f"validation after epoch {self.epoch}: {fault}")
                with remedies(len(moved["features"]), 1), self._autocast():
                    outputs = self._answer(self.model, moved)
                    sums += error_sums(self.config.loss, outputs, moved)
        loss, error, count = self.ranks.sum(sums).tolist()
        if not count:
            return {"loss": math.nan, "error": math.nan, "observed": 0.0}
        return {"loss": loss / count, "error": error / count, "observed": count}

    def _whole_epoch(self, progress: Progress, track: Track) -> EpochResult:
        train_loss = self.train_epoch(progress, track)
        scores = self.validate()
        result = EpochResult(
            epoch=self.epoch, steps=self.steps, lr=self._rate(), train_loss=train_loss,
            val_loss=scores["loss"], val_error=scores["error"],
        )  # fmt: skip
        self.history.append(result)
        better = result.score < self.best
        self.best = min(self.best, result.score)
        track(self.steps, {"val/loss": result.val_loss, "val/error": result.val_error})
        if self.ranks.first:
            self.save_checkpoint(checkpoint.checkpoint_path(self.out, self.epoch))
            if better:
                entries = checkpoint.model_entries(self.model) | {"result": dataclasses.asdict(result)}
                checkpoint.write(self.out / checkpoint.BEST, entries)
        self.ranks.wait()
        return result

    # ---- checkpoints --------------------------------------------------------------------------------------

    def save_checkpoint(self, path: Path) -> None:
        """Write all that ``load_checkpoint`` needs to go on as if nothing had happened."""
        checkpoint.write(path, self._state())

    def load_checkpoint(self, path: Path) -> None:
        """Take up a training where it was: what follows equals, step for step, what would have followed.

        Raises CheckpointRefused for a file of another network, configuration or number of steps; OSError
        """
        content = checkpoint.read(path, self.device)
        own = getattr(self.model, "model_config", {})
        checkpoint.require_same(path, "model_config", content["model_config"], own)
        checkpoint.require_same(path, "trainer_config", content.get("trainer_config", {}), self._settings())
        self._take(content)

    def profile_training_step(self, trace: Path | None = None) -> str:
        """Time and memory of one step by operator, as a table; weights and optimiser are as before.

        trace : file for a Chrome trace (chrome://tracing, Perfetto)
        """
        activities = [ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        before = copy.deepcopy(self._state())
        self.model.train()
        try:
            with self._own_randomness():
                window = next(self._windows())
                self._step(window)  # the first one allocates and compiles
                with profile(activities=activities, profile_memory=True) as profiler:
                    self._step(window)
        finally:
            self._take(before)
        if trace is not None:
            profiler.export_chrome_trace(str(trace))
        by = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        table: str = profiler.key_averages().table(sort_by=by, row_limit=20)
        return table

    def _state(self) -> dict[str, Any]:
        return checkpoint.model_entries(self.model) | {
            "trainer_config": self._settings(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "progress": {"epoch": self.epoch, "steps": self.steps, "best": self.best},
            "history": [dataclasses.asdict(result) for result in self.history],
            "generators": [generator.get_state() for generator in generators_of(self._train_loader)],
        }

    def _take(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        self.epoch, self.steps, self.best = (state["progress"][name] for name in ("epoch", "steps", "best"))
        self.history = [EpochResult(**values) for values in state["history"]]
        for generator, own in zip(generators_of(self._train_loader), state["generators"], strict=True):
            generator.set_state(own.cpu())

    def _settings(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.config) | {"steps_per_epoch": self.steps_per_epoch}
        settings |= {"world_size": self.ranks.world_size}
        return {name: value for name, value in settings.items() if name != "track"}

    # ---- one step -----------------------------------------------------------------------------------------

    def _step(self, window: list[dict[str, Any]]) -> tuple[float, int]:
        """One optimiser step on the joined batches of all processes; mean loss, number of outcomes."""
        count = self._agree(window)
        loss = torch.zeros((), device=self.device)
        outputs: list[Tensor] = []
        for batch in window if count else ():
            rows, last = len(batch["features"]), batch is window[-1]
            alone = nullcontext() if self._ddp is None or last else self._ddp.no_sync()
            with remedies(rows, self.config.accumulation), alone:
                with self._autocast():
                    outputs.append(self._answer(self._module, batch))
                # DDP takes the mean over processes, this the sum over all outcomes by their number.
                part = loss_sum(self.config.loss, outputs[-1], batch) * (self.ranks.world_size / count)
                torch.autograd.backward(self._scaler.scale(part))
            loss += part.detach()
            outputs[-1] = outputs[-1].detach()
        value = float(self.ranks.sum(loss)) / self.ranks.world_size
        if not math.isfinite(value):
            self._diverged(first_output_fault(torch.cat(outputs)))
        if count:
            self._update()
        else:
            self._optimizer.step()  # without gradients nothing moves
        self._schedule.step()
        return value, count

    def _rate(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def _update(self) -> None:
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        if not self._scaler.is_enabled() and not torch.isfinite(norm):  # a scaler skips such a step itself
            self._diverged(first_gradient_fault(self.model))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()

    def _agree(self, window: list[dict[str, Any]]) -> int:
        """Outcomes in the windows of all processes; all of them stop where one holds what is not finite."""
        fault = next((found for batch in window if (found := first_fault(batch, self._names))), None)
        own = [sum(observed_count(batch) for batch in window), fault is not None]
        count, faults = self.ranks.sum(torch.tensor(own, dtype=torch.int64, device=self.device)).tolist()
        if faults:
            self._diverged(fault or "another process was given NaN or Inf; it says where")
        return int(count)

    def _diverged(self, what: str) -> None:
        self._optimizer.zero_grad()
        raise TrainingDiverged(
            f"step {self.steps + 1}, epoch {self.epoch + 1}: {what}; the weights are as before it"
        )

    def _answer(self, module: Any, batch: Batch) -> Tensor:
        outputs: Tensor = module(**{name: batch[key] for name, key in self._inputs.items() if key in batch})
        return outputs

    def _autocast(self) -> AbstractContextManager[Any]:
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=half, enabled=self.config.mixed_precision)

    # ---- batches ------------------------------------------------------------------------------------------

    def _windows(self) -> Iterator[list[dict[str, Any]]]:
        """Batches of one step each; an epoch ends for all processes where the first of them runs out."""
        batches = begin_epoch(self._train_loader, self.epoch)
        for _ in range(self.steps_per_epoch):
            some = itertools.islice(batches, self.config.accumulation)
            window = [on_device(batch, self.device) for batch in some]
            here = torch.tensor(len(window) > 0, dtype=torch.int64, device=self.device)
            if int(self.ranks.sum(here)) < self.ranks.world_size:
                return
            yield window

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Torch's generators seeded by epoch and process, and as before afterwards."""
        seed = np.random.SeedSequence([self.config.seed, self.epoch, self.ranks.rank])
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
            yield


def _untracked(step: int, scores: Mapping[str, float]) -> None:
    """Takes scores that nobody wants."""


@contextmanager
def _bar(progress: Progress | None, wanted: bool) -> Iterator[Progress]:
    if progress is not None:
        yield progress
        return
    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not (wanted and console.is_terminal)) as bars:
        task = bars.add_task("training", total=None)

        def update(done: int, total: int | None, note: str) -> None:
            bars.update(task, completed=done, total=total, description=note)

        yield update
