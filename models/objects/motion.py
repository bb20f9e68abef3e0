"""Where objects came from and where they go, as forecasters read and are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import into_frame
from models.objects.surroundings import WIDTH, surroundings
from models.objects.tracking import Track
from native.window import CellFeatures

Floats = NDArray[np.float64]

STEP_S = 0.1
STEPS = 20
"""A history is so many steps: two seconds."""
LEAST_STEPS = 10
"""A track that is followed for less is not forecast."""
HORIZONS_S = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Motions:
    """N objects at their moments.

    place : float64 (N, 3), map frame, metres; yaw : float64 (N,), where each goes
    history : float32 (N, STEPS, 2), places before, oldest first, in the object's own frame: ahead and to the
        left of where it is now, metres; zeros where it was not followed
    known : float32 (N, STEPS), 1 where it was, else 0
    size : float32 (N, 3); kind : int32 (N,); around : float32 (N, W), of ``surroundings``
    """

    place: Floats
    yaw: Floats
    history: NDArray[np.float32]
    known: NDArray[np.float32]
    size: NDArray[np.float32]
    kind: NDArray[np.int32]
    around: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.place)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Motions:
        """Some of them, by row or mask."""
        return Motions(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def joined_motions(parts: Sequence[Motions]) -> Motions:
    """Several tables, one after the other. parts : at least one"""
    return Motions(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Motions)})


def is_followed(track: Track) -> bool:
    """Whether a track is seen now, and known for long enough to be forecast."""
    return track.box >= 0 and len(track.history) >= LEAST_STEPS


def heading(track: Track) -> float:
    """Where a track goes, radians from +x; that of its box where it stands."""
    return float(np.arctan2(track.state[3], track.state[2])) if track.speed > 0.3 else track.yaw


def history_of(track: Track) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places of a track in its own frame, float32 (STEPS, 2), and where they are known, float32 (STEPS,).

    Sweeps at another rate are interpolated; what lies before the first one is not known
    """
    stamps = np.array([stamp for stamp, _, _ in track.history])
    places = np.array([place for _, *place in track.history])
    wanted = track.stamp_ns - (np.arange(STEPS)[::-1] * round(1e9 * STEP_S))
    known = wanted >= stamps[0] - round(0.5e9 * STEP_S)
    offset = (wanted - stamps[0]) * 1e-9
    at = np.stack([np.interp(offset, (stamps - stamps[0]) * 1e-9, places[:, axis]) for axis in (0, 1)], 1)
    own = into_frame(at - track.state[:2], heading(track))
    own[~known] = 0.0
    return own.astype(np.float32), known.astype(np.float32)


def motions_of(
    tracks: Sequence[Track],
    window: CellFeatures | None,
    columns: NDArray[np.intp],
    half_edge_m: float,
) -> Motions:
    """Tracks as forecasters read them.

    window : features of the cells around, None where what lies around is not known; columns : of those that
    are pooled
    """
    place = np.array([(*track.state[:2], track.z) for track in tracks]).reshape(-1, 3)
    yaw = np.array([heading(track) for track in tracks])
    pairs = [history_of(track) for track in tracks]
    around = np.zeros((len(tracks), WIDTH), np.float32)
    if window is not None:
        around = surroundings(window, columns, half_edge_m, place, yaw)
    return Motions(
        place=place, yaw=yaw,
        history=np.array([history for history, _ in pairs], np.float32).reshape(-1, STEPS, 2),
        known=np.array([known for _, known in pairs], np.float32).reshape(-1, STEPS),
        size=np.array([track.size for track in tracks], np.float32).reshape(-1, 3),
        kind=np.array([track.kind for track in tracks], np.int32),
        around=around,
    )  # fmt: skip
