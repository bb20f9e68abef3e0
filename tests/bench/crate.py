"""The OctaIndex3D crate as a peer: compiled by cargo when it is needed, called in this process."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.native.recorded import Sweep

PACKAGE = "octaindex3d"
VERSION = "0.5.7"
SOURCE = Path(__file__).with_name(PACKAGE)
BUILD_SECONDS = 900
FUNCTIONS = ("occupancy", "sums", "neighbors", "ids_new", "ids_run", "ids_free")

Task = Callable[[], object]


def built() -> dict[str, Any] | str:
    """The functions by name, or why they are not there."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return "no cargo"
    with tempfile.TemporaryDirectory() as folder:
        crate = shutil.copytree(SOURCE, Path(folder) / PACKAGE)
        environment = os.environ | {"RUSTFLAGS": "-C target-cpu=native", "CARGO_TARGET_DIR": folder}
        command = [cargo, "build", "--quiet", "--release"]
        try:
            subprocess.run(command, cwd=crate, env=environment, check=True, capture_output=True, text=True,
                           timeout=BUILD_SECONDS)  # fmt: skip
        except subprocess.CalledProcessError as error:
            return f"cargo: {error.stderr.strip().splitlines()[-1]}" if error.stderr.strip() else str(error)
        except subprocess.TimeoutExpired:
            return f"cargo: not built in {BUILD_SECONDS} s"
        (library,) = (
            file for suffix in ("so", "dylib") for file in Path(folder, "release").glob(f"*.{suffix}")
        )
        loaded = ctypes.CDLL(str(library))
    functions = {name: getattr(loaded, f"{PACKAGE}_{name}") for name in FUNCTIONS}
    for function in functions.values():
        function.restype = ctypes.c_size_t
    return functions


_built_once = functools.cache(built)


def call(name: str) -> Any:
    """One of the crate's functions; RuntimeError with the reason where it cannot be built."""
    functions = _built_once()
    if isinstance(functions, str):
        raise RuntimeError(functions)
    return functions[name]


def binning(half_edge_m: float, name: str) -> Callable[[Sweep], Task]:
    """Position to id to what a cell keeps: ``occupancy`` (log odds, count) or ``sums`` (count, x, y, z)."""
    function, scale = call(name), ctypes.c_double(1 / half_edge_m)

    def of(sweep: Sweep) -> Task:
        points, size = ctypes.c_void_p(sweep.points.ctypes.data), ctypes.c_size_t(len(sweep.points))
        return lambda: function(points, size, scale)

    return of


def neighbors(cell_id: NDArray[np.uint64]) -> Callable[[], int]:
    """Neighbours of every id, looked up in a hash map of the ids; returns how many are there."""
    function, size = call("neighbors"), ctypes.c_size_t(len(cell_id))
    return lambda: int(function(ctypes.c_void_p(cell_id.ctypes.data), size))
