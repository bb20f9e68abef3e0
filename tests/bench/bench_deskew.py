"""What undoing the motion within sweeps costs, and how far odometry is off where poses are known.

``python -m tests.bench.bench_deskew [--sweeps N] [--out FILE]``

Costs are processor time of Perceive's stages on one core, of a motorway at 25 m/s under a spinning sensor
with 64 beams, each sweep with its motion undone and as it is. Poses of the simulator are known; those of the
recorded logs were made by KISS-ICP itself, so there only the way through the source is tested.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.perceive import Perceive
from agents.stopwatch import Stopwatch
from models.online.builtin import builtin_of
from stream.config import load_config
from stream.records import Binned, SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.data import data_dir
from tests.stream.test_odometry import poses_of, steps

WORLD = "sim:highway?beams=64&azimuths=2048&spin=1&seed=0"
DRIVES = {
    LOG: None, "kitti_pcd": 10.0, "sim:city?sweeps=30&seed=0": None, "sim:city?sweeps=30&seed=1": None,
    "sim:city?sweeps=30&beams=64&seed=2": None, "sim:yard?sweeps=20&seed=0": None,
    "sim:highway?sweeps=20&seed=0": None,
}  # fmt: skip
"""Logs, and the rate of those without stamps."""


def cost(items: Sequence[Item], mode: str) -> dict[str, Any]:
    """Median milliseconds a sweep by stage."""
    config = load_config(None, ["grid.map_frame=odom", f"sweep.deskew={mode}"])
    watch = Stopwatch(time.process_time)
    agent = Perceive(config, builtin_of(config), watch)
    taken: list[dict[str, float]] = []
    rays: list[int] = []
    for item in items:
        begin = time.process_time()
        records = [record for record in agent.handle(item).outputs if isinstance(record, Binned)]
        stages = watch.take() | {"all": 1e3 * (time.process_time() - begin)}
        if records:
            taken.append(stages)
            rays.append(records[0].rays)
    return {name: float(np.median([stages[name] for stages in taken])) for name in taken[0]} | {
        "rays": float(np.median(rays))
    }


def drift(log: str, rate_hz: float | None) -> dict[str, Any]:
    """How far odometry is off over a log."""
    location = log if log.startswith("sim:") else str(data_dir() / log)
    known = [
        item for item in open_source(location, SourceOptions(rate_hz=rate_hz)) if isinstance(item, Transform)
    ]
    begin = time.process_time()
    made = list(open_source(location, SourceOptions(rate_hz=rate_hz, odometry=True)))
    spent_ms = 1e3 * (time.process_time() - begin)
    own = [item for item in made if isinstance(item, Transform)]
    stamps, frame = [item.stamp_ns for item in own], own[0].child
    found, true = poses_of(own, stamps, frame), poses_of(known, stamps, frame)
    end = np.linalg.inv(np.linalg.inv(true[0]) @ true[-1]) @ np.linalg.inv(found[0]) @ found[-1]
    way_m = float(sum(np.linalg.norm(step[:3, 3]) for step in steps(true)))
    turned = np.degrees(np.arccos(np.clip((np.trace(end[:3, :3]) - 1) / 2, -1, 1)))
    return {
        "sweeps": sum(isinstance(item, Sweep) for item in made),
        "without_pose": sum(isinstance(item, SweepRejected) for item in made),
        "way_m": way_m,
        "off_m": float(np.linalg.norm(end[:3, 3])),
        "off_share": float(np.linalg.norm(end[:3, 3])) / way_m,
        "turned_deg": float(turned),
        "ms_a_sweep_with_reading": spent_ms / len(own),
    }


def main() -> None:
    """Measure, write the results, and print them."""
    machine.restart_on_one_core("tests.bench.bench_deskew")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=20, help="of the motorway (default: 20)")
    parser.add_argument("--out", type=Path, default=RESULTS / "deskew.json", help="where results go")
    options = parser.parse_args()
    items = list(open_source(f"{WORLD}&sweeps={options.sweeps}"))
    results = {
        "machine": machine.describe(),
        "world": WORLD,
        "sweeps": options.sweeps,
        "cost_ms": {mode: cost(items, mode) for mode in ("auto", "off")},
        "odometry": {log: drift(log, rate_hz) for log, rate_hz in DRIVES.items()},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({name: results[name] for name in ("cost_ms", "odometry")}, indent=1))


if __name__ == "__main__":
    main()
