"""Small whole files of each kind, as the tests of the kind write them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import yaml
from mcap.writer import CompressionType
from rosbags.rosbag2 import CompressionMode

from models.training_sets.manifest import read_manifest
from native.index64 import to_text
from stream.annotations.semantic_kitti import NAMES
from stream.config import load_config, to_dict
from stream.container_file import write_containers
from stream.records import Binned, LabelGiven
from stream.run_folder import container_table
from stream.tables import binned_to_batch, label_table
from tests.data import ROOT
from tests.decoders.names import LOGS, PART_FILE
from tests.models.datasets import stores
from tests.models.datasets.test_sequential import v1
from tests.models.graphs.containers import random_ids
from tests.models.training_sets.rows import training_set
from tests.stream import test_las, test_mcap, test_nuscenes, test_pcd, test_ply, test_rosbag2
from tests.stream.annotations import test_files

SHARE = 0.02
"""Of the cells of a small grid."""
IDS = random_ids(1, SHARE)
MODES = (CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE)
POSE = b"1 0 0 0.5 0 1 0 0 0 0 1 1.8\n"
STAMP = b"2011-09-26 13:02:25.594360375\n"
GEOMETRY = b"origin: [-4, 2, 0.5]\nresolution: 0.25\n"
ACTIVATION = {
    "event": "activated", "robot_id": "robot", "stream_id": "robot/lidar", "stamp_ns": 5,
    "model_id": "m1", "sha256": "ab",
}  # fmt: skip


def file_seeds(binned: list[Binned], given: LabelGiven) -> dict[str, list[bytes]]:
    """Whole files by target.  binned, given : records of a run's files"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return _logs(folder) | _labels(folder, given) | _stored(folder, binned) | _texts()


def _logs(folder: Path) -> dict[str, list[bytes]]:
    places = np.random.default_rng(1).normal(0, 5, (20, 4)).astype(np.float32)
    occupied = np.zeros((4, 3, 2), np.bool_)
    occupied[0, 1, 1] = occupied[3, 2, 0] = True
    texts = [test_ply.write(folder / f"{text}.ply", test_ply.vertices(), text) for text in (True, False)]
    logs = [
        test_mcap.write(folder / f"{kind.value}.mcap", test_mcap.drive(3), compression=kind)
        for kind in CompressionType
    ]
    bag, *packed = (_bag(folder / mode.name, mode) for mode in MODES)
    found = {
        ".pcd": [test_pcd.pcd(places, encoding) for encoding in test_pcd.ENCODINGS],
        ".pcd.bin": [test_nuscenes.table_of(0).tobytes()],
        ".ply": [path.read_bytes() for path in texts],
        ".las": [test_las.write(folder / "a.las").read_bytes()],
        ".laz": [test_las.write(folder / "a.laz").read_bytes()],
        ".mcap": [Path(log).read_bytes() for log in logs],
        ".db3": [bag["bag.db3"]],
        ".bin": [places.tobytes()],
        ".npy": [_saved(np.save, occupied)],
        ".npz": [_saved(np.savez, occupancy=occupied, origin=[-4, 2, 0.5], resolution=0.25)],
    }
    return {LOGS[suffix]: seeds for suffix, seeds in found.items()} | {
        "bag": [bag["metadata.yaml"]],
        "packed-files": [packed[0]["bag.db3.zstd"]],
        "packed-messages": [packed[1]["bag.db3"]],
        "says-files": [packed[0]["metadata.yaml"]],
        "says-messages": [packed[1]["metadata.yaml"]],
    }


def _bag(folder: Path, mode: CompressionMode) -> dict[str, bytes]:
    """Files of a bag by name."""
    folder.mkdir()
    bag = Path(test_rosbag2.write(folder / "bag", test_mcap.drive(3), compression=mode))
    return {path.name: path.read_bytes() for path in bag.iterdir()}


def _labels(folder: Path, given: LabelGiven) -> dict[str, list[bytes]]:
    cells = [str(IDS[0]), to_text(int(IDS[1]))]
    rows = {"cell_id": cells, "label": ["car", "tree"], "weight": ["1", "0.5"], "at_ns": ["0", "7"]}
    table, lines = (
        pa.table(rows),
        [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)],
    )
    scene = test_files.scene([{"id": "a"}, {"id": "b"}])
    poses = [test_files.POSE.format(x=x, rx=0, yaw=0.5) for x in (10, 11)]
    return {
        "labels-csv": [_saved(lambda file: pa.csv.write_csv(table, file))],
        "labels-jsonl": ["".join(f"{json.dumps(line)}\n" for line in lines).encode()],
        "labels-parquet": [_saved(lambda file: pa.parquet.write_table(table, file))],
        "words": [_saved(lambda file: pa.parquet.write_table(label_table(given), file))],
        "tracklets": [test_files.tracklets(*poses).encode()],
        "scene": [test_files.logged(folder / "scene.mcap", scene).read_bytes()],
        "points": [np.array([10, 0, 40 | 3 << 16], "<u4").tobytes()],
        "classes": [yaml.safe_dump({"labels": {0: "unlabeled", **NAMES}}).encode()],
    }


def _stored(folder: Path, binned: list[Binned]) -> dict[str, list[bytes]]:
    whole = stores.store(folder / "cells", [stores.window(1, SHARE)])
    rows = training_set(folder / "set", range(1))
    said = read_manifest(rows)
    own = replace(said, parts=(replace(said.parts[0], file=PART_FILE),))
    write_containers(folder / "binned.arrow", container_table([binned_to_batch(record) for record in binned]))
    (part,) = whole.glob("*.arrow")
    return {
        "binned": [(folder / "binned.arrow").read_bytes()],
        "cells": [v1(IDS.astype(">u8").tobytes(), IDS[:1].astype(">u8").tobytes())],
        "container": [part.read_bytes()],
        "container-parts": [(whole / "parts.json").read_bytes()],
        "training-set": [own.to_json().encode()],
        "training-part": [(rows / said.parts[0].file).read_bytes()],
    }


def _texts() -> dict[str, list[bytes]]:
    return {
        "poses": [POSE],
        "stamps": [STAMP],
        "volume": [GEOMETRY],
        "activations": [json.dumps(ACTIVATION).encode() + b"\n"],
        "config": [
            yaml.safe_dump(to_dict(load_config(None, []))).encode(),
            b"grid: {lod: 9}\nlearn:\n  enabled: false\n",
        ],
        "manifest": [path.read_bytes() for path in sorted((ROOT / "models").rglob("manifest.json"))],
    }


def _saved(save: Callable[..., Any], *values: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()
