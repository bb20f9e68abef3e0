"""Files that are foreign: what each is called, which whole ones lie beside it, and who reads it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.recorded_models import ActivationsError, read_activations
from models.datasets.sequential import SequentialContainer
from models.datasets.stored import StoredContainer, StoredError, grids_of
from models.graphs.columns import FeatureError
from models.manifest import Manifest, ModelRefused
from models.training_sets.manifest import TrainingSetError
from models.training_sets.read import TrainingSet
from native.schema import MismatchError
from stream.annotations.base import AnnotationError
from stream.annotations.scene import read_scene
from stream.annotations.semantic_kitti import open_label_folder, read_names
from stream.annotations.tracklets import read_tracklets
from stream.config import load_config
from stream.config_errors import ConfigError
from stream.container_file import read_containers
from stream.label_files import Defaults, LabelFileError, read_label_file
from stream.labels import read_labels
from stream.sources import open_source
from stream.sources.base import SourceError, SourceOptions
from stream.sweep import Sweep
from stream.tables import TableError
from tests.decoders.names import LOGS, PART_FILE
from tests.decoders.seeds import seeds_of
from tests.models.graphs.containers import GRID

ITEMS = 200
"""Of a log; what follows is decoded by the same code."""
STEM = "foreign__1532402927647951"
"""With a stamp, as names of nuScenes have it."""

TOP_M = GRID.half_edge_m * 2.0**GRID.lod
"""Half an edge at LOD 0 of the lattice that cells are written on."""

Read = Callable[[Path], bool]
"""Whether a path came to what it is read for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A kind of file.

    name : below its folder, the way a reader expects it; read : given the file, or with ``whole_folder`` its
    folder; errors : written for people; beside : by name, whose first whole input lies there
    """

    name: str
    read: Read
    errors: tuple[type[Exception], ...]
    beside: Mapping[str, str] = field(default_factory=dict)
    whole_folder: bool = False


def read_log(path: Path) -> bool:
    """Whether a log holds a sweep, looked for in its first items."""
    source = open_source(str(path), SourceOptions(rate_hz=10))
    source.info()
    return sum(isinstance(item, Sweep) for item in itertools.islice(source, ITEMS)) > 0


def read_words(path: Path) -> bool:
    """Whether a file of labels says anything."""
    return bool(read_label_file(path, Defaults(robot_id="robot", author="ann", stamp_ns=1), None)[0])


def read_stored(path: Path) -> bool:
    """Whether a stored container, read by windows and by cells, holds outcomes and cells."""
    known = sum(
        window.outcomes() is not None
        for grid in grids_of(path)
        for window in StoredContainer(path, grid.frame, grid.lod)
    )
    return known > 0 and read_cells(path)


def read_cells(path: Path, half_edge_lod0_m: float | None = None) -> bool:
    """Whether a container holds cells."""
    container = SequentialContainer.open(path, half_edge_lod0_m=half_edge_lod0_m)
    return len(container) > 0


def read_training_set(path: Path) -> bool:
    """The rows of a training set."""
    rows: int = sum(batch.num_rows for batch in TrainingSet(path).batches())
    return rows > 0


LOG = partial(File, read=read_log, errors=(SourceError,))
POSES = {"poses.txt": "poses"}
BESIDE: Mapping[str, Mapping[str, str]] = {
    ".pcd": POSES, ".pcd.bin": POSES, ".bin": POSES, ".npy": {"volume.yaml": "volume"},
}  # fmt: skip
LABELS = partial(File, read=read_words, errors=(LabelFileError,))
STORED = partial(File, errors=(StoredError, MismatchError, FeatureError))
ANNOTATED = partial(File, errors=(AnnotationError,))

FILES: dict[str, File] = {
    **{
        name: LOG(name=f"{STEM}{suffix}", beside=BESIDE.get(suffix, {})) for suffix, name in LOGS.items()
    },
    "poses": LOG(name="poses.txt", beside={"a.bin": LOGS[".bin"]}, whole_folder=True),
    "stamps": LOG(name="timestamps.txt", beside={"a.bin": LOGS[".bin"]} | POSES, whole_folder=True),
    "volume": LOG(name="volume.yaml", beside={"a.npy": LOGS[".npy"]}, whole_folder=True),
    "bag": LOG(name="metadata.yaml", beside={"bag.db3": LOGS[".db3"]}, whole_folder=True),
    "packed-files": LOG(name="bag.db3.zstd", beside={"metadata.yaml": "says-files"}, whole_folder=True),
    "packed-messages": LOG(name="bag.db3", beside={"metadata.yaml": "says-messages"}, whole_folder=True),
    "labels-csv": LABELS(name="labels.csv"),
    "labels-jsonl": LABELS(name="labels.jsonl"),
    "labels-parquet": LABELS(name="labels.parquet"),
    "words": File(
        name="labels/000.parquet", read=lambda run: bool(len(read_labels(run))), errors=(TableError,),
        whole_folder=True,
    ),
    "tracklets": ANNOTATED(name="tracklet_labels.xml", read=lambda path: bool(read_tracklets(path).classes)),
    "scene": ANNOTATED(
        name="scene.mcap", read=lambda path: bool(read_scene(path).boxes),
        errors=(AnnotationError, SourceError),
    ),
    "points": ANNOTATED(
        name="000000.label", read=lambda path: bool(len(open_label_folder(path.parent).read(path)[0])),
    ),
    "classes": ANNOTATED(name="names.yaml", read=lambda path: bool(read_names(path))),
    "binned": File(
        name="000.arrow", read=lambda path: sum(len(r.cell_id) for r in read_containers(path)) > 0,
        errors=(TableError,),
    ),
    "cells": STORED(name="cells.octa", read=partial(read_cells, half_edge_lod0_m=TOP_M)),
    "container": STORED(name="cells.arrow", read=read_stored),
    "container-parts": STORED(
        name="parts.json", read=read_stored, beside={"part-00000.arrow": "container"}, whole_folder=True
    ),
    "training-set": File(
        name="_manifest.json", read=read_training_set, errors=(TrainingSetError,),
        beside={PART_FILE: "training-part"}, whole_folder=True,
    ),
    "training-part": File(
        name=PART_FILE, read=read_training_set, errors=(TrainingSetError,),
        beside={"_manifest.json": "training-set"}, whole_folder=True,
    ),
    "activations": File(
        name="events.jsonl", read=lambda path: bool(read_activations(path).activated),
        errors=(ActivationsError,),
    ),
    "config": File(name="octa.yaml", read=lambda path: bool(load_config(path, [])), errors=(ConfigError,)),
    "manifest": File(
        name="manifest.json", read=lambda path: bool(Manifest.from_json(path.read_bytes())),
        errors=(ModelRefused,),
    ),
}  # fmt: skip
"""By the name of the target."""


def give_file(target: str, data: bytes) -> bool:
    """A file among its neighbours: whether it came to what it is read for; a log's error is one line."""
    file, folder = FILES[target], _folder(target)
    path = folder / file.name
    path.write_bytes(data)
    try:
        return file.read(folder if file.whole_folder else path)
    except file.errors as error:
        assert str(error)
        if isinstance(error, SourceError):
            assert "foreign" in str(error) and len(str(error).splitlines()) == 1, error
        return False


@cache
def _folder(target: str) -> Path:
    """Of a target, with what lies beside its file."""
    folder = Path(_room().name) / "foreign" / target
    for name, neighbour in {FILES[target].name: target, **FILES[target].beside}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(seeds_of(neighbour)[0])
    return folder


@cache
def _room() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="octastream-fuzz-")
