"""PLY files, ascii and binary: vertices of scans, maps and meshes.

A PLY file does not say whether its vertices are ends of rays, nor from where they were seen: hits only.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CodecError
from stream.sources.base import SourceOptions, one_line
from stream.sources.hit_files import HitFiles, open_hit_files
from stream.sources.pcd import MAX_POINTS

if TYPE_CHECKING:
    from plyfile import PlyElement

SUFFIX = ".ply"
MAX_HEADER_BYTES = 64 << 10
INTENSITY_NAMES = ("intensity", "scalar_intensity", "reflectance")
"""Properties that are the intensity, whatever their case; the second is CloudCompare's name."""


def open_ply(path: Path, options: SourceOptions) -> HitFiles:
    """A folder of PLY files in name order, or one file.

    Raises SourceError as ``open_hit_files``, ModuleNotFoundError without plyfile
    """
    return open_hit_files(path, options, format="ply", suffixes=(SUFFIX,), read=read_ply)


def read_ply(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Vertices float64 (N, 3) and intensity float32 (N,), zeros when the file has none.

    Raises CodecError, OSError
    """
    from plyfile import PlyData

    _check_header(path)
    try:
        data = PlyData.read(str(path))
        names = [element.name for element in data]
        if "vertex" not in names:
            raise CodecError(f"no element vertex; the header has {', '.join(names) or 'none'}")
        return _columns(data["vertex"])
    except (CodecError, OSError):
        raise
    except Exception as error:  # a damaged header makes parsers of plyfile and numpy raise nearly anything
        raise CodecError(f"cannot be read: {one_line(error)}") from error


def _check_header(path: Path) -> None:
    """A damaged header must not ask for all memory: plyfile makes room before it reads.

    Lines are taken apart as plyfile does it, which counts with what Python's ``int`` reads
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    if not start:
        raise CodecError("the file is empty")
    if start.split(maxsplit=1)[:1] != [b"ply"]:
        raise CodecError("not a PLY file: it does not begin with ply")
    newline = start[3:5] if start[3:5] == b"\r\n" else start[3:4]
    header, found, _ = start.partition(newline + b"end_header" + newline)
    if not found:
        raise CodecError(f"header: no end_header within {MAX_HEADER_BYTES} bytes")
    lines = header.decode("ascii", "replace").split(newline.decode("ascii", "replace"))
    keywords = [(line.split() or [""])[0] for line in lines]
    elements = [number for number, keyword in enumerate(keywords) if keyword == "element"]
    for first, end in pairwise([*elements, len(lines)]):
        _check_element(lines[first].split(), keywords[first:end].count("property"), size)


def _check_element(words: list[str], properties: int, size: int) -> None:
    """Raises CodecError for more than MAX_POINTS, or than a file of so many bytes holds.

    A property takes at least one byte in each row, and plyfile eight at most
    """
    try:
        count = int(words[-1])
    except ValueError:
        return  # no count is none that plyfile could take, and it says in which line
    if count > MAX_POINTS:
        raise CodecError(f"header: {' '.join(words):.80} exceeds the cap of {MAX_POINTS}")
    if count * max(properties, 1) > size:
        raise CodecError(f"header: {' '.join(words):.80}: the file has {size} bytes; write it anew")


def _columns(vertex: PlyElement) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    names = {item.name.lower(): item.name for item in vertex.properties}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise CodecError(
            f"vertex: no property {' '.join(missing)}; the header has {', '.join(names) or 'none'}"
        )
    found = [names[axis] for axis in "xyz"]
    if lists := [name for name in found if vertex.data.dtype[name].hasobject]:
        raise CodecError(f"vertex: property {' '.join(lists)} is a list; a number is expected")
    with np.errstate(invalid="ignore"):  # a signalling NaN is one as well
        coordinates = np.stack([np.array(vertex[name], np.float64) for name in found], axis=1)
    strength = next((names[name] for name in INTENSITY_NAMES if name in names), None)
    if strength is None or vertex.data.dtype[strength].hasobject:
        return coordinates, np.zeros(len(coordinates), np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and clamped where it is binned
        return coordinates, np.array(vertex[strength], np.float32)
