"""Partitions of which nothing is heard, not even that they have nothing new."""

from __future__ import annotations

from collections.abc import Mapping

from agents.journal import Place

SILENT_SECONDS = 10.0
"""Brokers answer several times a second, and another one leads within a few."""
LOOK_SECONDS = 1.0
"""A look counts for so long at most: a process that was stopped, or had much to do, did not listen."""


class Silence:
    """For how long each partition has been silent."""

    def __init__(self) -> None:
        self._looked_s = 0.0
        self._answers: Mapping[Place, float | None] = {}
        self._silent_s: dict[Place, float] = {}

    def look(self, answers: Mapping[Place, float | None], now_s: float) -> None:
        """Note what is heard now.

        answers : what changes with each answer of a partition's broker; now_s : monotonic
        """
        passed_s = min(now_s - self._looked_s, LOOK_SECONDS)
        self._silent_s = {
            place: self._silent_s.get(place, 0.0) + passed_s if self._answers.get(place) == answer else 0.0
            for place, answer in answers.items()
        }
        self._answers, self._looked_s = dict(answers), now_s

    def of(self, place: Place) -> bool:
        """Whether a partition is silent."""
        return self._silent_s.get(place, 0.0) >= SILENT_SECONDS

    def reason(self) -> str:
        """Which partition is silent, the longest one of several; empty for none."""
        silent = {place: silent_s for place, silent_s in self._silent_s.items() if silent_s >= SILENT_SECONDS}
        if not silent:
            return ""
        (topic, partition), silent_s = max(silent.items(), key=lambda item: item[1])
        more = f", nor of {len(silent) - 1} more" if len(silent) > 1 else ""
        return f"nothing was heard of {topic}-{partition} for {silent_s:.0f} s{more}; has it a leader?"
