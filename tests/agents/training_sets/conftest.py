"""Training sets are written as always, but nobody waits for the disk: that is for losses of power alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models.training_sets import publish


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "sync", lambda path: None)
        yield
