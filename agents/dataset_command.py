"""The command ``octastream dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dataset(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the stored container; new, or empty.")],
) -> None:
    """Write the windows of runs, with features and outcomes, as a stored container to train networks on."""
    from rich.markup import escape

    from agents import console
    from agents.dataset import write_dataset

    with console.progress_bar("writing") as progress:
        found = write_dataset(runs, out, progress)
    console.show(
        f"{found.windows:,} windows, {found.rows:,} cells, {found.observed:,} outcomes"
        + (f"; features of {found.skewed:,} sweeps could not be rebuilt" if found.skewed else ""),
        f"stored container: {escape(str(out))}",
    )
