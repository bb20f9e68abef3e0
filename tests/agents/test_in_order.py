"""Binned records and predictions in Perceive's order, whichever topic runs ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.in_order import InOrder
from stream.records import Binned, Prediction
from tests.agents.worlds import config_of, interleave, joined, perceived, plain

MADE = joined(perceived(config_of(), 8))
BINNED = [record for record in MADE if isinstance(record, Binned)]
PREDICTIONS = [record for record in MADE if isinstance(record, Prediction)]


@given(st.integers(0, 2**32))
def test_any_interleaving_comes_out_as_it_was_made(seed: int) -> None:
    order = InOrder(100)
    told = [item for record in interleave(seed, BINNED, PREDICTIONS) for item in order.add(record)]
    assert told == MADE


@given(st.integers(0, 2**32), st.integers(0, 16), st.integers(0, 16))
def test_binned_records_that_come_again_are_dropped(seed: int, begin: int, length: int) -> None:
    log = interleave(seed, BINNED, PREDICTIONS)
    again = [*log[: begin + length], *log[begin:]]
    order = InOrder(100)
    told = [item for record in again for item in order.add(record)]
    assert list(dict.fromkeys(told)) == MADE
    assert [record for record in told if isinstance(record, Binned)] == BINNED


def test_what_waits_is_bounded_and_the_oldest_goes_on() -> None:
    order = InOrder(3)
    told = [item for record in BINNED for item in order.add(record)]
    assert told == BINNED[:-3]
    assert order.rest() == BINNED[-3:]
    assert order.rest() == []


@pytest.mark.parametrize("cut", range(0, 16, 3))
def test_it_goes_on_from_its_state(cut: int) -> None:
    log = interleave(5, BINNED, PREDICTIONS)
    order = InOrder(100)
    told = [item for record in log[:cut] for item in order.add(record)]
    restored = InOrder.from_state(order.state(), 100)
    told += [item for record in log[cut:] for item in restored.add(record)]
    assert plain(told) == plain(MADE)


def test_predictions_whose_records_do_not_come_are_bounded_too() -> None:
    order = InOrder(3)
    told = [item for record in PREDICTIONS for item in order.add(record)]
    assert told == PREDICTIONS[:-3]
    assert order.rest() == PREDICTIONS[-3:]
    assert order.rest() == []
