"""The commands ``octastream errors`` and ``octastream surprise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Horizon = Annotated[float | None, typer.Option(metavar="SECONDS", help="Default: the run's primary horizon.")]
Levels = Annotated[
    int | None, typer.Option(min=0, help="LODs that regions are coarser than cells. Default: as in the run.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(errors)
    app.command()(surprise)


def errors(
    run: Run,
    worst: Annotated[int, typer.Option(min=1, help="Show the N worst regions.")] = 10,
    by: Annotated[
        Literal["loss", "calibration", "coverage", "drift"], typer.Option(help="What they are ranked by.")
    ] = "loss",
    horizon: Horizon = None,
    levels: Levels = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Page to write. Default: errors.html in the run.")
    ] = None,
) -> None:
    """Where forecasts go wrong: the worst regions of a run, and a page with maps and plots."""
    from rich.markup import escape

    from agents import console
    from agents.errors.page import region_row, write_errors
    from agents.errors.ranking import worst as worst_of
    from agents.errors.read import read_errors

    found = read_errors(run, horizon, levels)
    rows = [
        region_row(found, region, rank) for rank, region in enumerate(worst_of(found.table, worst, by), 1)
    ]
    page = write_errors(found, worst, by, out)
    console.show(
        table_of(rows, f"worst regions by {by}, {found.table.horizon_ns / 1e9:g} s ahead"),
        f"{len(found.table.regions):,} regions, {len(found.table.stamp_ns):,} sweeps judged, "
        f"{found.table.unjudged:,} without outcome",
        f"page: {escape(str(page))}",
    )


def surprise(
    run: Run,
    top: Annotated[int, typer.Option(min=1, help="Show the N cells that surprised most.")] = 12,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Write the surprise of every cell and sweep.")
    ] = None,
) -> None:
    """What contradicted the forecasts of a run most, cell by cell: a score of anomalies without labels."""
    from rich.markup import escape

    from agents import console
    from agents.errors.surprising import surprised_sweeps, top_rows, write_surprise

    with console.progress_bar("comparing") as progress:
        sweeps = surprised_sweeps(run, progress)
        rows, count = top_rows(sweeps if out is None else write_surprise(sweeps, out), top)
    console.show(surprise_table(rows), f"{count:,} cells of sweeps after the warm-up")
    if out is not None:
        console.show(f"surprise: {escape(str(out))}")


def surprise_table(rows: list[dict[str, Any]]) -> Table:
    """Cells as the terminal shows them."""
    from rich.box import SIMPLE
    from rich.table import Table

    from native.index64 import to_text
    from stream.records import HIT, SEEN_THROUGH

    words = {HIT: "hit", SEEN_THROUGH: "seen through"}
    table = Table(title="cells that surprised most", title_justify="left", title_style="bold", box=SIMPLE)
    for name in ("stream", "stamp", "cell", "before", "was"):
        table.add_column(name, no_wrap=True)
    table.add_column("surprise", justify="right")
    for row in rows:
        was = "occupied" if row["occupied"] else "free"
        before = words.get(row["before"], "not observed")
        table.add_row(
            row["stream_id"], str(row["stamp_ns"]), to_text(row["cell_id"]), before, was,
            f"{row['surprise']:.2f}",
        )  # fmt: skip
    return table


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """Regions as the terminal shows them."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("region", no_wrap=True)
    for name in ("x, y, z (m)", "outcomes", "seen", "log loss", "expected", "gap", "ECE", "drift"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["rank"]), row["text"], f"{row['x']:.1f}, {row['y']:.1f}, {row['z']:.1f}",
            f"{row['outcomes']:,}", f"{row['coverage']:.2f}", _text(row["loss"]), _text(row["expected"]),
            _text(row["gap"], "+.2f"), _text(row["ece"]), _text(row["drift"], "+.3f"),
        )  # fmt: skip
    return table


def _text(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
