"""The sample log: a simulated drive in MCAP, small, and free of anybody's rights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agents.record import record_places
from stream.progress import Progress
from stream.sinks.ros2 import open_ros2
from stream.sources import open_source
from stream.sources.base import Item, SourceInfo
from stream.sweep import Sweep

LOCATION = "sim:city?sweeps=100&beams=32&azimuths=256&seed=5&events=rain@70"
"""Ten seconds of a city in which it begins to rain."""
STEPS_PER_M = 256
STEPS_OF_INTENSITY = 255
"""Sensors measure no finer either, and what is rounded takes half the space."""


class SampleLog:
    """The simulated drive, with measurements as fine as a sensor's."""

    def __init__(self, location: str = LOCATION) -> None:
        self._drive = open_source(location)

    def info(self) -> SourceInfo:
        """That of the drive."""
        return self._drive.info()

    def __iter__(self) -> Iterator[Item]:
        for item in self._drive:
            yield _rounded(item) if isinstance(item, Sweep) else item


def write_sample(path: Path, *, force: bool, progress: Progress) -> bool:
    """Write the sample log: PointCloud2, /tf and /tf_static; about 5 MB.

    force : replace a file that is there
    The same bytes every time, on one machine type and with one version of zstd.
    Returns whether it was written to its end; no half of it is left where somebody said to stop
    Raises RecordError for a place where no file can be made, OSError (disk full)
    """
    stopped = record_places([SampleLog()], {path: open_ros2}, force=force, progress=progress).stopped
    if stopped:
        path.unlink()
    return not stopped


def _rounded(sweep: Sweep) -> Sweep:
    return dataclasses.replace(
        sweep,
        points=(np.rint(sweep.points * STEPS_PER_M) / STEPS_PER_M).astype(np.float32),
        intensity=(np.rint(sweep.intensity * STEPS_OF_INTENSITY) / STEPS_OF_INTENSITY).astype(np.float32),
    )
