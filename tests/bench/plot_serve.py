"""Plot what bench_serve measured; reads its file and nothing else.

``python -m tests.bench.plot_serve [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from tests.bench import plotting
from tests.bench.bench_serve import GOAL_CLIENTS, GOAL_P99_MS, GOAL_SHARE

RESULTS = Path(__file__).parent / "results" / "serve.json"
COLOURS = {"noop": "0.6", "predict": "#1b6ca8"}
NAMES = {"noop": "an endpoint that does nothing", "predict": "/predict"}


def plot(results: dict[str, Any], image: Path) -> None:
    """Two panels: requests a second, and waits at 50 and 99 %, by clients."""
    figure, (rate, wait) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    endpoints = results["endpoints"]
    clients = list(endpoints["predict"])
    places = np.arange(len(clients))
    for side, (name, found) in zip((-0.2, 0.2), endpoints.items(), strict=True):
        rows = [found[key] for key in clients]
        bars = rate.bar(
            places + side,
            [row["requests_per_s"] for row in rows],
            0.38,
            color=COLOURS[name],
            label=NAMES[name],
        )
        rate.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=2)
        for key, mark in (("p50_ms", "o"), ("p99_ms", "^")):
            label = f"{NAMES[name]}, {key[1:3]} %"
            wait.plot(places + side / 2, [row[key] for row in rows], mark, color=COLOURS[name], label=label)
    wait.plot(
        clients.index(str(GOAL_CLIENTS)), GOAL_P99_MS, "_", color="#c8553d", ms=40, label="goal for 99 %"
    )
    share = _share(endpoints, str(GOAL_CLIENTS))
    rate.set_title(f"{share:.2f} of the no-op's rate at {GOAL_CLIENTS} clients (goal {GOAL_SHARE:g})",
                   fontsize=10, loc="left")  # fmt: skip
    rate.set_ylabel("requests a second")
    rate.margins(y=0.15)
    wait.set_yscale("log")
    wait.set_ylabel("from question to answer (ms)")
    for axis in (rate, wait):
        axis.set_xticks(places, clients)
        axis.set_xlabel("clients, each asking as fast as it is answered")
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    cpu = results["machine"]["cpu"].split(" (")[0]
    figure.suptitle(
        f"{results['cells']} cells a question while sweeps of {results['log']} are folded at 10 Hz; {cpu}",
        fontsize=9,
    )
    figure.savefig(image, dpi=130)
    plt.close(figure)


def _share(endpoints: dict[str, Any], clients: str) -> float:
    rates = {name: found[clients]["requests_per_s"] for name, found in endpoints.items()}
    return float(rates["predict"] / rates["noop"])


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
