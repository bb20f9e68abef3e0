"""What lies around an object, as a vector of a fixed size: cells within a radius, pooled at a few places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import out_of_frame
from native.search import pool
from native.window import CellFeatures
from stream.config import Config
from stream.features import schema_of

PLACES_M = ((0.0, 0.0), (8.0, 0.0), (16.0, 0.0), (8.0, 8.0), (8.0, -8.0))
"""Where cells are pooled: ahead of an object and to its left."""
RADIUS_M = 4.0
COLUMNS = ("height_in_block", "evidence_recent", "neighbors_hit")
"""Features of the window cells that are pooled."""
WIDTH = len(PLACES_M) * (3 * len(COLUMNS) + 1)


def pooled_columns(config: Config) -> NDArray[np.intp]:
    """Where COLUMNS lie among the features of a configuration."""
    return np.array([schema_of(config).names.index(name) for name in COLUMNS])


def pooled_from(config: Config) -> dict[str, Any]:
    """What surroundings are pooled from, as a model that has learnt from them says it: plain values."""
    return {"half_edge_m": config.grid.half_edge_m, "feature_schema": schema_of(config).hash}


def surroundings(
    window: CellFeatures,
    columns: NDArray[np.intp],
    half_edge_m: float,
    centre: NDArray[np.float64],
    yaw: NDArray[np.float64],
) -> NDArray[np.float32]:
    """One vector an object, float32 (N, WIDTH): at each place log(1 + cells), means, least, greatest.

    columns : of COLUMNS in the features; centre : float64 (N, 3), map frame, metres; yaw : float64 (N,)
    Equal on every machine with one heading; a heading comes from sines and cosines
    """
    places = np.array(PLACES_M)
    queries = np.repeat(centre[:, None], len(places), 1)
    queries[:, :, :2] += out_of_frame(np.broadcast_to(places, (len(centre), *places.shape)), yaw[:, None])
    values = np.ascontiguousarray(window.x[:, columns])
    flat = np.ascontiguousarray(queries.reshape(-1, 3) / half_edge_m)
    found = pool(window.cell_id, values, flat, RADIUS_M / half_edge_m).vectors()
    found[:, 0] = np.log1p(found[:, 0])
    return found.reshape(len(centre), WIDTH)
