"""The command ``octastream train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from agents.failure import require_learning

if TYPE_CHECKING:
    from rich.table import Table


def add_to(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|CONTAINER", help="A run folder; for occupancy a stored container.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model and its scores.")],
    target: Annotated[
        Literal["occupancy", "class", "changed", "intensity"],
        typer.Option(help="What of cells is to be told."),
    ] = "occupancy",
    delay: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Labels are known so long after their sweep.")
    ] = 1.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps a labelled sweep. Default: as in the run.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of occupancy: net, hidden_dim, lr, epochs, ..."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest checkpoint in --out.")
    ] = False,
    ddp: Annotated[bool, typer.Option("--ddp", help="One process of several, started by torchrun.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Start so many processes here.")] = 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
) -> None:
    """Train on stored runs: networks on the occupancy of a stored container, or another target on a run.

    Any other target is trained as it would have been live: predict, wait for the truth, score, learn.
    """
    require_learning()
    if target == "occupancy":
        _train_network(
            source, out, settings or [], resume=resume, ddp=ddp, processes=processes, device=device
        )
    else:
        _train_target(source, out, target, delay=delay, steps=steps)


def _train_network(
    source: Path, out: Path, settings: list[str], *, resume: bool, ddp: bool, processes: int, device: str
) -> None:
    from agents import console
    from agents.networks import train as networks
    from agents.networks.settings import course_of

    course = course_of(source, settings)
    if ddp:
        networks.train_under_torchrun(course, out, resume=resume, device=device)
        return
    if processes > 1:
        networks.train_in_processes(course, out, processes, resume=resume, device=device)
        console.show(f"models: {escape(str(out))}")
        return
    with console.progress_bar("training", unit="steps") as progress:
        results = networks.train_network(course, out, resume=resume, device=device, progress=progress)
    best = min(results, key=lambda result: result.score)
    console.show(
        f"epoch {best.epoch} of {len(results)} is best: loss {best.val_loss:.4f}, error {best.val_error:.4f}",
        f"model: {escape(str(out / networks.MODEL))}",
    )


def _train_target(
    run: Path, out: Path, target: Literal["class", "changed", "intensity"], *, delay: float, steps: int | None
) -> None:
    from agents import console
    from agents.targets.train import train_target

    with console.progress_bar("training") as progress:
        found = train_target(run, target, out, delay_s=delay, steps=steps, progress=progress)
    console.show(
        _table(found.scores, f"{target}: scored before it was learnt"),
        f"{found.sweeps:,} sweeps, {found.labelled:,} of them labelled, {found.steps:,} steps"
        + (f"; features of {found.skewed:,} could not be rebuilt" if found.skewed else ""),
        f"model: {escape(str(out / 'model.onnx'))}",
    )


def _table(scores: dict[str, Any], title: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    rows = [
        (f"{name}, {part.replace('_', ' ')}", values)
        for name, parts in scores.items()
        for part, values in (parts.items() if "held_out" in parts else [("all cells", parts)])
    ]
    keys = [key for key in rows[0][1] if key != "iou"]
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("predictor, cells", no_wrap=True)
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right", no_wrap=True)
    for name, values in rows:
        cells = ("-" if values[key] is None else f"{values[key]:,.0f}" if key == "n" else f"{values[key]:.4f}"
                 for key in keys)  # fmt: skip
        table.add_row(name, *cells)
    return table
