"""What a task writes of models: answers and open requests, which are read again after a restart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from agents.kafka.messages import (
    decode_answer,
    decode_entry,
    decode_snapshot,
    encode_answer,
    encode_snapshot,
)
from agents.operations import Memory
from agents.protocol import LoadModel, ModelLoaded
from agents.task import Answer
from models.model import Model
from stream.codecs.state import StateError, pack, unpack
from tests.agents.loops import ScriptedModel
from tests.agents.worlds import config_of

MODEL = ScriptedModel(config_of(), 2.0)


def no_training(model_id: str, data: bytes) -> Model:
    raise AssertionError(f"{model_id} was not trained")


def test_an_answer_is_read_again_with_the_very_file_that_was_loaded() -> None:
    loaded = ModelLoaded(model_id=MODEL.model_id, stamp_ns=7, sha256="ab", model=MODEL, number=2)
    asked: list[LoadModel] = []

    def load(request: LoadModel) -> ModelLoaded:
        asked.append(request)
        return loaded

    answer = decode_answer(encode_answer(Answer("perceive-0/1/0", loaded)), load, no_training)
    assert (answer.request, answer.record) == ("perceive-0/1/0", loaded)
    assert asked == [LoadModel(model_id=MODEL.model_id, stamp_ns=7, number=2, sha256="ab")]


def test_a_model_that_was_refused_is_not_looked_for_again() -> None:
    refused = ModelLoaded(model_id="m", stamp_ns=7, sha256="", model=None, reason="not published", number=2)

    def load(request: LoadModel) -> ModelLoaded:
        raise AssertionError(f"{request} was refused")

    record = decode_answer(encode_answer(Answer("a", refused)), load, no_training).record
    assert (record.model, record.reason, record.number) == (None, "not published", 2)


@pytest.mark.parametrize("sha256", ["ab", None])
def test_a_load_under_way_keeps_its_sha256_and_releases_read_each_other(sha256: str | None) -> None:
    asked = LoadModel(model_id="m", stamp_ns=7, number=1, sha256=sha256)
    memory = Memory(claim=0, journal=1, positions={}, waiting={}, open={"a": asked})
    data = encode_snapshot(b"", memory).pack()
    assert decode_snapshot(data).memory.open == {"a": asked}
    tree = unpack(data)
    assert set(tree["open"]["a"]) == {"model_id", "stamp_ns", "number"}, "an earlier one takes no other field"
    del tree["sha256"]
    of_earlier = decode_snapshot(pack(tree)).memory.open
    assert of_earlier == {"a": dataclasses.replace(asked, sha256=None)}


@pytest.mark.parametrize(
    "tree", [{}, {"positions": 3}, {"open": {"a": {"model_id": "m", "wish": 1}}}, [1], "x"]
)
def test_a_snapshot_of_another_version_is_none(tree: Any) -> None:
    """Found by fuzzing: only a StateError has the one before it read instead."""
    whole = unpack(encode_snapshot(b"", Memory(claim=0, journal=1, positions={}, waiting={}, open={})).pack())
    changed = {**whole, **tree} if isinstance(tree, dict) and tree else tree
    with pytest.raises(StateError):
        decode_snapshot(pack(changed))


@pytest.mark.parametrize(
    "data", [b"3", pytest.param(b"[" * 100_000, id="deep"), b"{}", b'{"inputs": [1], "claim": 0}', b"\xff"]
)
def test_what_is_no_journal_entry_is_said(data: bytes) -> None:
    with pytest.raises(StateError, match="journal entry"):
        decode_entry(data)
