"""Where the sensor will be: constant speed and yaw rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NS = 1e-9
SPAN_BINS = 2  # velocity over two time bins: one is noisy, three lag behind turns


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EgoMotion:
    """Sensor pose now and as forecast, both float64 (12,), with speed (m/s) and yaw rate (rad/s)."""

    pose: NDArray[np.float64]
    forecast_pose: NDArray[np.float64]
    speed_mps: float
    yaw_rate_rps: float


def _yaw(pose: NDArray[np.float64]) -> float:
    return math.atan2(pose[4], pose[0])


def _turn(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def forecast(
    pose: NDArray[np.float64], history: NDArray[np.float64], bin_ns: int, horizon_ns: int
) -> EgoMotion:
    """Forecast the pose at a horizon; pitch and roll are held.

    pose : float64 (12,), sensor to map now; history : float64 (J, 12), the same 1..J time bins ago
    Without history the sensor is taken to stand still. The velocity measured over the last bins belongs to
    their middle, so it is turned by the yaw from there to the middle of the forecast.
    """
    span = min(SPAN_BINS, len(history))
    if span == 0:
        return EgoMotion(pose=pose, forecast_pose=pose, speed_mps=0.0, yaw_rate_rps=0.0)
    past, elapsed, ahead = history[span - 1], span * bin_ns * NS, horizon_ns * NS
    turned = _yaw(pose) - _yaw(past)
    yaw_rate = math.atan2(math.sin(turned), math.cos(turned)) / elapsed
    now, before = pose.reshape(3, 4), past.reshape(3, 4)
    velocity = (now[:, 3] - before[:, 3]) / elapsed
    later = np.empty((3, 4))
    later[:, :3] = _turn(yaw_rate * ahead) @ now[:, :3]
    later[:, 3] = now[:, 3] + _turn(yaw_rate * (ahead + elapsed) / 2) @ velocity * ahead
    return EgoMotion(
        pose=pose,
        forecast_pose=later.reshape(12),
        speed_mps=float(np.sqrt(velocity @ velocity)),
        yaw_rate_rps=yaw_rate,
    )
