"""What is left out of what a group has shared out, as its broker describes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupAuthorizationFailedError, NodeNotReadyError, NotCoordinatorError
from aiokafka.protocol.admin import DescribeGroupsResponse_v1

from agents.kafka import group
from agents.kafka.settings import KafkaSettings
from stream.topics import BINNED, INPUTS, JUDGE, PREDICTIONS, SHADOWS, group_of

Member = tuple[str, str, str, bytes, bytes]
Answer = DescribeGroupsResponse_v1 | Exception


class Client:
    """Answers in turn."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    async def describe_consumer_groups(self, groups: Sequence[str]) -> list[DescribeGroupsResponse_v1]:
        assert groups == [group_of(JUDGE)]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]


def member(shared: dict[str, list[int]] | None, reads: Sequence[str] = INPUTS[JUDGE]) -> Member:
    assignment = (
        b"" if shared is None else ConsumerProtocolMemberAssignment(0, list(shared.items()), b"").encode()
    )
    return "id", "client", "host", ConsumerProtocolMemberMetadata(0, list(reads), b"").encode(), assignment


def answer(*members: Member, state: str = "Stable", error: int = 0) -> DescribeGroupsResponse_v1:
    return DescribeGroupsResponse_v1(0, [(error, group_of(JUDGE), state, "consumer", "faust", list(members))])


@pytest.fixture
def left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(group, "RETRY_SECONDS", 0.0)

    def of(*answers: Answer) -> list[tuple[str, int]]:
        @asynccontextmanager
        async def admin_client(settings: KafkaSettings) -> AsyncIterator[Client]:
            yield Client(*answers)

        monkeypatch.setattr(group, "admin_client", admin_client)
        settings = KafkaSettings(bootstrap="nowhere:1", partitions=2, folder=tmp_path)
        return asyncio.run(group.left_out(settings, JUDGE))

    return of


WHOLE = {topic: [0, 1] for topic in INPUTS[JUDGE]}
FIRST, SECOND = ({topic: [partition] for topic in INPUTS[JUDGE]} for partition in (0, 1))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member(WHOLE)], []),
        ([member(FIRST), member(SECOND)], []),
        ([member(WHOLE), member(None)], []),  # one stands by
        ([member(FIRST)], [(BINNED, 1), (PREDICTIONS, 1), (SHADOWS, 1)]),
        ([member(FIRST), member({**SECOND, SHADOWS: []})], [(SHADOWS, 1)]),
        ([member(FIRST), member(FIRST)], [(BINNED, 1), (PREDICTIONS, 1), (SHADOWS, 1)]),
    ],
)
def test_what_no_member_has_is_left_out(
    members: list[Member], expected: list[tuple[str, int]], left_out: Any
) -> None:
    assert left_out(answer(*members)) == expected


@pytest.mark.parametrize("state", ["PreparingRebalance", "CompletingRebalance"])
def test_what_is_being_shared_out_is_not_left_out(state: str, left_out: Any) -> None:
    """Kafka says then who is there, and not what they read or have."""
    assert left_out(answer(("id", "client", "host", b"", b""), state=state)) == []


def test_a_group_is_not_asked_to_share_anew_what_an_older_member_does_not_read(left_out: Any) -> None:
    """Faust would give all partitions of that topic to the newer one, and their tasks two owners."""
    older = member({BINNED: [1], PREDICTIONS: [1]}, (BINNED, PREDICTIONS))
    assert left_out(answer(member({BINNED: [0], PREDICTIONS: [0]}), older)) == []


def test_a_broker_that_does_not_know_yet_is_asked_again(left_out: Any) -> None:
    loading = answer(error=NotCoordinatorError.errno)
    assert left_out(NodeNotReadyError(), loading, answer(member(WHOLE))) == []


def test_what_is_not_allowed_is_not_asked_again(left_out: Any) -> None:
    with pytest.raises(GroupAuthorizationFailedError, match=group_of(JUDGE)):
        left_out(answer(error=GroupAuthorizationFailedError.errno))
