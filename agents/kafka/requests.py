"""Requests of agents, done beside the folding; their answers come as messages."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agents.effects import LocalEffects
from agents.protocol import Request, Restore, Train

REQUEST_SECONDS = 600.0
"""A request that takes longer hangs: a thread cannot be ended, so the process is, and begins again."""

WAITING_SWEEPS = 32
"""Of one lineage, that wait for a training: a megabyte or two each, in memory and in every snapshot."""

Answered = Callable[[str, Any], Awaitable[None]]
"""Takes the name of a request and what came of it."""


class Requests:
    """Starts requests, each in a thread of its kind, and tells what came of them.

    failed : told of an exception that no answer stands for, and of a request that hangs; the process cannot
        go on then
    on_answer : called after each answer, so that it is folded, and when more may be asked for again

    Trainings of a lineage that wait for one that is under way are merged: their examples and labels all
    count, but steps are taken once, the most that one of them asks for. So a learner that cannot follow
    publishes less often, down to once in WAITING_SWEEPS. Whoever asks folds nothing more while too much waits
    (``full``): a learner that catches up folds many times faster than it trains, most of all where others
    need the processor.
    """

    def __init__(self, failed: Callable[[BaseException], None], on_answer: Callable[[], None]) -> None:
        self._failed, self._on_answer = failed, on_answer
        self._loader = ThreadPoolExecutor(1, "loads")
        self._trainer = ThreadPoolExecutor(1, "trains")
        self._waiting: list[tuple[str, Train, LocalEffects, Answered]] = []
        self._training: asyncio.Task[None] | None = None
        self._loads: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether so much waits for a training that no more should be asked for."""
        waiting: Counter[str] = Counter()
        for _, train, *_ in self._waiting:
            waiting[train.lineage] += len(train.examples)
        return max(waiting.values(), default=0) >= WAITING_SWEEPS

    def start(self, request: str, effect: Request, effects: LocalEffects, answered: Answered) -> None:
        """Start on a request."""
        if isinstance(effect, Train):
            self._waiting.append((request, effect, effects, answered))
            if self._training is None or self._training.done():
                self._training = self._spawn(self._train())
        else:
            task = self._spawn(self._load(request, effect, effects, answered))
            self._loads.add(task)
            task.add_done_callback(self._loads.discard)

    def steer(self, effect: Restore, effects: LocalEffects) -> None:
        """Have a trainer take other weights, between two trainings: it is of one thread."""
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._trainer, effects.perform, effect).add_done_callback(self._ended)

    def forget(self, effects: LocalEffects) -> None:
        """Begin no training that waits and was asked for with these effects: whoever asked has ended."""
        self._waiting = [item for item in self._waiting if item[2] is not effects]

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failed(task.exception() or RuntimeError("request failed"))

    async def _load(self, request: str, effect: Request, effects: LocalEffects, answered: Answered) -> None:
        await answered(request, await _perform(self._loader, effects, effect))
        self._on_answer()

    async def _train(self) -> None:
        while self._waiting:
            name = self._waiting[0][1].lineage
            batch = [item for item in self._waiting if item[1].lineage == name]
            self._waiting = [item for item in self._waiting if item[1].lineage != name]
            self._on_answer()
            request, last, effects, answered = batch[-1]
            merged = dataclasses.replace(
                last,
                examples=tuple(example for _, train, *_ in batch for example in train.examples),
                labels=tuple(labels for _, train, *_ in batch for labels in train.labels),
                steps=max(train.steps for _, train, *_ in batch),
            )
            result = await _perform(self._trainer, effects, merged)
            for earlier, *_ in batch[:-1]:
                await answered(earlier, None)
            await answered(request, result)
            self._on_answer()

    def close(self) -> None:
        """End without waiting for what is under way."""
        for task in [*self._loads, *([self._training] if self._training else [])]:
            task.cancel()
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._trainer.shutdown(wait=False, cancel_futures=True)


async def _perform(thread: ThreadPoolExecutor, effects: LocalEffects, effect: Request) -> Any:
    """What comes of a request.  Raises RuntimeError for one that hangs"""
    asked = asyncio.get_running_loop().run_in_executor(thread, effects.perform, effect)
    try:
        return await asyncio.wait_for(asked, REQUEST_SECONDS)
    except TimeoutError as error:
        raise RuntimeError(f"{type(effect).__name__} hangs: no end after {REQUEST_SECONDS:g} s") from error
