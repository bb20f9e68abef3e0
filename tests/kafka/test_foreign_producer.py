"""A producer that knows nothing of octastream: what it sends is understood, and forecast from."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import decode_sweep, decode_transforms
from stream.topics import BINNED, PREDICTIONS, REJECTED
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import fresh_topics, read

EXAMPLE = ROOT / "examples" / "produce_pointcloud2.py"
SWEEPS = 5
STAMP_NS = 1_700_000_000_123_456_789


def test_what_it_writes_is_ros_2s_own() -> None:
    example = runpy.run_path(str(EXAMPLE), run_name="example")
    points = example["scene"](1.0)
    sweep = decode_sweep(example["cloud"](STAMP_NS, points), [("octa_sensor", b"top")], b"ant")
    assert (sweep.stream_id, sweep.stamp_ns, sweep.frame) == ("ant/top", STAMP_NS, "lidar")
    np.testing.assert_array_equal(sweep.points, points[:, :3].astype(np.float32))
    np.testing.assert_array_equal(sweep.intensity, points[:, 3].astype(np.float32))

    data = example["transform"](STAMP_NS, "odom", "base_link", 1.5, 0.25)
    [transform] = decode_transforms(data, [], b"ant", static=False)
    assert (transform.parent, transform.child, transform.stamp_ns) == ("odom", "base_link", STAMP_NS)
    assert (transform.translation, transform.rotation) == ((1.5, 0.0, 0.25), (0.0, 0.0, 0.0, 1.0))


def test_a_worker_forecasts_from_what_it_sends(kafka: LocalBroker, tmp_path: Path) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    command = [
        sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())",
        "worker", "perceive", "--bootstrap", kafka.bootstrap, "--partitions", "2",
        "--folder", str(settings.folder), "--set", "grid.map_frame=odom",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        subprocess.run([sys.executable, str(EXAMPLE), kafka.bootstrap, str(SWEEPS)], check=True, timeout=60)
        end = time.monotonic() + 120
        while len(predictions := read(settings, PREDICTIONS)) < SWEEPS:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.5)
    finally:
        worker.terminate()
        worker.wait(60)
    assert [item.stream_id for item in predictions] == ["ant/top"] * SWEEPS
    assert all(len(item.cell_id) > 100 for item in predictions)
    assert read(settings, REJECTED) == []
    poses = [item.pose.reshape(3, 4)[:, 3] for item in read(settings, BINNED)]
    np.testing.assert_allclose(poses, [(0.2 * number, 0.0, 1.7) for number in range(SWEEPS)], atol=1e-9)
