"""What is served: a function of the records, consistent at every moment, bounded."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.explain import explain as explain_run
from agents.replay import ReplayOptions, replay
from agents.web.cells import CellTable
from agents.web.stored_feed import StoredFeed, StoredRun
from agents.web.world import World, WorldOptions
from native.index64 import ancestor, decode
from stream.container import RollingContainer
from stream.records import (
    HIT,
    Binned,
    Event,
    ModelActivated,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from tests.web.played import CITY, SMALL, Played, play

ROBOT = "ant"


def own(played: Played, kind: type) -> list[Any]:
    return [record for record in played.of(kind) if record.robot_id == ROBOT]


def table_of(world: World, lod: int | None = None) -> CellTable:
    table = world.cells(ROBOT, lod)
    assert table is not None
    return table


# ---- cells ---------------------------------------------------------------------------------------------


def test_cells_are_those_of_the_container_that_perceive_has(city: Played) -> None:
    container = RollingContainer(city.world.config)
    hit_ns: dict[int, int] = {}
    for record in own(city, Binned):
        container.fold(record)
        for cell in record.cell_id[record.hits > 0].tolist():
            hit_ns[cell] = record.stamp_ns
    cells, table = container.coarser(0), table_of(city.world)
    assert table.cell_id.tolist() == cells.cell_id.tolist()
    assert table.hits.tolist() == cells.hits.tolist()
    assert table.passes.max() > 0
    sites = decode(table.cell_id).sites * city.world.config.grid.half_edge_m
    assert np.array_equal(table.centre, sites.astype(np.float32))
    newest = own(city, Prediction)[-1]
    assert table.stamp_ns == newest.stamp_ns
    ages = [newest.stamp_ns - hit_ns[cell] for cell in table.cell_id.tolist()]
    assert table.age_ns.tolist() == ages
    predicted = ~np.isnan(table.probability[:, 0])
    assert table.cell_id[predicted].tolist() == newest.cell_id.tolist()
    assert table.probability[predicted].tobytes() == newest.probability.tobytes()


def test_outcomes_stand_beside_what_had_been_forecast(city: Played) -> None:
    table = table_of(city.world)
    made = {item.prediction_id: item for item in own(city, Prediction)}
    for column, horizon in enumerate(table.horizons_ns):
        outcome = [item for item in own(city, Outcome) if item.horizon_ns == horizon][-1]
        known = np.isin(table.cell_id, outcome.cell_id)
        assert (table.outcome[~known, column] == -1).all()
        assert np.isnan(table.forecast[~known, column]).all()
        rows = np.searchsorted(outcome.cell_id, table.cell_id[known])
        assert known.any()
        assert table.outcome[known, column].tolist() == outcome.occupied[rows].tolist()
        forecast = made[outcome.prediction_id].probability[outcome.row, column][rows]
        assert table.forecast[known, column].tolist() == forecast.tolist()


@pytest.mark.parametrize("lod", [6, 4])
def test_a_coarse_cell_is_the_union_of_its_cells(city: Played, lod: int) -> None:
    fine, coarse = table_of(city.world), table_of(city.world, lod)
    parents = ancestor(fine.cell_id, lod)
    assert coarse.cell_id.tolist() == np.unique(parents).tolist()
    assert (coarse.passes == -1).all()
    for row, cell in enumerate(coarse.cell_id):
        inside = parents == cell
        assert coarse.hits[row] == fine.hits[inside].sum()
        ages = fine.age_ns[inside]
        assert coarse.age_ns[row] == (ages[ages >= 0].min() if (ages >= 0).any() else -1)
        known = fine.probability[inside][~np.isnan(fine.probability[inside, 0])]
        expected = known.max(axis=0) if len(known) else np.full(3, np.nan)
        assert np.array_equal(coarse.probability[row], expected, equal_nan=True)
        assert coarse.outcome[row].tolist() == fine.outcome[inside].max(axis=0).tolist()
        lowest, highest = fine.centre[inside].min(axis=0), fine.centre[inside].max(axis=0)
        margin = city.world.config.grid.half_edge_m
        assert (coarse.centre[row] >= lowest - margin).all()
        assert (coarse.centre[row] <= highest + margin).all()


def test_tables_are_made_once_a_sweep_and_cannot_be_changed(city: Played) -> None:
    table = table_of(city.world)
    assert table_of(city.world) is table
    with pytest.raises(ValueError, match="read-only"):
        table.hits[0] = 1
    assert city.world.cells("cat") is None


# ---- scores, models, events ----------------------------------------------------------------------------


def test_scores_are_those_of_the_run(tmp_path: Path) -> None:
    played = play([(CITY, ROBOT)], tmp_path / "run")
    summary = replay_summary(played.folder)
    mine = played.world.scoreboard.summary()
    assert mine.pop("scores_by_range") == {}  # it does not ask where the sensor was
    assert {"scores", "scores_by_horizon"} <= set(mine)
    assert mine == {name: summary[name] for name in mine}
    assert mine["scores"]["online"]["n"] > 0
    series = played.world.scoreboard.series()
    assert len(series["stamp_ns"]) == len([o for o in played.of(Outcome) if o.horizon_ns == 500_000_000])
    assert not np.isnan(series["persistence"]["log_loss"][10:]).any()
    worst = played.world.scoreboard.worst(3, min_rows=1)
    assert worst == sorted(worst, key=lambda region: -region.log_loss)
    assert len(worst) == 3


def replay_summary(folder: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_models_and_events_are_told(city: Played) -> None:
    news = city.world.news
    assert news.serving() == {"ant/lidar": "frequency", "bee/lidar": "frequency"}
    (facts,) = news.models()
    assert facts.activated.keys() == {"ant/lidar", "bee/lidar"}
    numbers = [number for number, _ in news.events()]
    assert numbers == sorted(numbers)
    assert news.events(numbers[-1]) == []
    rejected = SweepRejected(robot_id="x", stream_id="x/y", stamp_ns=1, part=0, reason="late", detail="")
    world = World(city.world.config, WorldOptions(events=3))
    for stamp in range(5):
        world.fold(Event(kind="trained", stamp_ns=stamp))
    world.fold(rejected)
    assert [event["event"] for _, event in world.news.events()] == ["trained", "trained", "dead_letter"]
    assert [event["event"] for _, event in world.news.events(alarms=True)] == ["dead_letter"]


def test_models_that_serve_are_never_forgotten(city: Played) -> None:
    world = World(city.world.config, WorldOptions(models=2))
    for name in ("one", "two", "three", "four"):
        stream = "a/b" if name == "one" else "c/d"
        world.fold(ModelActivated(robot_id=stream[0], stream_id=stream, first_stamp_ns=1, model_id=name,
                                  sha256="0"))  # fmt: skip
    assert [facts.model_id for facts in world.news.models()] == ["one", "four"]


# ---- order, loss, bounds -------------------------------------------------------------------------------


def test_records_that_come_again_or_run_ahead_change_nothing(city: Played) -> None:
    """As over Kafka: predictions before their binned sweeps, and after a crash both again."""
    world = World(city.world.config)
    binned, made = own(city, Binned), own(city, Prediction)
    for batch in range(0, len(binned), 4):
        for record in [*made[batch : batch + 4], *binned[batch : batch + 4], *binned[batch : batch + 2]]:
            world.fold(record)
        for record in made[batch : batch + 4]:
            world.fold(record)
    for record in [*own(city, Shadow), *own(city, Outcome)]:
        world.fold(record)
        world.fold(record)
    mine, expected = table_of(world), table_of(city.world)
    for name in ("cell_id", "hits", "passes", "age_ns", "outcome", "probability", "forecast"):
        assert getattr(mine, name).tobytes() == getattr(expected, name).tobytes(), name
    assert world.scoreboard.outcomes == len(own(city, Outcome))


def test_one_who_comes_late_has_the_same_cells_once_the_window_has_passed(city: Played) -> None:
    world = World(city.world.config)
    assert world.robots() == []
    for record in city.records:
        late = isinstance(record, Binned) and record.stamp_ns < 1_200_000_000
        if getattr(record, "robot_id", "") == ROBOT and not late:
            world.fold(record)
    robot = world.robot(ROBOT)
    assert robot is not None
    found, expected = robot.features(), city.world.robot(ROBOT).features()  # type: ignore[union-attr]
    assert found is not None and expected is not None
    assert found[1].x.tobytes() == expected[1].x.tobytes()


def test_at_most_so_many_robots_are_known(city: Played) -> None:
    config = play_config(city, "limits.max_robots=1")
    world = World(config)
    for record in city.records:
        world.fold(record)
    assert world.robots() == ["bee"]


def play_config(city: Played, *settings: str) -> Any:
    from stream.config import load_config

    return load_config(None, [*SMALL, "grid.map_frame=odom", *settings])


def test_memory_of_forecasts_is_bounded_in_time_and_in_bytes(city: Played) -> None:
    made = own(city, Prediction)
    short = World(city.world.config, WorldOptions(history_s=0.5))
    small = World(city.world.config, WorldOptions(history_bytes=4_000_000))
    for record in city.records:
        short.fold(record)
        small.fold(record)
    remembered = [item.prediction_id for item in made if short.robot(ROBOT).remembered(item.prediction_id)]  # type: ignore[union-attr]
    assert remembered == [item.prediction_id for item in made[-6:]]
    robot = small.robot(ROBOT)
    assert robot is not None
    assert 0 < sum(robot.remembered(item.prediction_id) is not None for item in made) < len(made)
    assert robot._history.size_bytes <= 2_000_000 + 1_000_000, "two robots share"


# ---- explaining ----------------------------------------------------------------------------------------


def test_a_forecast_of_the_last_seconds_is_explained_from_memory(city: Played) -> None:
    prediction = own(city, Prediction)[-8]
    found, stored = (
        city.world.explain(prediction.prediction_id),
        explain_run(city.folder, prediction.prediction_id),
    )
    assert found is not None and found.matches
    assert found.features.tobytes() == stored.features.tobytes()
    assert found.probability.tobytes() == stored.probability.tobytes()
    assert found.occupied.tobytes() == stored.occupied.tobytes()
    assert (found.occupied == 1).any() and (found.occupied == -1).any()
    assert found.model_id == stored.model_id == "frequency"
    assert city.world.explain("ant/lidar/17") is None
    assert city.world.explain("nobody/lidar/17") is None


# ---- a run folder --------------------------------------------------------------------------------------


def test_a_stored_run_gives_the_records_that_it_was_made_of(city: Played) -> None:
    stored = [record for _, record in StoredRun(city.folder)]
    for kind in (Binned, Prediction, Outcome, Shadow):
        was = {key_of(record): record for record in city.of(kind)}
        found = {key_of(record): record for record in stored if isinstance(record, kind)}
        assert found.keys() == was.keys(), kind
        for key, record in found.items():
            for name in record.__slots__:
                assert same(getattr(record, name), getattr(was[key], name)), (kind, key, name)
    activated = [record for record in stored if isinstance(record, ModelActivated)]
    assert activated == city.of(ModelActivated)
    assert any((record.before == HIT).any() for record in stored if isinstance(record, Prediction))


def key_of(record: Any) -> tuple[Any, ...]:
    return (record.stream_id, record.stamp_ns, getattr(record, "horizon_ns", 0))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return bool(one == other)


def test_a_stored_run_is_played_to_the_same_world(city: Played) -> None:
    feed = StoredFeed(city.folder, speed=None, loop=False)
    world = World(feed.config)
    feed.run(world, threading.Event())
    assert world.robots() == ["ant", "bee"]
    mine, expected = table_of(world), table_of(city.world)
    for name in ("cell_id", "hits", "passes", "age_ns", "outcome", "probability", "forecast"):
        assert getattr(mine, name).tobytes() == getattr(expected, name).tobytes(), name
    for name, scores in city.world.scoreboard.summary()["scores"].items():
        assert world.scoreboard.summary()["scores"][name] == pytest.approx(scores, rel=1e-12), name


def test_a_loop_serves_what_it_has_until_there_is_something_new(city: Played) -> None:
    feed = StoredFeed(city.folder, speed=None, loop=True)
    world, stop, seen = World(feed.config), threading.Event(), []
    begin_again = world.begin_again

    def begin() -> None:
        begin_again()
        seen.append((world.robots(), world.scoreboard.outcomes, table_of_or_none(world)))
        if len(seen) == 2:
            stop.set()

    world.begin_again = begin  # type: ignore[method-assign]
    feed.run(world, stop)
    assert seen == [(["ant", "bee"], 0, None)] * 2
    assert world.passes == 3


def table_of_or_none(world: World) -> CellTable | None:
    return world.cells(ROBOT)


def test_replay_is_ended_by_who_watches(tmp_path: Path, city: Played) -> None:
    class Enough(Exception):
        pass

    def observe(record: Any) -> None:
        raise Enough

    from stream.sources import open_source

    with pytest.raises(Enough):
        replay(
            [open_source(CITY)],
            city.world.config,
            tmp_path / "run",
            ReplayOptions(observe=observe),
            lambda *_: None,
        )
