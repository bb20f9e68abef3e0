"""Plot what bench_swap measured; reads its file and nothing else.

``python -m tests.bench.plot_swap [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from tests.bench import plotting

RESULTS = Path(__file__).parent / "results" / "swap.json"
WITH, WITHOUT = "#c8553d", "#1b6ca8"


def plot(results: dict[str, Any], image: Path) -> None:
    """Three panels: sweeps with and without a swap, the exchange alone, memory."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 9), height_ratios=(1.3, 1, 1), layout="constrained")
    rows = results["per_sweep"][results["skipped_sweeps"] :]
    _sweeps(axes[0], rows, results["summary"]["cpu"])
    _exchange(axes[1], rows)
    _memory(axes[2], results)
    described = results["machine"]
    figure.suptitle(
        f"{results['summary']['activations']} activations, one core of {described['cpu'].split(' (')[0]}, "
        f"processor time",
        fontsize=10,
    )
    figure.savefig(image, dpi=130)
    plt.close(figure)


def _sweeps(axis: Any, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Every sweep as a point, and the 99th percentile of those without a swap."""
    for swapped, color, label in ((0, WITHOUT, "without a swap"), (1, WITH, "with a swap")):
        places = [place for place, row in enumerate(rows) if bool(row["swaps"]) == bool(swapped)]
        axis.plot(
            places, [rows[place]["cpu"]["sweep"] for place in places], ".", color=color, ms=3, label=label
        )
    axis.axhline(summary["sweep without"]["p99"], color="0.5", linewidth=1, linestyle=":")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("sweep; dotted: 99th percentile of those without a swap")
    axis.set_ylabel("Perceive, a sweep (ms)")
    ratio = summary["longest with a swap / p99 without"]
    axis.set_title(f"Longest with a swap / p99 without: {ratio:.2f}", fontsize=10, loc="left")
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")


def _exchange(axis: Any, rows: list[dict[str, Any]]) -> None:
    """How long the exchange of models alone took."""
    values = [row["cpu"]["exchange"] for row in rows if row["swaps"]]
    axis.hist(values, bins=np.geomspace(max(min(values), 1e-3), max(*values, 1.1), 60).tolist(), color=WITH)
    axis.axvline(1.0, color="0.5", linewidth=1, linestyle=":")
    axis.set_xscale("log")
    axis.set_xlabel("exchange of models alone (ms, logarithmic); dotted: the goal")
    axis.set_ylabel("activations")


def _memory(axis: Any, results: dict[str, Any]) -> None:
    """Resident memory after every activation."""
    resident = [swap["rss_mb"] for swap in results["per_activation"]]
    axis.plot(range(1, len(resident) + 1), resident, color=WITHOUT)
    axis.axvline(results["settled_after"], color="0.5", linewidth=1, linestyle=":")
    axis.set_xlabel("activation")
    axis.set_ylabel("resident memory (MB)")
    growth = results["summary"]["rss_growth_mb"]
    axis.set_title(f"Growth from the dotted line on: {growth:.1f} MB", fontsize=10, loc="left")


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
