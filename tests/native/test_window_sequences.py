"""The rolling window against a list of records, under any sequence of calls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from native.errors import CapacityError, OctaError, OrderError
from native.window import Window, WindowOptions
from tests.native.oracle import NO_SUMS, Record, WindowModel, ids_of
from tests.native.window_checks import (
    CELLS,
    GRID,
    INT32,
    TOP_STAMP,
    assert_same,
    damaged,
    push,
    random_record,
    state,
)


def sums_of(hits: int, shares: tuple[int, ...]) -> tuple[int, ...]:
    """Sums of so many hits with those mean shares, cut to what a record can hold."""
    return tuple(min(max(hits * share, -INT32 - 1), INT32) for share in shares)


counts = st.sampled_from([0, 0, 1, 2, 7, 1000, 2**32 - 1])
shares = st.tuples(*[st.integers(-4096, 4096)] * 11)
rows = st.tuples(counts, counts, shares).map(lambda row: (row[0], row[1], sums_of(row[0], row[2])))
listings = st.dictionaries(st.sampled_from(CELLS[:16]), rows, max_size=9)
options = st.builds(
    WindowOptions,
    bin_ns=st.sampled_from([1, 2, 7, 10]),
    bins=st.integers(1, 4),
    keep_bins=st.integers(0, 4),
    max_records=st.integers(1, 12),
    max_cells=st.integers(8, 20),
)


class WindowMachine(RuleBasedStateMachine):
    """Any sequence of pushes, late pushes, advances and refused pushes."""

    @initialize(options=options, start=st.sampled_from([0, 1000, TOP_STAMP - 500]))
    def create(self, options: WindowOptions, start: int) -> None:
        self.window, self.model = Window(GRID, options), WindowModel(options)
        self.newest = start

    @rule(step=st.integers(-60, 30), cells=listings)
    def push(self, step: int, cells: dict[int, tuple[int, int, tuple[int, ...]]]) -> None:
        """A record, often late or of a stamp already seen."""
        record = Record(stamp_ns=min(max(self.newest + step // 2, 0), TOP_STAMP), cells=cells)
        error = self.refusal(record)
        if error:
            before = state(self.window)
            with pytest.raises(error, match="record"):
                push(self.window, record)
            assert state(self.window) == before
            return
        assert push(self.window, record) == self.model.push(record)
        self.newest = max(self.newest, record.stamp_ns)

    def refusal(self, record: Record) -> type[OctaError] | None:
        if self.model.refuses(record):
            return OrderError
        return CapacityError if len(record.cells) > self.model.options.max_cells else None

    @rule(step=st.integers(-20, 40))
    def advance(self, step: int) -> None:
        stamp = min(max(self.newest + step, 0), TOP_STAMP)
        self.window.advance(stamp)
        self.model.advance(stamp)
        self.newest = max(self.newest, stamp)

    @rule(data=st.data())
    def push_damaged(self, data: st.DataObject) -> None:
        """A record with one fault, newer than all: nothing may change, not even now."""
        record = Record(
            stamp_ns=min(self.newest + 100, TOP_STAMP), cells=dict.fromkeys(CELLS[:3], (1, 1, NO_SUMS))
        )
        error, arguments = data.draw(st.sampled_from(damaged(record)))
        before = state(self.window)
        with pytest.raises(error):
            self.window.push(*arguments)
        assert state(self.window) == before

    @invariant()
    def shows_its_records(self) -> None:
        if hasattr(self, "window"):
            assert_same(self.window, self.model)


WindowMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWindowMachine = WindowMachine.TestCase


@pytest.mark.parametrize("seed", range(3))
def test_many_records_and_cells_match_the_model(seed: int) -> None:
    """Far more rows and records than the first allocation holds."""
    rng = np.random.default_rng(seed)
    options = WindowOptions(bin_ns=10, bins=5, keep_bins=3, max_records=40, max_cells=2600)
    window, model = Window(GRID, options), WindowModel(options)
    pool = np.unique(ids_of(GRID, 2 * rng.integers(-100, 100, (3000, 3), np.int32)))
    now = evicted = 0
    for turn in range(70):
        now += int(rng.integers(0, 5))
        cells = rng.choice(pool, int(rng.integers(0, 600)), replace=False).tolist()
        record = random_record(rng, max(0, now - int(rng.integers(0, 30))), cells, 0.9)
        lost = model.push(record)
        assert push(window, record) == lost
        evicted += lost
        if turn % 7 == 0:
            assert_same(window, model)
    assert_same(window, model)
    assert evicted > 0 and len(window) > 1024 and window.records > 8
