"""Labels and requests for them over a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from agents.cli import main
from agents.kafka.admin import run
from agents.kafka.labels import PIECE_CELLS, send_records
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from native.index64 import from_text, to_text
from stream.codecs.wire import decode
from stream.records import LabelGiven, LabelRequested
from stream.topics import ARCHIVE, INPUTS, LABELS_GIVEN, LABELS_REQUESTED
from tests.agents.run_folder import RunSpec, encode, write_run
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import fresh_topics


@pytest.fixture
def cluster(kafka: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=2, folder=tmp_path / "state")
    fresh_topics(settings)
    monkeypatch.setenv("OCTA_BOOTSTRAP", kafka.bootstrap)
    return settings


async def records(settings: KafkaSettings, topic: str) -> list[LabelGiven | LabelRequested]:
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans([(topic, partition) for partition in range(settings.partitions)])
        found = [item async for at, span in _items(spans) async for item in partitions.messages(at, span)]
    assert {item.key for item in found} <= {b"ant", b"kitti"}
    return [decode(topic, item.value) for item in found]


async def _items(spans):
    for item in spans.items():
        yield item
        await asyncio.sleep(0)


def test_labels_of_a_file_go_to_their_topic(cluster: KafkaSettings, tmp_path: Path, capsys) -> None:
    cells = np.sort(encode(np.array([[0, 0, 0], [2, 0, 0]])))
    lines = [f"{to_text(int(cell))},{label}" for cell, label in zip(cells, ("car", "tree"), strict=True)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["cell_id,label", *lines]) + "\n")
    assert main(["label", "send", str(path), "--robot", "a/b"]) == 1
    assert "--robot: 'a/b' must be a name without a slash" in capsys.readouterr().err
    assert main(["label", "send", str(path), "--robot", "ant", "--author", "ann"]) == 0
    assert "2 words sent in 2 messages" in capsys.readouterr().out
    found = run(records(cluster, LABELS_GIVEN))
    assert [(r.robot_id, r.author, r.label, r.cell_id.tolist()) for r in found] == [
        ("ant", "ann", "car", [int(cells[0])]),
        ("ant", "ann", "tree", [int(cells[1])]),
    ]
    assert LABELS_GIVEN in INPUTS[ARCHIVE]


def test_a_queue_goes_to_its_topic(cluster: KafkaSettings, tmp_path: Path, capsys) -> None:
    folder = write_run(tmp_path / "run", RunSpec(sweeps=40, cells=400, warmup=10))
    assert main(["label", "list", str(folder), "--count", "3", "--send"]) == 0
    assert "3 requests sent" in capsys.readouterr().out
    found = run(records(cluster, LABELS_REQUESTED))
    assert [request.reason for request in found] == ["wrong", "uncertain", "contradicted"]
    assert all(from_text(request.region) and len(request.cell_id) for request in found)


def test_many_cells_go_in_several_messages(cluster: KafkaSettings) -> None:
    cells = np.arange(2**63, 2**63 + PIECE_CELLS + 5, dtype=np.uint64)
    word = LabelGiven(robot_id="ant", stamp_ns=1, author="ann", label="a", at_ns=0, weight=1.0, cell_id=cells)
    assert run(send_records(cluster, [word])) == 2
    assert [len(r.cell_id) for r in run(records(cluster, LABELS_GIVEN))] == [PIECE_CELLS, 5]
