"""Plot what bench_kafka measured; reads its file and nothing else.

``python -m tests.bench.plot_kafka [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from tests.bench import plotting
from tests.bench.bench_kafka import GOAL_MS, ROUNDS

RESULTS = Path(__file__).parent / "results" / "kafka.json"
COLORS = dict(zip(ROUNDS, ("#9a9a9a", "#7fb2d6", "#c8553d", "#1b6ca8"), strict=True))


def plot(results: dict[str, Any], image: Path) -> None:
    """How many sweeps took at most so long, one curve a round."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name in ROUNDS:
        values = np.sort(results["per_sweep_ms"][name])
        share = np.arange(1, len(values) + 1) / len(values)
        row = results["summary"][name]
        label = f"{name.replace('_', ' ')}: {row['p50']:.0f} ms, p99 {row['p99']:.0f}"
        axis.step(values, 100 * share, where="post", color=COLORS[name], label=label)
    axis.axvline(GOAL_MS, color="0.5", linewidth=1, linestyle=":")
    axis.set_xscale("log")  # who falls behind takes a hundred times as long
    axis.set_ylim(0, 101)
    axis.set_xlabel("from producing a sweep to its answer (ms, logarithmic); dotted: the sensor's period")
    axis.set_ylabel("sweeps that took at most so long (%)")
    axis.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.68, 0.75))
    cpu = results["machine"]["cpu"].split(" (")[0]
    figure.suptitle(f"10 Hz, 120,000 points a sweep; broker, clients and workers on {cpu}", fontsize=10)
    figure.savefig(image, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
