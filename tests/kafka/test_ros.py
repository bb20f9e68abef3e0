"""The seam to ROS 2: what is asked of rclpy, and what is made of what it delivers.

rclpy comes with ROS 2 only, so a stand-in takes its place: these tests say nothing of ROS 2 itself.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.cli import main
from agents.kafka.bridge import open_live
from agents.kafka.ros import RosLive
from stream.codecs import tf
from stream.codecs.pointcloud2 import encode_cdr
from stream.codecs.wire import encode
from stream.sources.base import Item, SourceError
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.sources.offers import LiveOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.stream.foxglove_server import wait_for

NOW_NS = 1234
POINTS = np.ones((5, 3), np.float32)
CLOUD = Sweep(stream_id="ant/lidar", stamp_ns=77, frame="lidar", points=POINTS, intensity=POINTS[:, 0])
MOUNT = Transform(
    robot_id="ant", stamp_ns=5, parent="base", child="lidar", translation=(0, 0, 1.8), rotation=(0, 0, 0, 1),
    static=True,
)  # fmt: skip


class Robot:
    """A ROS 2 system with one node in it: ours.

    topics : what is published; queue : serialised messages that wait to be delivered
    """

    def __init__(self) -> None:
        self.topics: dict[str, str] = {}
        self.queue: deque[tuple[str, bytes]] = deque()
        self.subscribed: dict[str, tuple[Any, Any, bool]] = {}
        self.closed: list[str] = []
        self._callbacks: dict[str, Callable[[bytes], None]] = {}
        self._timers: list[Callable[[], None]] = []

    # as rclpy.node.Node

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [(topic, [kind]) for topic, kind in self.topics.items()]

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[bytes], None], qos_profile: Any, *, raw: bool
    ) -> None:
        self.subscribed[topic] = (msg_type, qos_profile, raw)
        self._callbacks[topic] = callback

    def create_timer(self, timer_period_sec: float, callback: Callable[[], None]) -> None:
        self._timers.append(callback)

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=NOW_NS))

    def destroy_node(self) -> None:
        self.closed.append("node")

    # as rclpy.executors.SingleThreadedExecutor

    def spin_once(self, timeout_sec: float) -> None:
        for timer in self._timers:
            timer()
        while self.queue and self.queue[0][0] in self._callbacks:
            topic, data = self.queue.popleft()
            self._callbacks[topic](data)
        time.sleep(0.01)

    def add_node(self, node: Any) -> None:
        assert node is self

    def shutdown(self, context: Any = None) -> None:
        self.closed.append("executor" if context is None else "context")


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Robot:
    """The stand-in, in the places where ROS 2 would be."""
    robot = Robot()

    def module(name: str, **values: Any) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(values)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    context = module("rclpy.context", Context=lambda: SimpleNamespace(ok=lambda: True))
    executors = module("rclpy.executors", SingleThreadedExecutor=lambda context: robot)
    qos = module(
        "rclpy.qos",
        QoSProfile=SimpleNamespace,
        ReliabilityPolicy=SimpleNamespace(BEST_EFFORT="best effort", RELIABLE="reliable"),
        DurabilityPolicy=SimpleNamespace(TRANSIENT_LOCAL="transient local", VOLATILE="volatile"),
    )
    module(
        "rclpy", __path__=[], context=context, executors=executors, qos=qos,
        init=lambda context: None, create_node=lambda name, context: robot, shutdown=robot.shutdown,
    )  # fmt: skip
    for package, name in (("sensor_msgs", "PointCloud2"), ("tf2_msgs", "TFMessage")):
        module(package, __path__=[])
        module(f"{package}.msg", **{name: name})
    return robot


def test_topics_are_found_now_or_later_and_their_messages_are_items(robot: Robot) -> None:
    said, items = list[str](), list[Item]()
    robot.topics = {"/points": POINTS_TYPE, "/camera": "sensor_msgs/msg/Image"}
    live = RosLive(LiveOptions(robot_id="ant", topics=("/points",)), said.append)
    thread = threading.Thread(target=lambda: items.extend(live))
    thread.start()
    robot.queue.append(("/points", encode_cdr(77, "lidar", POINTS, POINTS[:, 0])))
    robot.queue.append(("/tf_static", tf.encode_cdr([MOUNT])))
    wait_for(lambda: len(robot.queue) == 1, "the cloud is taken")
    robot.topics["/tf_static"] = TF_TYPE
    wait_for(lambda: not robot.queue, "the mount is taken")
    robot.queue.append(("/points", encode_cdr(78, "lidar", POINTS, POINTS[:, 0])[:60]))
    wait_for(lambda: not robot.queue, "the broken cloud is taken")
    live.stop()
    thread.join(10)
    assert [encode(item) for item in items[:2]] == [encode(CLOUD), encode(MOUNT)]
    broken: Any = items[2]
    assert (broken.reason, broken.detail.partition(": ")[0]) == ("corrupt", f"/points at log time {NOW_NS}")
    assert said == [f"takes /points ({POINTS_TYPE})", f"takes /tf_static ({TF_TYPE})"]
    wait_for(lambda: robot.closed == ["executor", "node", "context"], "all is closed")


def test_quality_of_service_is_what_sensors_and_tf_use(robot: Robot) -> None:
    robot.topics = {"/points": POINTS_TYPE, "/tf": TF_TYPE, "/tf_static": TF_TYPE}
    live = RosLive(LiveOptions(robot_id="ant"), lambda line: None)
    thread = threading.Thread(target=lambda: list(live))
    thread.start()
    wait_for(lambda: len(robot.subscribed) == 3, "subscriptions")
    live.stop()
    thread.join(10)
    found = {
        topic: (kind, qos.reliability, qos.durability, raw)
        for topic, (kind, qos, raw) in robot.subscribed.items()
    }
    assert found == {
        "/points": ("PointCloud2", "best effort", "volatile", True),
        "/tf": ("TFMessage", "reliable", "volatile", True),
        "/tf_static": ("TFMessage", "reliable", "transient local", True),
    }


def test_without_ros_2_the_way_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match="needs rclpy, which comes with ROS 2"):
        open_live("ros2", LiveOptions(robot_id="ant"), print)
    assert main(["bridge", "ros2", "--robot", "ant"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "source /opt/ros/DISTRO/setup.bash" in error
    assert "foxglove_bridge" in error
