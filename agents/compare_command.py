"""The command ``octastream compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of one log, two or more.")],
) -> None:
    """Score runs on the cells that all of them forecast and saw, whatever features and models they had."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from agents import console
    from agents.compare import compare as compare_runs

    with console.progress_bar("comparing") as progress:
        found = compare_runs(runs, progress)
    table = Table(title="forecasts on common cells", title_justify="left", title_style="bold", box=SIMPLE)
    for name in ("run", "features", "cells", "of its", "AP", "log loss", "Brier", "ECE"):
        table.add_column(name, justify="left" if name in ("run", "features") else "right", overflow="fold")
    for run in found.runs:
        scores = run.scores
        values = (scores.average_precision(), scores.log_loss(), scores.brier(), scores.ece())
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(escape(run.run), run.schema[:12], f"{scores.n:,}", f"{run.own:,}", *shown)
    lines = [f"{found.sweeps:,} common sweeps"]
    if found.contradicted:
        lines += [f"{found.contradicted:,} cells left out: the runs saw different things there"]
    console.show(table, "; ".join(lines))
