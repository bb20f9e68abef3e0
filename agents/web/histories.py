"""Histories of objects as somebody sends them: checked, brought into the map, and made tracks of."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.web.problems import Problem
from agents.web.questions import Lod, Name, Point
from models.objects.kinds import KINDS, SIZES, Kind
from models.objects.motion import LEAST_STEPS, STEP_S, heading
from models.objects.tracking import Track, TrackOptions, filtered

MOST_SIGHTINGS = 64
"""Two seconds at 30 Hz; each takes a step of a filter."""
FASTEST_MPS = 100.0
"""Whatever is faster is no object on a street: most likely another unit."""
JUMP_M = 2.0
"""Detections of one object may lie so far apart by noise alone."""
LEAST_NS = round(1e9 * STEP_S * (LEAST_STEPS - 1))
LONGEST_GAP_NS = round(1e9 * TrackOptions().lost_s)
"""A track that is not seen for longer has ended, so no forecaster has learnt from one."""

Stamp = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Extent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Speed = Annotated[float, Field(ge=-FASTEST_MPS, le=FASTEST_MPS, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-7, le=7, allow_inf_nan=False)]
ObjectId = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)] | Annotated[str, Field(max_length=64)]

Poses = Mapping[int, NDArray[np.float64]]
"""Sensor to map, float64 (3, 4), by stamp."""


class ObjectHistory(BaseModel):
    """Where one object was; its last stamp is the moment that it is forecast from.

    positions: of its centre, metres. velocity: over ground at the last stamp, metres a second; with it
    positions are taken as a tracker's, without it as detections, which are filtered. yaw: of its box at the
    last stamp, radians from +x; only read where the object stands. size: length, width and height, metres;
    by default those that are usual for its class.
    """

    model_config = ConfigDict(extra="forbid")

    id: ObjectId
    kind: Kind | None = Field(default=None, alias="class")
    size: tuple[Extent, Extent, Extent] | None = None
    stamps_ns: list[Stamp] = Field(min_length=1, max_length=MOST_SIGHTINGS)
    positions: list[Point] = Field(min_length=1, max_length=MOST_SIGHTINGS)
    velocity: tuple[Speed, Speed] | None = None
    yaw: Angle | None = None

    @model_validator(mode="after")
    def _fits(self) -> ObjectHistory:
        stamps = self.stamps_ns
        if len(stamps) != len(self.positions):
            raise ValueError(f"positions: {len(self.positions)} of them for {len(stamps)} stamps_ns")
        for place, (before, stamp) in enumerate(pairwise(stamps), start=1):
            if stamp <= before:
                raise ValueError(f"stamps_ns.{place}: {stamp} is not after the one before, {before}")
            if stamp - before > LONGEST_GAP_NS:
                raise ValueError(
                    f"stamps_ns.{place}: {_seconds(stamp - before)} after the one before; an object that was "
                    f"not seen for more than {_seconds(LONGEST_GAP_NS)} begins a new history"
                )
        if stamps[-1] - stamps[0] < LEAST_NS - round(0.5e9 * STEP_S):
            raise ValueError(
                f"stamps_ns: cover {_seconds(stamps[-1] - stamps[0])}; a forecast needs {_seconds(LEAST_NS)}"
                ", so leave the object out until then"
            )
        if self.kind is None and self.size is None:
            raise ValueError("size: is needed where there is no class")
        return self


class TrajectoriesQuestion(BaseModel):
    """Histories of objects around a robot.

    robot: around whose sensor they are; may be left out where there is one only. frame: of what is sent and
    answered: the map frame, which is the default, or "sensor", the sensor's own at each stamp. lod: of the
    cells in the answer, by default one coarser than the grid. ids: how these are named.
    """

    model_config = ConfigDict(extra="forbid")

    robot: Name | None = None
    objects: list[ObjectHistory]
    frame: Name | None = None
    lod: Lod | None = None
    ids: Literal["integer", "text"] = "integer"


def track_of(history: ObjectHistory, field: str, poses: Poses | None) -> Track:
    """A history as a track in the map, as the tracker of ``octastream objects`` would have it.

    field : names it in errors; poses : None for positions that are in the map already
    Raises Problem
    """
    stamps = np.array(history.stamps_ns, np.int64)
    positions = np.array(history.positions, np.float64)
    velocity = None if history.velocity is None else np.array(history.velocity)
    yaw, last = np.nan if history.yaw is None else history.yaw, history.stamps_ns[-1]
    if poses is not None:
        positions = _into_map(history, field, poses)
        turn = poses[last][:, :3]
        velocity, yaw = None if velocity is None else turned(turn, velocity), turned_angle(turn, yaw)
    _check_speed(stamps, positions, field)
    if velocity is None:
        states = filtered(stamps, positions[:, :2])
    else:
        states = np.column_stack([positions[:, :2], np.tile(velocity, (len(stamps), 1))])
    kind = -1 if history.kind is None else KINDS.index(history.kind)
    track = Track(
        id=0, stamp_ns=last, seen_ns=last, state=states[-1], cov=np.zeros((4, 4)),
        size=SIZES[kind] if history.size is None else np.array(history.size, np.float64),
        z=float(positions[-1, 2]), yaw=yaw, box=0, seen=len(stamps), votes={} if kind < 0 else {kind: 1.0},
    )  # fmt: skip
    track.history.extend(
        (int(stamp), float(x), float(y)) for stamp, (x, y) in zip(stamps, states[:, :2], strict=True)
    )
    if not np.isfinite(heading(track)):
        raise Problem(
            422, f"{field}.yaw: is needed, as at {track.speed:.2g} m/s the object stands, and its way does "
            "not say where it faces"
        )  # fmt: skip
    return track


def _into_map(history: ObjectHistory, field: str, poses: Poses) -> NDArray[np.float64]:
    """Positions in the sensor's frame at each stamp.  Raises Problem for a stamp without a sweep"""
    for place, stamp in enumerate(history.stamps_ns):
        if stamp not in poses:
            raise Problem(
                422, f"{field}.stamps_ns.{place}: {stamp} is no sweep that is remembered, so where the "
                "sensor was is not known; give positions in the map frame"
            )  # fmt: skip
    matrices = np.array([poses[stamp] for stamp in history.stamps_ns])
    moved: NDArray[np.float64] = matrices[:, :, 3] + np.einsum(
        "nij,nj->ni", matrices[:, :, :3], np.array(history.positions)
    )
    return moved


def _check_speed(stamps: NDArray[np.int64], positions: NDArray[np.float64], field: str) -> None:
    step, seconds = np.linalg.norm(np.diff(positions, axis=0), axis=1), np.diff(stamps) * 1e-9
    too_far = step > FASTEST_MPS * seconds + JUMP_M
    if too_far.any():
        place = int(np.argmax(too_far))
        raise Problem(
            422, f"{field}.positions.{place + 1}: {step[place]:.3g} m from the one before, "
            f"{seconds[place]:.3g} s earlier; nothing is faster than {FASTEST_MPS:g} m/s; are "
            "these metres, and of one object?"
        )  # fmt: skip


def turned(turn: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A level vector, float64 (2,), in the level axes of another frame. turn : float64 (3, 3)"""
    found: NDArray[np.float64] = turn[:2, :2] @ vector
    return found


def turned_angle(turn: NDArray[np.float64], yaw: float) -> float:
    """The same of a direction."""
    x, y = turned(turn, np.array([np.cos(yaw), np.sin(yaw)]))
    return float(np.arctan2(y, x))


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.3g} s"
