"""Speed of the C core on recorded sweeps, one thread on one core, beside other libraries and a roofline.

``python -m tests.bench.bench_core [--sweeps N] [--rounds N] [--out FILE]``

*Binning* (transform, snap, aggregate into twelve sums a cell) against peers that group points by cubic
voxels, and against rooflines that only transform and snap; all in one process, interleaved by sweep and
round. A visit runs its task once untimed, then takes the least of three. Voxels have the volume of our cells;
voxels as wide as the half edge are listed too. Our cells come out ascending by id; the peers' come in any
order, so the part of our work that is like theirs, without ordering and copying, is listed beside the whole.
Some peers keep only the first point of a voxel, and one adds up in code of ours: ratios are given to the
best of all, to the best that aggregates, and to the best of those that is a library as shipped.
*Neighbours* and *levels* are the neighbour table and coarser levels of all the sweeps' cells. *Rolling*
times every step of a sweep at the default grid with a full window. *Growth* varies points, cells and window
length. Times are processor time of the whole process, so that a busy machine disturbs them little.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from native.beams import sample
from native.binning import Binner
from native.grid import Grid
from native.visibility import Rays
from native.window import Window, WindowOptions
from tests.bench import machine, peers
from tests.bench.cell_tables import CORE, measure_levels, measure_neighbors
from tests.bench.peers import EQUAL_VOLUME
from tests.bench.roofline import WAYS, Roofline
from tests.native.recorded import Sweep, sweep

HALF_EDGES_M = (0.1, 0.25, 0.4, 0.5)
AGGREGATE = "octastream, cells unordered"
REPEATS = 3
PERIOD_NS = 100_000_000
BEAMS = 2048
COUNTED = 6
RESULTS = Path(__file__).parent / "results" / "core.json"

Task = Callable[[], object]
T = TypeVar("T")


def visit(task: Task) -> float:
    """Milliseconds of processor time: the least of ``REPEATS`` runs after one that is not timed."""
    task()
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        task()
        times.append(1e3 * (time.process_time() - begin))
    return min(times)


def statistics(values: list[float]) -> dict[str, float]:
    """Least, median and most."""
    low, median, high = np.percentile(values, [0, 50, 100])
    return {"min": round(float(low), 4), "median": round(float(median), 4), "max": round(float(high), 4)}


def wide_grid(half_edge_m: float) -> Grid:
    """All returns count, so that no peer has more to do."""
    return Grid(half_edge_m=half_edge_m, range_min_m=0.0, range_max_m=200.0)


# ---- binning beside peers


def tasks_at(half_edge_m: float, there: dict[str, peers.Prepare]) -> Callable[[Sweep], dict[str, Task]]:
    """All that is measured at one cell size, prepared; call it with a sweep."""
    binner, roofline = Binner(wide_grid(half_edge_m)), Roofline()
    prepared = {name: prepare(EQUAL_VOLUME * half_edge_m) for name, prepare in there.items()}

    def of(s: Sweep) -> dict[str, Task]:
        ways = {way: roofline.task(way, half_edge_m, s) for way in WAYS}
        tasks: dict[str, Task] = {way: task for way, task in ways.items() if task is not None}
        tasks[CORE] = partial(binner.run, s.points, s.intensity, s.pose)
        tasks[AGGREGATE] = partial(binner.aggregate, s.points, s.intensity, s.pose)
        return tasks | {name: task_of(s) for name, task_of in prepared.items()}

    return of


def measure_binning(sweeps: list[Sweep], half_edge_m: float, rounds: int) -> dict[str, Any]:
    """Milliseconds by name and sweep, the least over the rounds, and what follows from them."""
    there, missing = peers.available(EQUAL_VOLUME * half_edge_m)
    tasks_of = tasks_at(half_edge_m, there)
    best: defaultdict[str, list[float]] = defaultdict(lambda: [float("inf")] * len(sweeps))
    for _ in range(rounds):
        for i, s in enumerate(sweeps):
            for name, task in tasks_of(s).items():
                best[name][i] = min(best[name][i], visit(task))
    rates = {
        name: statistics([len(s.points) / ms / 1e3 for s, ms in zip(sweeps, times, strict=True)])
        for name, times in best.items()
    }
    binner = Binner(wide_grid(half_edge_m))
    cells = [len(binner.run(s.points, s.intensity, s.pose).cell_id) for s in sweeps]
    return {
        "half_edge_m": half_edge_m,
        "voxel_edge_m": round(EQUAL_VOLUME * half_edge_m, 4),
        "points": [len(s.points) for s in sweeps],
        "cells": cells,
        "ms": {name: [round(ms, 4) for ms in times] for name, times in best.items()},
        "mpts_per_s": rates,
        "missing": missing,
        **ratios(rates, there),
    }


def ratios(rates: dict[str, dict[str, float]], there: dict[str, peers.Prepare]) -> dict[str, Any]:
    """Median speed over that of the best peers and over the rooflines."""
    median = {name: rate["median"] for name, rate in rates.items()}
    whole = [name for name in there if peers.PEERS[name].whole]
    best_of = {
        "peer": list(there),
        "aggregating_peer": whole,
        "aggregating_peer_as_shipped": [name for name in whole if peers.PEERS[name].shipped],
    }
    best = {kind: max(names, key=lambda name: median[name]) for kind, names in best_of.items()}
    return {
        "best": best,
        **{
            name: {
                "times_best": {kind: round(median[name] / median[peer], 2) for kind, peer in best.items()},
                "share_of_roofline": {
                    way: round(median[name] / median[way], 3) for way in WAYS if way in median
                },
            }
            for name in (CORE, AGGREGATE)
        },
    }


def narrow_voxels(s: Sweep, half_edge_m: float) -> dict[str, float]:
    """Million points a second of the peers on one sweep with voxels as wide as the half edge."""
    there, _ = peers.available(half_edge_m)
    return {
        name: round(len(s.points) / visit(prepare(half_edge_m)(s)) / 1e3, 2)
        for name, prepare in there.items()
    }


# ---- a sweep's steps at the default grid


class Steps:
    """Milliseconds of processor time by step."""

    def __init__(self) -> None:
        self.ms: defaultdict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, task: Callable[..., T], *arguments: Any) -> T:
        """Run the task and note its time."""
        begin = time.process_time()
        result = task(*arguments)
        self.ms[name].append(1e3 * (time.process_time() - begin))
        return result


def roll(window: Window, stamp_ns: int, *record: Any) -> None:
    """Advance, then fold one record."""
    window.advance(stamp_ns)
    window.push(stamp_ns, *record)


def measure_rolling(sweeps: list[Sweep], options: WindowOptions, grid: Grid) -> dict[str, Any]:
    """Milliseconds of every step once the window is full."""
    binner, rays, window, steps = Binner(grid), Rays(grid), Window(grid, options), Steps()
    sizes: dict[str, int] = {}
    for i in range(options.bins + options.keep_bins + COUNTED):
        s = sweeps[i % len(sweeps)]
        bins = steps.timed("bin", binner.run, s.points, s.intensity, s.pose)
        steps.timed("rays load", rays.load, s.points, s.pose)
        tested = np.union1d(window.cell_ids(), bins.cell_id)
        passes = steps.timed("passes", rays.passes, tested)
        hits = np.zeros(len(tested), np.uint32)
        hits[np.searchsorted(tested, bins.cell_id)] = bins.hits
        steps.timed("advance and push", roll, window, i * PERIOD_NS, tested, hits, passes, bins.sums)
        beams = sample(s.points, BEAMS)
        view = (s.pose, s.pose, 10.0, 0.1, beams, bins.rays / max(len(beams), 1))
        features = steps.timed("features and neighbours", window.features, *view)
        steps.timed("the same without casts", window.features, *view[:4], beams[:0], 0.0)
        sizes = {"tested": len(tested), "window_cells": len(features.cell_id), "columns": features.x.shape[1]}
    counted = {name: statistics(values[-COUNTED:]) for name, values in steps.ms.items()}
    update = round(counted["advance and push"]["median"] / counted["bin"]["median"], 3)
    return {**sizes, "bins": options.bins, "update_over_bin": update, "ms": counted}


# ---- growth


def growth_with_points(sweeps: list[Sweep]) -> list[dict[str, float]]:
    """Binning parts of four sweeps joined, h = 0.25 m."""
    points = np.concatenate([s.points for s in sweeps[:4]])
    intensity = np.concatenate([s.intensity for s in sweeps[:4]])
    rows = []
    for n in (100, 1000, 10_000, 30_000, 120_000, 240_000, min(len(points), 480_000)):
        binner, p, q = Binner(wide_grid(0.25)), points[:n], intensity[:n]
        ms = visit(partial(binner.run, p, q, sweeps[0].pose))
        rows.append({"points": n, "ms": round(ms, 4), "mpts_per_s": round(n / ms / 1e3, 2)})
    return rows


def growth_with_cells(s: Sweep) -> list[dict[str, float]]:
    """Binning one sweep with ever smaller cells."""
    rows = []
    for half_edge_m in (2.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02):
        binner = Binner(wide_grid(half_edge_m))
        ms = visit(partial(binner.run, s.points, s.intensity, s.pose))
        cells = len(binner.run(s.points, s.intensity, s.pose).cell_id)
        rate = round(len(s.points) / ms / 1e3, 2)
        rows.append({"half_edge_m": half_edge_m, "cells": cells, "ms": round(ms, 4), "mpts_per_s": rate})
    return rows


def growth_with_window(sweeps: list[Sweep]) -> list[dict[str, Any]]:
    """The steps of a sweep with ever longer windows."""
    return [
        measure_rolling(sweeps, WindowOptions(bins=bins, keep_bins=bins + 1), Grid(half_edge_m=0.4))
        for bins in (3, 5, 10, 15)
    ]


# ---- all of it


def run(numbers: range, rounds: int) -> dict[str, Any]:
    """Everything measured, as it is written."""
    sweeps = [sweep(number) for number in numbers]
    load = machine.load()
    binning = [measure_binning(sweeps, half_edge_m, rounds) for half_edge_m in HALF_EDGES_M]
    return {
        "command": "python -m tests.bench.bench_core",
        "machine": machine.describe(),
        "peer_versions": peers.versions(),
        "load_average": {"begin": load, "end": machine.load()},
        "config": {
            "sweeps": list(numbers), "rounds": rounds, "repeats": REPEATS, "sums": 12, "threads": 1,
            "voxels": "cubes with the volume of a cell", "clock": "process_time",
        },
        "binning": binning,
        "peers_with_edge_h": {str(h): narrow_voxels(sweeps[0], h) for h in (0.25, 0.5)},
        "neighbors": [measure_neighbors(sweeps, h, visit, rounds) for h in (0.25, 0.4)],
        "levels": measure_levels(sweeps, Grid(half_edge_m=0.4), visit),
        "rolling": measure_rolling(sweeps, WindowOptions(), Grid(half_edge_m=0.4)),
        "growth": {
            "points": growth_with_points(sweeps),
            "cells": growth_with_cells(sweeps[0]),
            "window": growth_with_window(sweeps),
        },
    }  # fmt: skip


def report(results: dict[str, Any]) -> str:
    """A few lines for the terminal."""
    lines = []
    for row in results["binning"]:
        for name in (CORE, AGGREGATE):
            shares = ", ".join(
                f"{share:.2f} of {way}" for way, share in row[name]["share_of_roofline"].items()
            )
            times = ", ".join(
                f"{row[name]['times_best'][kind]} x {peer}" for kind, peer in row["best"].items()
            )
            rate = row["mpts_per_s"][name]["median"]
            lines.append(f"h {row['half_edge_m']:.2f} m, {name}: {rate:.0f} Mpts/s; {times}; {shares}")
    lines += [f"not here: {name} ({why})" for name, why in results["binning"][0]["missing"].items()]
    for row in results["neighbors"]:
        rates = ", ".join(f"{rate:.0f} {name}" for name, rate in row["mneighbors_per_s"].items())
        lines.append(f"neighbours of {row['cells']} cells, million a second: {rates}")
    for row in results["levels"]:
        lines.append(
            f"{row['levels']} coarser: {row['from_cells']} to {row['cells']} cells {row['ms']:.2f} ms "
            f"(numpy, not rebased, {row['numpy_ms']:.2f}), passes {row['passes_ms']:.1f} ms"
        )
    rolling = results["rolling"]
    lines.append(", ".join(f"{name} {ms['median']:.2f} ms" for name, ms in rolling["ms"].items()))
    lines.append(f"update of the window over binning: {rolling['update_over_bin']:.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=8, help="how many recorded sweeps, of 22")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine.restart_on_one_core("tests.bench.bench_core")
    step = max(1, 22 // options.sweeps)
    results = run(range(0, 22, step)[: options.sweeps], options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(report(results))


if __name__ == "__main__":
    main()
