"""Drift by place: which region alarms, what is counted, what is forgotten, how it is restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.online.detectors import makers_of
from models.online.drift import Alarm, DriftWatch
from models.probability import quantise
from native.index64 import ancestor, encode
from stream.codecs.state import pack, unpack
from stream.config import DriftConfig

pytest.importorskip("river")
pytestmark = pytest.mark.learn

LOD = 7
CONFIG = DriftConfig(region_levels=(2, 4), min_cells=20)
STREAM = "robot/lidar"


def watch_of(config: DriftConfig = CONFIG) -> DriftWatch:
    return DriftWatch(config, LOD, makers_of(config))


def cells_at(x: int) -> NDArray[np.uint64]:
    """64 cells in one region of LOD 5 about x regions along the x axis."""
    step = np.arange(4) * 2
    grid = np.stack(np.meshgrid(step, step, step), axis=-1).reshape(-1, 3)
    sites = np.ascontiguousarray(grid + np.array([64 * x, 0, 0]), np.int32)
    cells = encode(sites, frame=1, tier=0, lod=LOD)
    name, count = np.unique(ancestor(cells, LOD - 2), return_counts=True)
    return np.sort(cells[ancestor(cells, LOD - 2) == name[count.argmax()]])


PLACES = [cells_at(x) for x in range(4)]
REGIONS = [int(ancestor(cells[:1], LOD - 2)[0]) for cells in PLACES]


def outcomes(rng: np.random.Generator, wrong: set[int]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Cells, forecasts and what happened: forecasts of 0.8 that come true, and in wrong places do not."""
    cell_id, occupied = [], []
    for place, cells in enumerate(PLACES):
        cell_id.append(cells)
        occupied.append(rng.random(len(cells)) < (0.2 if place in wrong else 0.8))
    ids = np.concatenate(cell_id)
    return ids, quantise(np.full(len(ids), 0.8)), np.concatenate(occupied)


def run(watch: DriftWatch, sweeps: int, begin: int, wrong: set[int], seed: int = 0) -> dict[int, list[Alarm]]:
    """Alarms by sweep; from ``begin`` on some places go wrong."""
    found = {}
    for sweep in range(sweeps):
        rng = np.random.default_rng((seed, sweep))
        alarms = watch.add(STREAM, *outcomes(rng, wrong if sweep >= begin else set()))
        if alarms:
            found[sweep] = alarms
    return found


def test_the_places_are_regions_of_their_own() -> None:
    assert len(set(REGIONS)) == 4
    assert all(len(cells) >= CONFIG.min_cells for cells in PLACES)


def test_an_alarm_says_where() -> None:
    watch = watch_of()
    found = run(watch, 90, 50, {2})
    alarms = [alarm for some in found.values() for alarm in some]
    assert alarms
    assert min(found) >= 50
    fine = {alarm.region for alarm in alarms if alarm.lod == LOD - 2}
    assert fine == {REGIONS[2]}
    assert {alarm.detector for alarm in alarms if alarm.lod == LOD - 2} == set(watch.detectors)
    for alarm in alarms:
        assert alarm.rise.nats > 0
        assert (alarm.lod is None) == (alarm.region is None)


def test_where_everything_goes_wrong_the_stream_alarms_too_and_the_largest_rise_comes_first() -> None:
    found = run(watch_of(), 90, 50, {0, 1, 2, 3})
    alarms = [alarm for some in found.values() for alarm in some]
    assert {alarm.lod for alarm in alarms} == {None, LOD - 2, LOD - 4}
    for some in found.values():
        rises = [alarm.rise.nats for alarm in some]
        assert rises == sorted(rises, reverse=True)


def test_alarms_are_counted_beside_the_dummies_and_cut_at_the_most() -> None:
    config = DriftConfig(region_levels=(2, 4), min_cells=20, max_alarms=1)
    watch, whole = watch_of(config), watch_of()
    cut, all_of_them = run(watch, 90, 50, {0, 1, 2, 3}), run(whole, 90, 50, {0, 1, 2, 3})
    assert max(len(some) for some in all_of_them.values()) > 1
    assert {len(some) for some in cut.values()} == {1}
    summary = watch.summary()
    assert summary == whole.summary()
    assert summary["always"] == summary["values"] > 90
    assert summary["never"] == 0
    assert summary["adwin"] + summary["page_hinkley"] == sum(map(len, all_of_them.values()))
    assert set(summary["by_level"]) == {"stream", "lod 3", "lod 5"}
    assert summary["by_level"]["stream"]["values"] == 90
    for name in ("values", "adwin", "page_hinkley", "always", "never"):
        assert summary[name] == sum(counts[name] for counts in summary["by_level"].values())


def test_regions_with_few_outcomes_give_no_value() -> None:
    watch = watch_of(DriftConfig(region_levels=(2,), min_cells=65))
    run(watch, 5, 0, set())
    assert watch.values == 5  # of the stream alone


def test_the_region_seen_least_lately_is_forgotten() -> None:
    watch = watch_of(DriftConfig(region_levels=(2,), min_cells=20, max_regions=2))
    rng = np.random.default_rng(0)
    for place in (0, 1, 0, 2):
        cells = PLACES[place]
        watch.add(STREAM, cells, quantise(np.full(len(cells), 0.8)), rng.random(len(cells)) < 0.8)
    assert sorted(watch.state()["region"].tolist()) == sorted([REGIONS[0], REGIONS[2]])


@pytest.mark.parametrize("cut", [0, 1, 30, 55, 80])
def test_a_restored_watch_goes_on_as_the_one_before(cut: int) -> None:
    whole, first = watch_of(), watch_of()
    expected = run(whole, 90, 50, {1, 3})
    for sweep in range(cut):
        first.add(STREAM, *outcomes(np.random.default_rng((0, sweep)), {1, 3} if sweep >= 50 else set()))
    second = watch_of()
    second.restore(unpack(pack(first.state())))
    assert pack(second.state()) == pack(first.state())
    for sweep in range(cut, 90):
        alarms = second.add(
            STREAM, *outcomes(np.random.default_rng((0, sweep)), {1, 3} if sweep >= 50 else set())
        )
        assert alarms == expected.get(sweep, [])
    assert pack(second.state()) == pack(whole.state())


def test_without_detectors_nothing_is_watched_and_a_state_of_others_is_dropped() -> None:
    blind, seeing = DriftWatch(CONFIG, LOD, {}), watch_of()
    run(seeing, 10, 5, {1})
    assert run(blind, 10, 5, {1}) == {}
    assert blind.summary() == {"values": 0, "by_level": {}}
    blind.restore(unpack(pack(seeing.state())))
    assert len(blind.state()["past"]) == 0


def test_no_outcome_is_no_value() -> None:
    watch = watch_of()
    nothing = (np.empty(0, np.uint64), np.empty(0, np.float32), np.empty(0, bool))
    assert watch.add(STREAM, *nothing) == []
    assert watch.values == 0
