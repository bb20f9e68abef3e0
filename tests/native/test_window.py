"""The rolling window: exact removal, ages at the edges of bins, caps and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from native.errors import CapacityError, DomainError, OrderError
from native.window import Window, WindowOptions
from tests.native.oracle import NO_SUMS, Record, WindowModel
from tests.native.recorded import records
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


def one_hit(stamp_ns: int, cell: int = CELLS[0], hits: int = 1) -> Record:
    return Record(stamp_ns=stamp_ns, cells={cell: (hits, 2, tuple(range(11)))})


# ---- the defining property


@pytest.mark.parametrize("seed", range(4))
def test_removal_is_exact(seed: int) -> None:
    """A window from which records have left equals a fresh one that saw only those that stayed."""
    rng = np.random.default_rng(seed)
    options = WindowOptions(bin_ns=10, bins=4, keep_bins=2, max_records=9, max_cells=60)
    window, model = Window(GRID, options), WindowModel(options)
    removed = 0
    for turn in range(60):
        record = random_record(rng, 10 + 4 * turn + int(rng.integers(-9, 10)), CELLS[:50])
        push(window, record)
        model.push(record)
        removed = turn + 1 - len(model.records)
        fresh = Window(GRID, options)
        assert model.now is not None
        fresh.advance(model.now)
        for kept in model.records:
            assert push(fresh, kept) == 0
        fresh.validate()
        assert state(fresh) == state(window)
    assert removed > 45


def test_removal_is_exact_on_recorded_sweeps() -> None:
    options = WindowOptions(bins=3, keep_bins=1)
    sweeps = records(GRID, range(8))
    window, fresh = Window(GRID, options), Window(GRID, options)
    for record in sweeps:
        push(window, record)
    for record in sweeps[-4:]:
        push(fresh, record)
    window.validate()
    assert window.records == 4 and len(window) > 5000 and window.active < len(window)
    assert state(window) == state(fresh)


def test_a_window_that_all_records_left_is_as_new() -> None:
    window = Window(GRID, WindowOptions(bin_ns=10, bins=2, keep_bins=1))
    rng = np.random.default_rng(0)
    for stamp in range(0, 30, 3):
        push(window, random_record(rng, stamp, CELLS))
    window.advance(1000)
    window.validate()
    assert state(window) == state(Window(GRID, WindowOptions()))


# ---- ages


@pytest.mark.parametrize(
    ("bin_ns", "last"), [(100, 49), (101, 50), (1, 0), (2, 0), (100_000_000, 49_999_999)]
)
@pytest.mark.parametrize("stamp", [0, 12_345])
def test_half_a_bin_rounds_up(bin_ns: int, last: int, stamp: int) -> None:
    """``last`` is the latest now, after the stamp, at which the age is still 0."""
    window = Window(GRID, WindowOptions(bin_ns=bin_ns, bins=1, keep_bins=1))
    push(window, one_hit(stamp))
    window.advance(stamp + last)
    assert (window.active, window.records) == (1, 1)
    window.advance(stamp + last + 1)
    assert (window.active, window.records, len(window)) == (0, 1, 1)
    window.advance(stamp + last + bin_ns)
    assert window.records == 1
    window.advance(stamp + last + bin_ns + 1)
    assert (window.records, len(window)) == (0, 0)


def test_the_default_window_spans_its_bins() -> None:
    window = Window(GRID, WindowOptions())
    push(window, one_hit(0))
    for now, expected in ((949_999_999, (1, 1)), (950_000_000, (0, 1)), (2_049_999_999, (0, 1))):
        window.advance(now)
        assert (window.active, window.records) == expected
    window.advance(2_050_000_000)
    assert window.records == 0


def test_a_late_record_enters_at_its_own_age() -> None:
    options = WindowOptions(bin_ns=10, bins=2, keep_bins=2)
    window, model = Window(GRID, options), WindowModel(options)
    for stamp in (100, 91, 85, 80, 66):
        record = one_hit(stamp, CELLS[stamp % 7])
        assert push(window, record) == model.push(record) == 0
        assert_same(window, model)
    assert [model.age(r.stamp_ns) for r in model.records] == [0, 1, 2, 2, 3]
    for stamp in (65, 0):
        with pytest.raises(OrderError):
            push(window, one_hit(stamp))
    assert_same(window, model)


def test_time_never_runs_back() -> None:
    window = Window(GRID, WindowOptions(bin_ns=10, bins=2, keep_bins=0))
    push(window, one_hit(100))
    for stamp in (99, 0, 100):
        window.advance(stamp)
        assert (window.records, window.active) == (1, 1)
    for stamp in (-1, TOP_STAMP + 1):
        with pytest.raises(DomainError, match="stamp_ns"):
            window.advance(stamp)
    assert (window.records, window.active) == (1, 1)


def test_advance_before_the_first_record_sets_now() -> None:
    window = Window(GRID, WindowOptions(bin_ns=10, bins=2, keep_bins=1))
    window.advance(1000)
    with pytest.raises(OrderError):
        push(window, one_hit(970))
    push(window, one_hit(980))
    assert (window.records, window.active, len(window)) == (1, 0, 1)


# ---- what counts


def test_listed_cells_without_hits_are_not_shown_but_remembered() -> None:
    window = Window(GRID, WindowOptions(bin_ns=10, bins=2, keep_bins=2))
    push(window, Record(stamp_ns=0, cells={CELLS[0]: (0, 5, NO_SUMS)}))
    assert (len(window), window.active, window.records) == (0, 0, 1)
    push(window, one_hit(5))
    assert (len(window), window.active) == (1, 1)
    assert window.cells().passes.tolist() == [7]  # those before the first hit too


def test_a_record_of_no_cells_counts_as_a_record() -> None:
    options = WindowOptions(bin_ns=10, bins=2, keep_bins=0, max_records=2)
    window, model = Window(GRID, options), WindowModel(options)
    for record in (Record(stamp_ns=0, cells={}), one_hit(1), Record(stamp_ns=2, cells={})):
        assert push(window, record) == model.push(record)
        assert_same(window, model)
    assert window.records == 2


def test_equal_stamps_are_separate_records_and_the_first_folded_leaves_first() -> None:
    options = WindowOptions(bin_ns=10, bins=2, keep_bins=0, max_records=3)
    window, model = Window(GRID, options), WindowModel(options)
    for hits in (1, 10, 100, 1000):
        record = one_hit(7, hits=hits)
        assert push(window, record) == model.push(record)
        assert_same(window, model)
    assert window.cells().hits.tolist() == [1110]


@pytest.mark.fault(28)
def test_a_cap_on_cells_evicts_the_oldest_records() -> None:
    options = WindowOptions(bin_ns=10, bins=9, keep_bins=0, max_cells=5)
    window = Window(GRID, options)
    for stamp in range(5):
        assert push(window, one_hit(stamp, CELLS[stamp])) == 0
    two = dict.fromkeys(CELLS[5:7], (1, 0, NO_SUMS))
    assert push(window, Record(stamp_ns=9, cells=two)) == 2
    assert window.cell_ids().tolist() == CELLS[2:7]
    assert push(window, Record(stamp_ns=9, cells=dict.fromkeys(CELLS[2:7], (1, 0, NO_SUMS)))) == 0
    assert (window.records, len(window)) == (5, 5)
    with pytest.raises(CapacityError, match="record"):
        push(window, Record(stamp_ns=9, cells=dict.fromkeys(CELLS[:6], (1, 0, NO_SUMS))))
    assert (window.records, len(window)) == (5, 5)


def test_sums_of_the_largest_values_do_not_overflow() -> None:
    window = Window(GRID, WindowOptions(max_records=64))
    row = (2**32 - 1, 2**32 - 1, (INT32, -INT32 - 1) * 5 + (INT32,))
    for _ in range(64):
        push(window, Record(stamp_ns=0, cells={CELLS[0]: row}))
    got = window.cells()
    assert got.hits.tolist() == got.passes.tolist() == [64 * (2**32 - 1)]
    assert got.sums[0].tolist() == [64 * v for v in row[2]]


# ---- errors


@pytest.mark.parametrize(
    "options",
    [{"bin_ns": 0}, {"bin_ns": -1}, {"bins": 0}, {"bins": 65}, {"max_records": 0}, {"max_cells": 0}],
    ids=str,
)
def test_options_out_of_domain_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(DomainError, match="options"):
        Window(GRID, WindowOptions(**options))


@pytest.mark.parametrize("bin_ns", [2**61, 2**62, 2**63 - 1])
def test_an_enormous_bin_is_refused_or_holds_everything(bin_ns: int) -> None:
    """Twice the bin is formed on the way to an age, so it must fit."""
    try:
        window = Window(GRID, WindowOptions(bin_ns=bin_ns, bins=1, keep_bins=0))
    except DomainError:
        return
    push(window, one_hit(0))
    push(window, one_hit(10**15))
    assert (window.records, window.active) == (2, 1)


@pytest.mark.parametrize("at", range(12))
def test_a_damaged_record_changes_nothing(at: int) -> None:
    window, model = Window(GRID, WindowOptions()), WindowModel(WindowOptions())
    record = Record(stamp_ns=10**9, cells=dict.fromkeys(CELLS[:3], (1, 1, NO_SUMS)))
    assert push(window, record) == model.push(record)
    error, arguments = damaged(Record(stamp_ns=2 * 10**10, cells=record.cells))[at]
    with pytest.raises(error, match="record"):
        window.push(*arguments)
    assert_same(window, model)
    push(window, record)  # of the old stamp: had now moved, it would be too old


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("cell_id", np.zeros(2, np.int64), TypeError),
        ("cell_id", CELLS[:2], TypeError),
        ("hits", np.ones(2, np.uint64), TypeError),
        ("hits", np.ones(3, np.uint32), ValueError),
        ("passes", np.ones((2, 1), np.uint32), ValueError),
        ("sums", np.zeros((2, 11), np.int64), TypeError),
        ("sums", np.zeros((2, 10), np.int32), ValueError),
        ("sums", np.zeros((11, 2), np.int32).T, ValueError),
    ],
)
def test_a_wrong_array_is_refused_by_name(name: str, value: Any, error: type[Exception]) -> None:
    ids, hits, passes, sums = Record(stamp_ns=0, cells=dict.fromkeys(CELLS[:2], (1, 1, NO_SUMS))).arrays()
    arguments: dict[str, Any] = {"cell_id": ids, "hits": hits, "passes": passes, "sums": sums, name: value}
    window = Window(GRID, WindowOptions())
    with pytest.raises(error, match=name):
        window.push(0, **arguments)
    assert (window.records, len(window)) == (0, 0)


def test_the_window_copies_its_input() -> None:
    window = Window(GRID, WindowOptions())
    ids, hits, passes, sums = one_hit(0).arrays()
    window.push(0, ids, hits, passes, sums)
    before = state(window)
    for array in (ids, hits, passes, sums):
        array[...] = 0
    assert state(window) == before
