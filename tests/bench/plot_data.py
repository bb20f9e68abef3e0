"""Plot what bench_data measured; reads its file and nothing else.

``python -m tests.bench.plot_data [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from tests.bench import plotting

RESULTS = Path(__file__).parent / "results" / "data.json"
COLOURS = ("0.75", "0.55", "#1b6ca8", "#7fb2d9", "#c8553d")


def plot(results: dict[str, Any], image: Path) -> None:
    """One panel: samples a second by size of batch, on a logarithmic axis."""
    figure, axis = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    by_size = results["samples_per_s"]
    names = list(next(iter(by_size.values())))
    width = 0.8 / len(names)
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        rounds = [found[name]["wall"] for found in by_size.values()]
        at = np.arange(len(by_size)) + (place - (len(names) - 1) / 2) * width
        bars = axis.bar(at, [np.median(each) for each in rounds], width, color=colour, label=name)
        axis.vlines(at, [min(each) for each in rounds], [max(each) for each in rounds], color="0.2", lw=1)
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=3)
    bound = results["copy_bytes_per_s"] / (2 * results["sample_bytes"])
    axis.axhline(bound, color="0.3", lw=0.8, ls="--", label="copying as many bytes in order")
    axis.set_yscale("log")
    axis.set_ylabel("samples a second of wall time")
    axis.set_xticks(np.arange(len(by_size)), by_size)
    axis.set_xlabel("samples a batch")
    axis.margins(y=0.2)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    described = results["machine"]
    figure.suptitle(
        f"{results['rows']:,} cells of {results['log']}, {results['features']} features, medians of "
        f"{results['rounds']} rounds; {described['cpu'].split(' (')[0]}, {described['cores_used']} cores",
        fontsize=9,
    )
    figure.savefig(image, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
