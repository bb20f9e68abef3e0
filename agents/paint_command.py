"""The command ``octastream paint``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.failure import EXIT_DAMAGED
from agents.options import ConfigOptions, LogOptions, spread


@spread
def paint(
    location: Annotated[str, typer.Argument(metavar="LOG", help="The log that was labelled.")],
    labels: Annotated[
        Path,
        typer.Argument(metavar="LABELS", help="A label container, a file of labels, or a run with labels."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the PCD files; new, or empty.")],
    log: LogOptions,
    settings: ConfigOptions,
    min_fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least share that a class must have of its cell.")
    ] = 0.0,
) -> None:
    """Give every raw point of a log the label of its cell, and write labelled PCD files."""
    from rich.markup import escape

    from agents import console
    from agents.paint import open_speaker
    from agents.paint import paint as run
    from agents.replay import with_map_frame
    from stream.container import grid_of

    source = log.open(location)
    config = with_map_frame(settings.load(), [source.info().root_frame])
    speaker = open_speaker(labels, grid_of(config), min_fraction)
    with console.progress_bar("painting") as progress:
        found = run(source, speaker, config, out, progress)
    console.show(
        f"{found.sweeps:,} sweeps, {found.points:,} points, {found.in_cells:,} in a cell, "
        f"{found.labelled:,} labelled",
        *[f"  {count:,} {escape(name)}" for name, count in found.by_class.items()],
        *map(escape, found.left_out.lines()),
        f"painted: {escape(str(out))}",
    )
    if found.left_out.damage is not None:
        raise typer.Exit(EXIT_DAMAGED)
