"""Where the sensor will be: body velocity and yaw rate, extrapolated along a damped trend."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NS = 1e-9
TREND_BINS = 4
"""A trend needs this many intervals: over fewer it is mostly noise of the poses."""
TREND_SHARE = 0.6
"""Share of the fitted acceleration that is believed: drivers do not keep it up for the whole horizon."""
STEPS = 10
"""Steps of the integration over the horizon."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EgoMotion:
    """Sensor pose now and as forecast, both float64 (12,), with speed (m/s) and yaw rate (rad/s) now."""

    pose: NDArray[np.float64]
    forecast_pose: NDArray[np.float64]
    speed_mps: float
    yaw_rate_rps: float


def forecast(
    pose: NDArray[np.float64], history: NDArray[np.float64], bin_ns: int, horizon_ns: int
) -> EgoMotion:
    """Forecast the pose at a horizon; pitch and roll are held.

    pose : float64 (12,), sensor to map now; history : float64 (J, 12), the same 1..J time bins ago
    Velocity in the sensor's own heading and yaw rate are measured over each bin and fitted by a line, of
    whose slope a share is believed; the motion is integrated in steps. Without history the sensor is taken
    to stand still. Deterministic on one machine type (sines come from its libm).
    """
    if len(history) == 0:
        return EgoMotion(pose=pose, forecast_pose=pose, speed_mps=0.0, yaw_rate_rps=0.0)
    rates, time = _rates(np.vstack([pose[None], history]), bin_ns * NS)
    base, slope = _line(rates, time)
    now = base - slope * time.mean()
    yaw, position = _integrate(pose, base, slope, time.mean(), horizon_ns * NS)
    later = np.empty((3, 4))
    later[:, :3] = _turn(yaw - _yaw(pose)) @ pose.reshape(3, 4)[:, :3]
    later[:, 3] = position
    return EgoMotion(
        pose=pose,
        forecast_pose=later.reshape(12),
        speed_mps=float(np.sqrt(now[:3] @ now[:3])),
        yaw_rate_rps=float(now[3]),
    )


def _yaw(pose: Sequence[float] | NDArray[np.float64]) -> float:
    return math.atan2(pose[4], pose[0])


def _turn(angle: float) -> NDArray[np.float64]:
    c, s = _direction(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _rates(poses: NDArray[np.float64], bin_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Velocity in the sensor's heading and yaw rate over each bin, (J, 4), and the bins' middles, (J,).

    In plain numbers: for so few, calling numpy takes longer than computing.
    """
    rates = []
    for newer, older in itertools.pairwise(poses.tolist()):
        turned = math.remainder(_yaw(newer) - _yaw(older), math.tau)
        c, s = _direction(_yaw(newer) - turned / 2)
        x, y, z = (newer[axis] - older[axis] for axis in (3, 7, 11))
        rates.append([(c * x + s * y) / bin_s, (c * y - s * x) / bin_s, z / bin_s, turned / bin_s])
    return np.array(rates, np.float64), np.asarray(-bin_s * (np.arange(len(rates)) + 0.5), np.float64)


def _direction(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)


def _line(
    rates: NDArray[np.float64], time: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the rates, and the believed slope of forward speed and yaw rate; sideways speed has none."""
    slope = np.zeros(4)
    if len(rates) >= TREND_BINS:
        centred = time - time.mean()
        fitted = centred @ rates / (centred @ centred)
        slope[[0, 3]] = TREND_SHARE * fitted[[0, 3]]
    else:
        rates = rates[:2]  # short histories lag less over the newest bins
    return np.asarray(rates.mean(axis=0), np.float64), slope


def _integrate(
    pose: NDArray[np.float64],
    base: NDArray[np.float64],
    slope: NDArray[np.float64],
    base_time: float,
    horizon_s: float,
) -> tuple[float, NDArray[np.float64]]:
    """Yaw and position after the horizon."""
    forward, left, up, turn = base.tolist()
    more_forward, _, _, more_turn = slope.tolist()
    yaw, (x, y, z) = _yaw(pose), pose[[3, 7, 11]].tolist()
    step = horizon_s / STEPS
    for i in range(STEPS):
        time = (i + 0.5) * step - base_time
        speed, rate = forward + more_forward * time, turn + more_turn * time
        c, s = _direction(yaw + rate * step / 2)
        x, y, z = x + (c * speed - s * left) * step, y + (s * speed + c * left) * step, z + up * step
        yaw += rate * step
    return yaw, np.array([x, y, z])
