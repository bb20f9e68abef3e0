"""The manifest of a training set: which files it consists of, and what was built into it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

MANIFEST = "_manifest.json"
"""Readers of Parquet leave out files whose names begin so."""

NEXT = "_manifest.next.json"
"""The manifest that is being published: once it is there, publication is completed by whoever comes next."""

VERSION = 1
MAX_BYTES = 2**28

_FILE = re.compile(r"date=\d{4}-\d\d-\d\d/region=[0-9a-z]{1,64}/lod=\d{1,2}/part-\d{5}-\d{5}\.parquet")


class TrainingSetError(ValueError):
    """A training set that cannot be read or changed as asked; says what is wrong, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file.  file : below the set's folder; rows; bytes; sha256 : of the file, as hex"""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What one build brought.

    source : the run, as it was named; where : the expression that chose cells, "" for all
    sweeps : stamps by stream, of those that are in the set now
    """

    source: str
    where: str
    sweeps: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A training set.

    region_lod : partitions are ancestors of the cells at this LOD
    builds : in their order; parts : ascending by name
    """

    region_lod: int
    builds: tuple[Build, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def known(self) -> set[tuple[str, int]]:
        """Stream and stamp of every sweep that was built."""
        return {
            (stream, stamp)
            for build in self.builds
            for stream, stamps in build.sweeps.items()
            for stamp in stamps
        }

    def with_parts(self, parts: Mapping[str, Part], *builds: Build) -> Manifest:
        """This one with parts added, or in place of those of the same file."""
        all_parts = {part.file: part for part in self.parts} | dict(parts)
        ordered = tuple(all_parts[name] for name in sorted(all_parts))
        return replace(self, parts=ordered, builds=(*self.builds, *builds))

    def to_json(self) -> str:
        """The manifest as text, the same for equal ones."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n"


def read_manifest(root: Path, name: str = MANIFEST) -> Manifest:
    """The manifest in a set's folder.

    Raises TrainingSetError where there is none, or it is damaged, or names files elsewhere
    """
    path = root / name
    if not path.is_file():
        raise TrainingSetError(f"{root}: has no {name}, so it is no training set, or building it was cut off")
    if path.stat().st_size > MAX_BYTES:
        raise TrainingSetError(f"{path}: has {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    try:
        return _parsed(json.loads(path.read_bytes()))
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise TrainingSetError(f"{path}: damaged: {' '.join(str(error).split())[:200]}") from error


def _parsed(values: dict[str, Any]) -> Manifest:
    if values["version"] != VERSION:
        raise ValueError(f"version {values['version']!r}, this release reads version {VERSION}")
    parts = tuple(
        Part(file=_file(item["file"]), rows=_count(item["rows"]), bytes=_count(item["bytes"]),
             sha256=str(item["sha256"]))
        for item in values["parts"]
    )  # fmt: skip
    builds = tuple(
        Build(
            source=str(item["source"]),
            where=str(item["where"]),
            sweeps={name: tuple(map(int, stamps)) for name, stamps in item["sweeps"].items()},
        )
        for item in values["builds"]
    )
    region_lod = _count(values["region_lod"])
    if region_lod > 15:
        raise ValueError(f"region_lod {region_lod}, must be 0..15")
    return Manifest(region_lod=region_lod, builds=builds, parts=parts)


def _file(name: Any) -> str:
    """A name that lies within the set, whoever wrote it."""
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise ValueError(f"part {name!r}, expected date=…/region=…/lod=…/part-….parquet")
    return name


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r}, expected a whole number that is not negative")
    return value
