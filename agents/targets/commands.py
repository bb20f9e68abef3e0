"""The command ``octastream train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agents.failure import require_learning

if TYPE_CHECKING:
    from rich.table import Table


def add_to(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    target: Annotated[
        Literal["class", "changed", "intensity"], typer.Option(help="What of cells is to be told.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model and its scores.")],
    delay: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Labels are known so long after their sweep.")
    ] = 1.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps a labelled sweep. Default: as in the run.")
    ] = None,
) -> None:
    """Train another target than occupancy on a stored run: predict, wait for the truth, score, learn."""
    from rich.markup import escape

    from agents import console

    require_learning()
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
