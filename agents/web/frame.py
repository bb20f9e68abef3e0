"""Cells of one robot at one moment as the live page gets them: a header, then columns, compressed once.

Layout, little-endian: uint32 length of the header; the header, JSON; zlib of the columns one after the other
in the header's order, each (cells, width), the widest types first so that each is aligned.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from agents.web.cells import CellTable, at_lod
from native.index64 import ancestor, decode

SHARES = 254
"""Shares and probabilities are sent in units of 1/254; 255 is unknown."""
UNKNOWN_SHARE = 255
MOST = 65_534
"""Counts and ages beyond are sent as this; 65535 is unknown."""
UNKNOWN_COUNT = 65_535
AGE_NS = 10_000_000
"""Unit of ages."""
LEVEL = 1  # of zlib: a third of the size for 5 ms; level 6 takes 35 ms for another 5 %
_LENGTH = struct.Struct("<I")
_TYPES = {kind: np.dtype(code) for kind, code in
          {"u8": "u1", "i8": "i1", "u16": "<u2", "f32": "<f4", "u64": "<u8"}.items()}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Layer:
    """Cells of one level.  occupancy : float32 (N,), share of hits among hits and passes; NaN for none"""

    table: CellTable
    occupancy: NDArray[np.float32]

    def take(self, rows: NDArray[np.bool_]) -> Layer:
        """Some of its cells."""
        return Layer(table=self.table.take(rows), occupancy=self.occupancy[rows])


def finest_layer(table: CellTable) -> Layer:
    """Cells of the grid's own level."""
    seen = table.hits + np.maximum(table.passes, 0)
    occupancy = np.where(seen > 0, table.hits / np.maximum(seen, 1), np.nan)
    return Layer(table=table, occupancy=occupancy.astype(np.float32))


def coarser_layer(finest: Layer, lod: int) -> Layer:
    """The same at a coarser level: a cell is as occupied as the most occupied of its cells, as forecasts are.

    Its centre is the mean of its cells'
    """
    table = finest.table
    if lod == table.lod or not len(table):
        return finest
    parents = ancestor(table.cell_id, lod)
    ids, row = np.unique(parents, return_inverse=True)
    occupancy = np.full(len(ids), -np.inf, np.float32)
    np.fmax.at(occupancy, row, finest.occupancy)
    occupancy[occupancy < 0] = np.nan
    nowhere = np.full((len(ids), 3), np.nan, np.float32)
    return Layer(table=at_lod(table, lod, nowhere), occupancy=occupancy)


def mixed_layers(
    finest: Layer, eye: NDArray[np.float64], half_edge_m: float, near_m: float, far_m: float
) -> list[Layer]:
    """Fine cells up to ``near_m`` from the eye, a level coarser up to ``far_m``, two beyond; no place twice.

    eye : float64 (3,), metres, map frame; half_edge_m : of the finest level
    """
    own = finest.table.lod
    if not len(finest.table) or not own:
        return [finest]

    def beyond(cell_id: NDArray[np.uint64], levels: int, limit_m: float) -> NDArray[np.bool_]:
        """Whether the ancestors so many levels up are that far away."""
        sites = decode(ancestor(cell_id, own - levels)).sites * (half_edge_m * 2**levels)
        far: NDArray[np.bool_] = np.linalg.norm(sites - eye, axis=1) > limit_m
        return far

    layers, rest = [], finest
    for levels, limit_m in ((2, far_m), (1, near_m)):
        if levels > own:
            continue
        far = beyond(rest.table.cell_id, levels, limit_m)
        if far.any():
            layers.append(coarser_layer(rest.take(far), own - levels))
        rest = rest.take(~far)
    return [rest, *layers]


def encode_frame(layers: list[Layer], own_lod: int, facts: dict[str, Any]) -> bytes:
    """A frame.

    own_lod : the grid's; centres are sent where there are coarser cells, else they follow from the ids
    facts : further members of the header
    """
    tables = [layer.table for layer in layers]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name) for table in tables])

    columns: dict[str, tuple[str, NDArray[Any]]] = {"id": ("u64", joined("cell_id"))}
    if any(table.lod != own_lod for table in tables):
        columns["centre"] = ("f32", joined("centre"))
    columns |= {
        "hits": ("u16", _counts(joined("hits"))),
        "passes": ("u16", _counts(joined("passes"))),
        "age": ("u16", _counts(joined("age_ns") // AGE_NS)),
        "occupancy": ("u8", _shares(np.concatenate([layer.occupancy for layer in layers]))),
        "probability": ("u8", _shares(joined("probability"))),
        "forecast": ("u8", _shares(joined("forecast"))),
        "outcome": ("i8", joined("outcome")),
    }
    header = {
        "robot": tables[0].robot_id,
        "stamp_ns": str(tables[0].stamp_ns),
        "horizons_ns": list(tables[0].horizons_ns),
        "lod": own_lod,
        "cells": sum(map(len, tables)),
        "columns": [[name, kind, _width(values)] for name, (kind, values) in columns.items()],
        **facts,
    }
    body = b"".join(np.ascontiguousarray(values, _TYPES[kind]).tobytes() for kind, values in columns.values())
    text = orjson.dumps(header, option=orjson.OPT_SERIALIZE_NUMPY)
    text += b" " * (-len(text) % 4)
    return _LENGTH.pack(len(text)) + text + zlib.compress(body, LEVEL)


def decode_frame(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and columns, (N,) or (N, width), as they were sent."""
    (length,) = _LENGTH.unpack_from(data)
    header = orjson.loads(data[4 : 4 + length])
    body = memoryview(zlib.decompress(data[4 + length :]))
    columns: dict[str, NDArray[Any]] = {}
    begin = 0
    for name, kind, width in header["columns"]:
        count = header["cells"] * width
        values = np.frombuffer(body, _TYPES[kind], count, begin)
        columns[name] = values.reshape(-1, width) if width > 1 or name in WIDE else values
        begin += values.nbytes
    return header, columns


WIDE = ("centre", "probability", "forecast", "outcome")
"""Columns with a value a horizon, or an axis."""


def layer_of(header: dict[str, Any], columns: dict[str, NDArray[Any]], half_edge_m: float) -> Layer:
    """The cells of a frame of the finest level, as exactly as they were sent."""
    cell_id = columns["id"]
    ages = columns["age"].astype(np.int64)
    table = CellTable(
        robot_id=header["robot"],
        stamp_ns=int(header["stamp_ns"]),
        lod=header["lod"],
        horizons_ns=tuple(header["horizons_ns"]),
        cell_id=cell_id,
        centre=(decode(cell_id).sites * half_edge_m).astype(np.float32),
        hits=columns["hits"].astype(np.int64),
        passes=columns["passes"].astype(np.int64),
        probability=shares_of(columns["probability"]),
        outcome=columns["outcome"],
        forecast=shares_of(columns["forecast"]),
        age_ns=np.where(ages == UNKNOWN_COUNT, -1, ages * AGE_NS),
    )
    return Layer(table=table, occupancy=shares_of(columns["occupancy"]))


def shares_of(sent: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shares as they were sent, NaN where unknown."""
    return np.where(sent == UNKNOWN_SHARE, np.nan, sent / SHARES).astype(np.float32)


def _shares(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    known = ~np.isnan(values)
    sent = np.full(values.shape, UNKNOWN_SHARE, np.uint8)
    sent[known] = np.rint(values[known] * SHARES)
    return sent


def _counts(values: NDArray[np.int64]) -> NDArray[np.uint16]:
    return np.where(values < 0, UNKNOWN_COUNT, np.minimum(values, MOST)).astype(np.uint16)


def _width(values: NDArray[Any]) -> int:
    return 1 if values.ndim == 1 else values.shape[1]
