"""The rolling container is a function of its records: of which, not of when and how they came."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.index64 import ancestor
from stream.config import Config, ConfigError
from stream.container import RollingContainer, grid_of
from stream.features import digest, schema_of
from stream.records import Binned
from tests.agents.worlds import config_of, of_type, perceived, stamp_of

CONFIG = config_of()
RECORDS: list[Binned] = of_type(perceived(CONFIG, 30), Binned)


def folded(records: list[Binned], config: Config = CONFIG) -> RollingContainer:
    container = RollingContainer(config)
    for record in records:
        container.fold(record)
    return container


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10))
def test_totals_do_not_depend_on_the_order_of_records_within_the_window(seed: int, count: int) -> None:
    records = RECORDS[:count]
    shuffled = random.Random(seed).sample(records, count)
    assert folded(shuffled).digest() == folded(records).digest()


@pytest.mark.parametrize("count", [1, 5, 12, 30])
def test_records_make_up_the_whole_state(count: int) -> None:
    container = folded(RECORDS[:count])
    again = folded(container.records())
    assert again.digest() == container.digest()
    last = RECORDS[count - 1]
    assert digest(again.features(last)) == digest(container.features(last))


@pytest.mark.parametrize("begin", [8, 9, 14])
def test_features_need_only_the_records_within_reach(begin: int) -> None:
    """What a run stores for a while is enough to explain a prediction."""
    last = RECORDS[-1]
    reach = last.stamp_ns - RollingContainer(CONFIG).keep_ns
    records = [record for record in RECORDS[begin:] if record.stamp_ns >= reach]
    assert digest(folded(records).features(last)) == digest(folded(RECORDS).features(last))


def test_a_missing_record_shows_in_the_digest() -> None:
    last = RECORDS[-1]
    with_it, without = folded(RECORDS), folded([*RECORDS[:-4], *RECORDS[-3:]])
    assert digest(without.features(last)) != digest(with_it.features(last))
    assert without.digest() != with_it.digest()


def test_a_record_that_has_left_the_window_leaves_no_trace() -> None:
    other = dataclasses.replace(RECORDS[0], stamp_ns=RECORDS[0].stamp_ns - 1)
    container, plain = folded([other, *RECORDS]), folded(RECORDS)
    assert container.digest() == plain.digest()
    assert container.records() == plain.records()


def test_records_are_kept_for_the_window_and_the_longest_horizon() -> None:
    container = folded(RECORDS)
    stamps = [record.stamp_ns for record in container.records()]
    kept_ns = (CONFIG.window.bins + CONFIG.keep_bins) * CONFIG.window.bin_ns
    assert stamps == [r.stamp_ns for r in RECORDS if r.stamp_ns >= RECORDS[-1].stamp_ns - kept_ns]
    assert container.newest_ns == RECORDS[-1].stamp_ns
    assert container.keep_ns == kept_ns - CONFIG.window.bin_ns


def test_a_sweep_reports_on_all_retained_cells_and_its_own() -> None:
    container = folded(RECORDS[:9])
    hit = RECORDS[9].cell_id[RECORDS[9].hits > 0]
    tested = container.tested(stamp_of(9), hit)
    assert np.array_equal(tested, RECORDS[9].cell_id)
    assert np.isin(hit, tested).all()
    retained = {int(c) for r in RECORDS[:9] for c in r.cell_id[r.hits > 0]}
    assert set(tested.tolist()) == retained | set(hit.tolist())


@pytest.mark.parametrize("room", [0, 1, 40])
def test_tested_cells_stay_within_the_cap_and_keep_the_sweeps_own(room: int) -> None:
    hit = RECORDS[9].cell_id[RECORDS[9].hits > 0]
    config = config_of(f"window.max_cells={len(hit) + room}")
    container = RollingContainer(config)
    first = of_type(perceived(config, 1), Binned)[0]
    container.fold(first)
    tested = container.tested(stamp_of(9), hit)
    assert len(tested) == min(len(hit) + room, len(np.union1d(hit, first.cell_id[first.hits > 0])))
    assert np.isin(hit, tested).all()
    assert np.all(tested[1:] > tested[:-1])


def test_full_windows_evict_and_say_so() -> None:
    config = config_of("window.max_cells=170")
    records = of_type(perceived(config, 6), Binned)
    assert sum(record.evicted for record in records) > 0
    container = folded(records, config)
    assert digest(folded(container.records(), config).features(records[-1])) == digest(
        container.features(records[-1])
    )


def test_known_records_are_recognised() -> None:
    container = folded(RECORDS)
    assert all(container.knows(record) for record in RECORDS)  # folded, or too old by now
    newer = dataclasses.replace(RECORDS[-1], stamp_ns=stamp_of(30))
    part = dataclasses.replace(RECORDS[-1], part=1, parts=2)
    sensor = dataclasses.replace(RECORDS[-1], stream_id="robot/other")
    assert not any(container.knows(record) for record in (newer, part, sensor))


def test_the_record_of_a_sweep_is_the_last_that_came_in_time() -> None:
    first = dataclasses.replace(RECORDS[0], parts=3)
    second = dataclasses.replace(first, part=1, seq=1)
    late = dataclasses.replace(first, part=2, seq=2, late=True)
    container = folded([first, second, late])
    assert container.record_of(first.stream_id, first.stamp_ns) is second
    assert container.record_of(first.stream_id, first.stamp_ns + 1) is None
    assert container.record_of("robot/other", first.stamp_ns) is None


def test_a_map_frame_without_an_id_names_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"grid\.map_frame: 'auto' has no 8-bit id"):
        grid_of(Config())
    grid = grid_of(CONFIG)
    assert (grid.frame, grid.lod, grid.half_edge_m) == (1, 6, 0.8)


def test_the_schema_names_what_features_mean() -> None:
    schema = schema_of(CONFIG)
    features = folded(RECORDS[:3]).features(RECORDS[2])
    assert features.x.shape[1] == schema.count == len(set(schema.names))
    other = [schema_of(config_of(s)) for s in ("window.bins=9", "window.bin_ns=90000000",
             "task.primary_horizon_ns=200000000")]  # fmt: skip
    assert len({schema.hash, *(s.hash for s in other)}) == 4
    assert schema_of(config_of("seed=5", "grid.lod=8")).hash == schema.hash


def test_coarser_levels_hold_the_same_returns() -> None:
    container = folded(RECORDS)
    levels = [container.coarser(n) for n in range(4)]
    spread = [len(level.cell_id) for level in levels]
    assert spread == sorted(spread, reverse=True) and spread[3] < spread[0] / 8
    for n, level in enumerate(levels):
        assert np.array_equal(level.cell_id, np.unique(ancestor(levels[0].cell_id, CONFIG.grid.lod - n)))
        assert level.hits.sum() == levels[0].hits.sum() > 0
        assert np.array_equal(level.sums[:, 9:].sum(axis=0), levels[0].sums[:, 9:].sum(axis=0))


def test_coarser_levels_forget_what_left_the_window() -> None:
    fresh = folded([record for record in RECORDS if record.stamp_ns > RECORDS[-1].stamp_ns - 10**9])
    a, b = folded(RECORDS).coarser(2), fresh.coarser(2)
    hit = a.hits > 0
    assert np.array_equal(a.cell_id[hit], b.cell_id[b.hits > 0])
    assert np.array_equal(a.sums[hit], b.sums[b.hits > 0])
