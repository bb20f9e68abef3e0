"""A robot without octastream: sends PointCloud2 and transforms to Kafka as ROS 2 would write them.

Run: python examples/produce_pointcloud2.py [HOST:PORT] [SWEEPS]     needs aiokafka and numpy
With ROS 2 at hand, ``rclpy.serialization.serialize_message(message)`` replaces ``cdr``.
"""

import asyncio
import struct
import sys
import time

import numpy as np
from aiokafka import AIOKafkaProducer

ROBOT, SENSOR = b"ant", b"top"
FLOAT32 = 7  # sensor_msgs/PointField


def cdr(*fields: tuple[str, object]) -> bytes:
    """Fields as little-endian CDR: numbers by their struct code, s for strings, b for sequences of bytes."""
    data = bytearray()
    for kind, value in fields:
        content = f"{value}\0".encode() if kind == "s" else value
        number, code = (len(content), "I") if kind in "sb" else (value, kind)
        data += bytes(-len(data) % struct.calcsize(code)) + struct.pack(f"<{code}", number)
        data += content if kind in "sb" else b""
    return b"\x00\x01\x00\x00" + data


def header(stamp_ns: int, frame: str) -> list[tuple[str, object]]:
    return [("i", stamp_ns // 10**9), ("I", stamp_ns % 10**9), ("s", frame)]


def cloud(stamp_ns: int, points: np.ndarray) -> bytes:
    """sensor_msgs/PointCloud2 of points x, y, z, intensity."""
    fields = [
        (("s", name), ("I", 4 * i), ("B", FLOAT32), ("I", 1))
        for i, name in enumerate(["x", "y", "z", "intensity"])
    ]
    return cdr(
        *header(stamp_ns, "lidar"), ("I", 1), ("I", len(points)),
        ("I", len(fields)), *(item for field in fields for item in field),
        ("B", 0), ("I", 16), ("I", 16 * len(points)), ("b", points.astype("<f4").tobytes()), ("B", 1),
    )  # fmt: skip


def transform(stamp_ns: int, parent: str, child: str, x: float, z: float) -> bytes:
    """tf2_msgs/TFMessage with one transform without rotation."""
    return cdr(("I", 1), *header(stamp_ns, parent), ("s", child), *(("d", v) for v in (x, 0, z, 0, 0, 0, 1)))


def scene(x: float) -> np.ndarray:
    """The sensor, at x metres, sees the ground and a wall at 20 m."""
    y, up = np.meshgrid(np.linspace(-8, 8, 81), np.linspace(-1.5, 3, 24))
    wall = np.stack([np.full(y.size, 20 - x), y.ravel(), up.ravel(), np.full(y.size, 0.6)], axis=1)
    ahead, side = np.meshgrid(np.linspace(3, 15, 61), np.linspace(-8, 8, 41))
    ground = np.stack(
        [ahead.ravel(), side.ravel(), np.full(ahead.size, -1.7), np.full(ahead.size, 0.2)], axis=1
    )
    return np.concatenate([wall, ground])


async def main(bootstrap: str = "127.0.0.1:9092", sweeps: int = 20) -> None:
    start_ns = time.time_ns()
    # The key is the robot; clients built on librdkafka need partitioner=murmur2_random.
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_request_size=8 * 2**20
    ) as producer:
        mount = transform(start_ns, "base_link", "lidar", 0.0, 1.7)
        await producer.send_and_wait("octa.transform.static.v1", mount, key=ROBOT)
        for number in range(sweeps):
            stamp_ns, x = start_ns + number * 10**8, 0.2 * number
            pose = transform(stamp_ns, "odom", "base_link", x, 0.0)
            await producer.send_and_wait("octa.transform.received.v1", pose, key=ROBOT)
            points, sensor = cloud(stamp_ns, scene(x)), [("octa_sensor", SENSOR)]
            await producer.send_and_wait("octa.sweep.received.v1", points, key=ROBOT, headers=sensor)
            await asyncio.sleep(0.1)
    print(f"{sweeps} sweeps of {ROBOT.decode()}/{SENSOR.decode()} sent")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2], *map(int, sys.argv[2:3])))
