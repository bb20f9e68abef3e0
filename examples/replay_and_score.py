"""Replay a simulated drive and read what came of it; everything used here is public.

Run: python examples/replay_and_score.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from agents.replay import ReplayOptions, replay
from stream.config import load_config
from stream.sources import open_source


def main(folder: Path) -> None:
    source = open_source("sim:city?sweeps=50&beams=32&azimuths=512&seed=3")
    config = load_config(overrides=["task.warmup_sweeps=15", "learn.steps_per_sweep=4"])
    result = replay([source], config, folder, ReplayOptions(), lambda done, total, note: None)

    for name, scores in result.summary["scores"].items():
        print(f"{name:12} AP {scores['average_precision']}  log loss {scores['log_loss']}")

    outcomes = ds.dataset(folder / "outcomes").to_table(columns=["occupied"])
    print(f"{outcomes.num_rows:,} outcomes, {pc.mean(outcomes['occupied']).as_py():.0%} occupied")
    print(f"report: {result.report}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "run")
