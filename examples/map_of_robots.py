"""Merge what two robots saw into one map, ask it about places, and hand its cells to Arrow.

Run: python examples/map_of_robots.py [LOG]     a log with sweeps and poses; without one, a simulated drive
"""

import sys

import numpy as np
import pyarrow as pa

from agents.replay import with_map_frame
from native import regions
from native.cells import FREE
from native.container import Container, ContainerOptions
from native.search import pool
from stream.config import Config, load_config
from stream.container import grid_of
from stream.framed import FramedContainer
from stream.frames import FrameRegistry
from stream.sources import open_source
from stream.sources.base import Source
from stream.sweep import Sweep
from stream.transform import Transform

OPTIONS = ContainerOptions(levels=3, free_level=1)
REACH_M = 5.0


def maps_of(source: Source, config: Config) -> dict[str, FramedContainer]:
    """A container in the map frame for each robot of a log."""
    items = list(source)
    frames: dict[str, FrameRegistry] = {}
    maps: dict[str, FramedContainer] = {}
    for item in items:
        if isinstance(item, Transform):
            gap_ns = config.pose.max_gap_ns
            frames.setdefault(item.robot_id, FrameRegistry(max_gap_ns=gap_ns)).add(item)
    for item in items:
        if isinstance(item, Sweep):
            maps.setdefault(item.robot_id, FramedContainer(config, OPTIONS)).add(item, frames[item.robot_id])
    return maps


def main(location: str = "sim:city?sweeps=12&beams=32&azimuths=256&seed=3&robots=2") -> None:
    source = open_source(location)
    config = with_map_frame(load_config(), [source.info().root_frame])
    grid = grid_of(config)
    city = Container(grid, OPTIONS)
    for robot, own in maps_of(source, config).items():
        counts = city.merge(own.container)  # in any order, to the same bits
        print(f"{robot}: {counts.added} sweeps, {len(own.container):,} cells")
    for level in range(OPTIONS.levels):
        print(f"LOD {city.cells(level).lod}: {(city.cells(level).hits > 0).sum():,} cells hit")
    state = city.cells(OPTIONS.free_level).state()
    print(f"of LOD {city.cells(OPTIONS.free_level).lod} {(state == FREE).sum():,} more were seen through")

    finest = city.cells(0)
    middle = finest.centroids()[finest.hits > 0].mean(axis=0)
    ball = regions.spheres(grid, middle[None], np.array([REACH_M]), coverage=True)
    known = np.isin(ball.cell_id, finest.cell_id).sum()
    print(f"{REACH_M:g} m around {middle.round(1)}: {len(ball.cell_id):,} cells, {known:,} of them hit")

    points = finest.hits.astype(np.float32)[:, None]
    pooled = pool(finest.cell_id, points, middle[None] / grid.half_edge_m, REACH_M / grid.half_edge_m)
    print(f"points a cell there: {pooled.mean[0, 0]:.1f} on average, {pooled.greatest[0, 0]:.0f} at most")

    batch = pa.record_batch(finest)  # the same memory; DuckDB and Polars take it as well
    print(f"Arrow: {batch.num_rows:,} rows of {', '.join(batch.schema.names)}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
