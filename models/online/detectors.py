"""Detectors of a rise in a series of losses: river's, and two dummies to compare them with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.config import DriftConfig

CELL_DEVIATION = 0.6
"""Standard deviation of the log loss of a cell, nats: of forecasts as good as these, about so much."""

MEMORY = 512
"""Values that a detector is made of at most; beyond, it begins anew with the newer half of them."""

RECENT = 5
"""Newest values whose mean an alarm states beside that of all before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """An alarm: mean loss of the newest values and of those before, nats, and how many these were."""

    loss: float
    before: float
    values: int

    @property
    def nats(self) -> float:
        """By how much the mean has risen."""
        return self.loss - self.before


class Detector:
    """One detector of river on the losses of one place.

    make : a new detector
    past : float64 (V, 2), losses and outcomes it is made of, as ``past`` gives them

    What it is fed is the loss in units of its own error, loss * sqrt(outcomes) / 0.6: so one threshold suits
    a region of 50 cells and a stream of thousands. An alarm counts only where the mean loss has risen, as
    better forecasts are no harm. The detector begins anew after each alarm. River's hold state that cannot be
    written down, so the past since then is kept instead (``MEMORY`` values at most), and a restored detector
    is fed it again: same bits.
    """

    def __init__(self, make: Callable[[], Any], past: NDArray[np.float64] | None = None) -> None:
        self._make = make
        self._begin([] if past is None else [(loss, cells) for loss, cells in past.tolist()])

    def _begin(self, past: list[tuple[float, float]]) -> None:
        self._river, self._past = self._make(), past
        for loss, cells in past:
            self._river.update(_in_errors(loss, cells))

    def update(self, loss: float, cells: float) -> Rise | None:
        """Add the mean loss of one sweep over so many outcomes; the alarm it raises, if any."""
        self._past.append((loss, cells))
        self._river.update(_in_errors(loss, cells))
        if self._river.drift_detected:
            rise = self._rise()
            self._begin([])
            return rise if rise.nats > 0 else None
        if len(self._past) >= MEMORY:
            self._begin(self._past[-MEMORY // 2 :])
        return None

    def _rise(self) -> Rise:
        losses = [loss for loss, _ in self._past]
        recent = min(RECENT, len(losses) - 1) or 1
        old, new = losses[:-recent] or losses, losses[-recent:]
        return Rise(loss=float(np.mean(new)), before=float(np.mean(old)), values=len(old))

    @property
    def past(self) -> NDArray[np.float64]:
        """Everything the detector is made of, float64 (V, 2)."""
        return np.array(self._past, np.float64).reshape(-1, 2)


def _in_errors(loss: float, cells: float) -> float:
    return loss * math.sqrt(cells) / CELL_DEVIATION


def makers_of(config: DriftConfig) -> dict[str, Callable[[], Any]]:
    """What makes the configured detectors, by name, without the dummies.

    Raises ImportError where river is not installed
    """
    from river import drift

    adwin: Any = drift.ADWIN  # untyped
    makers: dict[str, Callable[[], Any]] = {
        "adwin": lambda: _Ranged(adwin(delta=config.adwin_delta, clock=1), config.adwin_range),
        "page_hinkley": lambda: drift.PageHinkley(
            min_instances=10,
            delta=config.page_hinkley_delta,
            threshold=config.page_hinkley_threshold,
            mode="up",
        ),
    }
    return {name: makers[name] for name in config.detectors if name in makers}


class _Ranged:
    """ADWIN, whose bound is for values within a range of 1, on values within a wider one."""

    def __init__(self, adwin: Any, width: float) -> None:
        self._adwin, self._range = adwin, width

    def update(self, value: float) -> None:
        self._adwin.update(value / self._range)

    @property
    def drift_detected(self) -> bool:
        return bool(self._adwin.drift_detected)
