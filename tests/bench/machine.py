"""The machine that a benchmark runs on: one core of it, and what to write beside the numbers."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

THREADS = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS", "ARROW")
}
"""Read by libraries when they are loaded."""

VECTOR_FLAGS = ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")
VERSIONED = ("octastream", "numpy", "onnxruntime", "onnx", "torch", "river", "pyarrow", "cffi")


def restart_on_one_core(module: str) -> None:
    """Run this module again on one core with one thread in every library; returns in the process that is so.

    module : name to run with ``python -m``; the arguments are kept
    The core is the last one this process may use; without affinity (macOS) only the threads are limited.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if all(os.environ.get(name) == value for name, value in THREADS.items()):
        return
    os.environ.update(THREADS)
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def describe() -> dict[str, Any]:
    """Processor, caches, cores, vector instructions, load and versions."""
    return {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "pinned_to": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "caches": _caches(),
        "vector_flags": _vector_flags(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in VERSIONED},
    }


def load() -> float:
    """Processes that ran or waited for a core, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_info(key: str) -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _cpu_model() -> str:
    family = "/".join(_cpu_info(key) for key in ("cpu family", "model", "stepping"))
    name = _cpu_info("model name") or platform.processor() or "unknown"
    return f"{name} (family/model/stepping {family})" if family.strip("/") else name


def _vector_flags() -> list[str]:
    present = (_cpu_info("flags") or _cpu_info("Features")).split()
    return [flag for flag in VECTOR_FLAGS if flag in present]


def _caches() -> dict[str, str]:
    """Size by level of the first core's caches, as the kernel writes it."""
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() if (folder / name).exists() else "unknown"
            for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            caches[f"L{level}"] = size
    return caches
