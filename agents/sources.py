"""What a model has learnt from: by robot, which stretch of its log, and a digest of what lay there."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

from models.manifest import SourceRange
from stream.records import Prediction

_ROOM = 2**256


class Sources:
    """A range and a digest for each robot, of all sweeps that trainers were given."""

    def __init__(self, ranges: Iterable[SourceRange] = ()) -> None:
        self._ranges = {item.robot_id: item for item in ranges}

    def note(self, prediction: Prediction) -> None:
        """A sweep is given to the trainers."""
        seq, stamp = prediction.seq, prediction.stamp_ns
        part = sweep_digest(
            prediction.prediction_id,
            feature_digest=prediction.feature_digest,
            state_digest=prediction.state_digest,
        )
        old = self._ranges.get(prediction.robot_id)
        if old is None:
            old = SourceRange(
                robot_id=prediction.robot_id, first_seq=seq, last_seq=seq, first_stamp_ns=stamp,
                last_stamp_ns=stamp, sweeps=0, digest="0" * 64,
            )  # fmt: skip
        self._ranges[prediction.robot_id] = dataclasses.replace(
            old,
            first_seq=min(old.first_seq, seq),
            last_seq=max(old.last_seq, seq),
            first_stamp_ns=min(old.first_stamp_ns, stamp),
            last_stamp_ns=max(old.last_stamp_ns, stamp),
            sweeps=old.sweeps + 1,
            digest=add_digests([old.digest, part]),
        )

    def plain(self) -> tuple[dict[str, Any], ...]:
        """As a manifest holds it, by name of the robot."""
        return tuple(dataclasses.asdict(self._ranges[name]) for name in sorted(self._ranges))

    @classmethod
    def from_plain(cls, values: Iterable[dict[str, Any]]) -> Sources:
        """The inverse."""
        return cls(SourceRange(**item) for item in values)


def sweep_digest(prediction_id: str, *, feature_digest: str, state_digest: str) -> str:
    """Sha256 of a sweep as a trainer got it: features, and the rolling container that they are made of."""
    return hashlib.sha256(f"{prediction_id} {feature_digest} {state_digest}".encode()).hexdigest()


def add_digests(digests: Iterable[str]) -> str:
    """Digest of a set, whatever its order: the sum modulo 2^256."""
    return f"{sum(int(digest, 16) for digest in digests) % _ROOM:064x}"
