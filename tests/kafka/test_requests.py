"""Requests that run beside the folding, and one that never ends."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from agents.kafka import requests
from agents.kafka.requests import Requests
from agents.protocol import Example, Labels, LoadModel, Request, Restore, Train


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    "effect",
    [
        Train(lineage="network", stamp_ns=7, examples=(), labels=(), steps=1),
        LoadModel(model_id="bcc-1", stamp_ns=7),
    ],
)
def test_a_request_that_hangs_ends_the_process_and_is_not_answered(
    effect: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REQUEST_SECONDS", 0.05)
    answers: list[Any] = []
    release, effects = threading.Event(), _Effects()
    effects.perform = lambda _: release.wait(20)

    async def answered(request: str, record: Any) -> None:
        answers.append((request, record))

    async def run() -> BaseException:
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        asked = Requests(failed.set_result, lambda: None)
        asked.start("learn-0/1/0", effect, effects, answered)
        try:
            return await asyncio.wait_for(failed, 10)
        finally:
            release.set()
            asked.close()

    error = asyncio.run(run())
    assert str(error) == f"{type(effect).__name__} hangs: no end after 0.05 s"
    assert answers == []


def test_a_trainer_is_given_weights_by_the_thread_that_trains_it_and_not_while_it_trains() -> None:
    """Torch refuses to go on with weights that change under it; and a rollback would be half of each."""
    effects, done = _Effects(), list[tuple[str, str]]()
    training, release = threading.Event(), threading.Event()

    def perform(effect: Request | Restore) -> None:
        if isinstance(effect, Train):
            training.set()
            assert release.wait(20)
        done.append((type(effect).__name__, threading.current_thread().name))

    async def answered(request: str, record: Any) -> None:
        """No one asks."""

    async def run() -> None:
        asked = Requests(pytest.fail, lambda: None)
        train = Train(lineage="network", stamp_ns=7, examples=(), labels=(), steps=1)
        asked.start("learn-0/1/0", train, cast(Any, effects), answered)
        await asyncio.to_thread(training.wait, 10)
        asked.steer(Restore(lineage="network", weights={}), cast(Any, effects))
        await asyncio.sleep(0.1)  # folding goes on meanwhile
        assert done == []
        release.set()
        while len(done) < 2:
            await asyncio.sleep(0.01)
        asked.close()

    effects.perform = perform
    asyncio.run(run())
    assert [name for name, _ in done] == ["Train", "Restore"]
    assert len({thread for _, thread in done}) == 1


def test_trainings_of_two_lineages_that_take_turns_are_merged() -> None:
    """A learner that cannot follow publishes less often, so that it does not fall behind for ever."""
    effects, done, first = _Effects(), list[Train](), threading.Event()
    answers: list[tuple[str, Any]] = []

    def perform(effect: Train) -> str:
        first.wait(10)
        done.append(effect)
        return effect.lineage

    async def answered(request: str, record: Any) -> None:
        answers.append((request, record))

    def training(number: int) -> Train:
        none = np.zeros(0, np.int32)
        labels = Labels(prediction_id=str(number), horizon=0, row=none, occupied=none.astype(bool))
        return Train(lineage="abc"[number % 2], stamp_ns=number, examples=(), labels=(labels,), steps=number)

    async def run() -> None:
        asked = Requests(pytest.fail, lambda: None)
        for number in range(9):
            asked.start(str(number), training(number), cast(Any, effects), answered)
            await asyncio.sleep(0)
        first.set()
        while len(answers) < 9:
            await asyncio.sleep(0.01)
        asked.close()

    effects.perform = perform
    asyncio.run(run())
    assert [(train.lineage, train.stamp_ns) for train in done] == [("a", 0), ("b", 7), ("a", 8)]
    given = [[labels.prediction_id for labels in train.labels] for train in done]
    assert given == [["0"], ["1", "3", "5", "7"], ["2", "4", "6", "8"]]
    assert {request: record for request, record in answers if record} == {"0": "a", "7": "b", "8": "a"}


@pytest.mark.fault(41)
def test_what_waits_for_a_training_is_bounded_and_told_of_when_more_may_come() -> None:
    """A learner that caught up on a busy machine held ten gigabytes of sweeps that waited for the trainer."""
    effects, done, first = _Effects(), list[Train](), threading.Event()
    told: list[bool] = []

    def perform(effect: Train) -> None:
        assert first.wait(10)
        done.append(effect)

    async def answered(request: str, record: Any) -> None:
        """No one asks."""

    def training(number: int, lineage: str) -> Train:
        empty = np.zeros((0, 14), np.float32)
        example = Example(
            prediction_id=str(number), stamp_ns=number, x=empty, neighbor_index=empty.astype(np.int32),
            azimuth=empty[:, 0],
        )  # fmt: skip
        return Train(lineage=lineage, stamp_ns=number, examples=(example,), labels=(), steps=1)

    async def run() -> None:
        asked = Requests(pytest.fail, lambda: told.append(asked.full))
        asked.start("0", training(0, "a"), cast(Any, effects), answered)
        while not told:
            await asyncio.sleep(0)  # until it is under way
        number = 0
        while not asked.full:
            number += 1
            asked.start(str(number), training(number, "ab"[number % 2]), cast(Any, effects), answered)
        assert number == 2 * requests.WAITING_SWEEPS - 1  # the other lineage has one less
        told.clear()
        first.set()
        while len(done) < 3:
            await asyncio.sleep(0.01)
        assert not asked.full
        asked.close()

    effects.perform = perform
    asyncio.run(run())
    assert [len(train.examples) for train in done] == [
        1,
        requests.WAITING_SWEEPS,
        requests.WAITING_SWEEPS - 1,
    ]
    assert told[:2] == [True, False]  # of the first one's end, and of the begin of the next


@pytest.mark.fault(14)
def test_who_has_ended_is_trained_for_no_more_and_his_successor_has_his_answer() -> None:
    """Both ask under one name: an answer to one closed the request of the other, whose model was dropped."""
    ended, begun, first = _Effects(), _Effects(), threading.Event()
    done, answers = list[str](), list[tuple[str, str, Any]]()

    def performing(name: str) -> Any:
        def perform(effect: Train) -> str:
            assert first.wait(10)
            done.append(f"{name} {effect.stamp_ns}")
            return f"model of {name}"

        return perform

    def answering(name: str) -> Any:
        async def answered(request: str, record: Any) -> None:
            answers.append((name, request, record))

        return answered

    def training(number: int) -> Train:
        return Train(lineage="network", stamp_ns=number, examples=(), labels=(), steps=1)

    async def run() -> None:
        asked = Requests(pytest.fail, lambda: None)
        for number in range(3):
            asked.start(str(number), training(number), cast(Any, ended), answering("ended"))
            await asyncio.sleep(0)  # the first is under way
        asked.forget(cast(Any, ended))
        asked.start("2", training(2), cast(Any, begun), answering("begun"))
        first.set()
        while len(answers) < 2:
            await asyncio.sleep(0.01)
        asked.close()

    ended.perform, begun.perform = performing("ended"), performing("begun")
    asyncio.run(run())
    assert done == ["ended 0", "begun 2"]
    assert answers == [("ended", "0", "model of ended"), ("begun", "2", "model of begun")]


class _Effects:
    """As LocalEffects, with one that never comes back."""

    perform: Any
