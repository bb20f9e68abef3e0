"""The lattice of a map, as the C core takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from native._octa import ffi


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Lattice and sensor range.

    half_edge_m : half the cubic edge, metres, >= 0.001
    frame, tier, lod : fields of the cell ids; 0..255, 0..3, 0..15
    range_min_m, range_max_m : returns outside are rays but fill no cell
    intensity_max : intensity that counts as 1
    """

    half_edge_m: float
    frame: int = 0
    tier: int = 0
    lod: int = 7
    range_min_m: float = 3.0
    range_max_m: float = 40.0
    intensity_max: float = 1.0

    def __post_init__(self) -> None:
        for name, top in (("frame", 255), ("tier", 3), ("lod", 15)):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name}: {getattr(self, name)!r} must be 0..{top}")

    def fill(self, struct: Any) -> None:
        """Copy the values into a C ``octa_grid``."""
        for name in self.__slots__:
            setattr(struct, name, getattr(self, name))

    def to_c(self) -> Any:
        """A new C ``octa_grid``."""
        struct = ffi.new("octa_grid *")
        self.fill(struct)
        return struct
