"""A history as lines of text, and many results as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.simulation.faults import RATES
from agents.simulation.run import Result
from agents.simulation.world import FIRST_NS, Input


def trace_lines(result: Result) -> Iterator[str]:
    """The history of one run: virtual milliseconds, who, what; then the rules that were broken."""
    for now, who, what, detail in result.history:
        text = describe(detail)
        yield f"{now:9.1f}  {who:<12} {what}{': ' + text if text else ''}"
    for fault, number in result.faults:
        yield f"{'fault':>9}  {fault} (opportunity {number})"
    for violation in result.violations:
        yield f"{'BROKEN':>9}  {violation.checker}: {violation.detail}"


def describe(detail: Any) -> str:
    """A record or a text in a few words."""
    if isinstance(detail, Input):
        fault = f" ({detail.fault})" if detail.fault else ""
        return f"{describe(detail.record)}, input {detail.number}{fault}"
    if detail is None or isinstance(detail, str):
        return detail or ""
    kind = type(detail).__name__
    stamp = getattr(detail, "stamp_ns", None)
    names = [
        str(getattr(detail, name)) for name in ("stream_id", "robot_id", "model_id") if hasattr(detail, name)
    ]
    parts = f" part {detail.part}/{detail.parts}" if getattr(detail, "parts", 1) > 1 else ""
    when = f" at {(stamp - FIRST_NS) / 1e6:.0f} ms" if stamp is not None else ""
    return f"{kind} {' '.join(names[:1])}{parts}{when}"


@dataclass(slots=True)
class Tally:
    """Many results together.

    struck : how often each kind of fault struck, and in how many seeds; records : in all logs, by topic
    """

    seeds: int = 0
    steps: int = 0
    failed: list[Result] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    seeds_with: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one seed; the history is kept of the first failures only."""
        self.seeds += 1
        self.steps += result.steps
        self.struck.update(name for name, _ in result.faults)
        self.seeds_with.update({name for name, _ in result.faults})
        self.records.update(result.counts)
        self.broken.update(result.checkers)
        if result.violations:
            self.failed.append(result)

    def fault_rows(self) -> Iterable[tuple[str, int, int]]:
        """Every kind of fault: its name, how often it struck, in how many seeds."""
        return [(name, self.struck[name], self.seeds_with[name]) for name in RATES]
