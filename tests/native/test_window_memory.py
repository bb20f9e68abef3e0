"""A window that is always full: what leaves it leaves its memory, too."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from native.window import Window, WindowOptions
from tests.native.oracle import ids_of
from tests.native.window_checks import GRID

CELLS, MAX_CELLS = 5_000, 50_000
RECORDS, SETTLED = 600, 100
GROWTH_BYTES = 8 << 20
"""Cells take 60 bytes and more: the 2.5 million that come after it has settled would be 150 MiB."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault(28)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_window_that_is_full_evicts_as_many_cells_as_come_and_does_not_grow() -> None:
    window = Window(
        GRID, WindowOptions(bin_ns=10, bins=9, keep_bins=0, max_records=1000, max_cells=MAX_CELLS)
    )
    hits = np.ones(CELLS, np.uint32)
    sums = np.zeros((CELLS, 11), np.int32)
    evicted, settled = 0, 0
    for number in range(RECORDS):
        steps = np.arange(CELLS)
        sites = np.stack([2 * (steps // 100), 2 * (steps % 100), np.full(CELLS, 2 * number)], axis=1)
        cells = np.sort(ids_of(GRID, sites.astype(np.int32)))
        evicted += window.push(number // 100, cells, hits, np.zeros(CELLS, np.uint32), sums)
        assert len(window) <= MAX_CELLS
        if number == SETTLED:
            gc.collect()
            settled = resident_bytes()
    gc.collect()
    assert resident_bytes() - settled < GROWTH_BYTES
    assert evicted == RECORDS * CELLS - MAX_CELLS
    window.validate()
