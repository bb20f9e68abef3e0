"""How well surprise finds what nobody could expect: things planted in a simulated city, cell by cell.

``python -m tests.bench.bench_surprise [--seeds N...] [--sweeps N] [--out FILE]``

Each log is replayed with learning; boxes appear out of nothing beside the road at some sweeps and are gone
six sweeps later. A cell is planted when the sweep that judges it sees a box in it that was not there when it
was forecast. All cells with an outcome after the warm-up are ranked; the score is average precision, beside
what is simpler: whether the cell was seen through before and is hit now, the loss of the frequency baseline,
the loss of the served forecast alone, and chance (the share of planted cells).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from agents.errors.surprising import SurprisedSweep, surprised_sweeps
from agents.replay import ReplayOptions, replay
from agents.report.rows import PredictionRows
from native.index64 import encode
from stream.config import Config, load_config, to_dict
from stream.records import SEEN_THROUGH
from stream.sources.base import SourceOptions
from stream.sources.simulation.classes import CLASSES, cell_classes, point_classes
from stream.sources.simulator import Simulator, parse_location
from tests.bench import machine
from tests.bench.bench_loop import RESULTS

EVERY, LASTS, FIRST = 12, 6, 34
"""Sweeps from one popup to the next, how long one stands, and the first one."""


def location_of(seed: int, sweeps: int) -> str:
    """A drive with a popup now and then."""
    starts = range(FIRST, sweeps - LASTS, EVERY)
    events = ",".join(f"popup@{start}-{start + LASTS}" for start in starts)
    return f"sim:city?seed={seed}&sweeps={sweeps}&beams=64&events={events}"


def planted(simulator: Simulator, config: Config, sweep: SurprisedSweep) -> NDArray[np.bool_]:
    """Which of a sweep's cells hold a box that was not there one primary horizon before, bool (N,)."""
    period = simulator.config.period_ns
    index = round((sweep.stamp_ns - simulator.config.first_stamp_ns) / period)
    before = index - round(config.task.primary_horizon_ns / period)
    events = [event for event in simulator.config.events if event.covers(index)]
    if not events or any(event.covers(before) for event in events):
        return np.zeros(len(sweep.cell_id), np.bool_)
    points, code = point_classes(simulator, 0, index)
    sites, kind = cell_classes(points, code, config.grid.half_edge_m)
    boxes = np.ascontiguousarray(sites[kind == CLASSES.index("popup")])
    frame = config.grid.frame_ids["odom"]
    cells = encode(boxes, frame=frame, tier=config.grid.tier, lod=config.grid.lod)
    return sweep.occupied & np.isin(sweep.cell_id, cells)


def rivals(sweep: SurprisedSweep, run: Path, config: Config) -> dict[str, NDArray[np.float64]]:
    """Simpler scores of the same cells."""
    appeared = (sweep.occupied & (sweep.before == SEEN_THROUGH)).astype(np.float64)
    name = f"{sweep.stream_id}/{sweep.stamp_ns - config.task.primary_horizon_ns}"
    found = {"appeared": appeared}
    for key, folder, column in (("frequency_loss", "shadows", "frequency"), ("own_loss", "predictions", "")):
        table = PredictionRows(run / folder).table(name)
        if table is None:
            continue
        if folder == "predictions":
            table = table.filter(table["horizon_ns"].to_numpy() == config.task.primary_horizon_ns)
        cells, values = table["cell_id"].to_numpy(), table[column or "probability"].to_numpy()
        order = np.argsort(cells)
        p = values[order[np.searchsorted(cells[order], sweep.cell_id)]].astype(np.float64)
        found[key] = -np.log(np.where(sweep.occupied, p, 1 - p))
    return found


def measure_log(location: str) -> dict[str, Any]:
    """Average precision by score on one log."""
    config = load_config()
    simulator = Simulator(parse_location(location, SourceOptions()))
    truth: list[NDArray[np.bool_]] = []
    scores: dict[str, list[NDArray[Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        result = replay([simulator], config, run, ReplayOptions(), lambda done, total, note: None)
        for sweep in surprised_sweeps(run, lambda done, total, note: None):
            truth.append(planted(simulator, config, sweep))
            scores["surprise"].append(sweep.surprise)
            for key, values in rivals(sweep, run, config).items():
                scores[key].append(values)
    label = np.concatenate(truth)
    precision = {
        key: float(average_precision_score(label, np.concatenate(parts))) for key, parts in scores.items()
    }
    return {
        "cells": len(label), "planted": int(label.sum()), "chance": float(label.mean()),
        "average_precision": precision, "online": result.summary["scores"]["online"],
    }  # fmt: skip


def measure(seeds: Sequence[int], sweeps: int) -> dict[str, Any]:
    """All logs."""
    return {
        "scenario": "surprise",
        "machine": machine.describe(),
        "config": to_dict(load_config()),
        "logs": {location_of(seed, sweeps): measure_log(location_of(seed, sweeps)) for seed in seeds},
    }


def show(results: dict[str, Any], path: Path) -> None:
    """Print a row a log."""
    table = Table(title="average precision for planted cells", box=SIMPLE, title_justify="left")
    names = ("surprise", "own_loss", "frequency_loss", "appeared")
    for column in ("log", "cells", "planted", *names, "chance"):
        table.add_column(column.replace("_", " "), justify="right", no_wrap=column != "log")
    for log, found in results["logs"].items():
        precision = (f"{found['average_precision'][name]:.3f}" for name in names)
        table.add_row(
            log.partition("&")[0], f"{found['cells']:,}", str(found["planted"]), *precision,
            f"{found['chance']:.5f}",
        )  # fmt: skip
    Console(highlight=False).print(table, f"written to {path}")


def main() -> None:
    """Measure, write the results, and show them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[301, 302, 303], help="of the cities")
    parser.add_argument("--sweeps", type=int, default=80, help="of a log (default: 80)")
    parser.add_argument("--out", type=Path, default=RESULTS / "surprise.json", help="where results go")
    options = parser.parse_args()
    results = measure(options.seeds, options.sweeps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    show(results, options.out)


if __name__ == "__main__":
    main()
