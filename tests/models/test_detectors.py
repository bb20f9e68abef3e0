"""Detectors: they alarm on rises only, repeat to the bit after a restart, and hold a bounded past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.online.detectors import MEMORY, Detector, makers_of
from stream.config import DriftConfig

pytest.importorskip("river")
pytestmark = pytest.mark.learn

MAKERS = makers_of(DriftConfig())
NAMES = tuple(MAKERS)


CELLS = 400


def series(seed: int, *parts: tuple[int, float], spread: float = 0.03) -> list[float]:
    """Losses about some means, one stretch after the other."""
    rng = np.random.default_rng(seed)
    return [float(value) for count, mean in parts for value in rng.normal(mean, spread, count)]


def alarms(make: Callable[[], Any], values: list[float]) -> list[int]:
    detector = Detector(make)
    return [place for place, value in enumerate(values) if detector.update(value, CELLS) is not None]


def test_the_configured_detectors_are_made() -> None:
    assert NAMES == ("adwin", "page_hinkley")
    assert tuple(makers_of(DriftConfig(detectors=("page_hinkley", "always")))) == ("page_hinkley",)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_rise_raises_one_alarm_soon_and_none_before(name: str, seed: int) -> None:
    found = alarms(MAKERS[name], series(seed, (100, 0.4), (100, 0.7)))
    assert len(found) == 1
    assert 100 <= found[0] < 120


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_fall_raises_none(name: str, seed: int) -> None:
    assert alarms(MAKERS[name], series(seed, (100, 0.7), (100, 0.4))) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_raises_none(name: str) -> None:
    assert alarms(MAKERS[name], [0.4] * 300) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_alarm_says_by_how_much(name: str) -> None:
    detector = Detector(MAKERS[name])
    rises = [rise for value in series(3, (100, 0.4), (100, 0.7)) if (rise := detector.update(value, CELLS))]
    (rise,) = rises
    assert rise.before == pytest.approx(0.4, abs=0.03)
    assert rise.loss == pytest.approx(0.7, abs=0.1)
    assert rise.nats == rise.loss - rise.before
    assert 90 < rise.values <= 110


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 700))
def test_a_detector_made_of_its_values_goes_on_as_the_one_before(name: str, seed: int, cut: int) -> None:
    values = series(seed, (300, 0.4), (100, 0.6), (200, 0.5), (100, 0.8), spread=0.05)
    whole, first = Detector(MAKERS[name]), Detector(MAKERS[name])
    expected = [whole.update(value, CELLS) for value in values]
    given_ = [first.update(value, CELLS) for value in values[:cut]]
    second = Detector(MAKERS[name], first.past)
    assert given_ + [second.update(value, CELLS) for value in values[cut:]] == expected
    assert second.past.tobytes() == whole.past.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_detector_remembers_is_bounded(name: str) -> None:
    detector, longest = Detector(MAKERS[name]), 0
    for value in series(1, (3 * MEMORY, 0.4)):
        detector.update(value, CELLS)
        longest = max(longest, len(detector.past))
    assert MEMORY // 2 <= longest < MEMORY


@pytest.mark.parametrize("name", NAMES)
def test_more_outcomes_make_a_small_rise_sure(name: str) -> None:
    """The same losses, of 50 cells each and of 2,000."""
    values = series(2, (60, 0.4), (30, 0.5), spread=0.005)
    for cells, expected in ((50, 0), (2000, 1)):
        detector = Detector(MAKERS[name])
        found = [value for value in values if detector.update(value, cells) is not None]
        assert len(found) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_first_value_cannot_alarm(name: str) -> None:
    assert Detector(MAKERS[name]).update(100.0, CELLS) is None
