"""Where the served forecasts have become worse: detectors on log loss by stream, region and LOD."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.online.detectors import Detector, Rise
from native.index64 import ancestor
from stream.config import DriftConfig
from stream.config_triggers import DUMMIES

STREAM_LOD = -1
"""Stands for the LOD of a whole stream, which is no region."""

Place = tuple[int, int | str]
"""LOD and region id, or STREAM_LOD and stream id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The loss has risen somewhere.

    lod, region : None for the whole of a stream; cells : outcomes there in the newest sweep
    """

    detector: str
    lod: int | None
    region: int | None
    cells: int
    rise: Rise


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Value:
    """Mean loss of one place in one sweep."""

    place: Place
    loss: float
    cells: int


class DriftWatch:
    """Detectors by place, bounded.

    lod : of cells; makers : of detectors by name (``models.online.detectors``); empty watches nothing

    Each labelled sweep gives one value a place: the mean log loss of what was served over the outcomes there.
    Places are the stream as a whole and regions of the map, which robots share. Of the regions of a level the
    ones seen least lately are dropped, of streams too. Dummies are counted, and held nowhere.
    """

    def __init__(self, config: DriftConfig, lod: int, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._config, self._makers = config, dict(makers)
        self._lods = sorted({max(lod - level, 0) for level in config.region_levels}, reverse=True)
        self._places: OrderedDict[Place, dict[str, Detector]] = OrderedDict()
        self._held: Counter[int] = Counter()
        self._values_by_lod: Counter[int] = Counter()
        self._alarms: Counter[tuple[int, str]] = Counter()

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors, without the dummies; empty where nothing is watched."""
        return tuple(self._makers)

    def add(
        self,
        stream_id: str,
        cell_id: NDArray[np.uint64],
        probability: NDArray[np.float32],
        occupied: NDArray[np.bool_],
    ) -> list[Alarm]:
        """Fold the outcomes of one sweep; alarms of real detectors, largest rise first.

        cell_id : uint64 (M,); probability : float32 (M,), inside 0..1; occupied : bool (M,)
        At most ``max_alarms``; the others count all the same
        """
        if not self._makers or not len(cell_id):
            return []
        p = probability.astype(np.float64)
        loss = -np.log(np.where(occupied, p, 1 - p))
        found: list[Alarm] = []
        for value in self._values(stream_id, cell_id, loss):
            self._values_by_lod[value.place[0]] += 1
            for name, detector in self._detectors(value.place).items():
                rise = detector.update(value.loss, min(value.cells, self._config.max_cells))
                if rise is not None:
                    self._alarms[value.place[0], name] += 1
                    found.append(_alarm(name, value, rise))
        found.sort(key=lambda alarm: -alarm.rise.nats)
        return found[: self._config.max_alarms]

    def _values(
        self, stream_id: str, cell_id: NDArray[np.uint64], loss: NDArray[np.float64]
    ) -> Iterator[_Value]:
        yield _Value(place=(STREAM_LOD, stream_id), loss=float(loss.mean()), cells=len(loss))
        region = cell_id
        for lod in self._lods:
            region = ancestor(region, lod)
            names, row, count = np.unique(region, return_inverse=True, return_counts=True)
            means = np.bincount(row, loss, len(names)) / count
            for at in np.flatnonzero(count >= self._config.min_cells):
                yield _Value(place=(lod, int(names[at])), loss=float(means[at]), cells=int(count[at]))

    def _detectors(self, place: Place) -> dict[str, Detector]:
        """Those of a place, which is now the one seen last."""
        if place not in self._places:
            self._places[place] = {name: Detector(make) for name, make in self._makers.items()}
            self._held[place[0]] += 1
            if self._held[place[0]] > self._config.max_regions:
                oldest = next(other for other in self._places if other[0] == place[0])
                del self._places[oldest]
                self._held[place[0]] -= 1
        self._places.move_to_end(place)
        return self._places[place]

    @property
    def values(self) -> int:
        """How many were given, of all places."""
        return sum(self._values_by_lod.values())

    def summary(self) -> dict[str, Any]:
        """Values watched and alarms raised by detector, dummies too, in all and by level; plain values."""
        by_level = {
            "stream" if lod == STREAM_LOD else f"lod {lod}": self._counts(lod)
            for lod in sorted(self._values_by_lod)
        }
        names = ("values", *self._makers, *DUMMIES) if self._makers else ("values",)
        total = {name: sum(counts[name] for counts in by_level.values()) for name in names}
        return {**total, "by_level": by_level}

    def _counts(self, lod: int) -> dict[str, int]:
        values = self._values_by_lod[lod]
        always, never = DUMMIES
        return {"values": values, **{name: self._alarms[lod, name] for name in self._makers},
                always: values, never: 0}  # fmt: skip

    # ---- snapshots -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain values and arrays; places of a level in the order in which they were seen."""
        regions = [(place, some) for place, some in self._places.items() if place[0] != STREAM_LOD]
        held = [detector.past for _, some in regions for detector in some.values()]
        return {
            "detectors": list(self._makers),
            "streams": [
                [name, [detector.past for detector in some.values()]]
                for (lod, name), some in self._places.items()
                if lod == STREAM_LOD
            ],
            "lod": np.array([lod for (lod, _), _ in regions], np.int32),
            "region": np.array([name for (_, name), _ in regions], np.uint64),
            "length": np.array([len(past) for past in held], np.int32),
            "past": np.concatenate([np.empty((0, 2)), *held]),
            "values": [[lod, count] for lod, count in sorted(self._values_by_lod.items())],
            "alarms": [[lod, name, count] for (lod, name), count in sorted(self._alarms.items())],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state`` of a watch with the same configuration and detectors.

        Another one's places are forgotten: a process without river has none, and must not carry any
        """
        self._places.clear()
        self._held.clear()
        self._values_by_lod = Counter(dict(state["values"]))
        self._alarms = Counter({(lod, name): count for lod, name, count in state["alarms"]})
        if state["detectors"] != list(self._makers):
            return
        for stream_id, pasts in state["streams"]:
            self._hold((STREAM_LOD, stream_id), pasts)
        parts = iter(np.split(state["past"], np.cumsum(state["length"])[:-1]) if len(state["length"]) else [])
        for lod, region in zip(state["lod"].tolist(), state["region"].tolist(), strict=True):
            self._hold((lod, region), [next(parts) for _ in self._makers])

    def _hold(self, place: Place, pasts: Sequence[NDArray[np.float64]]) -> None:
        makers = self._makers.items()
        self._places[place] = {
            name: Detector(make, past) for (name, make), past in zip(makers, pasts, strict=True)
        }
        self._held[place[0]] += 1


def _alarm(detector: str, value: _Value, rise: Rise) -> Alarm:
    lod, name = value.place
    region = None if isinstance(name, str) else name
    return Alarm(
        detector=detector, lod=None if region is None else lod, region=region, cells=value.cells, rise=rise
    )
