"""The queue and its regions as the terminal shows them."""

from __future__ import annotations

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from agents.labels.queue import LabelQueue
from models.scores.region_errors import CellErrors
from native.index64 import to_text


def queue_table(queue: LabelQueue) -> Table:
    """The queue, most worth it first."""
    table = Table(title="regions worth labelling", title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("region", no_wrap=True)
    table.add_column("reason")
    for name in ("value", "x, y, z (m)", "cells", "labelled", "outcomes", "log loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, request in enumerate(queue.requests, 1):
        region, standing = request.region, request.standing
        loss = "-" if region.loss is None else f"{region.loss:.3f}"
        table.add_row(
            str(place), to_text(region.region), request.reason, f"{request.value:.3f}",
            f"{region.x:.1f}, {region.y:.1f}, {region.z:.1f}", f"{region.cells:,}", f"{standing.labelled:,}",
            f"{region.observed:,}", loss,
        )  # fmt: skip
    return table


def standing_lines(queue: LabelQueue) -> list[str]:
    """What stands of the labels in a run."""
    labels = queue.labels
    if not len(labels):
        return ["no labels yet: octastream label show RUN 1 --out form.csv makes a form to fill in"]
    contradicted = sum(standing.contradicted for standing in queue.standings.values())
    counts = ", ".join(f"{n:,} {name}" for name, n in labels.counts().items())
    return [f"labels that stand: {counts}; words on {contradicted:,} cells contradict each other"]


def region_rows(queue: LabelQueue, name: str) -> list[tuple[str, str]]:
    """What is known of one region, as names and values.  Raises LabelError"""
    region = queue.region(name)
    request, standing = queue.request(region), queue.standings.get(region.region)
    means = ((text, value) for text, value in (
        ("log loss", region.loss), ("expected", region.tally.entropy()), ("forecast", region.forecast),
        ("occupied", region.occupied), ("drift", region.drift), ("observations that flip", region.flips),
    ) if value is not None)  # fmt: skip
    why = "not in the queue" if request is None else f"{request.reason}, {request.value:.3f}"
    rows = [
        ("region", f"{to_text(region.region)}  {region.region}"),
        ("reason", why),
        ("place", f"{region.x:.1f}, {region.y:.1f}, {region.z:.1f} m"),
        ("cells", f"{region.cells:,}, {standing.labelled if standing else 0:,} labelled"),
        ("outcomes", f"{region.observed:,} of {region.due:,} forecasts, in {region.sweeps:,} sweeps"),
    ]
    return rows + [(text, f"{value:.3f}") for text, value in means]


def cell_table(queue: LabelQueue, cells: CellErrors, count: int) -> Table:
    """The cells of a region with the highest loss."""
    code, _ = queue.labels.of_cells(cells.cell_id, 0)
    table = Table(title="cells with the highest loss", title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("cell", no_wrap=True)
    for name in ("x, y, z (m)", "seen", "occupied", "forecast", "log loss", "label"):
        table.add_column(name, justify="right", no_wrap=True)
    for i in np.argsort(-np.nan_to_num(cells.loss, nan=-1), kind="stable")[:count].tolist():
        x, y, z = cells.position[i].tolist()
        means = (
            f"{v[i]:.2f}" if np.isfinite(v[i]) else "-" for v in (cells.occupied, cells.forecast, cells.loss)
        )
        name = queue.labels.classes[code[i]] if code[i] >= 0 else ""
        table.add_row(
            to_text(int(cells.cell_id[i])), f"{x:.1f}, {y:.1f}, {z:.1f}",
            f"{cells.observed[i]} of {cells.due[i]}", *means, name,
        )  # fmt: skip
    return table
