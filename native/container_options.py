"""What decides a container, and the small values that go in and out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.errors import check
from native.grid import Grid
from native.schema import RULES, Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A box of the lattice: the sites s with origin <= s < origin + 2 * shape.

    origin : three even coordinates, half edges; shape : three numbers of unit cells (two half edges), > 0
    """

    origin: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, position_m: tuple[float, float, float], reach_m: float, half_edge_m: float) -> Extent:
        """The box that reaches so far from a position on every axis, to the next unit cell."""
        size = 2 * int(np.ceil(reach_m / (2.0 * half_edge_m)))
        shape = (size, size, size)
        return cls(origin=centred(position_m, shape, half_edge_m), shape=shape)


def centred(
    position_m: tuple[float, float, float] | NDArray[np.float64],
    shape: tuple[int, int, int],
    half_edge_m: float,
) -> tuple[int, int, int]:
    """Origin of the box of a shape that has the even site nearest to a position in its middle.

    Raises ValueError for a position that is not finite
    """
    position = np.asarray(position_m, np.float64)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise ValueError(f"position_m: expected three finite numbers, got {position_m}")
    middle = 2.0 * np.floor(position / (2.0 * half_edge_m) + 0.5)
    x, y, z = (int(site) - 2 * (size // 2) for site, size in zip(middle.tolist(), shape, strict=True))
    return x, y, z


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """Levels, extent and caps of a container.

    levels : 1..7, the grid's LOD and coarser ones, each the exact sum of its children
    free_level : LODs above the finest at which free cells are held
    keep : keep the records, so that any can be removed, they age, the extent can move, and containers merge
        as sets of records; otherwise only their sum, for maps that grow for hours
    extent : cells outside do not count; None for all
    dense : hold the finest level as an array over the extent
    span_ns : records are dropped once so old; 0 for never
    max_records, max_rows : caps of what is kept, beyond which the oldest records go; a sum refuses more rows
    columns : of the user's own
    """

    levels: int = 1
    free_level: int = 0
    keep: bool = True
    extent: Extent | None = None
    dense: bool = False
    span_ns: int = 0
    max_records: int = 1024
    max_rows: int = 10_000_000
    columns: tuple[Column, ...] = ()


class RecordKey(NamedTuple):
    """When a record was made, by whom (a number of 64 bits), and which part of it this is."""

    stamp_ns: int
    source: int
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a change to a container did.

    added, known, late : records added, there already, and left out for being older than the span or than one
        that was evicted
    removed, expired, evicted : records that were dropped because they were asked to, were too old, or were
        beyond the caps; rows : of those evicted
    outside : rows of the records added that lie outside the extent
    """

    added: int = 0
    known: int = 0
    late: int = 0
    removed: int = 0
    expired: int = 0
    evicted: int = 0
    rows: int = 0
    outside: int = 0


def options_to_c(grid: Grid, options: ContainerOptions) -> Any:
    """A new C ``octa_container_options``; raises DomainError, or RangeError, for what it cannot hold."""
    c = ffi.new("octa_container_options *")
    grid.fill(c.grid)
    for name in ("levels", "free_level"):
        value = getattr(options, name)
        setattr(c, name, value if 0 <= value < 256 else 255)  # which is refused
    c.keep, c.dense = options.keep, options.dense
    for name, most in (("span_ns", 2**63), ("max_records", 2**32), ("max_rows", 2**32)):
        value = getattr(options, name)
        if not 0 <= value < most:
            check(lib.OCTA_E_DOMAIN, f"{name} = {value}")
        setattr(c, name, value)
    if options.extent is not None:
        if not all(0 < size < 2**16 for size in options.extent.shape):
            check(lib.OCTA_E_DOMAIN, f"extent.shape = {options.extent.shape}")
        if not all(-(2**31) <= at < 2**31 for at in options.extent.origin):
            check(lib.OCTA_E_RANGE, f"extent.origin = {options.extent.origin}")
        c.origin, c.shape = list(options.extent.origin), list(options.extent.shape)
    c.columns = len(options.columns)
    for i, column in enumerate(options.columns):
        c.widths[i], c.rules[i] = column.stored, RULES[column.rule]
    return c
