"""The results of bench_loop as tables on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

LATENCY_PATH = ("decode", "bin", "visibility", "features", "inference", "other", "total")
NUMBERS = ("median", "p99", "min", "max")
COLUMNS = ("cpu p50", "cpu p99", "cpu min", "cpu max", "wall p50", "wall p99")


def off_path(summary: dict[str, Any]) -> list[str]:
    """Stages of the whole loop that no prediction waits for, in the order they first ran."""
    return [stage for stage in summary["whole_loop"]["cpu"] if stage not in (*LATENCY_PATH, "perceive")]


def show(results: dict[str, Any], path: Path) -> None:
    """Print machine, stages, ratios, and the rest of the loop."""
    console, machine, summary = Console(highlight=False), results["machine"], results["summary"]
    console.print(
        f"{machine['cpu']}, core {machine['pinned_to']} of {machine['cores']}",
        f"{' '.join(machine['vector_flags'])}, caches {machine['caches']}",
        f"load {machine['load_average'][0]} to {machine['load_at_end']}, {summary['sweeps']} sweeps",
        f"probabilities of the two differ by at most {summary['probability_difference']:.1e}",
        f"given to numpy, paid for by octastream: {', '.join(results['given_to_numpy'])}",
        sep="\n",
    )
    console.print(_latency_table(summary), _ratio_table(results["ratios"]), _loop_table(summary))
    console.print(f"written to {path}")


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=SIMPLE, title_justify="left")
    table.add_column("stage", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _numbers(summary: dict[str, Any], stage: str) -> list[str]:
    """Median, p99, min and max of processor time, then median and p99 of wall time."""
    cpu, wall = summary["cpu"][stage], summary["wall"][stage]
    return [f"{value:.1f}" for value in (*(cpu[name] for name in NUMBERS), wall["median"], wall["p99"])]


def _latency_table(summary: dict[str, Any]) -> Table:
    table = _table("Latency path, ms a sweep", (*COLUMNS, "numpy cpu", "numpy wall"))
    for stage in LATENCY_PATH:
        theirs = [summary["numpy"][clock].get(stage) for clock in ("cpu", "wall")]
        peers = [f"{numbers['median']:.1f}" if numbers else "" for numbers in theirs]
        table.add_row(stage, *_numbers(summary["octastream"], stage), *peers)
    return table


def _ratio_table(ratios: dict[str, Any]) -> Table:
    table = _table("numpy / octastream, median over sweeps (5 % to 95 %)", ("cpu", "wall"))
    for stage in ratios["cpu"]:
        cells = [ratios[clock][stage] for clock in ("cpu", "wall")]
        table.add_row(
            "ceiling: bin and features free" if stage == "ceiling" else stage,
            *(f"{cell['median']:.2f} ({cell['p5']:.2f} to {cell['p95']:.2f})" for cell in cells),
        )
    return table


def _loop_table(summary: dict[str, Any]) -> Table:
    table = _table("Off the latency path, ms a sweep", COLUMNS)
    table.add_row("rebuild alone", *_numbers(summary["rebuild"], "rebuild"))
    for stage in off_path(summary):
        table.add_row(stage, *_numbers(summary["whole_loop"], stage))
    return table
