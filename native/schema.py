"""What the cells of a container hold: the lattice, the levels, and columns of the user's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.grid import Grid

Rule = Literal["sum", "least", "greatest", "latest"]
"""How the values of one cell become one, in any order and to the bit: their sum; the least or the greatest of
each value on its own; the values of the newest record, and of equally new ones the greatest."""

RULES: dict[str, int] = {
    "sum": lib.OCTA_RULE_SUM,
    "least": lib.OCTA_RULE_LEAST,
    "greatest": lib.OCTA_RULE_GREATEST,
    "latest": lib.OCTA_RULE_LATEST,
}
NEUTRAL: dict[str, int] = {"sum": 0, "least": 2**63 - 1, "greatest": -(2**63), "latest": -(2**63)}
"""What is held where a cell has no value: it changes nothing that it is merged with."""

OWN_NAMES = frozenset({"cell_id", "hits", "passes", "free_passes", "free_misses", "sums"})
MAX_COLUMNS: int = lib.OCTA_MAX_COLUMNS
MAX_WIDTH: int = lib.OCTA_MAX_WIDTH
VERSION = 1


class MismatchError(ValueError):
    """Cells of another lattice, other levels or other columns than expected; says what differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the user's own: a scalar, a vector, or counts by category.

    name : unlike those of the other columns
    rule : how the values of one cell become one
    width : values of a cell, 1 for a scalar
    unit : what 1 stands for; values are held as whole numbers of units, rounded to the nearest
    categories : names; then the column counts how often each was given (a sum, of unit 1, a value a category)
    Raises ValueError, with the field's name
    """

    name: str
    rule: Rule = "sum"
    width: int = 1
    unit: float = 1.0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or self.name in OWN_NAMES or "." in self.name:
            raise ValueError(
                f"name: {self.name!r} is empty, has a dot, or is a column of the container's own"
            )
        if self.rule not in get_args(Rule):
            raise ValueError(f"{self.name}.rule: {self.rule!r} must be one of {', '.join(RULES)}")
        if not 1 <= self.width <= MAX_WIDTH:
            raise ValueError(f"{self.name}.width: {self.width} must be 1..{MAX_WIDTH}")
        if not 1e-12 <= self.unit <= 1e12:
            raise ValueError(f"{self.name}.unit: {self.unit} must be 1e-12..1e12")
        if self.categories:
            self._check_categories()

    def _check_categories(self) -> None:
        if len(set(self.categories)) != len(self.categories) or len(self.categories) > MAX_WIDTH:
            raise ValueError(f"{self.name}.categories: must be at most {MAX_WIDTH} different names")
        if (self.rule, self.width, self.unit) != ("sum", 1, 1.0):
            raise ValueError(f"{self.name}.categories: counts have rule 'sum', width 1 and unit 1")

    @property
    def stored(self) -> int:
        """Whole numbers that a cell holds: those of the latest rule begin with the stamp."""
        return (len(self.categories) or self.width) + (self.rule == "latest")

    def empty(self, n: int) -> NDArray[np.int64]:
        """What n cells without a value hold, int64 (n, stored)."""
        return np.full((n, self.stored), NEUTRAL[self.rule], np.int64)

    def encode(self, values: NDArray[Any], stamp_ns: int = 0) -> NDArray[np.int64]:
        """Values as they are held, int64 (N, stored).

        values : (N,) or (N, width) numbers, NaN for none; of categories integers (N,), their place, -1 for
            none, or counts (N, categories)
        stamp_ns : of the record, for the latest rule
        Raises ValueError for another shape, or values that are infinite or not a place of a category
        """
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim == 0:
            kind = getattr(values, "dtype", type(values).__name__)
            raise TypeError(f"{self.name}: expected an array of numbers, got {kind}")
        if self.categories:
            return self._encode_categories(values)
        wide = values[:, None] if values.ndim == 1 else values
        if wide.shape != (len(values), self.width):
            raise ValueError(
                f"{self.name}: expected shape ({len(values)}, {self.width}), got {tuple(values.shape)}"
            )
        out = self.empty(len(values))
        if np.issubdtype(wide.dtype, np.integer) and self.unit == 1.0:
            given = np.ones(wide.shape, np.bool_)
            whole = wide.astype(np.int64)
        else:
            whole, given = self._round(wide)
        if self.rule == "latest":
            rows = given.all(axis=1)
            out[rows, 0], out[rows, 1:] = stamp_ns, whole[rows]
        else:
            out[given] = whole[given]
        return out

    def _round(self, values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Values in units, and where there is one."""
        units = values.astype(np.float64) / self.unit
        given = ~np.isnan(units)
        if not (np.abs(units[given]) < 2.0**62).all():
            raise ValueError(f"{self.name}: values must be below 2^62 units of {self.unit}")
        return np.rint(np.where(given, units, 0.0)).astype(np.int64), given

    def _encode_categories(self, values: NDArray[Any]) -> NDArray[np.int64]:
        count = len(self.categories)
        if not np.issubdtype(values.dtype, np.integer) or values.ndim not in {1, 2}:
            raise ValueError(f"{self.name}: expected integers (N,) or (N, {count}), got {values.dtype}")
        if values.ndim == 2:
            if values.shape[1] != count or (len(values) and values.min() < 0):
                raise ValueError(
                    f"{self.name}: expected counts >= 0 of {count} categories, got {values.shape}"
                )
            return values.astype(np.int64)
        if len(values) and not -1 <= values.min() <= values.max() < count:
            raise ValueError(
                f"{self.name}: places must be -1..{count - 1}, got {values.min()}..{values.max()}"
            )
        of: NDArray[np.bool_] = values[:, None] == np.arange(count)
        return of.astype(np.int64)

    def decode(self, stored: NDArray[np.int64]) -> NDArray[Any]:
        """Values again: float64 (N,) or, of a vector, (N, width), NaN for none; counts int64 (N, C)."""
        if self.categories:
            return stored
        values = stored[:, 1:] if self.rule == "latest" else stored
        none = stored[:, :1] if self.rule == "latest" else stored
        absent = (none == NEUTRAL[self.rule]) & (self.rule != "sum")
        out = np.where(absent, np.nan, values * self.unit)
        return out[:, 0] if self.width == 1 else out


def most_frequent(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the category given most often, the first of equals, -1 where none was; int64 (N,)."""
    if counts.shape[1] == 0:
        return np.full(len(counts), -1, np.int64)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What makes the cells of two containers comparable: equal schemas, equal meaning.

    half_edge_m, frame, tier, lod, intensity_max : of the finest level, as in ``Grid``
    levels : 1..7, the finest and coarser ones; free_level : levels above the finest that holds free cells
    """

    half_edge_m: float
    frame: int
    tier: int
    lod: int
    intensity_max: float
    levels: int = 1
    free_level: int = 0
    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names) or len(names) > MAX_COLUMNS:
            raise ValueError(f"columns: must be at most {MAX_COLUMNS} of different names, got {names}")

    @classmethod
    def of(cls, grid: Grid, levels: int, free_level: int, columns: tuple[Column, ...]) -> Schema:
        """The schema of a container on a grid."""
        return cls(
            half_edge_m=grid.half_edge_m,
            frame=grid.frame,
            tier=grid.tier,
            lod=grid.lod,
            intensity_max=grid.intensity_max,
            levels=levels,
            free_level=free_level,
            columns=columns,
        )

    def to_json(self) -> str:
        """One text for one schema."""
        return json.dumps(
            {"version": VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """The schema of a text; raises MismatchError for one that is not of this version."""
        try:
            values = json.loads(text)
            if values.pop("version") != VERSION:
                raise ValueError(f"expected version {VERSION}")
            columns = tuple(
                Column(**{**column, "categories": tuple(column["categories"])})
                for column in values.pop("columns")
            )
            return cls(**values, columns=columns)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MismatchError(f"schema: not one of a container: {error}") from error

    @property
    def digest(self) -> str:
        """Sha256 of the text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def require_equal(self, other: Schema) -> None:
        """Raises MismatchError, naming the first field of the other that differs."""
        for name in self.__slots__:
            mine, given = getattr(self, name), getattr(other, name)
            if mine != given:
                raise MismatchError(f"{name}: expected {mine}, got {given}")

    @property
    def stored(self) -> int:
        """Whole numbers that a cell holds in all of the user's columns."""
        return sum(column.stored for column in self.columns)
