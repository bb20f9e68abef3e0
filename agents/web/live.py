"""Those who watch the live page: each gets the newest frame that it has not had, as fast as it takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.web.board import Board
from agents.web.feed import Feed
from agents.web.page_options import PageOptions
from agents.web.studio import Level, Shot, Studio
from agents.web.tape import Tape
from agents.web.world import World

SETTLE_S = 0.025
"""Outcomes of a sweep come a moment after its forecast, and belong to the same frame."""
STATUS_S = 1.0
BOARD_S = 3.0
"""A board is 50 ms of work."""
PATH = 150
"""Points of the way that a robot has come."""
NOW, PAST = b"\1\0\0\0", b"\2\0\0\0"
"""What frames begin with: the newest one, or one that was asked for."""
TAPE_STEPS, TAPE_STEP_NS = 600, 190_000_000
"""The tape has so many frames at most, and every second one of a sensor at 10 Hz at best."""
TAPE_ROBOTS = 4
LOGGER = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Viewer:
    """One open page: what it watches, what it has had, and whether there is something new for it.

    skipped : frames that were made and never sent, because it was still taking an earlier one
    """

    robot: str | None
    level: Level
    live: bool = True
    had: tuple[str, int, int] | None = None
    had_level: Level | None = None
    board: int = 0
    status: int = 0
    news: tuple[int, int] = (0, -1)  # pass, number of the last event; -1 for none told
    frames: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A text or bytes for a viewer, and what to call when it is sent."""

    content: str | bytes
    sent: Callable[[], None]


class Live:
    """Makes frames while somebody watches, and a tape while nobody does.

    hz : frames a second and robot at most; most_viewers : pages that may watch at once
    """

    def __init__(self, world: World, feed: Feed, studio: Studio, *, hz: float, most_viewers: int) -> None:
        self._world, self._feed, self.studio = world, feed, studio
        self._period_s, self._most = 1.0 / hz, most_viewers
        self._board = Board(world)
        self._viewers: set[Viewer] = set()
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._boards: tuple[int, str] = (0, "")
        self._statuses: tuple[int, str] = (0, "")
        self._heard_s: dict[str, float] = {}
        self._scored_s = -BOARD_S
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="live")

    @property
    def viewers(self) -> int:
        """Pages that watch."""
        return len(self._viewers)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make frames for as long as this lasts."""
        loop = asyncio.get_running_loop()

        def heard(robot_id: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, the feed has not yet
                loop.call_soon_threadsafe(self._heard, robot_id)

        self._world.listen(heard)
        tasks = [asyncio.create_task(self._make_frames()), asyncio.create_task(self._tell_state())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._worker.shutdown(wait=False, cancel_futures=True)

    # ---- those who watch -------------------------------------------------------------------------------

    def join(self) -> Viewer | None:
        """Somebody begins to watch; None where there are too many."""
        if len(self._viewers) >= self._most:
            return None
        robots = self._world.robots()
        viewer = Viewer(robots[0] if robots else None, self._world.config.grid.lod)
        self._viewers.add(viewer)
        self.ask_frame(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Somebody has gone."""
        self._viewers.discard(viewer)

    def ask_frame(self, viewer: Viewer) -> None:
        """Make the frame that a viewer now wants."""
        if viewer.robot is not None:
            self._mark(viewer.robot)
        viewer.wake.set()

    def waiting(self, viewer: Viewer) -> Message | None:
        """What a viewer has not had, the smallest first; None for nothing."""
        if viewer.status < self._statuses[0]:
            number, text = self._statuses
            return Message(content=text, sent=lambda: setattr(viewer, "status", number))
        if (news := self._news_for(viewer)) is not None:
            return news
        if viewer.board < self._boards[0]:
            number, text = self._boards
            return Message(content=text, sent=lambda: setattr(viewer, "board", number))
        if (shot := self._frame_for(viewer)) is not None:
            return Message(content=NOW + shot.data, sent=lambda: _had(viewer, shot))
        return None

    def _news_for(self, viewer: Viewer) -> Message | None:
        told_pass, told = viewer.news
        now = self._world.passes
        after = told if told_pass == now else -1
        events = self._board.news(max(after, 0)) if after < 0 or self._world.news.number > after else None
        if events is None:
            return None
        newest = max([max(after, 0), *(event["number"] for event in events["events"])])
        return Message(content=_json(events), sent=lambda: setattr(viewer, "news", (now, newest)))

    def _frame_for(self, viewer: Viewer) -> Shot | None:
        if viewer.robot is None or not viewer.live:
            return None
        shot = self.studio.shot(viewer.robot, viewer.level)
        if shot is None or (shot.key == viewer.had and viewer.level == viewer.had_level):
            return None
        return shot

    # ---- making ----------------------------------------------------------------------------------------

    def _heard(self, robot_id: str) -> None:
        self._heard_s[robot_id] = time.monotonic()
        self._mark(robot_id)

    def _mark(self, robot_id: str) -> None:
        self._dirty.add(robot_id)
        self._changed.set()

    async def _make_frames(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            begin = loop.time()
            self._changed.clear()
            dirty, self._dirty = sorted(self._dirty), set()
            for robot_id in dirty:
                watching = [v for v in self._viewers if v.robot == robot_id and v.live]
                levels = {viewer.level for viewer in watching}
                try:
                    await loop.run_in_executor(self._worker, self.studio.update, robot_id, levels)
                except Exception:  # the next one may do; the page says that it stands still
                    LOGGER.exception("no frame of %s", robot_id)
                for viewer in watching:
                    viewer.wake.set()
            await asyncio.sleep(max(0.0, self._period_s - SETTLE_S - (loop.time() - begin)))

    async def _tell_state(self) -> None:
        while True:
            try:
                known = set(self._world.robots())
                self._heard_s = {robot: at_s for robot, at_s in self._heard_s.items() if robot in known}
                if self._viewers:
                    await self._make_state()
            except Exception:  # as with frames
                LOGGER.exception("no status, or no scores")
            await asyncio.sleep(STATUS_S)

    async def _make_state(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._statuses = self._statuses[0] + 1, _json(self._status())
            if loop.time() - self._scored_s >= BOARD_S or any(not viewer.board for viewer in self._viewers):
                self._scored_s = loop.time()
                made = await loop.run_in_executor(self._worker, self._board.scores)
                self._boards = self._boards[0] + 1, _json(made)
        finally:
            for viewer in self._viewers:
                viewer.wake.set()

    def _status(self) -> dict[str, Any]:
        world, now = self._world, time.monotonic()
        robots: dict[str, Any] = {}
        for view in world.views():
            robot_id = view.prediction.robot_id
            heard_s, tape = self._heard_s.get(robot_id), self.studio.tape.frames(robot_id)
            robots[robot_id] = {
                "stamp_ns": str(view.prediction.stamp_ns),
                "model": view.prediction.model_id,
                "silent_s": None if heard_s is None else round(now - heard_s, 3),
                "tape": [str(tape[0].stamp_ns), str(tape[-1].stamp_ns), len(tape)] if tape else None,
                "path": [kept.eye for kept in tape[:: -(-len(tape) // PATH) or 1]],
            }
        return {
            "kind": "status",
            "robots": dict(sorted(robots.items())),
            "source": self._feed.name,
            "lag": self._feed.lag(),
            "unready": self._feed.unhealthy() or self._feed.unready(),
            "pass": world.passes,
            "viewers": self.viewers,
            "tape_bytes": self.studio.tape.size_bytes,
            "records": dict(world.counts),
            "latency": world.stages.summary(),
            "totals": world.stages.totals(120),
        }


def live_of(world: World, feed: Feed, options: PageOptions) -> Live:
    """What makes the page live; a longer tape has fewer frames a second."""
    span_ns = round(options.tape * 1e9)
    tape = Tape(
        span_ns=span_ns,
        step_ns=max(TAPE_STEP_NS, span_ns // TAPE_STEPS),
        most_bytes=options.tape_mb << 20,
        most_robots=TAPE_ROBOTS,
    )
    return Live(world, feed, Studio(world, tape), hz=options.page_hz, most_viewers=options.page_viewers)


def _had(viewer: Viewer, shot: Shot) -> None:
    viewer.had, viewer.had_level = shot.key, viewer.level
    viewer.frames += 1


def _json(values: Any) -> str:
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()
