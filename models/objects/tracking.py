"""Objects over sweeps: a Kalman filter of constant velocity each, gated, assigned at least cost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import Boxes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """How objects are followed.

    noise_m : deviation of a detection's place; acceleration_mps2 : of an object's speed, as white noise
    start_mps : deviation of the speed of an object seen once
    gate : largest distance between forecast and detection, in deviations
    confirm : after so many detections a track is told of; lost_s : unseen so long it ends
    history_s : what a track remembers
    """

    noise_m: float = 0.3
    acceleration_mps2: float = 3.0
    start_mps: float = 8.0
    gate: float = 3.0
    confirm: int = 3
    lost_s: float = 0.7
    history_s: float = 2.0


@dataclass(slots=True, eq=False)
class Track:
    """One object.

    id : from 1, never used again; seen : detections; kind : class by most of the scores, -1 for none
    state : float64 (4,), x, y, vx, vy in the map frame; cov : float64 (4, 4)
    box : row of the last detection in its sweep, -1 while it is not seen
    history : stamps and filtered places, oldest first
    """

    id: int
    stamp_ns: int
    seen_ns: int
    state: Floats
    cov: Floats
    size: Floats
    z: float
    yaw: float
    box: int
    seen: int = 1
    votes: dict[int, float] = field(default_factory=dict)
    history: deque[tuple[int, float, float]] = field(default_factory=deque)

    @property
    def kind(self) -> int:
        """Class that most of the scores are for."""
        return max(sorted(self.votes), key=lambda kind: self.votes[kind]) if self.votes else -1

    @property
    def speed(self) -> float:
        """Metres a second."""
        return float(np.hypot(self.state[2], self.state[3]))


class Tracker:
    """Follows the objects of one robot's sweeps.

    A function of the detections, in the order of their stamps; bounded: a track that is not seen ends, and a
    sweep starts no more tracks than it has detections.
    """

    def __init__(self, options: TrackOptions = TrackOptions()) -> None:
        self._options = options
        self._tracks: list[Track] = []
        self._next = 1
        self._stamp_ns = 0

    def step(self, stamp_ns: int, boxes: Boxes) -> list[Track]:
        """Fold one sweep; returns the confirmed tracks, by id, those unseen in this sweep too.

        Raises ValueError for a stamp before the last one
        """
        if stamp_ns < self._stamp_ns:
            raise ValueError(f"stamp_ns: {stamp_ns} is before the last sweep's, {self._stamp_ns}")
        self._stamp_ns = stamp_ns
        for track in self._tracks:
            self._forecast(track, stamp_ns)
        pairs = self._assign(boxes)
        for number, row in pairs:
            self._correct(self._tracks[number], boxes, row)
        taken = {row for _, row in pairs}
        self._tracks += [self._start(stamp_ns, boxes, row) for row in range(len(boxes)) if row not in taken]
        lost_ns = round(1e9 * self._options.lost_s)
        self._tracks = [track for track in self._tracks if stamp_ns - track.seen_ns <= lost_ns]
        for track in self._tracks:
            self._remember(track)
        return [track for track in self._tracks if track.seen >= self._options.confirm]

    def _forecast(self, track: Track, stamp_ns: int) -> None:
        track.state, track.cov = moved_on(
            track.state, track.cov, (stamp_ns - track.stamp_ns) * 1e-9, self._options
        )
        track.stamp_ns, track.box = stamp_ns, -1

    def _assign(self, boxes: Boxes) -> list[tuple[int, int]]:
        """Tracks and detections that belong together, at least cost in all."""
        from scipy.optimize import linear_sum_assignment  # whoever brings tracks of their own does without

        if not self._tracks or not len(boxes):
            return []
        state = np.array([track.state for track in self._tracks])
        cov = np.array([track.cov[:2, :2] for track in self._tracks]) + np.eye(2) * self._options.noise_m**2
        offset = boxes.centre[None, :, :2] - state[:, None, :2]
        distance = np.sqrt(np.einsum("tbi,tij,tbj->tb", offset, np.linalg.inv(cov), offset))
        within = distance <= self._options.gate
        rows, columns = linear_sum_assignment(np.where(within, distance, 1e6))
        return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if within[r, c]]

    def _correct(self, track: Track, boxes: Boxes, row: int) -> None:
        track.state, track.cov = corrected(track.state, track.cov, boxes.centre[row, :2], self._options)
        track.seen, track.seen_ns, track.box = track.seen + 1, track.stamp_ns, row
        track.size, track.yaw = 0.8 * track.size + 0.2 * boxes.size[row], float(boxes.yaw[row])
        track.z = float(boxes.centre[row, 2])
        _vote(track, boxes, row)

    def _start(self, stamp_ns: int, boxes: Boxes, row: int) -> Track:
        state, cov = started(boxes.centre[row, :2], self._options)
        track = Track(
            id=self._next, stamp_ns=stamp_ns, seen_ns=stamp_ns, state=state, cov=cov,
            size=boxes.size[row].copy(), z=float(boxes.centre[row, 2]), yaw=float(boxes.yaw[row]), box=row,
        )  # fmt: skip
        _vote(track, boxes, row)
        self._next += 1
        return track

    def _remember(self, track: Track) -> None:
        track.history.append((track.stamp_ns, float(track.state[0]), float(track.state[1])))
        oldest = track.stamp_ns - round(1e9 * self._options.history_s)
        while track.history[0][0] < oldest:
            track.history.popleft()


def started(place: Floats, options: TrackOptions) -> tuple[Floats, Floats]:
    """State and covariance of an object that is seen for the first time. place : float64 (2,)"""
    spread = [options.noise_m**2] * 2 + [options.start_mps**2] * 2
    return np.array([place[0], place[1], 0.0, 0.0]), np.diag(spread)


def moved_on(state: Floats, cov: Floats, dt: float, options: TrackOptions) -> tuple[Floats, Floats]:
    """The same so many seconds later, nothing seen of it."""
    move = np.eye(4)
    move[0, 2] = move[1, 3] = dt
    q = options.acceleration_mps2**2
    noise = np.zeros((4, 4))
    for axis in (0, 1):
        noise[axis, axis], noise[axis + 2, axis + 2] = q * dt**4 / 4, q * dt**2
        noise[axis, axis + 2] = noise[axis + 2, axis] = q * dt**3 / 2
    return move @ state, move @ cov @ move.T + noise


def corrected(state: Floats, cov: Floats, place: Floats, options: TrackOptions) -> tuple[Floats, Floats]:
    """The same once it is seen at a place, float64 (2,)."""
    gain = cov[:, :2] @ np.linalg.inv(cov[:2, :2] + np.eye(2) * options.noise_m**2)
    return state + gain @ (place - state[:2]), cov - gain @ cov[:2]


def filtered(stamps_ns: NDArray[np.int64], places: Floats, options: TrackOptions = TrackOptions()) -> Floats:
    """States of one object that is seen at some stamps, as Tracker has them then, float64 (N, 4).

    stamps_ns : int64 (N,), ascending, N >= 1; places : float64 (N, 2)
    """
    state, cov = started(places[0], options)
    states = [state]
    for dt, place in zip(np.diff(stamps_ns) * 1e-9, places[1:], strict=True):
        state, cov = corrected(*moved_on(state, cov, float(dt), options), place, options)
        states.append(state)
    return np.array(states)


def _vote(track: Track, boxes: Boxes, row: int) -> None:
    kind = int(boxes.kind[row])
    if kind >= 0:
        track.votes[kind] = track.votes.get(kind, 0.0) + float(boxes.score[row])
