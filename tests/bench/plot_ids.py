"""Plot what bench_ids measured; reads its file and nothing else.

``python -m tests.bench.plot_ids [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from tests.bench import plotting

RESULTS = Path(__file__).parent / "results" / "ids.json"
OURS, THEIRS, OTHER = "#1b6ca8", "#c8553d", "#c9cdd2"


def plot(results: dict[str, Any], image: Path) -> None:
    """Speed by operation beside the crate's ways, and ours over the crate's best way by number of ids."""
    size = next(s for s in results["sizes"] if s["ids"] == results["config"]["main_size"])
    figure, (bars, lines) = plt.subplots(1, 2, figsize=(15, 9), layout="constrained", width_ratios=[2, 1])
    _rates(bars, size)
    _ratios(lines, results)
    machine = results["machine"]
    figure.suptitle(
        f"Cell ids, one thread on one core of {machine['cpu'].split(' (')[0]}, processor time", fontsize=11
    )
    figure.savefig(image, dpi=120)
    plt.close(figure)


def _rates(axis: Any, size: dict[str, Any]) -> None:
    """A bar a way, grouped by operation; the crate's other rules are grey."""
    place, names, places = 0.0, [], []
    for operation, row in reversed(size["operations"].items()):
        for label, rate in reversed(row["mids_per_s"].items()):
            other = label.endswith("octree")
            color = OURS if label == "octastream" else OTHER if other else THEIRS
            axis.barh(place, rate, 0.85, color=color)
            axis.text(rate * 1.05, place, f"{rate:.3g}", va="center", fontsize=7)
            names.append(f"{operation}: {label}")
            places.append(place)
            place += 1
        place += 0.6
    axis.set_yticks(places, names, fontsize=7)
    axis.set_xscale("log")
    axis.set_xlabel("million ids a second (log scale)")
    axis.set_title(f"{size['ids']:,} ids a call; grey: another rule, mostly no sites", fontsize=10)


def _ratios(axis: Any, results: dict[str, Any]) -> None:
    """Ours over the crate's best way, by number of ids."""
    numbers = [size["ids"] for size in results["sizes"]]
    for name in results["ratios"]:
        ratios = [size["operations"][name]["times_best_peer"] for size in results["sizes"]]
        axis.plot(numbers, ratios, "o-", label=name)
    goal = results["config"]["goal"]
    axis.axhline(goal, color="#555", linestyle="--", linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("ids a call")
    axis.set_ylabel("times as fast as the crate's best way to the same result")
    if results["ratios"]:
        axis.legend(fontsize=8)
        axis.set_title(f"Over OctaIndex3D; dashed: {goal:g} times", fontsize=10)
    else:
        axis.set_title("OctaIndex3D was not there", fontsize=10)


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
