"""When something has changed, and what makes models train: two sections of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from stream.config_errors import require

Detector = Literal["adwin", "page_hinkley", "always", "never"]

DETECTORS: tuple[Detector, ...] = ("adwin", "page_hinkley")
DUMMIES: tuple[Detector, ...] = ("always", "never")
"""What detectors are compared with: one that raises an alarm at every value, and one that raises none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """Detectors on the log loss of what is served, a value for each labelled sweep and place.

    enabled : needs river; without it nothing is watched, and an event says so
    detectors : beside whose alarms those of the dummies are counted
    region_levels : places are regions so many LODs coarser than cells, and each stream as a whole
    min_cells : a region with fewer outcomes in a sweep gives no value
    max_cells : outcomes beyond so many make a value no surer, as scenes change by more than sampling error
    adwin_delta : chance of an alarm where nothing has changed, if values were independent
    adwin_range : standard errors within which values of a place usually lie; smaller is more sensitive
    page_hinkley_delta : standard errors by which the loss may be above its mean unpunished
    page_hinkley_threshold : standard errors that it may sum up to beyond
    max_regions : regions held at most, by level; the one seen least lately goes
    max_alarms : alarms that one sweep may raise; those with the largest rise come first
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    enabled: bool = True
    detectors: tuple[Detector, ...] = DETECTORS
    region_levels: tuple[int, ...] = (4, 6)
    min_cells: int = 50
    max_cells: int = 2000
    adwin_delta: float = 0.002
    adwin_range: float = 6.0
    page_hinkley_delta: float = 4.0
    page_hinkley_threshold: float = 20.0
    max_regions: int = 1024
    max_alarms: int = 16

    def __post_init__(self) -> None:
        for name in ("min_cells", "max_cells", "max_regions", "max_alarms"):
            require(getattr(self, name) >= 1, f"drift.{name}", getattr(self, name), "must be >= 1")
        require(
            0 < self.adwin_delta < 1, "drift.adwin_delta", self.adwin_delta, "must be above 0 and below 1"
        )
        require(self.adwin_range > 0, "drift.adwin_range", self.adwin_range, "must be > 0")
        require(self.page_hinkley_delta >= 0, "drift.page_hinkley_delta", self.page_hinkley_delta,
                 "must be >= 0")  # fmt: skip
        require(self.page_hinkley_threshold > 0, "drift.page_hinkley_threshold", self.page_hinkley_threshold,
                 "must be > 0")  # fmt: skip
        for level in self.region_levels:
            require(0 <= level <= 15, "drift.region_levels", level, "must be 0..15")
        require(len(set(self.detectors)) == len(self.detectors), "drift.detectors", list(self.detectors),
                 "names one twice")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerConfig:
    """Something that makes lineages train.

    when : ``amount``: after ``sweeps`` newly labelled sweeps; ``time``: after ``seconds``, in event time;
        ``performance``: when the mean log loss of what is served over the last ``sweeps`` labelled sweeps is
        more than ``rise`` nats above the lowest such mean since the trigger fired last;
        ``drift``: when a detector named by ``detector`` raises an alarm, wherever; ``any`` is each that is
        no dummy
    steps : optimiser steps; None means learn.steps_per_sweep
    lineages : which train; empty means all
    renew : they first take over the champion's newest weights; challengers of the same network only
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    when: Literal["amount", "time", "performance", "drift"]
    sweeps: int = 10
    seconds: float = 10.0
    rise: float = 0.05
    detector: Literal["any", "adwin", "page_hinkley", "always", "never"] = "any"
    steps: int | None = None
    lineages: tuple[str, ...] = ()
    renew: bool = False

    def __post_init__(self) -> None:
        name = "learn.triggers"
        require(self.sweeps >= 1, f"{name}.sweeps", self.sweeps, "must be >= 1")
        require(self.seconds > 0, f"{name}.seconds", self.seconds, "must be > 0")
        require(self.rise > 0, f"{name}.rise", self.rise, "must be > 0")
        require(self.steps is None or self.steps >= 1, f"{name}.steps", self.steps,
                 "must be >= 1, or null for learn.steps_per_sweep")  # fmt: skip

    @property
    def every_sweep(self) -> bool:
        """Fires at each labelled sweep."""
        return self.when == "amount" and self.sweeps == 1


STEADY = "steady"
"""Name of the trigger that is there unless told otherwise."""
