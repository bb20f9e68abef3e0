"""Judge: which sweep reveals which forecast, labels only where it looked, and scores that are right."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from agents.judge import Judge
from models.probability import quantise
from models.scores.breakdown import RANGE_EDGES_M, band_names
from native.index64 import ancestor, decode, encode
from stream.records import (
    HIT,
    SEEN_THROUGH,
    UNOBSERVED,
    Binned,
    EndOfLog,
    Event,
    Outcome,
    Prediction,
    Shadow,
)
from tests.agents.worlds import (
    STREAM,
    config_of,
    drive,
    feed,
    interleave,
    joined,
    keyed,
    of_type,
    perceive_of,
    perceived,
    plain,
    stamp_of,
)

CONFIG = config_of()
HORIZONS = CONFIG.task.horizons_ns
PRIMARY = CONFIG.task.primary_horizon_ns
TOLERANCE = CONFIG.task.tolerance_ns
CELLS = encode(np.array([[2 * x, 0, 0] for x in range(40)], np.int32), frame=1, tier=0, lod=6)
NO_POSE = np.zeros(12)


def binned(
    stamp_ns: int,
    cell_id: NDArray[np.uint64] = CELLS,
    *,
    hits: Any = 0,
    passes: Any = 0,
    part: int = 0,
    parts: int = 1,
    stream_id: str = STREAM,
    late: bool = False,
) -> Binned:
    """A binned sweep by hand; Judge reads nothing but cells, hits, passes and parts."""
    n = len(cell_id)
    return Binned(
        robot_id="robot", seq=0, stream_id=stream_id, stamp_ns=stamp_ns, part=part, parts=parts, late=late,
        pose=NO_POSE, pose_history=np.zeros((0, 12)), cell_id=cell_id,
        hits=np.broadcast_to(np.asarray(hits, np.uint32), n).copy(),
        passes=np.broadcast_to(np.asarray(passes, np.uint32), n).copy(),
        sums=np.zeros((0, 11), np.int32), beams=np.zeros((0, 3), np.int16), points=n, rays=n, binned=n,
    )  # fmt: skip


def prediction(stamp_ns: int, seed: int = 0, stream_id: str = STREAM) -> Prediction:
    """A forecast for ``CELLS`` by hand."""
    rng = np.random.default_rng((seed, stamp_ns % 2**32))
    return Prediction(
        prediction_id=f"{stream_id}/{stamp_ns}", robot_id="robot", stream_id=stream_id, stamp_ns=stamp_ns,
        seq=0, model_id="m", horizons_ns=HORIZONS, cell_id=CELLS,
        probability=quantise(rng.random((len(CELLS), len(HORIZONS)))),
        before=rng.integers(0, 3, len(CELLS)).astype(np.uint8), feature_digest="", state_digest="",
    )  # fmt: skip


def shadow(made: Prediction, names: tuple[str, ...] = ("persistence", "frequency")) -> Shadow:
    """Baselines beside a forecast."""
    rng = np.random.default_rng(made.stamp_ns % 2**32)
    return Shadow(
        prediction_id=made.prediction_id, robot_id=made.robot_id, stream_id=made.stream_id,
        stamp_ns=made.stamp_ns, cell_id=made.cell_id,
        probability={name: quantise(rng.random(len(made.cell_id))) for name in names},
    )  # fmt: skip


def numbered(records: Iterable[Any]) -> list[Any]:
    """Records by hand, as one Perceive would number them; one that comes again keeps its number."""
    known: dict[Any, int] = {}
    told = []
    for record in records:
        if isinstance(record, Binned):
            seq = known.setdefault((record.stream_id, record.stamp_ns, record.part), len(known))
            told.append(dataclasses.replace(record, seq=seq))
        elif isinstance(record, Prediction):
            told.append(dataclasses.replace(record, seq=len(known) - 1))
        else:
            told.append(record)
    return told


def shadows_of(records: list[Any]) -> list[Shadow]:
    return [shadow(record) for record in of_type(records, Prediction)]


# ---- labels --------------------------------------------------------------------------------------------


def test_an_outcome_exists_exactly_where_the_later_sweep_looked() -> None:
    records = perceived(CONFIG, 14)
    outcomes = of_type(feed(Judge(CONFIG), joined(records)), Outcome)
    seen = {record.stamp_ns: record for record in of_type(records, Binned)}
    made = {record.prediction_id: record for record in of_type(records, Prediction)}
    expected = {
        (name, horizon)
        for name, record in made.items()
        for horizon in HORIZONS
        if record.stamp_ns + horizon in seen
    }
    assert {(outcome.prediction_id, outcome.horizon_ns) for outcome in outcomes} == expected
    labels = Counter[bool]()
    for outcome in outcomes:
        forecast, later = made[outcome.prediction_id], seen[outcome.stamp_ns + outcome.horizon_ns]
        assert outcome.observed_stamp_ns == later.stamp_ns
        states = {
            int(cell): HIT if hits else SEEN_THROUGH
            for cell, hits, passes in zip(later.cell_id, later.hits, later.passes, strict=True)
            if hits or passes
        }
        known = [row for row, cell in enumerate(forecast.cell_id) if int(cell) in states]
        assert outcome.row.tolist() == known
        assert outcome.cell_id.tolist() == forecast.cell_id[known].tolist()
        assert outcome.occupied.tolist() == [states[int(cell)] == HIT for cell in outcome.cell_id]
        assert outcome.before.tolist() == forecast.before[known].tolist()
        labels.update(outcome.occupied.tolist())
    assert min(labels[True], labels[False]) > 20  # the world has both


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_cell_without_hit_or_pass_ever_gets_an_outcome(seed: int) -> None:
    rng = np.random.default_rng(seed)
    listed = np.sort(rng.permutation(CELLS)[: rng.integers(0, len(CELLS))])
    hits, passes = rng.integers(0, 2, len(listed)), rng.integers(0, 2, len(listed))
    first = prediction(stamp_of(0), seed)
    log = numbered([binned(stamp_of(0)), first, binned(stamp_of(2), listed, hits=hits, passes=passes)])
    (outcome,) = of_type(feed(Judge(CONFIG), [*log, EndOfLog()]), Outcome)
    observed = listed[(hits > 0) | (passes > 0)]
    assert np.array_equal(outcome.cell_id, observed)
    assert np.array_equal(outcome.occupied, np.isin(observed, listed[hits > 0]))
    assert np.array_equal(first.before[outcome.row], outcome.before)
    assert (outcome.row.dtype, outcome.occupied.dtype, outcome.before.dtype) == (np.int32, bool, np.uint8)


def test_a_sweep_that_saw_nothing_gives_an_outcome_without_rows() -> None:
    log = numbered([binned(stamp_of(0)), prediction(stamp_of(0)), binned(stamp_of(2), CELLS[:0])])
    (outcome,) = of_type(feed(Judge(CONFIG), [*log, EndOfLog()]), Outcome)
    assert len(outcome.row) == len(outcome.occupied) == len(outcome.before) == 0


# ---- which sweep ---------------------------------------------------------------------------------------


def observer_of(stamps: list[int], made_ns: int, horizon: int) -> int | str | None:
    """Stamp of the sweep that reveals a forecast, "missed", or None while it cannot be known."""
    target = made_ns + horizon
    if max(stamps) < target:
        return None
    nearest = min(stamps, key=lambda stamp: (abs(stamp - target), stamp))
    return nearest if abs(nearest - target) <= TOLERANCE and nearest > made_ns else "missed"


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(5, 400), st.integers(400, 3000)), min_size=1, max_size=25))
def test_the_nearest_sweep_within_tolerance_reveals_and_the_rest_is_missed(steps: list[int]) -> None:
    stamps = [stamp_of(0), *(stamp_of(0) + 1_000_000 * total for total in np.cumsum(steps).tolist())]
    judge = Judge(CONFIG)
    log = [record for stamp in stamps for record in (binned(stamp, passes=1), prediction(stamp))]
    outputs = feed(judge, [*numbered(log), EndOfLog()])
    expected = {
        (made, horizon): observer_of(stamps, made, horizon) for made in stamps for horizon in HORIZONS
    }
    found: dict[Any, Any] = {
        (o.stamp_ns, o.horizon_ns): o.observed_stamp_ns for o in of_type(outputs, Outcome)
    }
    for event in of_type(outputs, Event):
        assert event.kind == "outcome_missed"
        key = (int(event.fields["prediction_id"].rsplit("/", 1)[1]), event.fields["horizon_ns"])
        found[key] = "missed"
    assert found == {key: value for key, value in expected.items() if value is not None}
    missed = Counter(horizon for (_, horizon), value in expected.items() if value == "missed")
    assert judge.missed == {horizon: missed[horizon] for horizon in HORIZONS}


def test_another_stream_reveals_nothing() -> None:
    log = [binned(stamp_of(0)), prediction(stamp_of(0)), binned(stamp_of(2), stream_id="robot/other", hits=1)]
    assert feed(Judge(CONFIG), [*numbered(log), EndOfLog()]) == []


def test_what_a_gap_in_the_stream_decides_is_not_forgotten_first() -> None:
    """The sweep after a long gap says which one before it was nearest; that one is still known then."""
    log = [binned(stamp_of(0)), prediction(stamp_of(0)), binned(stamp_of(1.9)), binned(stamp_of(60))]
    outputs = feed(Judge(CONFIG), [*numbered(log), EndOfLog()])
    assert [outcome.observed_stamp_ns for outcome in of_type(outputs, Outcome)] == [stamp_of(1.9)]
    assert [event.fields["horizon_ns"] for event in of_type(outputs, Event)] == [HORIZONS[1]]


def test_what_half_a_sweep_after_a_gap_does_not_decide_is_not_forgotten() -> None:
    """Its other half may come, so the one before the gap has to wait for the sweep after it."""
    half = binned(stamp_of(60), part=0, parts=2)
    begin = [binned(stamp_of(0)), prediction(stamp_of(0)), binned(stamp_of(1.9)), half]
    *begin, last = numbered([*begin, binned(stamp_of(61))])
    judge = Judge(CONFIG)
    assert feed(judge, [*begin, passing(begin)]) == []
    outputs = feed(judge, [last, EndOfLog()])
    assert [outcome.observed_stamp_ns for outcome in of_type(outputs, Outcome)] == [stamp_of(1.9)]
    assert [event.fields["horizon_ns"] for event in of_type(outputs, Event)] == [HORIZONS[1]]


# ---- parts and order -----------------------------------------------------------------------------------


def test_parts_are_added_up_before_anything_is_decided() -> None:
    through = binned(stamp_of(2), CELLS[:20], passes=3, part=1, parts=2)
    hit = binned(stamp_of(2), CELLS[10:30], hits=1, part=0, parts=2)
    *begin, last = numbered([binned(stamp_of(0)), prediction(stamp_of(0)), through, hit])
    judge = Judge(CONFIG)
    assert feed(judge, [*begin, passing(begin)]) == []
    (outcome,) = feed(judge, [last, EndOfLog()])
    assert np.array_equal(outcome.cell_id, CELLS[:30])
    assert outcome.occupied.tolist() == [False] * 10 + [True] * 20


def passing(records: list[Any]) -> Prediction:
    """A forecast of another sensor, with which all binned records so far have their turn."""
    last = max(record.seq for record in records if isinstance(record, Binned))
    return dataclasses.replace(prediction(stamp_of(2), stream_id="robot/other"), seq=last)


def test_a_missing_part_is_waited_for_until_the_next_stamp() -> None:
    judge = Judge(CONFIG)
    half = binned(stamp_of(2), CELLS[:5], hits=1, part=0, parts=2)
    *begin, last = numbered([binned(stamp_of(0)), prediction(stamp_of(0)), half, binned(stamp_of(3))])
    assert feed(judge, [*begin, passing(begin)]) == []
    (outcome,) = feed(judge, [last, EndOfLog()])
    assert (outcome.observed_stamp_ns, len(outcome.row)) == (stamp_of(2), 5)


def with_parts(records: list[Any]) -> list[Any]:
    """Every third sweep told in two parts, the second of them twice."""
    told = []
    for place, record in enumerate(records):
        if isinstance(record, Binned) and place % 3 == 0:
            cut = len(record.cell_id) // 2
            for part, rows in enumerate((slice(cut), slice(cut, None), slice(cut, None))):
                told.append(
                    binned(
                        record.stamp_ns, record.cell_id[rows], hits=record.hits[rows],
                        passes=record.passes[rows], part=min(part, 1), parts=2,
                    )
                )  # fmt: skip
        else:
            told.append(record)
    return told


WORLD = joined(perceived(CONFIG, 24))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_arrival_order_changes_neither_outcomes_nor_scores(seed: int) -> None:
    config = config_of("task.warmup_sweeps=1")
    usual, shuffled = Judge(config), Judge(config)
    expected = keyed(feed(usual, [*WORLD, *shadows_of(WORLD), EndOfLog()]))
    assert len(expected) == 22 + 19
    parts = numbered(with_parts(WORLD))
    sequences = (of_type(parts, Binned), of_type(parts, Prediction), shadows_of(WORLD))
    assert keyed(feed(shuffled, [*interleave(seed, *sequences), EndOfLog()])) == expected
    assert shuffled.scores.summary()["scores"]["persistence"]["n"] > 0
    counts = [judge.scores.summary()["scores_by_horizon"] for judge in (usual, shuffled)]
    for horizon, scores in counts[0].items():
        for name, values in scores.items():
            assert counts[1][horizon][name] == pytest.approx(values, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_redelivery_changes_neither_outcomes_nor_scores(seed: int) -> None:
    """A crash hands out a stretch of the log again; readers may see an outcome twice, scores may not."""
    log = interleave(3, WORLD, shadows_of(WORLD))
    rng = np.random.default_rng(seed)
    begin, end = sorted(rng.integers(0, len(log) + 1, 2).tolist())
    once, twice = Judge(CONFIG), Judge(CONFIG)
    expected = feed(once, [*log, EndOfLog()])
    outputs = feed(twice, [*log[:end], *log[begin:], EndOfLog()])
    assert [plain(record) for record in outputs] == [plain(record) for record in expected]
    assert twice.scores.summary() == once.scores.summary()
    assert twice.snapshot() == once.snapshot()


def test_every_input_is_released_when_it_is_folded() -> None:
    judge = Judge(CONFIG)
    for record in [*WORLD, *shadows_of(WORLD)]:
        kind = type(record).__name__.lower()
        assert judge.handle(record).released == ((kind, STREAM, record.stamp_ns, 0),)


def test_streams_are_independent() -> None:
    other = [
        make
        for index in range(8)
        for make in (
            binned(stamp_of(index), hits=index % 2, passes=1, stream_id="robot/other"),
            prediction(stamp_of(index), stream_id="robot/other"),
        )
    ]
    together = feed(Judge(CONFIG), [*numbered(interleave(1, WORLD, other)), EndOfLog()])
    apart = [*feed(Judge(CONFIG), [*WORLD, EndOfLog()]), *feed(Judge(CONFIG), [*numbered(other), EndOfLog()])]
    assert keyed(together) == keyed(apart)
    assert len(of_type(together, Outcome)) == (22 + 19) + (6 + 3)


def test_a_foreign_record_changes_nothing() -> None:
    judge = Judge(CONFIG)
    feed(judge, WORLD)
    before = judge.snapshot()
    outcome = of_type(feed(Judge(CONFIG), WORLD), Outcome)[0]
    for foreign in (object(), outcome, Event(kind="drift", stamp_ns=1)):
        with pytest.raises(TypeError, match="Judge does not handle"):
            judge.handle(foreign)
    assert judge.snapshot() == before


# ---- bounds --------------------------------------------------------------------------------------------


def log_of(sweeps: int) -> list[Any]:
    return numbered(
        record
        for index in range(sweeps)
        for record in (binned(stamp_of(index), passes=1), prediction(stamp_of(index)))
    )


@pytest.mark.parametrize("which", ["no shadows", "foreign shadows", "shadows"])
def test_what_judge_holds_is_bounded(which: str) -> None:
    sizes = []
    for sweeps in (100, 300):
        judge, log = Judge(CONFIG), log_of(sweeps)
        if which == "shadows":
            log = interleave(0, log, shadows_of(log))
        elif which == "foreign shadows":
            log += [shadow(prediction(stamp_of(1000 + index))) for index in range(sweeps)]
        feed(judge, log)
        sizes.append(held(judge))
    assert sizes[1] <= 1.2 * sizes[0] + 1000


def held(judge: Judge) -> int:
    """Bytes of observations and waiting predictions."""
    empty = Judge(CONFIG)
    empty.scores, empty.error_map = judge.scores, judge.error_map
    return len(judge.snapshot()) - len(empty.snapshot())


def test_outcomes_without_shadows_are_scored_in_the_end() -> None:
    judge = Judge(CONFIG)
    feed(judge, [*log_of(12), EndOfLog()])
    scores = judge.scores.summary()["scores"]
    assert scores["online"]["n"] == (12 - 5 - CONFIG.task.warmup_sweeps) * len(CELLS)
    assert (scores["persistence"]["n"], scores["persistence"]["log_loss"]) == (0, None)


# ---- scores --------------------------------------------------------------------------------------------


def test_scores_equal_scikit_learn() -> None:
    records = joined(perceived(CONFIG, 16))
    shadows = shadows_of(records)
    judge = Judge(CONFIG)
    outcomes = of_type(feed(judge, [*records, *shadows, EndOfLog()]), Outcome)
    made = {record.prediction_id: record for record in of_type(records, Prediction)}
    beside = {record.prediction_id: record for record in shadows}
    scored = list(made)[CONFIG.task.warmup_sweeps :]
    chosen = [o for o in outcomes if o.horizon_ns == PRIMARY and o.prediction_id in scored]
    assert len(chosen) == 16 - 5 - 4
    occupied, before = (np.concatenate([getattr(o, f) for o in chosen]) for f in ("occupied", "before"))
    columns = {
        "online": [made[o.prediction_id].probability[o.row, HORIZONS.index(PRIMARY)] for o in chosen],
        "persistence": [beside[o.prediction_id].probability["persistence"][o.row] for o in chosen],
        "frequency": [beside[o.prediction_id].probability["frequency"][o.row] for o in chosen],
    }
    for name, parts in columns.items():
        p = np.concatenate(parts).astype(np.float64)
        found = judge.scores.summary()["scores"][name]
        each = [average_precision_score(o.occupied, part) for o, part in zip(chosen, parts, strict=True)]
        hit, through = before == HIT, before == SEEN_THROUGH
        expected = {
            "average_precision": average_precision_score(occupied, p),
            "average_precision_per_sweep": np.mean(each),
            "log_loss": log_loss(occupied, p),
            "brier": brier_score_loss(occupied, p),
            "freed_average_precision": average_precision_score(~occupied[hit], 1 - p[hit]),
            "appeared_average_precision": average_precision_score(occupied[through], p[through]),
            "n": len(p),
        }
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9), name
    assert judge.scores.summary()["scores"]["linear"]["n"] == 0
    assert judge.scores.cells_due == sum(
        len(made[o.prediction_id].cell_id) for o in outcomes if o.horizon_ns == PRIMARY
    )


def test_the_error_map_adds_up_by_region() -> None:
    judge = Judge(CONFIG)
    outcomes = feed(judge, [*joined(perceived(CONFIG, 14)), EndOfLog()])
    stamps = [stamp_of(index) for index in range(CONFIG.task.warmup_sweeps, 14)]
    scored = [o for o in outcomes if o.horizon_ns == PRIMARY and o.stamp_ns in stamps]
    regions = ancestor(
        np.concatenate([o.cell_id for o in scored]), CONFIG.grid.lod - CONFIG.task.region_levels
    )
    expected = Counter(regions.tolist())
    assert {entry.region: entry.n for entry in judge.error_map.worst(1000, 1)} == expected


def test_scores_by_range_are_seen_from_where_the_forecast_was_made() -> None:
    records = joined(perceived(CONFIG, 16))
    judge = Judge(CONFIG)
    outcomes = of_type(feed(judge, [*records, EndOfLog()]), Outcome)
    places = {r.stamp_ns: r.pose.reshape(3, 4)[:, 3] for r in of_type(records, Binned)}
    made = {record.prediction_id: record for record in of_type(records, Prediction)}
    scored = list(made)[CONFIG.task.warmup_sweeps :]
    expected: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.horizon_ns == PRIMARY and outcome.prediction_id in scored:
            sites = decode(outcome.cell_id).sites * CONFIG.grid.half_edge_m
            away = np.linalg.norm(sites - places[outcome.stamp_ns], axis=1)
            band = np.searchsorted(RANGE_EDGES_M, away, "right")
            expected += Counter(np.array(band_names())[band].tolist())
    found = judge.scores.summary()["scores_by_range"]
    assert {band: found[band]["online"]["n"] for band in found} == expected
    assert len(expected) > 2


def test_states_of_cells() -> None:
    assert (UNOBSERVED, SEEN_THROUGH, HIT) == (0, 1, 2)  # stored as numbers


def test_outcomes_of_a_horizon_come_in_order_of_their_stamps_where_those_jitter() -> None:
    """Archive tells by that what comes again: of a log at 10 Hz it had left out a quarter of all outcomes."""
    made = joined(feed(perceive_of(CONFIG), drive(40, jitter=0.02)))
    outcomes = of_type(feed(Judge(CONFIG), made), Outcome)
    for horizon in HORIZONS:
        stamps = [outcome.stamp_ns for outcome in outcomes if outcome.horizon_ns == horizon]
        assert len(stamps) > 20
        assert stamps == sorted(stamps)
