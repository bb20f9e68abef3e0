"""Each fault alone, much more often than in a usual world: it strikes, and every rule holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.simulation.cast import Cast
from agents.simulation.faults import RATES
from agents.simulation.run import simulate

SEEDS = 20
"""Tried one after the other until a fault has struck."""
OFTEN = 0.1

EACH = [
    pytest.param("killed when handled", marks=pytest.mark.fault(1)),
    pytest.param("killed when stored", marks=pytest.mark.fault(3)),
    pytest.param("killed when sent", marks=pytest.mark.fault(4)),
    pytest.param("killed when acknowledged", marks=pytest.mark.fault(5)),
    pytest.param("killed when half saved", marks=pytest.mark.fault(6)),
    pytest.param("snapshot torn", marks=pytest.mark.fault(6)),
    pytest.param("snapshot not written", marks=pytest.mark.fault(6)),
    pytest.param("worker leaves", marks=pytest.mark.fault(8)),
    pytest.param("send refused", marks=pytest.mark.fault(11)),
    pytest.param("send not confirmed", marks=pytest.mark.fault(11)),
    pytest.param("commit lost", marks=pytest.mark.fault(12)),
    pytest.param("process paused", marks=pytest.mark.fault(14)),
    pytest.param("sweep sent twice", marks=pytest.mark.fault(16)),
    pytest.param("sweep sent twice, much later", marks=pytest.mark.fault(16)),
    pytest.param("sweeps out of order", marks=pytest.mark.fault(17)),
    pytest.param("sweep late beyond the window", marks=pytest.mark.fault(17)),
    pytest.param("stamp zero", marks=pytest.mark.fault(19)),
    pytest.param("stamp an hour ahead", marks=pytest.mark.fault(19)),
    pytest.param("stamp an hour behind", marks=pytest.mark.fault(19)),
    pytest.param("transforms missing", marks=pytest.mark.fault(20)),
    pytest.param("transform refused", marks=pytest.mark.fault(20)),
    pytest.param("sensor without a frame", marks=pytest.mark.fault(20)),
    pytest.param("points not finite", marks=pytest.mark.fault(21)),
    pytest.param("sweep empty", marks=pytest.mark.fault(22)),
    pytest.param("model file damaged", marks=pytest.mark.fault(31)),
    pytest.param("model store away", marks=pytest.mark.fault(34)),
    pytest.param("training diverges", marks=pytest.mark.fault(35)),
    pytest.param("store full", marks=pytest.mark.fault(38)),
    pytest.param("partition stalled", marks=pytest.mark.fault(41)),
]

NEEDS = {"model file damaged": {"model published by hand": 1.0}}
"""What has to happen for a fault to have opportunities."""


def worlds(fault: str) -> Iterator[tuple[int, list[str]]]:
    """How often a fault struck in each world, and which rules were broken there."""
    rates = dict.fromkeys(RATES, 0.0) | NEEDS.get(fault, {}) | {fault: max(OFTEN, RATES[fault])}
    for seed in range(SEEDS):
        result = simulate(seed, Cast(rates=rates, enabled_share=1.0))
        struck = sum(name == fault for name, _ in result.faults)
        yield struck, [f"seed {seed}: {broken}" for broken in result.violations]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("fault", EACH)
def test_it_strikes_and_nothing_breaks(fault: str) -> None:
    for struck, broken in worlds(fault):
        assert broken == []
        if struck:
            return
    raise AssertionError(f"{fault} did not strike in {SEEDS} worlds")
