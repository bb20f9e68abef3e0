"""The command ``octastream tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from agents.failure import require_learning


def tune(
    container: Annotated[Path, typer.Argument(metavar="CONTAINER", help="A stored container with outcomes.")],
    out: Annotated[Path, typer.Option(help="Folder for the trials and the best of them.")],
    trials: Annotated[int, typer.Option(min=1, help="Configurations to draw.")] = 16,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What is not searched: net, epochs, seed, ..."),
    ] = None,
    gpus_per_trial: Annotated[float, typer.Option(min=0.0, help="Or a share of one.")] = 0.0,
    cpus_per_trial: Annotated[float, typer.Option(min=0.1, help="Or a share of one.")] = 1.0,
) -> None:
    """Search the values of a network's training on a stored container, with Ray Tune and ASHA."""
    from agents import console
    from agents.networks.settings import course_of

    require_learning()
    from models.training.tuning import RESULT, tune_course

    with console.progress_bar("tuning", unit="epochs") as progress:
        found = tune_course(
            course_of(container, settings or []), out, trials, gpus_per_trial=gpus_per_trial,
            cpus_per_trial=cpus_per_trial, progress=progress,
        )  # fmt: skip
    values = " ".join(f"--set {name}={value:.4g}" if isinstance(value, float) else f"--set {name}={value}"
                      for name, value in found.values.items())  # fmt: skip
    console.show(
        f"best of {found.trials} trials, {found.stopped} stopped early: loss {found.val_loss:.4f} "
        f"at epoch {found.epoch}",
        f"train it on: octastream train {escape(str(container))} {values} --out FOLDER",
        f"configuration: {escape(str(out / RESULT))}",
    )
