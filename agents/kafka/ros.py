"""A robot that speaks ROS 2, where its Python is: topics as rclpy delivers them, not decoded.

rclpy comes with ROS 2 and not from a package index; nothing here imports it before a bridge is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from stream.sources.base import Item, SourceError
from stream.sources.inbox import Inbox, Losses
from stream.sources.live import LiveItems, Receiver, received
from stream.sources.logged_message import STATIC_TOPIC, LoggedMessage
from stream.sources.message_types import CLOUDS, POINTS_TYPE, TF_TYPE
from stream.sources.offers import LiveOptions, Offers, Say

NODE = "octastream_bridge"
LOOK_SECONDS = 1.0
"""How often new topics are looked for."""
SPIN_SECONDS = 0.2
CLOUD_DEPTH, TRANSFORM_DEPTH = 5, 100
"""Messages that ROS holds for us, as rviz and tf2 have it."""


class RosLive:
    """What a ROS 2 system publishes, as items; domain and middleware are those of the environment.

    say : told what happens, one line at a time
    inbox : where messages wait to be read; a robot does not wait, so the oldest clouds go when it is full

    Stamps are those in the messages; where one cannot be read the time of arrival stands for it, as in a
    recorded log.
    Raises SourceError without rclpy
    """

    def __init__(self, options: LiveOptions, say: Say, *, inbox: Inbox | None = None) -> None:
        self.inbox = Inbox() if inbox is None else inbox
        self._say = say
        self._ros = _modules()
        self._offers = Offers(options, say)
        self._losses = Losses(self.inbox, say)
        self._items = LiveItems(options, say)
        self._receiver = Receiver(self._receive, self.inbox, "rclpy")
        self._missing_said = False
        self._stopped = False
        self._taken: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[Item]:
        """Items from now on; once only."""
        return received(self, self._receiver, self._items)

    def stop(self) -> None:
        """Receive no more."""
        self._stopped = True
        self.inbox.close()

    # ---- the thread that receives --------------------------------------------------------------------

    def _receive(self) -> None:
        rclpy = self._ros["rclpy"]
        context = rclpy.context.Context()
        rclpy.init(context=context)
        node = rclpy.create_node(NODE, context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            self._look(node)
            node.create_timer(LOOK_SECONDS, lambda: self._look(node))
            while not self._stopped and context.ok():
                executor.spin_once(timeout_sec=SPIN_SECONDS)
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.shutdown(context=context)

    def _look(self, node: Any) -> None:
        """Subscribe to topics that have appeared."""
        offered = {(topic, kind) for topic, kinds in node.get_topic_names_and_types() for kind in kinds}
        for topic, kind in self._offers.choose(offered):
            if (topic, kind) not in self._taken:
                self._taken.add((topic, kind))
                self._subscribe(node, topic, kind)
        if not self._missing_said:
            self._missing_said = True
            for topic in self._offers.missing(topic for topic, _ in offered):
                self._say(f"waits for {topic}, which nobody publishes yet")

    def _subscribe(self, node: Any, topic: str, kind: str) -> None:
        message_type = {POINTS_TYPE: self._ros["cloud"], TF_TYPE: self._ros["transforms"]}[kind]
        quality = self._quality(topic, kind)

        def take(data: bytes) -> None:
            arrived_ns = node.get_clock().now().nanoseconds
            self._losses.put(LoggedMessage(arrived_ns, topic, kind, data))

        node.create_subscription(message_type, topic, take, quality, raw=True)
        self._say(f"takes {topic} ({kind})")

    def _quality(self, topic: str, kind: str) -> Any:
        """Clouds as sensors send them, lost rather than late; static transforms as they were before us."""
        qos = self._ros["rclpy"].qos
        cloud = kind in CLOUDS
        return qos.QoSProfile(
            depth=CLOUD_DEPTH if cloud else TRANSFORM_DEPTH,
            reliability=qos.ReliabilityPolicy.BEST_EFFORT if cloud else qos.ReliabilityPolicy.RELIABLE,
            durability=(
                qos.DurabilityPolicy.TRANSIENT_LOCAL
                if topic.endswith(STATIC_TOPIC)
                else qos.DurabilityPolicy.VOLATILE
            ),
        )


def _modules() -> Mapping[str, Any]:
    """What is needed of ROS 2.  Raises SourceError where it is not there"""
    try:
        for name in ("rclpy.context", "rclpy.executors", "rclpy.qos"):
            importlib.import_module(name)
        return {
            "rclpy": importlib.import_module("rclpy"),
            "cloud": importlib.import_module("sensor_msgs.msg").PointCloud2,
            "transforms": importlib.import_module("tf2_msgs.msg").TFMessage,
        }
    except ModuleNotFoundError as error:
        raise SourceError(
            f"ros2: needs {error.name}, which comes with ROS 2: run `source /opt/ros/DISTRO/setup.bash` and "
            "octastream with the Python of that ROS, or run foxglove_bridge on the robot and give "
            "ws://HOST:8765"
        ) from error
