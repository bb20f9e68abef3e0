"""What is trained and how it is judged: what becomes known of a sweep, when, and what else could be said."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.report.rows import PredictionRows
from agents.targets.stored import StoredSweep
from models.probability import quantise
from models.scores.confusion import Confusion
from models.scores.histogram import ScoreHistogram
from models.training.targets import Binary, Classes, Share, Target
from native.index64 import ancestor
from stream.cell_rows import locate
from stream.features import FeatureSchema
from stream.labels import Labels
from stream.records import HIT, UNOBSERVED

KEPT_SWEEPS = 256
HELD_OUT = 4
"""Every so many regions one is never trained on."""
_FIXED = 4096.0  # of sums of intensity
_INTENSITY = 9


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Truth:
    """What became known of one sweep.

    row : int32 (M,), rows of its features; value : (M,), of the target's dtype; weight : float32 (M,)
    trained : bool (M,), may be trained on; the others are held out
    """

    row: NDArray[np.int32]
    value: NDArray[Any]
    weight: NDArray[np.float32]
    trained: NDArray[np.bool_]


class Task(Protocol):
    """One target on a stored run."""

    @property
    def target(self) -> Target: ...

    def see(self, sweep: StoredSweep) -> None:
        """Take in a sweep before anything is asked about it."""
        ...

    def due_ns(self, sweep: StoredSweep) -> int | None:
        """From which stamp on the truth about a sweep is known; None for never."""
        ...

    def truth(self, sweep: StoredSweep) -> Truth:
        """The truth about a sweep, when it is due."""
        ...

    def score(self, sweep: StoredSweep, truth: Truth, output: NDArray[np.float32] | None) -> None:
        """Score what the network said of all cells of a sweep before, (N, outputs), None for nothing."""
        ...

    def scores(self) -> dict[str, Any]:
        """By predictor, the network and what is simple, over the same rows."""
        ...


class Observed:
    """Outcomes of a run at its primary horizon, by prediction."""

    def __init__(self, outcomes: PredictionRows, horizon_ns: int) -> None:
        self._outcomes, self._horizon_ns = outcomes, horizon_ns

    def of(self, sweep: StoredSweep) -> dict[str, NDArray[Any]] | None:
        """row, occupied, before, observed_stamp_ns of the cells that were observed; None without any."""
        table = self._outcomes.table(sweep.prediction_id)
        if table is None:
            return None
        at = table["horizon_ns"].to_numpy() == self._horizon_ns
        names = ("cell_id", "occupied", "before", "observed_stamp_ns")
        found = {name: table[name].to_numpy()[at] for name in names}
        if not at.any():
            return None
        row, known = locate(sweep.features.cell_id, found["cell_id"])
        return {"row": row[known].astype(np.int32), **{name: found[name][known] for name in names[1:]}}


class Changed:
    """Whether a cell that was observed will be found otherwise at the primary horizon."""

    def __init__(self, observed: Observed, forecasts: PredictionRows, horizon_ns: int) -> None:
        self._observed, self._forecasts, self._horizon_ns = observed, forecasts, horizon_ns
        self.target: Target = Binary(1, 0)
        self._scores = {name: ScoreHistogram() for name in ("network", "occupancy", "base_rate")}
        self._rows = self._changes = 0

    def see(self, sweep: StoredSweep) -> None:
        """Nothing: outcomes are stored."""

    def due_ns(self, sweep: StoredSweep) -> int | None:
        """The stamp of the sweep that revealed it."""
        found = self._observed.of(sweep)
        return int(found["observed_stamp_ns"].max()) if found is not None and len(found["row"]) else None

    def truth(self, sweep: StoredSweep) -> Truth:
        """Cells that were observed both times."""
        found = self._observed.of(sweep) or {}
        both = found["before"] != UNOBSERVED
        changed = found["occupied"][both] != (found["before"][both] == HIT)
        return _all_trained(found["row"][both], changed)

    def score(self, sweep: StoredSweep, truth: Truth, output: NDArray[np.float32] | None) -> None:
        """Beside it: what the served forecast of occupancy implies, and how often cells changed so far."""
        if output is not None and len(truth.row):
            changed = truth.value.astype(np.bool_)
            self._scores["network"].add(quantise(output[truth.row, 0]), changed)
            self._scores["occupancy"].add(quantise(self._implied(sweep)[truth.row]), changed)
            rate = (self._changes + 1) / (self._rows + 2)
            self._scores["base_rate"].add(quantise(np.full(len(changed), rate)), changed)
        self._rows += len(truth.row)
        self._changes += int(truth.value.sum())

    def _implied(self, sweep: StoredSweep) -> NDArray[np.float64]:
        """1 - p of cells that are hit, p of others; p of those without a forecast is one half."""
        table = self._forecasts.table(sweep.prediction_id)
        probability = np.full(len(sweep.features.cell_id), 0.5)
        found = self._observed.of(sweep)
        if table is None or found is None:
            return probability
        at = table["horizon_ns"].to_numpy() == self._horizon_ns
        cells, values = (table[name].to_numpy()[at] for name in ("cell_id", "probability"))
        row, known = locate(sweep.features.cell_id, cells)
        probability[row[known]] = values[known]
        hit = found["row"][found["before"] == HIT]
        probability[hit] = 1 - probability[hit]
        return probability

    def scores(self) -> dict[str, Any]:
        """Average precision, log loss, Brier score, calibration error."""
        return {name: _binary_scores(histogram) for name, histogram in self._scores.items()}


def _binary_scores(histogram: ScoreHistogram) -> dict[str, Any]:
    tally = histogram.tally()
    return {
        "average_precision": tally.average_precision(), "log_loss": tally.log_loss(), "brier": tally.brier(),
        "ece": tally.ece(), "n": tally.n,
    }  # fmt: skip


class Intensity:
    """Mean intensity of a cell's returns at the primary horizon, a share of grid.intensity_max."""

    def __init__(self, observed: Observed, schema: FeatureSchema) -> None:
        self._observed = observed
        self.target: Target = Share()
        self._column = schema.names.index("intensity_mean")
        self._seen: OrderedDict[tuple[str, int], tuple[NDArray[np.uint64], NDArray[np.float64]]]
        self._seen = OrderedDict()
        self._errors = {name: np.zeros(3) for name in ("network", "now", "mean")}
        self._sum, self._rows = 0.0, 0

    def see(self, sweep: StoredSweep) -> None:
        """Keep the intensity of the cells that this sweep hit."""
        cells = np.concatenate([part.cell_id[part.hits > 0] for part in sweep.parts])
        hits = np.concatenate([part.hits[part.hits > 0] for part in sweep.parts])
        sums = np.concatenate([part.sums[:, _INTENSITY] for part in sweep.parts])
        names, place = np.unique(cells, return_inverse=True)
        total, count = np.bincount(place, sums, len(names)), np.bincount(place, hits, len(names))
        self._seen[sweep.stream_id, sweep.stamp_ns] = (names, total / (_FIXED * count))
        while len(self._seen) > KEPT_SWEEPS:
            self._seen.popitem(last=False)

    def due_ns(self, sweep: StoredSweep) -> int | None:
        """The stamp of the sweep that revealed it."""
        found = self._observed.of(sweep)
        return int(found["observed_stamp_ns"].max()) if found is not None and len(found["row"]) else None

    def truth(self, sweep: StoredSweep) -> Truth:
        """Cells that the later sweep hit; where nothing was hit there is no intensity, and it is not 0."""
        found = self._observed.of(sweep) or {}
        row = found["row"][found["occupied"]]
        later = self._seen.get((sweep.stream_id, int(found["observed_stamp_ns"].max())))
        if later is None:
            return _all_trained(row[:0], np.zeros(0, np.float32))
        cells = sweep.features.cell_id[row]
        place, known = locate(later[0], cells)
        return _all_trained(row[known], later[1][place[known]].astype(np.float32))

    def score(self, sweep: StoredSweep, truth: Truth, output: NDArray[np.float32] | None) -> None:
        """Beside it: the mean intensity of the cell now, where it has any, and the mean of all so far."""
        value = truth.value.astype(np.float64)
        if output is not None and len(value):
            mean = self._sum / self._rows if self._rows else 0.0
            now = sweep.features.x[truth.row, self._column].astype(np.float64)
            said = {"network": output[truth.row, 0], "now": np.where(now > 0, now, mean), "mean": mean}
            for name, forecast in said.items():
                error = forecast - value
                self._errors[name] += [len(value), np.abs(error).sum(), np.square(error).sum()]
        self._sum, self._rows = self._sum + float(value.sum()), self._rows + len(value)

    def scores(self) -> dict[str, Any]:
        """Mean absolute error, root of the mean squared error."""
        return {
            name: {"mae": total / n if n else None, "rmse": float(np.sqrt(square / n)) if n else None, "n": n}
            for name, (n, total, square) in ((k, v.tolist()) for k, v in self._errors.items())
        }


class Semantic:
    """What lies in a cell that is hit, by given labels.

    delay_ns : how long after its sweep a label is known, in event time
    lod : of regions; every fourth region, by a hash of its id, is held out: scored, and never trained on
    """

    def __init__(self, labels: Labels, delay_ns: int, lod: int) -> None:
        self._labels, self._delay_ns, self._lod = labels, delay_ns, lod
        self.target: Target = Classes(len(labels.classes))
        self._scores = {
            (name, part): Confusion(len(labels.classes))
            for name in ("network", "prior") for part in ("trained", "held_out")
        }  # fmt: skip
        self._seen = np.ones(len(labels.classes))

    def see(self, sweep: StoredSweep) -> None:
        """Nothing: labels are stored."""

    def due_ns(self, sweep: StoredSweep) -> int | None:
        """Its stamp and the delay."""
        return sweep.stamp_ns + self._delay_ns

    def truth(self, sweep: StoredSweep) -> Truth:
        """Cells that this sweep hit and somebody has labelled."""
        cells = sweep.features.cell_id
        hit = np.unique(np.concatenate([part.cell_id[part.hits > 0] for part in sweep.parts]))
        code, weight = self._labels.of_cells(cells, sweep.stamp_ns)
        row = np.flatnonzero((code >= 0) & np.isin(cells, hit)).astype(np.int32)
        region = ancestor(cells[row], self._lod)
        mixed = (region * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        return Truth(
            row=row, value=code[row].astype(np.int8), weight=weight[row].astype(np.float32),
            trained=mixed % np.uint64(HELD_OUT) != 0,
        )  # fmt: skip

    def score(self, sweep: StoredSweep, truth: Truth, output: NDArray[np.float32] | None) -> None:
        """Beside it: how often each class was seen so far."""
        if output is not None:
            prior = np.broadcast_to(self._seen / self._seen.sum(), (len(truth.row), len(self._seen)))
            for part, chosen in (("trained", truth.trained), ("held_out", ~truth.trained)):
                for name, said in (("network", output[truth.row]), ("prior", prior)):
                    self._scores[name, part].add(said[chosen], truth.value[chosen], truth.weight[chosen])
        own = truth.trained
        self._seen += np.bincount(truth.value[own], truth.weight[own], len(self._seen))

    def scores(self) -> dict[str, Any]:
        """Accuracy, mean intersection over union, log loss; and that of every class, held out."""
        found: dict[str, Any] = {"network": {}, "prior": {}}
        for (name, part), confusion in self._scores.items():
            found[name][part] = confusion.scores()
        iou = self._scores["network", "held_out"].iou()
        by_class = zip(self._labels.classes, iou.tolist(), strict=True)
        found["network"]["held_out"]["iou"] = {n: None if np.isnan(v) else v for n, v in by_class}
        return found


def _all_trained(row: NDArray[np.int32], value: NDArray[Any]) -> Truth:
    count = len(row)
    return Truth(row=row, value=value, weight=np.ones(count, np.float32), trained=np.ones(count, np.bool_))
