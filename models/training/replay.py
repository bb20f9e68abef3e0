"""Past sweeps to train on again, under a cap on bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1

CANDIDATES = 4
"""Regions drawn for a hard one, of which the one with the highest loss is taken."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Example:
    """One sweep's features, and the outcomes known so far.

    X : float16 (N, F); neighbor_index : int32 (N, 14); azimuth : float32 (N,), radians, any turn
    label : (N, columns) of the target's dtype, -1 where nothing is known (yet), filled in by
        ``ReplayBuffer``; of occupancy int8 (N, H), 1 occupied, 0 seen through
    weight : float32 (N,), of the labels; None where all weigh the same
    loss : float32 (parts,), of the sectors that the sweep is trained in, each when it was last trained on;
        NaN before, filled in by who trains
    """

    prediction_id: str
    stamp_ns: int
    X: NDArray[np.float16]
    neighbor_index: NDArray[np.int32]
    azimuth: NDArray[np.float32]
    label: NDArray[Any]
    loss: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        held = (self.X, self.neighbor_index, self.azimuth, self.label, self.loss, self.weight)
        return sum(array.nbytes for array in held if array is not None)


class ReplayBuffer:
    """Examples by prediction id, at most ``capacity_bytes`` of them.

    capacity_bytes : > 0; primary : column that makes an example trainable
    generator : decides which examples are dropped and drawn; nothing else is random here

    An example becomes trainable with its first outcome at the primary horizon; the newest is the one that did
    so last, whatever its stamp: clocks of robots differ. When a new one does not fit, one that came before
    the newest trainable example is dropped at random, trainable or not; if none did, another trainable one,
    or the first to come.
    The newest trainable example and those that may still get their outcomes stay longest.
    """

    def __init__(self, capacity_bytes: int, primary: int, generator: np.random.Generator) -> None:
        if capacity_bytes <= 0:
            raise ValueError(f"capacity_bytes: {capacity_bytes} must be > 0")
        self._capacity = capacity_bytes
        self._primary = primary
        self._generator = generator
        self._examples: dict[str, Example] = {}
        self._trainable: list[str] = []  # in the order in which they became so
        self._bytes = 0
        self.evicted = 0
        self.refused = 0
        self.unmatched = 0

    def __len__(self) -> int:
        """Number of examples, trainable or not."""
        return len(self._examples)

    @property
    def nbytes(self) -> int:
        """Bytes held, never above the cap."""
        return self._bytes

    @property
    def trainable(self) -> int:
        """Number of examples with an outcome at the primary horizon."""
        return len(self._trainable)

    def get(self, prediction_id: str) -> Example | None:
        """An example, None where it is not held."""
        return self._examples.get(prediction_id)

    def add(self, example: Example) -> bool:
        """Keep an example; False when its id is known already, or it alone exceeds the cap (``refused``)."""
        if example.prediction_id in self._examples:
            return False
        if example.nbytes > self._capacity:
            self.refused += 1
            return False
        while self._bytes + example.nbytes > self._capacity:
            self._evict()
        self._examples[example.prediction_id] = example
        self._bytes += example.nbytes
        return True

    def label(self, prediction_id: str, column: int, row: NDArray[np.int32], value: NDArray[Any]) -> bool:
        """Record outcomes; False when the example is not held (any more), counted in ``unmatched``.

        row : int32 (M,), rows of the example; value : (M,), bool for occupancy. Once more is
            as once
        Raises ValueError for a column or row that the example does not have
        """
        example = self._examples.get(prediction_id)
        if example is None:
            self.unmatched += 1
            return False
        rows, columns = example.label.shape
        if not 0 <= column < columns:
            raise ValueError(f"column: {column} must be 0..{columns - 1}")
        if row.shape != value.shape or (len(row) and not (row.min() >= 0 and row.max() < rows)):
            raise ValueError(f"row: must be {value.shape} rows of 0..{rows - 1}, got {row.shape}")
        example.label[row, column] = value
        if column == self._primary and len(row) and prediction_id not in self._trainable:
            self._trainable.append(prediction_id)
        return True

    def draw(self, newest_share: float, hard_share: float = 0.0) -> tuple[Example, int | None]:
        """An example to train on, and the sector where it was hard, None for any.

        newest_share : probability of the newest trainable example; else it is one of the others
        hard_share : probability that such another one is chosen for its loss: of ``CANDIDATES`` sectors,
            drawn uniformly, the one that was worst when last trained on; otherwise it is drawn uniformly
        Raises LookupError without trainable examples
        """
        choice, place = self._generator.random(2)
        if not self._trainable:
            raise LookupError("replay buffer: no example has an outcome at the primary horizon yet")
        earlier = len(self._trainable) - 1
        if choice < newest_share or earlier == 0:
            return self._trainable_at(earlier), None
        if hard_share and self._generator.random() < hard_share:
            return self._hardest(earlier)
        return self._trainable_at(int(place * earlier)), None

    def _hardest(self, earlier: int) -> tuple[Example, int]:
        candidates = [
            self._trainable_at(int(index)) for index in self._generator.integers(earlier, size=CANDIDATES)
        ]
        parts = [
            int(place * len(some.loss))
            for some, place in zip(candidates, self._generator.random(CANDIDATES), strict=True)
        ]
        losses = [some.loss[part] for some, part in zip(candidates, parts, strict=True)]
        worst = int(np.argmax(np.nan_to_num(losses, nan=-np.inf)))
        return candidates[worst], parts[worst]

    def _trainable_at(self, index: int) -> Example:
        return self._examples[self._trainable[index]]

    def _evict(self) -> None:
        held = list(self._examples)  # in the order in which they came
        newest = held.index(self._trainable[-1]) if self._trainable else 0
        if newest > 0:
            victim = held[int(self._generator.integers(newest))]
        else:  # the newest came first, or there is none
            victim = self._trainable[0] if len(self._trainable) > 1 else held[0]
        self._bytes -= self._examples.pop(victim).nbytes
        if victim in self._trainable:
            self._trainable.remove(victim)
        self.evicted += 1
