"""Plot what a soak found; reads its file and nothing else.

``python -m tests.soak.plot [FILE] [--out IMAGE]``; the image's suffix names its format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tests.bench import plotting
from tests.data import ROOT

RESULTS = ROOT / "runs" / "soak" / "soak.json"
COLOURS = {
    "perceive-1": "#1b6ca8", "perceive-2": "#7fb2d6", "judge": "#c8553d", "learn": "#588b3a",
    "archive": "#8a5aa8", "web": "#c99a2e", "broker": "#555555",
}  # fmt: skip
FLEET_COLOUR = "#c4c4c4"
KINDS = {
    "start": "0.6", "killed": "#c8553d", "told to end": "#e2a03f", "stopped for 20 s": "#8a5aa8",
    "stopped for 10 s": "#c3a6d4",
    "broker silent": "#1b6ca8", "broker killed": "#101010", "no sweeps": "#588b3a", "sweeps twice": "#7fb2d6",
}  # fmt: skip


def plot(found: dict[str, Any], image: Path) -> None:
    """Eight small plots over the same minutes; mishaps are stripes behind all of them."""
    figure, axes = plt.subplots(4, 2, figsize=(13, 12), sharex=True, layout="constrained")
    panels = axes.ravel()
    for axis in panels[:7]:
        _stripes(axis, found["mishaps"])
    _processes(panels[0], found, "rss_mib", "resident memory (MiB)")
    _processes(panels[2], found, "handles", "open handles")
    _processes(panels[4], found, "threads", "threads")
    _waits(panels[1], found)
    _lag(panels[3], found)
    _disk(panels[5], found)
    _swaps(panels[6], found)
    _mishaps(panels[7], found)
    for axis in panels:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelbottom=True)
    for axis in panels[6:]:
        axis.set_xlabel("minutes since the robots started")
    given, cpu = found["given"], found["machine"]["cpu"].split(" (")[0]
    robots, mishaps = len(found["driven"]["robots"]), len(found["mishaps"]) - 1
    figure.suptitle(
        f"{robots} robots at {given['hz']:g} Hz, {mishaps} mishaps; broker, workers and robots on {cpu}",
        fontsize=11,
    )
    figure.savefig(image, dpi=110)
    plt.close(figure)


def _stripes(axis: Axes, mishaps: list[dict[str, Any]]) -> None:
    for item in mishaps:
        axis.axvspan(item["begin_s"] / 60, item["end_s"] / 60, color="0.93", linewidth=0, zorder=0)


def _processes(axis: Axes, found: dict[str, Any], what: str, label: str) -> None:
    for name, readings in found["processes"].items():
        minutes = [item["at_s"] / 60 for item in readings]
        fleet = name not in COLOURS
        axis.plot(
            minutes, [item[what] for item in readings], color=COLOURS.get(name, FLEET_COLOUR), linewidth=1.1,
            label=None if fleet else name, zorder=1 if fleet else 2,
        )  # fmt: skip
    axis.plot([], [], color=FLEET_COLOUR, label="robots")
    axis.set_ylim(bottom=0)
    axis.set_ylabel(label)
    if what == "rss_mib":
        _legend(axis)


def _legend(axis: Axes) -> None:
    """Above the plot, in rows of four."""
    axis.legend(frameon=False, fontsize=8, ncols=4, loc="upper left", bbox_to_anchor=(0, 1.16))


def _waits(axis: Axes, found: dict[str, Any]) -> None:
    rows = found["waits_by_minute"]
    minutes = [row["minute"] + 0.5 for row in rows]
    for name, colour in (("max", "#d9d9d9"), ("p99", "#c8553d"), ("p50", "#1b6ca8")):
        axis.plot(minutes, [row[name] for row in rows], color=colour, linewidth=1.3, label=name)
    period = 1000 / found["given"]["hz"]
    axis.axhline(
        period, color="0.3", linewidth=0.8, linestyle=":", label=f"the sensor's period, {period:.0f} ms"
    )
    axis.set_yscale("log")
    axis.set_ylabel("sweep to prediction (ms), each minute")
    _legend(axis)


def _lag(axis: Axes, found: dict[str, Any]) -> None:
    rows = found["lagging"]
    for agent in rows[0]["left"] if rows else ():
        colour = COLOURS.get("perceive-1" if agent == "perceive" else agent, "0.5")
        axis.plot([row["at_s"] / 60 for row in rows], [row["left"][agent] for row in rows],
                  color=colour, linewidth=1.0, label=agent)  # fmt: skip
    axis.set_yscale("symlog", linthresh=10)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("messages not acknowledged")
    _legend(axis)


def _disk(axis: Axes, found: dict[str, Any]) -> None:
    for (name, rows), colour in zip(found["disk_mib"].items(), ("#555555", "#8a5aa8"), strict=True):
        axis.plot([at / 60 for at, _ in rows], [size for _, size in rows], color=colour, label=name)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("on the disk (MiB)")
    axis.legend(frameon=False, fontsize=8)


def _swaps(axis: Axes, found: dict[str, Any]) -> None:
    at = [second / 60 for second in found["swaps_s"]]
    axis.step(at, range(1, len(at) + 1), where="post", color="#588b3a")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("models taken up, all streams")


def _mishaps(axis: Axes, found: dict[str, Any]) -> None:
    kinds = [kind for kind in KINDS if any(item["kind"] == kind for item in found["mishaps"])]
    for item in found["mishaps"]:
        first, last = item["begin_s"] / 60, item["end_s"] / 60
        axis.barh(kinds.index(item["kind"]), last - first, left=first, color=KINDS[item["kind"]], height=0.6)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.invert_yaxis()
    axis.set_ylabel("mishaps, until all had recovered")


if __name__ == "__main__":
    plotting.main(__doc__, plot, RESULTS)
