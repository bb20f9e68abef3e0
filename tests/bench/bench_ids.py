"""Speed of ids, whole arrays at once, one thread on one core, beside the OctaIndex3D crate in one process.

``python -m tests.bench.bench_ids [--rounds N] [--out FILE]``

Ours are the calls of the Python API, with the arrays that they make. The crate's are all of its ways to the
same result, compiled for this machine (``target-cpu=native``), behind functions that are told only how many
values were made; its cells are prepared in the form that it reads. Results are compared before they are
timed. The crate's parents and children of an Index64 are those of an octree and mostly no sites: the ratio is
to its lattice rule, and the octree is listed beside it. Without cargo the crate is missing, and the file says
so.

Ours and each of the crate's ways take turns in every round; a visit runs its task once untimed, then takes
the least of some repeats of many runs. Times are processor time of the process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native import hilbert64, index64, lattice, rings, route64
from tests.bench import crate, machine
from tests.bench.crate_ids import ASIDE, WAYS, CrateIds

OURS = "octastream"
SIZES = (1_000, 20_000, 100_000, 1_000_000)
MAIN = 20_000
"""About the cells of a window, on which the ratios rest."""
GOAL = 3.0
LOD = 7
K = 2
SEED = 5
RESULTS = Path(__file__).parent / "results" / "ids.json"

REPEATS = 5
TIMED_S = 2e-3
"""Runs of one repeat take at least this long together."""

Task = Callable[[], Any]
Words = NDArray[np.uint64]


def visit(task: Task) -> float:
    """Milliseconds of processor time of one run: the least of ``REPEATS`` means."""
    task()
    begin, runs = time.process_time(), 0
    while not runs or time.process_time() < begin + TIMED_S:
        task()
        runs += 1
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for _ in range(runs):
            task()
        times.append(1e3 * (time.process_time() - begin) / runs)
    return min(times)


def sites_of(n: int) -> NDArray[np.int32]:
    """Random sites whose rings and children are on the map."""
    rng = np.random.default_rng(SEED)
    sites = 2 * rng.integers(-8000, 8000, (n, 3)) + rng.integers(0, 2, (n, 1))
    return sites.astype(np.int32)


def tasks_of(sites: NDArray[np.int32]) -> dict[str, Task]:
    """Ours by operation."""
    ids = index64.encode(sites, frame=0, tier=0, lod=LOD)
    routes, texts = route64.from_index64(ids), index64.to_texts(ids)
    hilbert = hilbert64.from_index64(ids)
    positions = sites + np.array(ASIDE)
    return {
        "positions to ids": lambda: index64.encode(lattice.snap(positions), frame=0, tier=0, lod=LOD),
        "encode": partial(index64.encode, sites, frame=0, tier=0, lod=LOD),
        "decode": partial(index64.decode, ids),
        "parent": partial(index64.parent, ids),
        "children": partial(index64.children, ids),
        "neighbours": partial(index64.neighbors, ids),
        "ring of 2": partial(rings.k_ring, ids, K),
        "neighbours, Route64": partial(route64.neighbors, routes),
        "ring of 2, Route64": partial(rings.k_ring, routes, K),
        "to text": partial(index64.to_texts, ids),
        "from text": partial(index64.from_texts, texts),
        "to Hilbert64": partial(hilbert64.from_index64, ids),
        "from Hilbert64": partial(hilbert64.to_index64, hilbert),
        "ancestor, 3 levels": partial(index64.ancestor, ids, LOD - 3),
        "distance": partial(rings.distance, ids, ids[::-1].copy()),
    }


def flat(operation: str, result: Any) -> Words:
    """Our result as the crate's functions give theirs."""
    if operation == "decode":
        x, y, z = (result.sites.T + index64.BIAS).astype(np.uint64)
        return np.asarray(x | y << np.uint64(16) | z << np.uint64(32))
    if operation == "to text":
        return np.full(len(result), result.itemsize, np.uint64)
    return np.asarray(result).reshape(-1)


def check_same(operation: str, ours: Words, theirs: Words, n: int) -> None:
    """Raises AssertionError where the crate makes something else; its rings come in no order."""
    if operation.startswith("ring"):
        ours, theirs = np.sort(ours.reshape(n, -1)), np.sort(theirs.reshape(n, -1))
    if not np.array_equal(ours, theirs):
        raise AssertionError(f"{operation}: OctaIndex3D makes something else")


def measure(n: int, rounds: int) -> dict[str, Any]:
    """Million ids a second by operation and way, and ours over the crate's best way to the same result."""
    sites = sites_of(n)
    ours = tasks_of(sites)
    missing = None
    try:
        peer: Any = CrateIds(sites, LOD)
    except RuntimeError as error:
        missing, peer = str(error), nullcontext()
    with peer as there:
        ways = {name: WAYS.get(name, {}) if there else {} for name in ours}
        for name, task in ours.items():
            for way in ways[name].values():
                if way.same:
                    check_same(name, flat(name, task()), there.result(way), n)
        ms = {name: {OURS: np.inf} | dict.fromkeys(ways[name], np.inf) for name in ours}
        for _ in range(rounds):
            for name, task in ours.items():
                ms[name][OURS] = min(ms[name][OURS], visit(task))
                for label, way in ways[name].items():
                    ms[name][label] = min(ms[name][label], visit(there.task(way)))
    return {"ids": n, "operations": {name: summary(n, ms[name], ways[name]) for name in ours}} | (
        {"missing": {"OctaIndex3D": missing}} if missing else {}
    )


def summary(n: int, ms: dict[str, float], ways: dict[str, Any]) -> dict[str, Any]:
    """One operation's speeds and ratio."""
    rates = {label: round(n / taken / 1e3, 2) for label, taken in ms.items()}
    same = [label for label, way in ways.items() if way.same]
    if not same:
        return {"mids_per_s": rates}
    best = max(same, key=lambda label: rates[label])
    return {"mids_per_s": rates, "best_peer": best, "times_best_peer": round(rates[OURS] / rates[best], 2)}


def run(rounds: int) -> dict[str, Any]:
    """Everything measured, as it is written."""
    load = machine.load()
    sizes = [measure(n, rounds) for n in SIZES]
    main_size = next(size for size in sizes if size["ids"] == MAIN)
    ratios = {name: row.get("times_best_peer") for name, row in main_size["operations"].items()}
    return {
        "command": "python -m tests.bench.bench_ids",
        "machine": machine.describe(),
        "peer_versions": {crate.PACKAGE: crate.VERSION},
        "load_average": {"begin": load, "end": machine.load()},
        "config": {"rounds": rounds, "seed": SEED, "lod": LOD, "threads": 1, "clock": "process_time",
                   "main_size": MAIN, "goal": GOAL},
        "ratios": {name: ratio for name, ratio in ratios.items() if ratio is not None},
        "sizes": sizes,
    }  # fmt: skip


def report(results: dict[str, Any]) -> str:
    """A few lines for the terminal."""
    lines = []
    for size in results["sizes"]:
        lines.append(f"{size['ids']:,} ids, million a second")
        for name, row in size["operations"].items():
            rates = ", ".join(f"{rate:.0f} {label}" for label, rate in row["mids_per_s"].items())
            times = f"; {row['times_best_peer']:.1f} x {row['best_peer']}" if "best_peer" in row else ""
            lines.append(f"  {name}: {rates}{times}")
        lines += [f"  not here: {name} ({why})" for name, why in size.get("missing", {}).items()]
    short = {name: ratio for name, ratio in results["ratios"].items() if ratio < GOAL}
    if results["ratios"]:
        below = ", ".join(f"{name} {ratio:.1f}" for name, ratio in short.items()) or "none"
        lines.append(f"below {GOAL:g} times the crate at {MAIN:,} ids: {below}")
    return "\n".join(lines)


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine.restart_on_one_core("tests.bench.bench_ids")
    results = run(options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(report(results))


if __name__ == "__main__":
    main()
