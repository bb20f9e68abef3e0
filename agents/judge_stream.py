"""One stream as Judge sees it: what its sweeps saw, and the predictions that wait for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.index64 import decode
from stream.cell_rows import locate
from stream.codecs.state import from_dict, to_dict
from stream.records import HIT, SEEN_THROUGH, UNOBSERVED, Binned, Outcome, Prediction, Shadow


@dataclass(slots=True)
class Observation:
    """Everything one sweep saw, over the parts received: cell_id ascending, hits and passes added up.

    origin : float64 (3,), of the sensor in the map, metres
    """

    parts: int
    origin: NDArray[np.float64]
    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint64]
    passes: NDArray[np.uint64]
    received: set[int] = field(default_factory=set)

    def add(self, record: Binned) -> None:
        """Add one part; cells of both are merged."""
        if record.part in self.received:
            return
        self.received.add(record.part)
        ids = np.union1d(self.cell_id, record.cell_id)
        hits, passes = np.zeros(len(ids), np.uint64), np.zeros(len(ids), np.uint64)
        for cell_id, some_hits, some_passes in (
            (self.cell_id, self.hits, self.passes),
            (record.cell_id, record.hits, record.passes),
        ):
            row = np.searchsorted(ids, cell_id)
            hits[row] += some_hits
            passes[row] += some_passes
        self.cell_id, self.hits, self.passes = ids, hits, passes

    @property
    def complete(self) -> bool:
        """All parts are in."""
        return len(self.received) == self.parts

    def states(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """UNOBSERVED, SEEN_THROUGH or HIT of each cell asked for, uint8 (N,)."""
        row, known = locate(self.cell_id, cell_id)
        row = row[known]
        states = np.full(len(cell_id), UNOBSERVED, np.uint8)
        seen = np.where(self.passes[row] > 0, SEEN_THROUGH, UNOBSERVED)
        states[known] = np.where(self.hits[row] > 0, HIT, seen)
        return states


@dataclass(slots=True)
class Pending:
    """A prediction that waits for outcomes, its place in the stream, and its baselines.

    origin : float64 (3,), of its sensor in the map, metres; None where its sweep was not seen
    """

    prediction: Prediction
    index: int
    origin: NDArray[np.float64] | None
    open_horizons: set[int]
    shadow: Shadow | None = None
    unscored: list[Outcome] = field(default_factory=list)

    def ranges(self, cell_id: NDArray[np.uint64], half_edge_m: float) -> NDArray[np.float64] | None:
        """Metres from the sensor to cells when the prediction was made, float64 (N,); None where unknown."""
        if self.origin is None:
            return None
        away: NDArray[np.float64] = decode(cell_id).sites * half_edge_m - self.origin
        squares: NDArray[np.float64] = np.square(away).sum(1)
        return np.sqrt(squares)


@dataclass(slots=True)
class StreamState:
    """One stream: recent observations by stamp, and predictions that still wait, all of one epoch."""

    stamps: list[int] = field(default_factory=list)
    observations: dict[int, Observation] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    early_shadows: dict[str, Shadow] = field(default_factory=dict)
    predictions: int = 0
    newest_ns: int = -1  # stamp of the newest prediction
    epoch: int = 0

    def begin_epoch(self, epoch: int) -> None:
        """Forget what was seen before."""
        self.epoch = epoch
        self.stamps.clear()
        self.observations.clear()

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "observations": [
                {"stamp_ns": stamp, "received": sorted(seen.received), "parts": seen.parts,
                 "origin": seen.origin, "cell_id": seen.cell_id, "hits": seen.hits, "passes": seen.passes}
                for stamp, seen in sorted(self.observations.items())
            ],
            "pending": [
                {
                    "prediction": to_dict(pending.prediction),
                    "index": pending.index,
                    "origin": pending.origin,
                    "open_horizons": sorted(pending.open_horizons),
                    "shadow": to_dict(pending.shadow) if pending.shadow else None,
                    "unscored": [to_dict(outcome) for outcome in pending.unscored],
                }
                for pending in self.pending.values()
            ],
            "early_shadows": [to_dict(shadow) for shadow in self.early_shadows.values()],
            "predictions": self.predictions,
            "newest_ns": self.newest_ns,
            "epoch": self.epoch,
        }  # fmt: skip

    @classmethod
    def from_state(cls, values: dict[str, Any]) -> StreamState:
        """Rebuild from ``state``."""
        stream = cls(predictions=values["predictions"], newest_ns=values["newest_ns"], epoch=values["epoch"])
        for seen in values["observations"]:
            stream.stamps.append(seen["stamp_ns"])
            stream.observations[seen["stamp_ns"]] = Observation(
                seen["parts"],
                seen["origin"],
                seen["cell_id"],
                seen["hits"],
                seen["passes"],
                set(seen["received"]),
            )
        for item in values["pending"]:
            prediction = from_dict(Prediction, item["prediction"])
            stream.pending[prediction.prediction_id] = Pending(
                prediction=prediction,
                index=item["index"],
                origin=item["origin"],
                open_horizons=set(item["open_horizons"]),
                shadow=from_dict(Shadow, item["shadow"]) if item["shadow"] else None,
                unscored=[from_dict(Outcome, outcome) for outcome in item["unscored"]],
            )
        for item in values["early_shadows"]:
            shadow = from_dict(Shadow, item)
            stream.early_shadows[shadow.prediction_id] = shadow
        return stream
