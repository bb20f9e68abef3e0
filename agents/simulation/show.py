"""What `octastream simulate` shows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from agents.simulation.run import Cut, Result
from agents.simulation.trace import Tally, trace_lines

SHOWN_FAILURES = 10


def history(result: Result) -> Iterator[RenderableType]:
    """Every line of one run."""
    yield from (escape(line) for line in trace_lines(result))


def verdict(result: Result) -> Iterator[RenderableType]:
    """One seed in a line, and every rule that it broke."""
    if not result.violations:
        records = sum(result.counts.values())
        yield f"seed {result.seed}: holds ({records:,} records, {len(result.faults)} faults)"
    for violation in result.violations:
        yield f"seed {result.seed}: [red]{violation.checker}[/red]: {escape(violation.detail)}"


def shortest(cut: Cut, result: Result) -> Iterator[RenderableType]:
    """The short history of a seed that failed."""
    yield (
        f"\nshortest history: {len(result.inputs)} inputs and {len(result.faults)} faults "
        f"({len(cut.robots)} robots, {len(cut.inputs)} inputs and {len(cut.faults)} faults left out)"
    )
    yield from history(result)


def summary(tally: Tally, seconds: float) -> Iterator[RenderableType]:
    """Many seeds: faults by kind, rules broken, and how to see one again."""
    table = Table(title="faults that struck", title_justify="left", title_style="bold")
    table.add_column("kind")
    table.add_column("times", justify="right")
    table.add_column("seeds", justify="right")
    for name, times, seeds in tally.fault_rows():
        table.add_row(name, f"{times:,}", f"{seeds:,}")
    yield table
    records = sum(tally.records.values())
    yield (
        f"{tally.seeds:,} seeds, {tally.steps:,} steps, {records:,} records, "
        f"{sum(tally.struck.values()):,} faults in {seconds:.0f} s "
        f"({1e3 * seconds / max(tally.seeds, 1):.0f} ms a seed)"
    )
    if not tally.failed:
        yield "violations: 0"
    for name, count in tally.broken.most_common():
        yield f"[red]{name}[/red]: broken by {count:,} seeds"
    for result in tally.failed[:SHOWN_FAILURES]:
        first = result.violations[0]
        yield f"  {escape(first.checker)}: {escape(first.detail)}"
        yield f"    octastream simulate --seed {result.seed} --trace"
