"""SemanticKITTI ``.label`` files: a uint32 a point, low 16 bits its class, high 16 bits its instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.annotations.base import AnnotationError
from stream.annotations.cell_labels import NO_CLASS
from stream.plain_yaml import read_yaml
from stream.sources.sweep_files import list_files

SUFFIX = ".label"
UNLABELED = 0

NAMES: Mapping[int, str] = {
    1: "outlier", 10: "car", 11: "bicycle", 13: "bus", 15: "motorcycle", 16: "on-rails", 18: "truck",
    20: "other-vehicle", 30: "person", 31: "bicyclist", 32: "motorcyclist", 40: "road", 44: "parking",
    48: "sidewalk", 49: "other-ground", 50: "building", 51: "fence", 52: "other-structure",
    60: "lane-marking", 70: "vegetation", 71: "trunk", 72: "terrain", 80: "pole", 81: "traffic-sign",
    99: "other-object",
    252: "moving-car", 253: "moving-bicyclist", 254: "moving-person", 255: "moving-motorcyclist",
    256: "moving-on-rails", 257: "moving-bus", 258: "moving-truck", 259: "moving-other-vehicle",
}  # fmt: skip
"""Classes of SemanticKITTI by their number in a file; 0 is no label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFolder:
    """The label files of a log, a sweep each, in name order.

    names : classes by number
    """

    paths: tuple[Path, ...]
    names: Mapping[int, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of their numbers."""
        return tuple(self.names[number] for number in sorted(self.names))

    def read(self, path: Path) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """Class of every point, int32 (N,), place among ``classes``, -1 for none; and instance, uint32 (N,).

        Raises AnnotationError for a size that is no multiple of 4, or a class without a name; OSError
        """
        content = path.read_bytes()
        if len(content) % 4:
            raise AnnotationError(f"{path}: {len(content)} bytes are not a multiple of 4 (uint32 a point)")
        values = np.frombuffer(content, "<u4")
        number, instance = (values & 0xFFFF).astype(np.int32), values >> 16
        code_of = np.full(2**16, NO_CLASS - 1, np.int32)
        code_of[UNLABELED] = NO_CLASS
        code_of[sorted(self.names)] = np.arange(len(self.names))
        code = code_of[number]
        if (code < NO_CLASS).any():
            point = int(np.argmin(code))
            raise AnnotationError(
                f"{path}: point {point}: class {number[point]} has no name; give those of the data set with "
                "--names FILE.yaml"
            )
        return code, instance.astype(np.uint32)


def open_label_folder(path: Path, names: Mapping[int, str] = NAMES) -> LabelFolder:
    """The label files of a folder, or of ``labels`` in it.  Raises AnnotationError where there are none"""
    for folder in (path, path / "labels"):
        if folder.is_dir() and (found := list_files(folder, SUFFIX)):
            return LabelFolder(paths=tuple(found), names=names)
    raise AnnotationError(f"{path}: holds no {SUFFIX} files")


def read_names(path: Path) -> dict[int, str]:
    """Classes by number from ``labels`` of a YAML file, as ``semantic-kitti.yaml`` has them; 0 is no label.

    Raises AnnotationError for other content, OSError
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AnnotationError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    labels = values.get("labels") if isinstance(values, dict) else None
    if not isinstance(labels, dict):
        raise AnnotationError(f"{path}: has no mapping labels, of numbers to names")
    for number, name in labels.items():
        if not (isinstance(number, int) and 0 <= number < 2**16 and isinstance(name, str) and name):
            raise AnnotationError(
                f"{path}: labels: {number!r}: {name!r}: expected a number 0..65535 and a name"
            )
    named = {number: name for number, name in labels.items() if number != UNLABELED}
    twice = [name for name, count in Counter(named.values()).items() if count > 1]
    if twice:
        raise AnnotationError(f"{path}: labels: {twice[0]!r} is the name of several numbers")
    return named
