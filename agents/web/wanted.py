"""Regions whose cells somebody should label: those that were asked for, the newest of each."""

from __future__ import annotations

import threading
from collections import OrderedDict

from native.errors import OctaError
from native.index64 import from_text
from stream.records import LabelRequested

KEPT = 64


class Wanted:
    """Requests by region. One thread adds, any may read."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._kept = kept
        self._requests: OrderedDict[int, LabelRequested] = OrderedDict()

    def add(self, record: LabelRequested) -> None:
        """Take a request; one of a name that is no cell's is left out. Of too many the oldest go."""
        try:
            region = from_text(record.region)
        except OctaError:
            return
        with self._lock:
            self._requests[region] = record
            self._requests.move_to_end(region)
            if len(self._requests) > self._kept:
                self._requests.popitem(last=False)

    def list(self) -> list[tuple[int, LabelRequested]]:
        """Regions and what was asked of them, the newest first."""
        with self._lock:
            return list(reversed(self._requests.items()))

    def get(self, region: int) -> LabelRequested | None:
        """What was asked of a region."""
        with self._lock:
            return self._requests.get(region)
