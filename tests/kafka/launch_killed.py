"""A worker that may also be killed where the contract has no mark: ``python -m tests.kafka.launch_killed``.

``OCTA_FAILPOINT=writing:1`` kills it when half of a snapshot's first large piece is in its file,
``activated:1`` when it has said that another model than the built-in one serves, and nothing under it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from agents.kafka.host import Failpoint
from agents.kafka.log import KafkaLog, Outgoing
from agents.kafka.snapshots import SnapshotStore
from models.online.builtin import MODEL_ID
from stream.codecs.wire import decode
from stream.topics import ACTIVATED
from tests.kafka import launch

WRITING, IN_SWAP = "writing", "activated"
LARGE = 64
"""Bytes; what comes before the first such piece is its checksum and its length."""


class Torn:
    """A stream that is killed for once in the middle of its first large piece."""

    def __init__(self, whole: Any, failpoint: Failpoint) -> None:
        self._whole, self._failpoint, self._torn = whole, failpoint, False

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *error: object) -> None:
        self._whole.close()

    def write(self, piece: bytes | memoryview) -> None:
        """Write it, in two halves if it is the one."""
        if self._torn or len(piece) < LARGE:
            self._whole.write(piece)
            return
        self._torn = True
        half = len(piece) // 2
        self._whole.write(piece[:half])
        self._failpoint.reached(WRITING)
        self._whole.write(piece[half:])


class Files:
    """A file system whose streams may be torn."""

    def __init__(self, whole: Any, failpoint: Failpoint) -> None:
        self._whole, self._failpoint = whole, failpoint

    def open_output_stream(self, path: str) -> Torn:
        """As the whole one."""
        return Torn(self._whole.open_output_stream(path), self._failpoint)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def main(agent: str, text: str) -> None:
    """Run until told to stop, or killed."""
    failpoint = Failpoint()
    open_store, append_all = SnapshotStore.__init__, KafkaLog.append_all

    def open_torn(store: SnapshotStore, uri: str) -> None:
        open_store(store, uri)
        store._files = Files(store._files, failpoint)

    async def append(log: KafkaLog, messages: Sequence[Outgoing]) -> list[int]:
        offsets = await append_all(log, messages)
        for item in messages:
            if item.topic == ACTIVATED and decode(ACTIVATED, item.value).model_id != MODEL_ID:
                failpoint.reached(IN_SWAP)
        return offsets

    with (
        mock.patch.object(SnapshotStore, "__init__", open_torn),
        mock.patch.object(KafkaLog, "append_all", append),
    ):
        launch.main(agent, text)


if __name__ == "__main__":
    main(*sys.argv[1:])
