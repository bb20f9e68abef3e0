"""Operations on many ids as the OctaIndex3D crate offers them, called in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tests.bench import crate


@dataclass(frozen=True)
class Way:
    """One of the crate's ways to an operation.

    number : what ``octaindex3d_ids_run`` calls it
    per_id : values that it makes of an id away from the edge of the map
    same : it makes what ours makes; else another rule, listed beside it
    """

    number: int
    per_id: int = 1
    same: bool = True


ASIDE = (0.3, -0.2, 0.1)
"""From a site to a position that is nearest to it, half edges: the crate's positions are made so."""

WAYS: dict[str, dict[str, Way]] = {
    "positions to ids": {"Lattice::physical_to_lattice, Index64::new": Way(15)},
    "encode": {
        "batch_index64_encode": Way(0),
        "BatchIndexBuilder": Way(1),
        "Index64::new": Way(2),
    },
    "decode": {
        "batch_index64_decode, coordinates alone": Way(3),
        "decode_coords, frame_id, scale_tier, lod": Way(4),
    },
    "parent": {"Lattice::get_parent": Way(6), "Index64::parent, octree": Way(5, same=False)},
    "children": {
        "Lattice::get_children": Way(8, 8),
        "Index64::children, octree": Way(7, 8, same=False),
    },
    "neighbours": {"neighbors_index64": Way(9, 14)},
    "neighbours, Route64": {"batch_neighbors_auto": Way(10, 14), "batch_neighbors_fast": Way(11, 14)},
    "ring of 2, Route64": {"BccGrid::k_ring": Way(12, 65)},
    "to text": {"to_bech32m": Way(13)},
    "from text": {"from_bech32m": Way(14)},
}
"""By operation and name."""


class CrateIds:
    """The same cells as the crate holds them, for the length of a ``with``.

    sites : int32 (N, 3), -32768..32767; lod : of the ids, whose frame and tier are 0
    Raises RuntimeError with the reason where the crate cannot be built
    """

    def __init__(self, sites: NDArray[np.int32], lod: int) -> None:
        self._run, self._free = crate.call("ids_run"), crate.call("ids_free")
        self._sites = np.ascontiguousarray(sites)
        address = crate.call("ids_new")(
            ctypes.c_void_p(self._sites.ctypes.data), ctypes.c_size_t(len(sites)), ctypes.c_uint8(lod)
        )
        self._ids = ctypes.c_void_p(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free(self._ids)

    def task(self, way: Way) -> Callable[[], int]:
        """Run an operation; returns how many values it made."""
        number, nothing = ctypes.c_uint32(way.number), ctypes.c_size_t(0)
        return lambda: int(self._run(self._ids, number, None, nothing))

    def result(self, way: Way) -> NDArray[np.uint64]:
        """What an operation makes."""
        out = np.empty(way.per_id * len(self._sites), np.uint64)
        pointer = ctypes.c_void_p(out.ctypes.data)
        made = int(self._run(self._ids, ctypes.c_uint32(way.number), pointer, ctypes.c_size_t(len(out))))
        if made != len(out):
            raise AssertionError(f"the crate made {made} values of {len(self._sites)} ids, not {len(out)}")
        return out
