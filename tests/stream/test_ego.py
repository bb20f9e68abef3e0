"""The forecast of the sensor's own pose: exact where the motion is uniform, careful where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.ego import TREND_SHARE, forecast

BIN_NS, HORIZON_NS = 100_000_000, 500_000_000
BIN_S, HORIZON_S = 0.1, 0.5
F64 = NDArray[np.float64]


def turn(angle: float) -> F64:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def tilt(pitch: float, roll: float) -> F64:
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    return np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]) @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])


def pose_of(rotation: F64, position: F64) -> F64:
    return np.column_stack([rotation, position]).reshape(12)


def arc(time_s: float, speed: float, rate: float, start: float = 0.3) -> F64:
    """Pose on a circle (or a line), in closed form."""
    yaw = start + rate * time_s
    if abs(rate) < 1e-6:  # the circle's form cancels
        position = speed * time_s * np.array([np.cos(start), np.sin(start), 0.0])
    else:
        position = speed / rate * np.array([np.sin(yaw) - np.sin(start), np.cos(start) - np.cos(yaw), 0.0])
    return pose_of(turn(yaw), position + np.array([5.0, -7.0, 1.5]))


def history_of(count: int, speed: float, rate: float) -> F64:
    return np.array([arc(-BIN_S * (age + 1), speed, rate) for age in range(count)]).reshape(-1, 12)


def test_without_history_the_sensor_stands_still() -> None:
    pose = arc(0, 9.0, 0.4)
    ego = forecast(pose, np.zeros((0, 12)), BIN_NS, HORIZON_NS)
    assert np.array_equal(ego.forecast_pose, pose)
    assert (ego.speed_mps, ego.yaw_rate_rps) == (0.0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("speed", [0.0, 1.3, 14.0, -2.0])
def test_straight_and_even_motion_is_forecast_exactly(count: int, speed: float) -> None:
    ego = forecast(arc(0, speed, 0), history_of(count, speed, 0), BIN_NS, HORIZON_NS)
    np.testing.assert_allclose(ego.forecast_pose, arc(HORIZON_S, speed, 0), atol=1e-9)
    assert ego.speed_mps == pytest.approx(abs(speed), abs=1e-9)
    assert ego.yaw_rate_rps == pytest.approx(0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(speed=st.floats(0.5, 15), rate=st.floats(-0.8, 0.8), count=st.integers(1, 6))
def test_an_even_turn_is_forecast_along_its_circle(speed: float, rate: float, count: int) -> None:
    ego = forecast(arc(0, speed, rate), history_of(count, speed, rate), BIN_NS, HORIZON_NS)
    travelled = speed * HORIZON_S
    np.testing.assert_allclose(ego.forecast_pose, arc(HORIZON_S, speed, rate), atol=1e-3 * travelled + 1e-9)
    assert ego.speed_mps == pytest.approx(speed, rel=2e-3)
    assert ego.yaw_rate_rps == pytest.approx(rate, abs=1e-9)


def test_pitch_and_roll_are_held() -> None:
    lean = tilt(0.1, -0.05)
    poses = [pose_of(turn(0.2 * time) @ lean, np.array([3.0 * time, 0, 0])) for time in (0, -0.1, -0.2)]
    ego = forecast(poses[0], np.array(poses[1:]), BIN_NS, HORIZON_NS)
    now, later = (pose.reshape(3, 4)[:, :3] for pose in (ego.pose, ego.forecast_pose))
    turned = later @ now.T
    np.testing.assert_allclose(turned, turn(np.arctan2(turned[1, 0], turned[0, 0])), atol=1e-9)
    assert np.arctan2(turned[1, 0], turned[0, 0]) == pytest.approx(0.2 * HORIZON_S, rel=0.02)


def test_acceleration_is_believed_in_part() -> None:
    def at(time: float) -> F64:
        return pose_of(np.eye(3), np.array([10 * time + 0.5 * 4 * time**2, 0, 0]))

    history = np.array([at(-BIN_S * (age + 1)) for age in range(5)])
    ego = forecast(at(0), history, BIN_NS, HORIZON_NS)
    reached = ego.forecast_pose[3]
    assert at(0)[3] + 8.9 * HORIZON_S < reached < at(HORIZON_S)[3]  # 9 m/s: the mean of the history
    assert 0 < TREND_SHARE < 1
    assert 9.0 < ego.speed_mps <= 10.0


@settings(max_examples=40, deadline=None)
@given(angle=st.floats(-3, 3), east=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
def test_the_forecast_moves_with_the_map(angle: float, east: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = [
        pose_of(turn(0.1 * age + 0.02 * rng.normal()), np.array([-0.9 * age, 0.1 * rng.normal(), 0.0]))
        for age in range(6)
    ]
    plain = forecast(poses[0], np.array(poses[1:]), BIN_NS, HORIZON_NS)

    def moved(pose: F64) -> F64:
        rotated = turn(angle) @ pose.reshape(3, 4)
        rotated[:, 3] += [east, -east, 2.0]
        return rotated.reshape(12)

    there = forecast(moved(poses[0]), np.array([moved(pose) for pose in poses[1:]]), BIN_NS, HORIZON_NS)
    np.testing.assert_allclose(there.forecast_pose, moved(plain.forecast_pose), atol=1e-8)
    assert there.speed_mps == pytest.approx(plain.speed_mps, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 6))
def test_any_poses_give_a_finite_pose_and_the_same_bits_again(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    poses = [pose_of(turn(rng.uniform(-9, 9)), rng.normal(0, 50, 3)) for _ in range(count + 1)]
    history = np.array(poses[1:]).reshape(-1, 12)
    ego, again = (forecast(poses[0], history, BIN_NS, HORIZON_NS) for _ in range(2))
    assert ego.forecast_pose.tobytes() == again.forecast_pose.tobytes()
    assert ego.forecast_pose.dtype == np.float64
    assert ego.forecast_pose.shape == (12,)
    rotation = ego.forecast_pose.reshape(3, 4)[:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.isfinite(ego.speed_mps)
    assert np.isfinite(ego.yaw_rate_rps)
