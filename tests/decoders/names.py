"""Names of targets."""

from __future__ import annotations

from stream.topics import RECORDS

LOGS = {suffix: f"log{suffix.replace('.', '-')}" for suffix in
        (".pcd", ".pcd.bin", ".ply", ".las", ".laz", ".mcap", ".db3", ".bin", ".npy", ".npz")}  # fmt: skip
"""By suffix."""
MESSAGES = {topic: "-".join(topic.split(".")[1:3]) for topic in RECORDS}
"""By topic."""
PART_FILE = "date=1970-01-01/region=i/lod=7/part-00000-00000.parquet"
"""Of a training set."""
