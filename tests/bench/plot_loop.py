"""Plot what bench_loop measured; reads its file and nothing else.

``python -m tests.bench.plot_loop [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from tests.bench import plotting
from tests.bench.loop_tables import off_path

RESULTS = Path(__file__).parent / "results" / "loop.json"
STAGES = ("decode", "bin", "visibility", "features", "inference", "other")
COLORS = dict(zip(STAGES, ("#9aa0a6", "#1b6ca8", "#c9cdd2", "#2a9d8f", "#e9a23b", "#b5838d"), strict=True))
OURS, THEIRS = "#1b6ca8", "#c8553d"


def plot(results: dict[str, Any], image: Path) -> None:
    """Three panels: stages of the latency path, compared stages by sweep, and the rest of the loop."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 9.5), height_ratios=(1.1, 1.4, 1.6), layout="constrained")
    _stages(axes[0], results["summary"])
    _by_sweep(axes[1], results)
    _rest(axes[2], results["summary"])
    machine = results["machine"]
    figure.suptitle(
        f"One core of {machine['cpu'].split(' (')[0]}, {', '.join(machine['vector_flags'])}\n"
        f"{results['log']}, {results['summary']['sweeps']} sweeps with a full window, processor time",
        fontsize=10,
    )
    figure.savefig(image, dpi=130)
    plt.close(figure)


def _stages(axis: Any, summary: dict[str, Any]) -> None:
    """Median by stage, one bar a pipeline; pale stages are not part of the comparison."""
    for row, name in enumerate(("numpy", "octastream")):
        left = 0.0
        for stage in STAGES:
            numbers = summary[name]["cpu"].get(stage)
            if numbers is None:
                continue
            width = numbers["median"]
            axis.barh(row, width, left=left, color=COLORS[stage], label=stage if row else None)
            if width > 3:
                axis.text(left + width / 2, row, f"{width:.1f}", ha="center", va="center", fontsize=8)
            left += width
    axis.set_yticks((0, 1), ("numpy\n(rays, casts given)", "octastream"))
    axis.set_xlabel("median a sweep (ms)")
    axis.set_title("Latency path by stage", fontsize=10, loc="left")
    axis.legend(ncols=len(STAGES), fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.1))


def _by_sweep(axis: Any, results: dict[str, Any]) -> None:
    """Binning and features of every sweep, least over the passes, as what others did only adds to it."""
    for name, color in (("octastream", OURS), ("numpy", THEIRS)):
        least: dict[int, float] = {}
        for row in results["per_sweep"]["compared"]:
            value = row[name]["cpu"]["bin"] + row[name]["cpu"]["features"]
            least[row["sweep"]] = min(value, least.get(row["sweep"], value))
        axis.plot(list(least), list(least.values()), color=color, label=name)
    axis.axvline(results["skipped_sweeps"], color="0.7", linewidth=1, linestyle=":")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("sweep of the log; the window is full from the dotted line on")
    axis.set_ylabel("bin + features (ms)")
    ratio = results["ratios"]["cpu"]["bin + features"]
    axis.set_title(
        f"numpy / octastream: {ratio['median']:.2f} ({ratio['p5']:.2f} to {ratio['p95']:.2f})",
        fontsize=10,
        loc="left",
    )
    axis.legend(frameon=False, fontsize=8)


def _rest(axis: Any, summary: dict[str, Any]) -> None:
    """Median and 99th percentile of what no prediction waits for."""
    stages = off_path(summary)[::-1]
    loop = summary["whole_loop"]["cpu"]
    for row, stage in enumerate(stages):
        median, p99 = (max(loop[stage][name], 0.1) for name in ("median", "p99"))
        axis.plot((median, p99), (row, row), "-", color="0.7", linewidth=3, zorder=1)
        axis.plot(median, row, "o", color=OURS)
        axis.annotate(f"{median:.1f}", (median, row), (0, 6), textcoords="offset points", ha="center", size=8)
    axis.set_yticks(range(len(stages)), stages)
    axis.set_ylim(-0.6, len(stages) - 0.2)
    axis.set_xscale("log")
    axis.set_xlabel("median a sweep, line to the 99th percentile (ms, logarithmic)")
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.set_title("Off the latency path: judging, learning, training, archive", fontsize=10, loc="left")


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
