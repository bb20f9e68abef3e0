"""Commands: ``octastream study online | drift | ablation | delay | horizon | poison | lattice |
segmentation``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from agents.failure import require_learning
from agents.options import ConfigOptions, spread

if TYPE_CHECKING:
    from rich.console import RenderableType

    from agents.studies.result import StudyResult, Table

study = typer.Typer(
    no_args_is_help=True, help="Questions about learning, asked again by replays: a result and a page each."
)

WORDS = {
    "online": "What learning on the way is worth, beside frozen, periodic and oracle networks and rules.",
    "drift": "When something changes: how fast learning recovers, beside frozen, periodic and oracle "
    "networks, and how soon detectors notice, beside dummies.",
    "ablation": "What groups of features, the replay buffer, gate and guard are worth.",
    "delay": "What it costs when labels reach the trainer late.",
    "horizon": "How far ahead a forecast is worth something.",
    "poison": "What becomes of what is served when labels are falsified.",
}


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(study, name="study")


def _command(name: str) -> Callable[..., None]:
    @spread
    def run(
        settings: ConfigOptions,
        out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/study-NAME.")] = None,
        log: Annotated[
            list[str] | None,
            typer.Option(
                metavar="LOG", help="A simulated drive without events, or a recorded one; repeatable."
            ),
        ] = None,
        sweeps: Annotated[int | None, typer.Option(min=2, help="Of each replay.")] = None,
        begin: Annotated[
            int | None, typer.Option(min=1, help="Sweep at which it happens, and scores begin.")
        ] = None,
        drives: Annotated[int, typer.Option(min=1, help="Of each simulated log, seed after seed.")] = 1,
        oracle_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of the oracle.")] = 2000,
        periodic: Annotated[int, typer.Option(min=1, help="Sweeps between periodic retrainings.")] = 20,
        force: Annotated[bool, typer.Option("--force", help="Replace a study that lies there.")] = False,
    ) -> None:
        from agents import console
        from agents.studies.conduct import STUDIES, claim_study, conduct
        from agents.studies.drives import DRIVE, StudyOptions

        _require_stated(settings)
        require_learning()
        own, folder = STUDIES[name], out or Path(f"runs/study-{name}")
        options = StudyOptions(
            logs=tuple(log or [DRIVE]),
            sweeps=sweeps or own.sweeps,
            begin=begin or min(own.begin, (sweeps or own.sweeps) // 2),
            drives=drives,
            settings=tuple(settings.set),
            oracle_steps=oracle_steps,
            periodic=periodic,
        )
        claim_study(folder, force=force)
        with console.progress_bar(f"study {name}") as progress:
            result = conduct(name, options, folder, progress)
        _show(result, folder)

    run.__doc__ = WORDS[name]
    return run


for _name in WORDS:
    study.command(_name, help=WORDS[_name])(_command(_name))


@study.command()
def lattice(
    out: Annotated[Path, typer.Option(help="Folder.")] = Path("runs/study-lattice"),
    steps: Annotated[int, typer.Option(min=1, help="Of training, of each network.")] = 1500,
    seeds: Annotated[int, typer.Option(min=1, help="Fields and weights drawn anew.")] = 3,
    force: Annotated[bool, typer.Option("--force", help="Replace a study that lies there.")] = False,
) -> None:
    """What the body-centred-cubic lattice is worth beside a cubic grid with as many nodes."""
    from agents import console

    require_learning()
    from agents.studies.conduct import claim_study, conduct_lattice
    from agents.studies.lattice import LatticeOptions

    claim_study(out, force=force)
    with console.progress_bar("study lattice", unit="networks") as progress:
        result = conduct_lattice(LatticeOptions(steps=steps, seeds=seeds), out, progress)
    _show(result, out)


@study.command()
@spread
def segmentation(
    settings: ConfigOptions,
    out: Annotated[Path, typer.Option(help="Folder.")] = Path("runs/study-segmentation"),
    drive: Annotated[
        str | None, typer.Option(metavar="LOG", help="A simulated drive; its seed and length do not count.")
    ] = None,
    train_seed: Annotated[
        list[int] | None, typer.Option(min=0, help="World to learn from; repeatable. Default: 101, 102, 103.")
    ] = None,
    held_out_seed: Annotated[int, typer.Option(min=0, help="World to be scored on.")] = 301,
    sweeps: Annotated[int, typer.Option(min=5, help="Of each drive; one in five is used.")] = 30,
    steps: Annotated[int, typer.Option(min=1, help="Of training, of each network.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Weights and orders drawn anew.")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace a study that lies there.")] = False,
) -> None:
    """Whether networks can tell what cells lie on, in a world that they have never seen."""
    from agents import console

    _require_stated(settings)
    require_learning()
    from agents.studies.conduct import claim_study, conduct_segmentation
    from agents.studies.segmentation import DRIVE, SegmentationOptions

    options = SegmentationOptions(
        drive=drive or DRIVE,
        train_seeds=tuple(train_seed or (101, 102, 103)),
        held_out_seed=held_out_seed,
        sweeps=sweeps,
        steps=steps,
        seeds=seeds,
        settings=tuple(settings.set),
    )
    claim_study(out, force=force)
    with console.progress_bar("study segmentation", unit="steps") as progress:
        result = conduct_segmentation(options, out, progress)
    _show(result, out)


def _require_stated(settings: ConfigOptions) -> None:
    """Raises StudyError for a file, whose keys the study would not state"""
    from agents.studies.drives import StudyError

    if settings.config is not None:
        raise StudyError(f"--config {settings.config}: give --set key=value, so that the study states it")


def _show(result: StudyResult, folder: Path) -> None:
    from agents import console
    from agents.studies.conduct import PAGE, RESULT

    marks = {True: "[green]✓[/green] ", False: "[red]✗[/red] ", None: "  "}
    console.show(*(_table(table) for table in result.tables))
    console.show(*(marks[finding.holds] + escape(finding.text) for finding in result.findings))
    console.show(f"result: {escape(str(folder / RESULT))}", f"page: {escape(str(folder / PAGE))}")


def _table(table: Table) -> RenderableType:
    from rich.table import Table as Grid

    grid = Grid(title=table.title, title_justify="left", title_style="bold")
    for place, column in enumerate(table.columns):
        grid.add_column(column, justify="left" if place == 0 else "right")
    for row in table.rows:
        grid.add_row(*("-" if cell is None else escape(f"{cell}") for cell in row))
    return grid
