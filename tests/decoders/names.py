"""Names of targets."""

from __future__ import annotations

from stream.topics import RECORDS

LOGS = {suffix: f"log{suffix.replace('.', '-')}" for suffix in
        (".pcd", ".ply", ".las", ".mcap", ".db3", ".bin", ".npy", ".npz")}  # fmt: skip
"""By suffix."""
MESSAGES = {topic: "-".join(topic.split(".")[1:3]) for topic in RECORDS}
"""By topic."""
