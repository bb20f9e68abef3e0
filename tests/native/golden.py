"""Vectors of OctaIndex3D that the lattice and the ids are checked against."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.data import data_path

BIAS = 32768


def rows(name: str) -> list[dict[str, Any]]:
    """All rows of one file of vectors."""
    with data_path(f"golden_public/{name}.jsonl").open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    assert found, f"{name}: no rows"
    return found


def float_of(bits: str) -> float:
    """The float64 with that IEEE 754 pattern."""
    return float(struct.unpack(">d", int(bits, 16).to_bytes(8, "big"))[0])


def is_site(coordinates: list[int]) -> bool:
    """All even or all odd."""
    return len({value % 2 for value in coordinates}) == 1
