"""The rolling window: binned sweeps of the last time bins, and the features of their cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.binning import SUMS
from native.errors import check
from native.grid import Grid

NEIGHBORS = 14
FEATURES_VERSION: int = lib.OCTA_FEATURES_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """Length and caps of a window.

    bin_ns : length of a time bin; bins : K, the window holds ages 0..K-1
    keep_bins : records stay that many bins beyond the window, so that outcomes stay observable
    max_records, max_cells : caps; the oldest records make room
    """

    bin_ns: int = 100_000_000
    bins: int = 10
    keep_bins: int = 11
    max_records: int = 128
    max_cells: int = 200_000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WindowCells:
    """Every retained cell, ascending by id, with exact in-window totals.

    cell_id uint64 (N,), hits and passes uint64 (N,), sums int64 (N, 11)
    """

    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    passes: NDArray[np.uint64]
    sums: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellFeatures:
    """Features of every window cell, ascending by id.

    cell_id : uint64 (N,)
    x : float32 (N, F), finite, columns as in ``feature_names``
    neighbor_index : int32 (N, 14), N where the neighbour is not in the window
    before : uint8 (N,), in the newest bin: 0 unobserved, 1 seen through, 2 hit
    """

    cell_id: NDArray[np.uint64]
    x: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    before: NDArray[np.uint8]


def feature_names(bins: int) -> tuple[str, ...]:
    """Names of the feature columns for a window of ``bins`` time bins."""
    buffer = ffi.new("char[64]")
    names = []
    for i in range(lib.octa_features_count(bins)):
        check(lib.octa_features_name(bins, i, buffer, 64), "bins")
        names.append(ffi.string(buffer).decode())
    return tuple(names)


class Window:
    """Rolling window over binned records; exact under adding and removing. One owner at a time."""

    def __init__(self, grid: Grid, options: WindowOptions) -> None:
        struct = ffi.new("octa_window_options *")
        grid.fill(struct.grid)
        for name in options.__slots__:
            setattr(struct, name, getattr(options, name))
        handle = ffi.new("octa_window **")
        check(lib.octa_window_new(struct, handle), "options")
        self._handle = ffi.gc(handle[0], lib.octa_window_free)
        self._width = int(lib.octa_features_count(options.bins))

    def advance(self, stamp_ns: int) -> None:
        """Move now forward and drop what has grown too old; an earlier stamp changes nothing."""
        check(lib.octa_window_advance(self._handle, stamp_ns), "stamp_ns")

    def push(
        self,
        stamp_ns: int,
        cell_id: NDArray[np.uint64],
        hits: NDArray[np.uint32],
        passes: NDArray[np.uint32],
        sums: NDArray[np.int32],
    ) -> int:
        """Fold one record; returns the number of cells evicted to stay within the caps.

        cell_id : uint64 (N,), ascending; hits, passes : uint32 (N,)
        sums : int32 (M, 11), for the M rows with hits > 0
        Raises OrderError, DomainError, IdError, ParityError, CapacityError; the window is unchanged then
        """
        record, evicted = ffi.new("octa_record *"), ffi.new("uint64_t *")
        buffers = (
            readable(cell_id, np.uint64, (None,), "cell_id"),
            readable(hits, np.uint32, (len(cell_id),), "hits"),
            readable(passes, np.uint32, (len(cell_id),), "passes"),
            readable(sums, np.int32, (None, SUMS), "sums"),
        )  # named, so that they outlive the call
        record.stamp_ns, record.cells, record.hit_cells = stamp_ns, len(cell_id), len(sums)
        record.ids, record.hits, record.passes, record.sums = buffers
        check(lib.octa_window_push(self._handle, record, evicted), "record")
        return int(evicted[0])

    def __len__(self) -> int:
        """Number of retained cells."""
        return int(lib.octa_window_cells(self._handle))

    @property
    def records(self) -> int:
        """Number of retained records."""
        return int(lib.octa_window_records(self._handle))

    @property
    def active(self) -> int:
        """Number of window cells: hit at an age below K bins."""
        return int(lib.octa_window_active(self._handle))

    def cells(self) -> WindowCells:
        """Copy every retained cell with its in-window totals."""
        size = len(self)
        out = WindowCells(
            cell_id=np.empty(size, np.uint64),
            hits=np.empty(size, np.uint64),
            passes=np.empty(size, np.uint64),
            sums=np.empty((size, SUMS), np.int64),
        )
        check(
            lib.octa_window_export(
                self._handle,
                size,
                output(out.cell_id),
                output(out.hits),
                output(out.passes),
                output(out.sums),
            )
        )
        return out

    def evidence(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Ids, hits and passes of every retained cell, as in ``cells``, which is mostly sums."""
        size = len(self)
        ids, hits, passes = (np.empty(size, np.uint64) for _ in range(3))
        check(
            lib.octa_window_export(
                self._handle,
                size,
                output(ids),
                output(hits),
                output(passes),
                ffi.NULL,
            )
        )
        return ids, hits, passes

    def cell_ids(self) -> NDArray[np.uint64]:
        """Ids of the retained cells, ascending, uint64 (N,)."""
        size = len(self)
        ids = np.empty(size, np.uint64)
        pointer = output(ids)
        check(lib.octa_window_export(self._handle, size, pointer, ffi.NULL, ffi.NULL, ffi.NULL))
        return ids

    def features(
        self,
        pose: NDArray[np.float64],
        forecast_pose: NDArray[np.float64],
        speed_mps: float,
        yaw_rate_rps: float,
        beams: NDArray[np.int16],
        beam_weight: float,
    ) -> CellFeatures:
        """Features of every window cell at the window's now.

        pose, forecast_pose : float64 (12,), sensor to map now and, as forecast, at the primary horizon
        beams : int16 (B, 3), from ``native.beams.sample``; beam_weight : rays that each stands for
        Raises PoseError, DomainError; equal on every machine
        """
        size = self.active
        view = ffi.new("octa_view *")
        for name, matrix in (("pose", pose), ("forecast_pose", forecast_pose)):
            ffi.memmove(getattr(view, name), readable(matrix, np.float64, (12,), name), 12 * 8)
        view.speed_mps, view.yaw_rate_rps, view.beam_weight = speed_mps, yaw_rate_rps, beam_weight
        directions = readable(beams, np.int16, (None, 3), "beams")  # named, so that it outlives the call
        view.beams, view.beam_count = directions, len(beams)
        out = CellFeatures(
            cell_id=np.empty(size, np.uint64),
            x=np.empty((size, self._width), np.float32),
            neighbor_index=np.empty((size, NEIGHBORS), np.int32),
            before=np.empty(size, np.uint8),
        )
        code = lib.octa_window_features(
            self._handle,
            view,
            size,
            output(out.cell_id),
            output(out.x),
            output(out.neighbor_index),
            output(out.before),
        )
        check(code, "view")
        return out

    def validate(self) -> None:
        """Check every invariant; raises AssertionError with the reason."""
        reason = ffi.new("const char **")
        if not lib.octa_window_validate(self._handle, reason):
            raise AssertionError(ffi.string(reason[0]).decode())
