"""What the simulation has found in the agents: worlds in which just that goes wrong."""

from __future__ import annotations

import pytest

from agents.simulation.cast import Cast
from agents.simulation.faults import RATES
from agents.simulation.run import simulate

FOUND: dict[str, tuple[int, dict[str, float]]] = {
    "Learn rebuilds whatever runs ahead of what": (0, {"partition stalled": 0.05}),
    "Judge keeps what a gap in the stream decides": (
        0,
        {"sweep missing": 0.3, "stamps jitter": 0.5},
    ),
    "an incomplete sweep is predicted before it is forgotten": (
        0,
        {"sweep in parts": 0.5, "part missing": 0.3},
    ),
    "one transform from the future spoils no pose": (0, {"transform an hour ahead": 0.2}),
    "one sweep from the future holds up nothing": (0, {"stamp an hour ahead": 0.3}),
    "a sensor without a frame holds up no other": (0, {"sensor without a frame": 0.5}),
    "a sweep that comes twice while it is held is acknowledged once its fate is known": (
        1,
        {"sweep sent twice": 0.5, "static transform delayed": 0.5},
    ),
    "a model loaded late does not replace a newer one": (
        9,
        {"model published by hand": 1.0, "effect slow": 0.5},
    ),
    "a sweep is predicted once, though its map ends between its parts": (
        30,
        {"world frame jumps": 1.0, "transform delayed": 0.3, "sweep in parts": 0.6},
    ),
    "Judge keeps what an incomplete sweep after a gap does not decide": (
        7,
        {"sweep missing": 0.5, "stamps jitter": 1.0, "sweep in parts": 0.7, "part missing": 0.4},
    ),
}
"""A seed, and the faults of its world; nothing else goes wrong there."""


@pytest.mark.parametrize(("seed", "faults"), FOUND.values(), ids=list(FOUND))
def test_it_holds_now(seed: int, faults: dict[str, float]) -> None:
    rates = dict.fromkeys(RATES, 0.0) | faults
    assert simulate(seed, Cast(rates=rates, enabled_share=1.0)).violations == []
