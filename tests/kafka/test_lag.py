"""What a group has acknowledged, asked of a broker that does not know it yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from agents.kafka import group, lag
from stream.topics import JUDGE

PLACES = [("octa.a", 0), ("octa.a", 1), ("octa.b", 0)]
NOTHING = -1


class Client:
    """Answers in turn: offsets by place, or an error."""

    def __init__(self, *answers: dict[tuple[str, int], int] | Exception) -> None:
        self.answers = list(answers)

    async def list_consumer_group_offsets(
        self, group: str, *, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {TopicPartition(*place): OffsetAndMetadata(offset, "") for place, offset in answer.items()}


def committed(*answers: Any) -> dict[tuple[str, int], int]:
    return asyncio.run(lag._committed(Client(*answers), JUDGE, PLACES))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "RETRY_SECONDS", 0.0)


def test_a_place_of_which_nothing_was_acknowledged_has_no_offset() -> None:
    assert committed(dict(zip(PLACES, (7, NOTHING, 0), strict=True))) == {PLACES[0]: 7, PLACES[2]: 0}


def test_a_broker_that_loads_its_groups_is_asked_again() -> None:
    whole = dict(zip(PLACES, (7, 8, 9), strict=True))
    assert committed({}, {PLACES[0]: 7}, NotCoordinatorError(), whole) == whole


def test_one_that_never_knows_is_an_error_and_not_an_offset_of_nothing() -> None:
    with pytest.raises(GroupLoadInProgressError, match="names no offsets"):
        committed({})


def test_what_will_not_get_better_is_not_asked_again() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        committed(TopicAuthorizationFailedError("no"), dict.fromkeys(PLACES, 1))
