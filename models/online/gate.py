"""Which weights may serve: a gate for challengers, a guard for the updates of the served network.

Both compare two models on the same observed cells, sweep by sweep, and act on the mean of the differences
only where it is clear of its own error. Pure: no clock, no randomness; decisions follow from the sweeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from models.scores.tally import SweepScore

BLOCKS = 5
"""Blocks of consecutive sweeps that give the error of a mean."""

_T_975 = (12.706, 4.303, 3.182, 2.776)
"""Student's t, 97.5 %, 1 to BLOCKS - 1 degrees of freedom: "two standard errors" for few blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and the numbers it rests on, ready for the event log.

    verdict : gate: ``wait``, ``promote``, ``reject``; guard: ``ok``, ``accept``, ``rollback``
    reason : plain values; None where there were too few sweeps, or the number is not finite
    """

    verdict: Literal["wait", "promote", "reject", "ok", "accept", "rollback"]
    reason: dict[str, Any] = field(default_factory=dict)


def mean_and_margin(differences: Sequence[float]) -> tuple[float, float]:
    """Mean of a short autocorrelated series, and the half width of its 95 % interval.

    The n differences are cut into B = min(5, n) consecutive blocks of n // B (the oldest n % B are left out);
    half width = t(0.975, B - 1) * sd(block means) / sqrt(B). Forecasts a sweep apart share most of their
    outcome interval, so single differences are correlated and their plain standard error is too small; block
    means are nearly independent once a block is longer than the horizon.
    Returns (mean of the blocks, half width); the half width is infinite for n < 2
    Source: batch means, Schmeiser 1982.
    """
    values = np.asarray(differences, dtype=np.float64)
    blocks = min(BLOCKS, values.size)
    if blocks < 2:
        return (float(values.mean()) if blocks else 0.0, math.inf)
    length = values.size // blocks
    means = values[values.size - blocks * length :].reshape(blocks, length).mean(axis=1)
    return float(means.mean()), _T_975[blocks - 2] * float(means.std(ddof=1)) / math.sqrt(blocks)


class PromotionGate:
    """Whether a challenger, scored in shadow, replaces the champion.

    gate_sweeps : labelled sweeps in a batch, >= 1; with 1 nothing is promoted: one sweep has no error
    max_sweeps : labelled sweeps after which an unproven challenger is rejected, >= gate_sweeps;
        8 * gate_sweeps when None
    ap_tolerance : mean average precision the challenger may lose; 0.001 is below what one log resolves

    The challenger trains while it is judged, so its first sweeps say nothing about its last ones: each batch
    of consecutive sweeps is judged alone, at its end. It promotes when mean(challenger - champion log loss)
    + half width < 0 (see ``mean_and_margin``) and mean average precision is not worse. A loss that is not
    finite rejects at once. The first decision that is not ``wait`` stands.

    An equal challenger is promoted by one batch, and within the default max_sweeps, with the probabilities
    (simulated: Gaussian differences of zero mean, correlation r a sweep apart, equal average precision)
    2 %, 18 % at r = 0; 10 %, 56 % at r = 0.5; 22 %, 77 % at r = 0.8 for gate_sweeps 5, and
    2 %, 18 % at r = 0; 7 %, 43 % at r = 0.5; 17 %, 74 % at r = 0.8 for gate_sweeps 10.
    """

    def __init__(self, gate_sweeps: int, max_sweeps: int | None = None, ap_tolerance: float = 1e-3) -> None:
        self._gate = gate_sweeps
        self._max = 8 * gate_sweeps if max_sweeps is None else max_sweeps
        self._tolerance = ap_tolerance
        if gate_sweeps < 1:
            raise ValueError(f"gate_sweeps: must be >= 1, got {gate_sweeps}")
        if self._max < gate_sweeps:
            raise ValueError(f"max_sweeps: must be >= gate_sweeps = {gate_sweeps}, got {self._max}")
        self._sweeps = 0
        self._losses: list[tuple[float, float]] = []  # champion, challenger; of the current batch
        self._gains: list[float] = []  # average precision, challenger - champion; of the current batch
        self._decision = self._decided("wait", "no batch finished yet")

    @property
    def sweeps(self) -> int:
        """Labelled sweeps that count, of all batches; sweeps without an observed cell do not."""
        return self._sweeps

    def add(self, champion: SweepScore, challenger: SweepScore) -> None:
        """Score one labelled sweep; both on the same cells.

        Raises ValueError when the row counts differ, or the champion's own loss is not finite
        """
        if champion.n != challenger.n:
            raise ValueError(
                f"challenger: scored on {challenger.n} cells, the champion on {champion.n}; must be the same"
            )
        if self._decision.verdict != "wait" or champion.log_loss is None or challenger.log_loss is None:
            return
        if not math.isfinite(champion.log_loss):
            raise ValueError(f"champion.log_loss: must be finite, got {champion.log_loss}")
        self._sweeps += 1
        if not math.isfinite(challenger.log_loss):
            self._decision = self._decided("reject", "loss is not finite")
            return
        self._losses.append((champion.log_loss, challenger.log_loss))
        if champion.average_precision is not None and challenger.average_precision is not None:
            self._gains.append(challenger.average_precision - champion.average_precision)
        if len(self._losses) == self._gate:
            self._decision = self._judge()
            self._losses, self._gains = [], []
        if self._decision.verdict == "wait" and self._sweeps >= self._max:
            reason = self._decision.reason | {"sweeps": self._sweeps}
            self._decision = Decision(verdict="reject", reason=reason)

    def decide(self) -> Decision:
        """``promote``, ``reject`` or ``wait``, with the reason of the last finished batch."""
        return self._decision

    def _judge(self) -> Decision:
        champion, challenger = np.array(self._losses, dtype=np.float64).mean(axis=0)
        mean, margin = mean_and_margin([new - old for old, new in self._losses])
        gain = float(np.mean(self._gains)) if self._gains else None
        numbers = {
            "champion_log_loss": float(champion),
            "challenger_log_loss": float(challenger),
            "difference": mean,
            "margin": _finite(margin),
            "average_precision_difference": gain,
        }
        if not mean + margin < 0:
            return self._decided("wait", "no proof of a lower log loss", **numbers)
        if gain is not None and not gain >= -self._tolerance:
            return self._decided("wait", "average precision is worse", **numbers)
        return self._decided("promote", "log loss is lower beyond its error", **numbers)

    def _decided(self, verdict: Literal["wait", "promote", "reject"], why: str, **numbers: Any) -> Decision:
        counts = {"sweeps": self._sweeps, "gate_sweeps": self._gate, "max_sweeps": self._max}
        return Decision(verdict=verdict, reason={**counts, **numbers, "why": why})

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "gate_sweeps": self._gate,
            "max_sweeps": self._max,
            "ap_tolerance": self._tolerance,
            "sweeps": self._sweeps,
            "losses": [list(pair) for pair in self._losses],
            "gains": list(self._gains),
            "decision": [self._decision.verdict, dict(self._decision.reason)],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PromotionGate:
        """Rebuild from ``state``."""
        gate = cls(state["gate_sweeps"], state["max_sweeps"], state["ap_tolerance"])
        gate._sweeps = int(state["sweeps"])
        gate._losses = [(float(old), float(new)) for old, new in state["losses"]]
        gate._gains = [float(gain) for gain in state["gains"]]
        verdict, reason = state["decision"]
        gate._decision = Decision(verdict=verdict, reason=dict(reason))
        return gate


class UpdateGuard:
    """Non-inferiority of the served updates against an anchor: the weights that were accepted last.

    guard_sweeps : labelled sweeps compared, >= 3; guard_margin : nats a cell the served weights may lose

    The caller adds both losses of each labelled sweep, on outcomes that the served weights had not been
    trained on, and acts on ``verdict``: after ``accept`` the served weights become the anchor, after
    ``rollback`` the anchor is served again; either way it calls ``reset``.
    """

    MIN_SWEEPS = 3
    GROSS_NATS = 0.1

    def __init__(self, guard_sweeps: int, guard_margin: float) -> None:
        if guard_sweeps < 1:
            raise ValueError(f"guard_sweeps: must be >= 1, got {guard_sweeps}")
        if not guard_margin >= 0:
            raise ValueError(f"guard_margin: must be >= 0, got {guard_margin}")
        self._window = max(guard_sweeps, self.MIN_SWEEPS)
        self._margin = guard_margin
        self._differences: list[float] = []
        self._added = 0
        self._broken = False

    def add(self, loss_served: float, loss_anchor: float) -> None:
        """Compare one labelled sweep; mean log losses on the same cells, nats.

        Raises ValueError when the anchor's loss is not finite: it was accepted, so the input is wrong
        """
        if not math.isfinite(loss_anchor):
            raise ValueError(f"loss_anchor: must be finite, got {loss_anchor}")
        self._added += 1
        self._broken = self._broken or not math.isfinite(loss_served)
        self._differences = [*self._differences, loss_served - loss_anchor][-self._window :]

    def verdict(self) -> Decision:
        """``rollback``, ``accept`` or ``ok``, with its reason; calling it changes nothing.

        ``rollback``: a loss that is not finite, or, over the last guard_sweeps (3 at least), mean difference
        - half width > guard_margin (see ``mean_and_margin``), or each of the last three sweeps worse by more
        than 5 * guard_margin and 0.1 nats: a sudden break, which the interval takes twice as long to see.
        ``accept``: guard_sweeps were added since ``reset`` and the mean difference is not above zero; a mean
        between zero and the margin keeps the old anchor, else losses below the margin could add up.
        """
        reason: dict[str, Any] = {"sweeps": self._added, "guard_margin": self._margin}
        if self._broken:
            return Decision(verdict="rollback", reason=reason | {"why": "loss is not finite"})
        mean, margin = mean_and_margin(self._differences)
        reason |= {"difference": mean if self._added else None, "margin": _finite(margin)}
        if self._added >= self.MIN_SWEEPS and (mean - margin > self._margin or self._gross()):
            return Decision(verdict="rollback", reason=reason | {"why": "served updates lose to the anchor"})
        if self._added >= self._window and mean <= 0:
            return Decision(verdict="accept", reason=reason | {"why": "served updates are not worse"})
        return Decision(verdict="ok", reason=reason)

    def _gross(self) -> bool:
        return min(self._differences[-self.MIN_SWEEPS :]) > max(5 * self._margin, self.GROSS_NATS)

    def reset(self) -> None:
        """Forget the comparison: served weights and anchor are the same again."""
        self._differences = []
        self._added = 0
        self._broken = False

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "guard_sweeps": self._window,
            "guard_margin": self._margin,
            "differences": list(self._differences),
            "added": self._added,
            "broken": self._broken,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> UpdateGuard:
        """Rebuild from ``state``."""
        guard = cls(state["guard_sweeps"], state["guard_margin"])
        guard._differences = [float(difference) for difference in state["differences"]]
        guard._added = int(state["added"])
        guard._broken = bool(state["broken"])
        return guard


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
