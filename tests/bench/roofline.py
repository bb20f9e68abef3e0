"""What binning cannot be faster than, measured: ``snap_only.c``, compiled when it is needed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from native.build_ffi import FLAGS
from tests.data import ROOT
from tests.native.recorded import Sweep

WAYS = {"snap only, plain C": 0, "snap only, core's AVX2": 1, "reading only": 2}
"""Of touching every point of a sweep without binning it."""


class Grid(ctypes.Structure):
    """``octa_grid``."""

    _fields_ = (
        ("half_edge_m", ctypes.c_double),
        ("frame", ctypes.c_uint8),
        ("tier", ctypes.c_uint8),
        ("lod", ctypes.c_uint8),
        ("range_min_m", ctypes.c_double),
        ("range_max_m", ctypes.c_double),
        ("intensity_max", ctypes.c_double),
    )


class Roofline:
    """The compiled functions; needs a C compiler (``CC``, else gcc)."""

    def __init__(self) -> None:
        core = ROOT / "native" / "src"
        sources = [Path(__file__).with_name("snap_only.c")]
        sources += [core / f"{name}.c" for name in ("pointblock", "sensor", "pose", "lattice")]
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "snap_only.so"
            includes = [f"-I{core}", f"-I{ROOT / 'native' / 'include'}"]
            command = [os.environ.get("CC", "gcc"), *FLAGS, "-fPIC", "-shared", *includes]
            subprocess.run([*command, *map(str, sources), "-lm", "-o", str(library)], check=True)
            self._call = ctypes.CDLL(str(library)).snap_only

    def task(self, way: str, half_edge_m: float, sweep: Sweep) -> Callable[[], None] | None:
        """The work of one way on one sweep, None where this machine has no such way."""
        grid = Grid(half_edge_m=half_edge_m, range_max_m=1000.0, intensity_max=1.0)
        check = ctypes.c_uint64()
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (sweep.points, sweep.intensity)]
        pose = ctypes.c_void_p(sweep.pose.ctypes.data)
        size = ctypes.c_size_t(len(sweep.points))
        arguments = (WAYS[way], ctypes.byref(grid), *pointers, size, pose, ctypes.byref(check))
        if self._call(*arguments):
            return None

        def run(_kept: Sweep = sweep) -> None:  # the pointers alone do not keep its arrays
            self._call(*arguments)

        return run
