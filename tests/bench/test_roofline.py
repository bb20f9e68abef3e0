"""The roofline is compiled from the core's own sources, so a change there may break it."""

from __future__ import annotations

import pytest

from tests.bench.roofline import WAYS, Roofline
from tests.native.recorded import sweep


@pytest.mark.data
def test_compiles_and_touches_a_sweep() -> None:
    """The ways that every machine has; the AVX2 one where there is AVX2."""
    roofline = Roofline()
    tasks = {way: roofline.task(way, 0.25, sweep(0)) for way in WAYS}
    assert tasks["snap only, plain C"] is not None
    assert tasks["reading only"] is not None
    for task in tasks.values():
        if task is not None:
            task()
