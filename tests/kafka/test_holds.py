"""A person's word on which model may serve: where it lies, who finds it, and what is served under it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import cast

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from agents.cli import main
from agents.holds import freeze, pin, release
from agents.journal import Place
from agents.kafka import holds
from agents.kafka.admin import admin_client
from agents.kafka.holds import PLACE, STRETCH, first_of_hold
from agents.kafka.log import KafkaLog
from agents.kafka.messages import Message
from agents.kafka.settings import KafkaSettings
from agents.replay import ReplayOptions, replay
from models.online.builtin import MODEL_ID as BUILTIN
from models.registry import ModelRegistry
from stream.codecs.wire import encode
from stream.config import load_config
from stream.records import PIN, RELEASE, ModelPublished, Prediction
from stream.sources import open_source
from stream.topics import HOLD_KEY, PREDICTIONS, PUBLISHED, key_of
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, send, wait_for_rest


def published(model_id: str) -> ModelPublished:
    return ModelPublished(model_id=model_id, sha256="s", kind="update", parent_id="", stamp_ns=1)


class PublishedLog:
    """The topic of models in memory; offsets that compaction has left out are None."""

    def __init__(self, *records: ModelPublished | None, begin: int = 0) -> None:
        self.begin = begin
        self.messages = [
            Message(place=PLACE, offset=at, key=key_of(r), value=encode(r), headers=(), appended_ms=at)
            for at, r in enumerate(records)
            if r is not None and at >= begin
        ]
        self.end = len(records)

    async def beginning(self, places: list[Place]) -> dict[Place, int]:
        return dict.fromkeys(places, self.begin)

    async def read(self, place: Place, first: int, end: int) -> list[Message]:
        assert place == PLACE
        return [message for message in self.messages if first <= message.offset < end]


def first(log: PublishedLog) -> int:
    return asyncio.run(first_of_hold(cast(KafkaLog, log), log.end))


MODELS = [published(f"bcc-{number}") for number in range(20)]
PINNED = pin(None, 5)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (PublishedLog(), 0),
        (PublishedLog(*MODELS), 20),
        (PublishedLog(PINNED, *MODELS), 0),
        (PublishedLog(*MODELS[:3], freeze(1), *MODELS), 3),
        (PublishedLog(*MODELS[:3], PINNED, MODELS[3], freeze(2), *MODELS), 5),
        (PublishedLog(*MODELS[:3], PINNED, MODELS[3], release(2), *MODELS), 26),
        (PublishedLog(None, None, PINNED, None, *MODELS), 2),
        (PublishedLog(*MODELS, PINNED, begin=20), 20),
        (PublishedLog(*MODELS, begin=20), 20),
    ],
)
@pytest.mark.parametrize("stretch", [2, STRETCH])
def test_a_new_task_begins_at_the_newest_hold_that_holds(
    log: PublishedLog, expected: int, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "STRETCH", stretch)
    assert first(log) == expected


def test_what_a_person_says_has_a_key_that_no_model_has() -> None:
    for record in (PINNED, freeze(1), release(1)):
        assert key_of(record) == HOLD_KEY
    assert key_of(MODELS[0]) == b"bcc-0"


# ---- on a broker ---------------------------------------------------------------------------------------

LOG = "sim:city?sweeps=40&beams=32&azimuths=96&seed=3"
SETTINGS = (
    "grid.lod=5", "grid.map_frame=odom", "task.warmup_sweeps=8", "network.width=8", "learn.prior=none",
    "learn.steps_per_sweep=6", "learn.gate_sweeps=2", "learn.averaging=0.9", "learn.learning_rate=0.01",
)  # fmt: skip


@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_pinned_model_serves_on_a_worker_that_starts_long_after(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    replay(
        [open_source(LOG)], load_config(None, list(SETTINGS)), tmp_path / "run", ReplayOptions(report=False),
        lambda *_: None,
    )  # fmt: skip
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=1, folder=tmp_path / "state")
    shutil.copytree(tmp_path / "run" / "models", settings.folder / "models")
    registry = ModelRegistry(settings.folder / "models")
    chosen, *others = registry.list()
    fresh_topics(settings)
    where = ["--bootstrap", settings.bootstrap, "--folder", str(settings.folder), "--partitions", "1"]
    assert main(["models", "pin", "bcc-none", *where]) == 1
    assert "not in the registry" in capsys.readouterr().err
    assert main(["models", "pin", chosen, *where]) == 0
    assert registry.kept() == (chosen,)

    async def publish() -> None:
        async with KafkaLog(settings) as log:
            for model_id in [*others, *others]:
                manifest = registry.manifest(model_id)
                record = ModelPublished(
                    model_id=model_id, sha256=manifest.sha256, kind="update", parent_id="", stamp_ns=1,
                    manifest=manifest.to_dict(),
                )  # fmt: skip
                await log.append(PUBLISHED, encode(record), key=key_of(record), partition=0)

    asyncio.run(publish())
    assert len(others) > 5
    with Workers(settings, tmp_path, SETTINGS) as workers:
        workers.start("perceive-0")
        workers.wait_until_running(["perceive-0"])
        send(settings, [open_source(LOG)], 0.5)  # so that the model is loaded long before the end
        wait_for_rest(workers, settings, ["perceive"], 120)
        assert workers.ended() == {}
        made = [record for record in read(settings, PREDICTIONS) if isinstance(record, Prediction)]
        assert len(made) > 15
        assert {record.model_id for record in made[-10:]} == {chosen}
        assert {record.model_id for record in made} <= {chosen, "frequency"}  # until it was loaded
    assert main(["models", "freeze", *where]) == 0
    assert registry.kept() == (others[-1],)  # published last, whatever the registry calls its champion
    assert main(["models", "release", *where]) == 0
    assert registry.kept() == ()
    kinds = [record.kind for record in read(settings, PUBLISHED)]
    assert (kinds[0], kinds[-2], kinds[-1]) == (PIN, PIN, RELEASE)


@pytest.mark.slow
def test_after_a_fallback_a_freeze_holds_the_builtin_model(
    kafka: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The registry's champion is still the model that was given up."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=1, folder=tmp_path / "state")
    ModelRegistry(settings.folder / "models")
    fresh_topics(settings)
    where = ["--bootstrap", settings.bootstrap, "--folder", str(settings.folder), "--partitions", "1"]
    assert main(["models", "freeze", *where]) == 0  # nothing was published yet

    async def publish() -> None:
        async with KafkaLog(settings) as log:
            for record in (published("bcc-1"), published(BUILTIN)):
                await log.append(PUBLISHED, encode(record), key=key_of(record), partition=0)

    asyncio.run(publish())
    assert main(["models", "freeze", *where]) == 0
    assert [record.model_id for record in read(settings, PUBLISHED)] == [BUILTIN, "bcc-1", BUILTIN, BUILTIN]

    async def delete() -> None:
        async with admin_client(settings) as client:
            await client.delete_records({TopicPartition(*PLACE): RecordsToDelete(before_offset=4)})

    asyncio.run(delete())
    assert main(["models", "freeze", *where]) == 1  # what serves cannot be told, and is not guessed
    assert "retained no more; name it: octastream models pin" in capsys.readouterr().err
