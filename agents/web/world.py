"""Everything that is served: a fold over the records of all agents, whichever way they come."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.archive import Latency
from agents.explain import ExplainError, Explanation, features_at
from agents.roster import Roster
from agents.web.cells import UNKNOWN, CellTable
from agents.web.experiment import Experiment
from agents.web.history import Remembered
from agents.web.news import News
from agents.web.robot import Robot, View, probability_of
from agents.web.scoreboard import Scoreboard
from agents.web.stages import Stages
from agents.web.wanted import Wanted
from stream.cell_rows import locate
from stream.config import Config, ConfigError
from stream.features import digest, schema_of
from stream.records import (
    Binned,
    Event,
    LabelRequested,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
    robot_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOptions:
    """How much is remembered.

    history_s : forecasts of so many seconds, in event time, can be explained from memory
    history_bytes : of the records that these take, of all robots together; events, models : newest so many
    """

    history_s: float = 5.0
    history_bytes: int = 512 << 20
    events: int = 2000
    models: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.history_s <= 3600:
            raise ConfigError(f"--history {self.history_s:g}: must be 0..3600 seconds")
        for name in ("history_bytes", "events", "models"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} must be >= 1")


class World:
    """Robots with their live containers and newest forecasts, outcomes, scores, models and events.

    config : that the records were made with; its map frame is named
    One thread folds, any may read: what is read is a value, or made under a lock that is held for
    milliseconds. At most ``limits.max_robots`` robots; the one that was silent longest makes room.
    """

    def __init__(self, config: Config, options: WorldOptions | None = None) -> None:
        self.config, self.options = config, options or WorldOptions()
        self._lock = threading.Lock()
        self._robots: dict[str, Robot] = {}
        self._roster = Roster(config.limits.max_robots)
        self.counts: Counter[str] = Counter()
        self.passes = 1
        self.stages = Stages()
        self._listeners: list[Callable[[str], None]] = []
        self.experiment = Experiment(self.config.task.primary_horizon_ns)
        self._begin()

    def _begin(self) -> None:
        self.scoreboard = Scoreboard(self.config)
        self.news = News(self.options.events, self.options.models)
        self.wanted = Wanted()

    def begin_again(self) -> None:
        """The log begins anew, as do scores, models and events; forecasts stay until there are new ones."""
        with self._lock:
            robots = list(self._robots.values())
        for robot in robots:
            robot.begin_again()
        self.experiment.begin_again()
        self._begin()
        self.passes += 1

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have a function called with the robot's name after each forecast, by the thread that folds."""
        self._listeners.append(listener)

    # ---- folding ---------------------------------------------------------------------------------------

    def fold(self, record: Any) -> None:
        """Take any record of the agents; what is not served is only counted."""
        self.counts[type(record).__name__] += 1
        if isinstance(record, Binned | Prediction):
            for prediction in self._heard(record.robot_id).fold(record):
                self.scoreboard.add_prediction(prediction)
                for listener in self._listeners:
                    listener(record.robot_id)
        elif isinstance(record, Outcome):
            self._heard(record.robot_id).observed(record)
            self.scoreboard.add_outcome(record)
            self.experiment.observed(record)
        elif isinstance(record, Shadow):
            self.scoreboard.add_shadow(record)
        elif isinstance(record, Event | ModelActivated | ModelPublished | SweepRejected):
            self.news.add(record)
        elif isinstance(record, Latency):
            self.stages.add(record)
        elif isinstance(record, LabelRequested):
            self.wanted.add(record)

    def _heard(self, robot_id: str) -> Robot:
        with self._lock:
            for silent in self._roster.hear(robot_id):
                del self._robots[silent]
            if robot_id not in self._robots:
                self._add(robot_id)
            return self._robots[robot_id]

    def _add(self, robot_id: str) -> None:
        share = self.options.history_bytes // (len(self._robots) + 1)
        for other in self._robots.values():
            other.share_history(share)
        history_ns = round(self.options.history_s * 1e9)
        self._robots[robot_id] = Robot(self.config, robot_id, history_ns=history_ns, history_bytes=share)

    # ---- reading ---------------------------------------------------------------------------------------

    def robots(self) -> list[str]:
        """Names of robots that have a forecast, sorted."""
        return sorted(robot.robot_id for robot in self._live())

    def robot(self, robot_id: str) -> Robot | None:
        """A robot that has a forecast."""
        with self._lock:
            robot = self._robots.get(robot_id)
        return robot if robot is not None and robot.view is not None else None

    def views(self) -> list[View]:
        """The newest forecast of every robot, the newest stamp first."""
        found = [robot.view for robot in self._live() if robot.view is not None]
        return sorted(found, key=lambda view: -view.prediction.stamp_ns)

    def _live(self) -> list[Robot]:
        with self._lock:
            return [robot for robot in self._robots.values() if robot.view is not None]

    def cells(self, robot_id: str, lod: int | None = None) -> CellTable | None:
        """Cells of a robot, at the grid's level or a coarser one; None for a robot without a forecast."""
        robot = self.robot(robot_id)
        return None if robot is None else robot.cells(self.config.grid.lod if lod is None else lod)

    def explain(self, prediction_id: str) -> Explanation | None:
        """A forecast of the last seconds, its features made again; None for one that is not remembered.

        Raises ExplainError where the records that it was made from are no longer, or not yet, here
        """
        robot = self.robot(robot_of(prediction_id))
        remembered = robot.remembered(prediction_id) if robot else None
        return None if remembered is None else explain_from(remembered, self.config)


def explain_from(remembered: Remembered, config: Config) -> Explanation:
    """Features of a remembered forecast, from remembered records.

    Raises ExplainError where these are not all there
    """
    prediction, records = remembered.prediction, remembered.window
    features = features_at(records, config, prediction.stream_id, prediction.stamp_ns)
    rebuilt = digest(features)
    if rebuilt != prediction.feature_digest and not _reaches_back(records, prediction, config):
        raise ExplainError(
            f"{prediction.prediction_id}: part of its window came before this server listened; "
            "ask for a later one"
        )
    probability = probability_of(prediction, features.cell_id)
    occupied = np.full(probability.shape, UNKNOWN, np.int8)
    for horizon_ns, outcome in remembered.outcomes.items():
        row, known = locate(outcome.cell_id, features.cell_id)
        occupied[known, prediction.horizons_ns.index(horizon_ns)] = outcome.occupied[row[known]]
    return Explanation(
        prediction_id=prediction.prediction_id,
        model_id=prediction.model_id,
        stamp_ns=prediction.stamp_ns,
        horizons_ns=prediction.horizons_ns,
        digest_stored=prediction.feature_digest,
        digest_rebuilt=rebuilt,
        names=schema_of(config).names,
        cell_id=features.cell_id,
        features=features.x,
        neighbor_index=features.neighbor_index,
        probability=probability,
        occupied=occupied,
        half_edge_m=config.grid.half_edge_m,
    )


def _reaches_back(records: list[Binned], prediction: Prediction, config: Config) -> bool:
    """Whether records begin where the window does, or with their epoch."""
    window_ns = config.window.bins * config.window.bin_ns
    if not records:
        return False
    return records[0].seq % 2**32 == 0 or records[0].stamp_ns <= prediction.stamp_ns - window_ns
