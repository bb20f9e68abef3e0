"""Drift as Learn tells of it: detectors on what was served, and an event for each alarm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.online.detectors import makers_of
from models.online.drift import Alarm, DriftWatch
from native.index64 import decode
from stream.config import Config
from stream.records import Event, Outcome, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one labelled sweep showed: mean log loss of what was served, nats, None without an outcome;
    events of its alarms, and the detectors that raised one."""

    loss: float | None
    events: tuple[Event, ...] = ()
    detectors: frozenset[str] = frozenset()


class DriftAlarms:
    """Watches the loss at the primary horizon, from the end of the warm-up on.

    Nothing is watched where drift is switched off or river is not installed; ``unwatched`` then says why.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.unwatched = ""
        makers: dict[str, Any] = {}
        if config.drift.enabled:
            try:
                makers = makers_of(config.drift)
            except ImportError:
                self.unwatched = "drift is not watched: it needs river (pip install 'octastream[learn]')"
        self._watch = DriftWatch(config.drift, config.grid.lod, makers)

    def look(self, prediction: Prediction, outcome: Outcome, predictions: int) -> Look:
        """Fold one outcome at the primary horizon. predictions : how many were made so far"""
        if not len(outcome.row):
            return Look(loss=None)
        task = self._config.task
        p = np.ascontiguousarray(prediction.probability[outcome.row, task.primary])
        loss = float(-np.log(np.where(outcome.occupied, p, 1 - p).astype(np.float64)).mean())
        if predictions <= task.warmup_sweeps:
            return Look(loss=loss)
        alarms = self._watch.add(prediction.stream_id, outcome.cell_id, p, outcome.occupied)
        events = tuple(self._event(alarm, prediction, outcome) for alarm in alarms)
        return Look(loss=loss, events=events, detectors=frozenset(alarm.detector for alarm in alarms))

    def _event(self, alarm: Alarm, prediction: Prediction, outcome: Outcome) -> Event:
        fields: dict[str, Any] = {"detector": alarm.detector, "stream_id": prediction.stream_id}
        if alarm.region is not None:
            fields |= self._where(alarm.region)
        rise = alarm.rise
        fields |= {"loss": rise.loss, "before": rise.before, "sweeps": rise.values, "cells": alarm.cells}
        return Event(
            kind="drift", stamp_ns=outcome.observed_stamp_ns, robot_id=prediction.robot_id, fields=fields
        )

    def _where(self, region: int) -> dict[str, Any]:
        """A region as a reader wants it: id, LOD, and its site in metres of the map."""
        parts = decode(np.array([region], np.uint64))
        lod = int(parts.lod[0])
        half_edge_m = self._config.grid.half_edge_lod0_m / 2.0**lod
        x, y, z = (round(float(site) * half_edge_m, 3) for site in parts.sites[0])
        return {"region": str(region), "lod": lod, "x_m": x, "y_m": y, "z_m": z}

    def summary(self) -> dict[str, Any]:
        """Values watched, alarms by detector and by dummy."""
        return self._watch.summary()

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return self._watch.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        self._watch.restore(state)
