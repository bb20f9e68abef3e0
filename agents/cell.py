"""What there is to know about one cell id, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from native import galactic128, lattice
from native.errors import OctaError
from native.kinds import MODULES, parse

DIGITS = {"galactic128": 32}
"""Hexadecimal digits of an id; 16 where a kind is not listed."""

NAMES = {"index64": "Index64", "route64": "Route64", "hilbert64": "Hilbert64", "galactic128": "Galactic128"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One id, taken apart.

    kind : a key of ``native.kinds.MODULES``
    value : the id as a number
    site : x, y, z in half edges of its LOD, signed
    fields : what else the id holds: frame, tier, lod, as far as the kind has them
    bech32m : its text; None for a kind that has none
    parent : one LOD coarser; None at LOD 0, and for a kind without a tree
    children : one LOD finer, those that are on the map; None for a kind without a tree
    neighbors : those of the 14 that are on the map, in their usual order
    """

    kind: str
    value: int
    site: tuple[int, int, int]
    fields: dict[str, int]
    bech32m: str | None
    parent: int | None
    children: list[int] | None
    neighbors: list[int]

    def hex(self, value: int | None = None) -> str:
        """This id, or another of its kind, as ``0x`` and all its digits."""
        return f"0x{self.value if value is None else value:0{DIGITS.get(self.kind, 16)}x}"


def read(text: str) -> Cell:
    """Take an id in any form apart: hexadecimal, decimal, or bech32m.

    Raises TextError (no such form), IdError (no kind has such bits), ParityError (no site)
    """
    try:
        kind, value = parse(text)
        module = MODULES[kind]
        ids = _array(kind, value)
        sites, *rest = module.decode(ids)
    except OctaError as error:
        raise type(error)(_about(text.strip(), error)) from None
    fields = {name: int(field[0]) for name, field in zip(module.Decoded._fields[1:], rest, strict=True)}
    has_tree = hasattr(module, "parent")
    return Cell(
        kind=kind,
        value=value,
        site=tuple(sites[0].tolist()),
        fields=fields,
        bech32m=module.to_text(value) if hasattr(module, "to_text") else None,
        parent=_values(kind, module.parent(ids))[0] if has_tree and fields["lod"] > 0 else None,
        children=_children(kind, module, sites, fields) if has_tree else None,
        neighbors=[near for near in _values(kind, module.neighbors(ids)[0]) if near],
    )


def to_json(cell: Cell) -> dict[str, Any]:
    """The keys of one line; a key that the kind lacks is left out, ids are texts as ``hex``."""
    x, y, z = cell.site
    found: dict[str, Any] = {"kind": cell.kind, **cell.fields, "x": x, "y": y, "z": z}
    found |= {"hex": cell.hex(), "decimal": str(cell.value)}
    if cell.bech32m is not None:
        found["bech32m"] = cell.bech32m
    if cell.children is not None:
        found["parent"] = None if cell.parent is None else cell.hex(cell.parent)
        found["children"] = [cell.hex(child) for child in cell.children]
    return found | {"neighbours": [cell.hex(near) for near in cell.neighbors]}


def json_lines(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """One line of JSON for each text that is not blank, and whether it is an id; if not, it says why."""
    for text in texts:
        plain = text.strip()
        if not plain:
            continue
        try:
            found = to_json(read(plain))
        except OctaError as error:
            yield json.dumps({"input": plain, "error": str(error)}), False
        else:
            yield json.dumps(found), True


def rows(cell: Cell, half_edge_lod0_m: float) -> list[tuple[str, str]]:
    """Names and values for people; places in metres on a ladder of LODs."""
    found = [("kind", NAMES[cell.kind]), ("hex", cell.hex()), ("decimal", str(cell.value))]
    if cell.bech32m is not None:
        found.append(("bech32m", cell.bech32m))
    found += [(name, str(value)) for name, value in cell.fields.items()]
    found.append(("site", _site_text(cell.site)))
    if "lod" in cell.fields:
        half_edge_m = half_edge_lod0_m / 2.0 ** cell.fields["lod"]
        x, y, z = (v * half_edge_m for v in cell.site)
        found.append(("center", f"{x:g} {y:g} {z:g} m, half edge {half_edge_m:g} m"))
    if cell.children is not None:
        found += _block("parent", cell, [] if cell.parent is None else [cell.parent])
        found += _block("children", cell, cell.children)
    return found + _block("neighbours", cell, cell.neighbors)


def _about(text: str, error: OctaError) -> str:
    """An error that names the id instead of an argument."""
    why = str(error)
    for name in ("text: ", "ids: ", f"{text!r}: ", f"{text.lower()}: "):
        why = why.removeprefix(name)
    return f"{text}: {why}"


def _block(name: str, cell: Cell, values: list[int]) -> list[tuple[str, str]]:
    if not values:
        return [(name, "none")]
    sites = MODULES[cell.kind].decode(_array(cell.kind, *values)).sites.tolist()
    lines = [f"{cell.hex(value)}  {_site_text(site)}" for value, site in zip(values, sites, strict=True)]
    return [(name if i == 0 else "", line) for i, line in enumerate(lines)]


def _site_text(site: Iterable[int]) -> str:
    return " ".join(map(str, site))


def _array(kind: str, *values: int) -> Any:
    return galactic128.from_ints(values) if kind == "galactic128" else np.array(values, np.uint64)


def _values(kind: str, ids: Any) -> list[int]:
    found: list[int] = galactic128.to_ints(ids) if kind == "galactic128" else ids.tolist()
    return found


def _children(kind: str, module: ModuleType, sites: Any, fields: dict[str, int]) -> list[int]:
    """Those on the map; the arrays' ``children`` refuse a cell that has others."""
    if fields["lod"] == module.LOD_MAX:
        return []
    below = 2 * sites.astype(np.int64) + lattice.children(np.zeros_like(sites))[0]
    inside = ((below >= module.COORDINATE_MIN) & (below <= module.COORDINATE_MAX)).all(axis=1)
    on_map = np.ascontiguousarray(below[inside].astype(np.int32))
    return _values(kind, module.encode(on_map, **(fields | {"lod": fields["lod"] + 1})))
