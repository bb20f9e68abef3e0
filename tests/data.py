"""Where the recorded sensor data is; tests and benchmarks find it here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """``OCTA_DATA``, else ``../shared/data`` beside the project."""
    return Path(os.environ.get("OCTA_DATA", ROOT.parent / "shared" / "data"))


def data_path(name: str) -> Path:
    """Path of a recorded file or folder; missing data fails in CI and skips with its reason elsewhere."""
    path = data_dir() / name
    if not path.exists():
        reason = f"recorded data not found: {path} (set OCTA_DATA)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
