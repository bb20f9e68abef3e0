"""What pacing costs in score: the same logs with all training steps, and within a budget for each sweep.

``python -m tests.bench.bench_pace [--budget MS] [--repeats N] [--out FILE] [LOG]...``

Every run is ``octastream replay`` on one core. The budget is kept on processor time, which is wall time where
nothing else has the core; how many steps fit differs from run to run, so the paced run is repeated.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from agents.options import LIVE_BUDGET_MS
from agents.replay import ReplayOptions, replay
from stream.config import load_config, to_dict
from stream.sources import open_source
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.data import data_dir

LOGS = (LOG, "sim:city?seed=71&sweeps=80&beams=64")
SCORES = ("average_precision", "log_loss", "ece")


def run(log: str, budget_ms: float | None) -> dict[str, Any]:
    """One replay: scores of the served forecasts, milliseconds of learning, steps by training."""
    config = load_config(None, [] if budget_ms is None else [f"learn.budget_ms={budget_ms}"])
    source = open_source(log if log.startswith("sim:") else str(data_dir() / log))
    with tempfile.TemporaryDirectory() as name:
        options = ReplayOptions(clock=time.process_time)
        result = replay([source], config, Path(name), options, lambda done, total, note: None)
        events = [json.loads(line) for line in (Path(name) / "events.jsonl").read_text().splitlines()]
    steps = [event["steps"] for event in events if event["event"] == "trained"]
    summary = result.summary
    return {
        "scores": {
            predictor: {score: summary["scores"][predictor][score] for score in SCORES}
            for predictor in ("online", "frozen", "linear")
        },
        "learning_ms": summary["learning_ms"],
        "steps": {"p50": float(np.median(steps)), "min": min(steps), "max": max(steps), "sum": sum(steps)},
        "models": summary["models"],
        "load": machine.load(),
    }


def measure(logs: Sequence[str], budget_ms: float, repeats: int) -> dict[str, Any]:
    """All runs; the paced ones after the full one, log by log."""
    described = machine.describe()
    return {
        "scenario": "pace",
        "machine": described,
        "config": to_dict(load_config()),
        "budget_ms": budget_ms,
        "logs": {
            log: {"full": run(log, None), "paced": [run(log, budget_ms) for _ in range(repeats)]}
            for log in logs
        },
    }


def show(results: dict[str, Any], path: Path) -> None:
    """Print a row a run."""
    console = Console(highlight=False)
    for log, runs in results["logs"].items():
        table = Table(title=f"{log}: scores, ms of learning, steps", box=SIMPLE, title_justify="left")
        for column in ("run", "AP", "log loss", "ECE", "p50", "p99", "max", "steps", "load"):
            table.add_column(column, justify="right", no_wrap=True)
        for name, found in [("all steps", runs["full"]), *(("paced", paced) for paced in runs["paced"])]:
            scores, spent = found["scores"]["online"], found["learning_ms"]
            table.add_row(
                name,
                *(f"{scores[score]:.4f}" for score in SCORES),
                *(f"{spent[column]:.1f}" for column in ("p50", "p99", "max")),
                f"{found['steps']['p50']:.0f}",
                f"{found['load']:.1f}",
            )
        console.print(table)
    console.print(f"{results['machine']['cpu']}, budget {results['budget_ms']} ms; written to {path}")


def main() -> None:
    """Measure, write the results, and show them."""
    machine.restart_on_one_core("tests.bench.bench_pace")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("logs", nargs="*", default=LOGS, help="logs to replay (default: a drive, a city)")
    parser.add_argument("--budget", type=float, default=LIVE_BUDGET_MS, help="milliseconds a sweep")
    parser.add_argument("--repeats", type=int, default=3, help="paced runs a log (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS / "pace.json", help="where results go")
    options = parser.parse_args()
    results = measure(options.logs, options.budget, options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    show(results, options.out)


if __name__ == "__main__":
    main()
