"""Ray Tune with ASHA over the values of a course: many trials, the poor ones stopped early."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.nets.bcc_model import BCCModel
from models.training.checkpoint import BEST
from models.training.course import Course, CourseError, open_course
from models.training.trainer import EpochResult
from stream.progress import Progress

for _name in ("RAY_USAGE_STATS_ENABLED", "RAY_AIR_NEW_OUTPUT"):  # to stay silent; read when Ray is imported
    os.environ.setdefault(_name, "0")
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402
from ray.tune.search.basic_variant import BasicVariantGenerator  # noqa: E402

METRIC = "val_loss"
RESULT = "best_config.json"
TRIALS = "trials"
STORE_BYTES = 128 * 2**20
"""Of Ray's object store: trials read the container's files themselves, so it holds next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a search has found.

    values : of the best trial, for ``Course.changed``; val_loss : its least, at ``epoch``
    trials : of which so many were stopped before the last epoch; folder : of the best trial
    """

    values: dict[str, Any]
    val_loss: float
    epoch: int
    trials: int
    stopped: int
    folder: str


def space(net: str) -> dict[str, Any]:
    """What is searched: hidden_dim, num_layers, dropout, lr, weight_decay, batch_size."""
    batches = [256, 1024, 4096] if net == BCCModel.name else [1, 2, 4]
    return {
        "hidden_dim": tune.choice([16, 32, 64]),
        "num_layers": tune.choice([1, 2, 3]),
        "dropout": tune.uniform(0.0, 0.3),
        "lr": tune.loguniform(3e-4, 1e-2),
        "weight_decay": tune.loguniform(1e-4, 1e-1),
        "batch_size": tune.choice(batches),
    }


def tune_course(
    course: Course,
    out: Path,
    trials: int,
    *,
    gpus_per_trial: float = 0.0,
    cpus_per_trial: float = 1.0,
    progress: Progress | None = None,
) -> Tuned:
    """Search, and write ``best_config.json`` and the best trial's ``best_model.pt`` to ``out``.

    trials : configurations that are drawn, by ``course.trainer.seed``; each reports its validation loss after
        every epoch, and after 1, 2, 4, ... epochs the worse half of those that came so far is stopped
    gpus_per_trial, cpus_per_trial : shares of them may be given; as many trials run at a time as fit
    Which trials are stopped depends on who is first, so two searches may differ. Starts Ray on this machine
    and ends it. Raises CourseError for a folder that holds a search, or where no trial came to a result
    """
    if trials < 1:
        raise CourseError(f"trials: {trials} must be >= 1")
    out = out.resolve()
    if (out / TRIALS).exists():
        raise CourseError(f"{out}: holds a search; name another folder")
    course = course.changed({"track": ()}).at(course.container.resolve())
    open_course(course)  # so that what is wrong with the container is said once, and its cache is made once
    epochs = course.trainer.epochs
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=STORE_BYTES,
    )  # fmt: skip
    try:
        found = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trial, course=course, folder=out / TRIALS),
                {"cpu": cpus_per_trial, "gpu": gpus_per_trial},
            ),
            param_space=space(course.net),
            tune_config=tune.TuneConfig(
                metric=METRIC, mode="min", num_samples=trials,
                scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=2),
                search_alg=BasicVariantGenerator(random_state=course.trainer.seed),
            ),
            run_config=tune.RunConfig(
                name="ray", storage_path=str(out), verbose=0,
                callbacks=[_Counter(trials * epochs, progress or _silent)],
            ),
        ).fit()  # fmt: skip
    finally:
        ray.shutdown()
    return _keep_best(found, out, epochs)


def _trial(config: Mapping[str, Any], course: Course, folder: Path) -> None:
    """One trial, in a process of Ray's."""
    course = course.changed(config)
    out = folder / tune.get_context().get_trial_id()
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    trainer = open_course(course).trainer(course, out, device=device)

    def report(result: EpochResult) -> None:
        tune.report({METRIC: result.val_loss, "val_error": result.val_error, "epoch": result.epoch,
                     "folder": str(out)})  # fmt: skip

    trainer.train(_silent, on_epoch=report)


def _silent(done: int, total: int | None, note: str) -> None:
    """Tells nobody."""


class _Counter(tune.Callback):  # type: ignore[misc]
    """Tells how many epochs are done."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._done, self._best = total, progress, 0, float("inf")

    def __getstate__(self) -> dict[str, Any]:
        """Ray stores its callbacks, and a bar on a terminal cannot be."""
        return self.__dict__ | {"_progress": _silent}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        self._done += 1
        self._best = min(self._best, result[METRIC])
        self._progress(self._done, self._total, f"{len(trials)} trials, best loss {self._best:.4f}")


def _keep_best(found: Any, out: Path, epochs: int) -> Tuned:
    good = [result for result in found if result.metrics and METRIC in result.metrics]
    if not good:
        errors = [str(error).strip().splitlines()[-1] for error in found.errors] or ["nothing was reported"]
        raise CourseError(f"{out}: no trial came to a result: {errors[0]}")
    best = found.get_best_result(METRIC, "min", scope="all")
    frame = best.metrics_dataframe
    row = frame.loc[frame[METRIC].idxmin()]
    tuned = Tuned(
        values=dict(best.config), val_loss=float(row[METRIC]), epoch=int(row["epoch"]), trials=len(found),
        stopped=sum(result.metrics["epoch"] < epochs for result in good), folder=str(row["folder"]),
    )  # fmt: skip
    shutil.copyfile(Path(tuned.folder) / BEST, out / BEST)
    said = {"values": tuned.values, "val_loss": tuned.val_loss, "epoch": tuned.epoch, "trials": tuned.trials,
            "stopped": tuned.stopped, "folder": Path(tuned.folder).name}  # fmt: skip
    (out / RESULT).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return tuned
