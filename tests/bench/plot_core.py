"""Plot what bench_core measured; reads its file and nothing else.

``python -m tests.bench.plot_core [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from tests.bench import plotting

RESULTS = Path(__file__).parent / "results" / "core.json"
OURS, ROOF, THEIRS = "#1b6ca8", "#c9cdd2", "#c8553d"


def plot(results: dict[str, Any], image: Path) -> None:
    """Binning beside peers, steps of a sweep, neighbours, coarser levels, growth with points and window."""
    figure, axes = plt.subplots(3, 2, figsize=(13, 15), layout="constrained")
    _binning(axes[0][0], results["binning"])
    _rolling(axes[0][1], results["rolling"])
    _neighbors(axes[1][0], results["neighbors"])
    _levels(axes[1][1], results["levels"])
    _growth(axes[2][0], results["growth"])
    _window(axes[2][1], results["growth"]["window"])
    machine = results["machine"]
    figure.suptitle(
        f"C core, one thread on one core of {machine['cpu'].split(' (')[0]}, "
        f"{', '.join(machine['vector_flags'])}; {len(results['config']['sweeps'])} KITTI sweeps, "
        "processor time",
        fontsize=11,
    )
    figure.savefig(image, dpi=120)
    plt.close(figure)


def _binning(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Median by name and cell size, with the least and the most over sweeps."""
    names = sorted(rows[1]["mpts_per_s"], key=lambda name: rows[1]["mpts_per_s"][name]["median"])
    height = 0.8 / len(rows)
    for k, row in enumerate(rows):
        for i, name in enumerate(names):
            rate = row["mpts_per_s"].get(name)
            if rate is None:
                continue
            color = OURS if name.startswith("octastream") else ROOF if "only" in name else THEIRS
            y = i + (k - (len(rows) - 1) / 2) * height
            spread = [[rate["median"] - rate["min"]], [rate["max"] - rate["median"]]]
            axis.barh(
                y, rate["median"], height, color=color, alpha=0.45 + 0.15 * k, xerr=spread, ecolor="#555"
            )
            axis.text(rate["max"] * 1.06, y, f"{rate['median']:.0f}", va="center", fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(2, 10_000)
    axis.set_xlabel("million points a second (log scale)")
    sizes = ", ".join(f"{row['half_edge_m']:g}" for row in rows)
    axis.set_title(f"Binning; bars upwards: h = {sizes} m, voxels of equal volume", fontsize=10)


def _rolling(axis: Any, rolling: dict[str, Any]) -> None:
    """Median by step."""
    for i, ms in enumerate(rolling["ms"].values()):
        spread = [[ms["median"] - ms["min"]], [ms["max"] - ms["median"]]]
        axis.barh(i, ms["median"], color=OURS, xerr=spread, ecolor="#555")
        axis.text(ms["max"], i, f"  {ms['median']:.2f}", va="center", fontsize=8)
    axis.set_yticks(range(len(rolling["ms"])), list(rolling["ms"]), fontsize=8)
    axis.set_xlim(0, 1.15 * max(ms["max"] for ms in rolling["ms"].values()))
    axis.set_xlabel("milliseconds a sweep")
    axis.set_title(
        f"Steps of a sweep, h = 0.4 m, {rolling['tested']} tested and {rolling['window_cells']} window cells",
        fontsize=10,
    )


def _neighbors(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Speed by name; a bar for each set of cells."""
    height = 0.8 / len(rows)
    names = list(rows[0]["mneighbors_per_s"])
    for k, row in enumerate(rows):
        for i, name in enumerate(names):
            rate = row["mneighbors_per_s"][name]
            y = i + (k - (len(rows) - 1) / 2) * height
            axis.barh(y, rate, height, color=OURS if name == "octastream" else THEIRS, alpha=0.6 + 0.4 * k)
            axis.text(rate, y, f"  {rate:.0f}", va="center", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(0, 1.15 * max(max(row["mneighbors_per_s"].values()) for row in rows))
    axis.set_xlabel("million neighbours a second")
    sizes = ", ".join(f"{row['cells']} cells at h = {row['half_edge_m']:g} m" for row in rows)
    axis.set_title(f"Neighbour table; bars upwards: {sizes}", fontsize=10)


def _levels(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Time of each level from the one below, and of its passes."""
    series = {
        "ms": ("sums", OURS),
        "numpy_ms": ("sums by numpy, not rebased", THEIRS),
        "passes_ms": ("passes", ROOF),
    }
    for k, (key, (label, color)) in enumerate(series.items()):
        places = [i + 0.27 * (k - 1) for i in range(len(rows))]
        axis.bar(places, [row[key] for row in rows], 0.25, color=color, label=label)
    axis.set_xticks(range(len(rows)), [f"{row['from_cells']} to {row['cells']} cells" for row in rows])
    axis.set_yscale("log")
    axis.set_ylabel("milliseconds")
    axis.legend(fontsize=8, loc="upper left")
    axis.set_title("One level coarser, twice, three times, h = 0.4 m", fontsize=10)


def _growth(axis: Any, growth: dict[str, Any]) -> None:
    """Time against points, and against cells of one sweep."""
    points, cells = growth["points"], growth["cells"]
    axis.plot([row["points"] for row in points], [row["ms"] for row in points], "o-", color=OURS)
    axis.plot([row["cells"] for row in cells], [row["ms"] for row in cells], "s--", color=THEIRS)
    axis.legend(("points, h = 0.25 m", "cells of one sweep, h = 2 to 0.02 m"), fontsize=8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("points, or cells")
    axis.set_ylabel("milliseconds to bin")
    axis.grid(alpha=0.3)
    axis.set_title("Growth of binning", fontsize=10)


def _window(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Time of the steps against the length of the window."""
    for name in rows[0]["ms"]:
        axis.plot(
            [row["bins"] for row in rows], [row["ms"][name]["median"] for row in rows], "o-", label=name
        )
    axis.set_yscale("log")
    axis.set_xlabel("window length (bins of 0.1 s)")
    axis.set_ylabel("milliseconds a sweep")
    axis.grid(alpha=0.3)
    axis.set_ylim(top=100)  # room for the legend
    axis.legend(fontsize=8, loc="upper left", ncols=2)
    axis.set_title("Growth with the window", fontsize=10)


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
