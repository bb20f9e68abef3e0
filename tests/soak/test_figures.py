"""What a soak concludes from readings, ledgers and mishaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kafka.ledger import Ledger
from tests.soak.figures import (
    UNSHOWN_MIB,
    Growth,
    grows,
    growth_of,
    joint_level,
    told,
    too_slow,
    unshown,
    waits_of,
)
from tests.soak.gauges import Reading, lives
from tests.soak.mishaps import Mishap
from tests.soak.slope import slope_of


def reading(at_s: float, pid: int, rss_mib: float = 100.0, handles: int = 20) -> Reading:
    return Reading(at_s=at_s, pid=pid, rss_mib=rss_mib, handles=handles, threads=8)


def test_lives_are_told_apart_by_number() -> None:
    readings = [reading(0, 7), reading(5, 7), reading(10, 9), reading(15, 9), reading(20, 9)]
    assert [[item.at_s for item in life] for life in lives(readings)] == [[0, 5], [10, 15, 20]]
    assert lives([]) == []


def test_growth_is_that_of_the_longest_life_after_its_warm_up() -> None:
    short = [reading(at, 7, 500.0) for at in range(0, 1000, 5)]
    filling = [reading(at, 9, 100.0 + at / 10) for at in range(1000, 1600, 5)]
    level = [reading(at, 9, 260.0) for at in range(1600, 3600, 5)]
    growth = growth_of([*short, *filling, *level], since_s=1800)
    assert growth.minutes == pytest.approx((3595 - 1800) / 60)
    slope = growth.slopes["rss_mib"]
    assert slope is not None
    assert slope.per_hour == 0.0
    assert grows("judge", growth) == []


def test_a_warm_up_counts_from_birth_and_not_from_the_half() -> None:
    readings = [reading(at, 9, 100.0 + min(at, 500)) for at in range(0, 1200, 5)]
    growth = growth_of(readings, since_s=0)
    assert growth.minutes == pytest.approx((1195 - 400) / 60)


def test_growth_that_is_certain_is_named() -> None:
    readings = [reading(at, 9, 100.0 + at / 100, 20 + at // 300) for at in range(0, 3600, 5)]
    told_of = grows("learn", growth_of(readings, since_s=0))
    assert len(told_of) == 2
    assert told_of[0].startswith("learn: rss_mib grows by +36.00 (+36.00 to +36.00) an hour")
    assert told_of[1].startswith("learn: handles grows by ")


JUDGE_MIB = [
    407.5, 407.6, 407.5, 407.6, 407.4, 407.4, 407.6, 407.6, 407.5, 407.3, 407.4, 407.4, 409.9, 410.2, 410.0,
    410.0, 410.0, 410.0, 410.0, 410.1, 410.1, 410.0, 410.1, 410.1, 410.1, 409.9, 410.1, 410.1, 410.1, 410.1,
    410.0, 410.1, 409.9, 410.2, 410.2, 410.2, 409.8, 410.1, 410.1, 410.1, 410.1, 410.1, 410.1, 410.2, 410.2,
    415.7, 416.2, 417.2, 417.1, 417.1, 417.0, 416.9, 416.8, 416.7, 416.8, 416.8, 416.8, 416.8,
]  # fmt: skip
"""Judge in the last half hour of a soak, read every 31 s: heaps that kept what a snapshot had needed once."""
PERCEIVE_MIB = [
    255.3, 256.4, 256.5, 256.5, 256.5, 253.0, 253.0, 253.0, 253.0, 253.0, 253.3, *[249.8] * 8, *[249.9] * 9,
    *[251.5] * 10, *[251.9] * 20,
]  # fmt: skip
"""A Perceive in the same half hour."""
LEARN_MIB = [*[1275.0] * 20, *np.linspace(1200.0, 1260.0, 38)]
"""A heap that gave back what it did not need, and fills again, as Learn's does."""


def growth_in_half_an_hour(values: Sequence[float] | NDArray[np.float64], processes: int = 9) -> Growth:
    """Of memory that is spread evenly over it, in a life that began long before."""
    times = np.linspace(1800, 3600, len(values))
    read = [reading(float(at), 9, float(value)) for at, value in zip(times, values, strict=True)]
    return growth_of([reading(0, 9), *read], 1800, processes)


def test_a_judge_whose_own_interval_is_above_zero_grows_and_is_not_excused_by_eight_others() -> None:
    growth = growth_in_half_an_hour(JUDGE_MIB)
    [line] = grows("judge", growth)
    own, joint = growth.slopes["rss_mib"], growth.joint["rss_mib"]
    assert own is not None
    assert joint is not None
    assert own.per_hour == joint.per_hour > 10
    assert joint.low < own.low
    assert joint.high > own.high
    assert line == f"judge: rss_mib grows by {told(own)} an hour; joint with the others {told(joint)}"


def test_memory_that_is_given_back_is_not_growth() -> None:
    growth = growth_in_half_an_hour(PERCEIVE_MIB)
    assert grows("perceive-1", growth) == []
    assert unshown("perceive-1", growth) == []


def test_an_interval_that_reaches_far_up_shows_nothing_and_says_so() -> None:
    growth = growth_in_half_an_hour(LEARN_MIB)
    assert grows("learn", growth) == []
    [line] = unshown("learn", growth)
    slope = growth.slopes["rss_mib"]
    assert slope is not None
    assert slope.low < 0 < UNSHOWN_MIB < slope.high
    assert line == f"learn: memory was not shown not to grow: {told(slope)} MiB an hour"


def test_of_nine_that_do_not_grow_one_seems_to_in_every_fifth_soak_and_jointly_in_every_twentieth() -> None:
    """Within three deviations of 2.5 %, and of 0.28 %, of the processes."""
    rng, processes, at_s = np.random.default_rng(13), 720, np.arange(0, 1800, 10.0).tolist()
    own = joint = 0
    for _ in range(processes):
        values = rng.normal(100, 1, len(at_s)).tolist()
        for_itself, together = slope_of(at_s, values), slope_of(at_s, values, joint_level(9))
        assert for_itself is not None
        assert together is not None
        own += for_itself.low > 0
        joint += together.low > 0
    assert 0.008 <= own / processes <= 0.043
    assert joint / processes <= 0.01


@pytest.mark.parametrize(("leak", "found"), [(0.0, 0), (2.0, 19)])
def test_a_leak_of_2_mib_an_hour_is_found_within_a_sawtooth(leak: float, found: int) -> None:
    """Memory that a snapshot takes every half minute, and what nobody gives back."""
    at_s, rng = np.arange(0, 1800, 5.0), np.random.default_rng(5)
    told_of = 0
    for phase in rng.uniform(0, 35, 20):
        rss = 250 + 12 * ((at_s + phase) % 35 < 5) + rng.normal(0, 0.5, len(at_s)) + leak * at_s / 3600
        told_of += bool(grows("judge", growth_in_half_an_hour(rss)))
    assert told_of >= found if leak else told_of <= 1


def test_one_handle_more_that_stays_is_no_growth() -> None:
    readings = [reading(at, 9, 100.0, 20 + (at > 2000)) for at in range(0, 3600, 5)]
    growth = growth_of(readings, since_s=0)
    slope = growth.slopes["handles"]
    assert slope is not None
    assert slope.low > 0  # a line through a step rises for certain
    assert grows("learn", growth) == []


def test_a_process_that_was_not_there_has_no_growth() -> None:
    assert not growth_of([], since_s=0).measured
    growth = growth_of([reading(5, 7)], since_s=100)
    assert growth.minutes == 0.0
    assert set(growth.slopes.values()) == {None}
    assert grows("web", growth) == []


def test_a_sweep_that_waits_while_a_mishap_lasts_is_struck() -> None:
    ledger = Ledger(0)
    waits = {"before": (1000, 1050), "into": (9900, 15000), "within": (12000, 16000), "after": (22000, 22070)}
    for name, (sent, predicted) in waits.items():
        ledger.sweep_ms[name], ledger.prediction_ms[name] = 500_000 + sent, 500_000 + predicted
    ledger.sweep_ms["not predicted"] = 503_000
    found = waits_of(
        [ledger, Ledger(1)], [Mishap(kind="killed", whom="judge", begin_s=10, end_s=20)], 500_000
    )
    assert found.at_ms.tolist() == [1000, 9900, 12000, 22000]
    assert found.wait_ms.tolist() == [50, 5100, 4000, 70]
    assert found.struck.tolist() == [False, True, True, False]
    summary = found.summary()
    assert summary["sweeps"] == 4
    assert summary["struck_share"] == 0.5
    assert summary["calm"]["max"] == 70
    assert summary["all"]["max"] == 5100
    assert [row["minute"] for row in found.by_minute()] == [0]


def test_sweeps_that_are_slow_do_not_leave_themselves_out() -> None:
    """A worker was killed, and for minutes after sweeps waited for 3 s: lag went on, and so the mishap."""
    ledger = Ledger(0)
    for at_s in range(0, 300):
        wait_ms = 3000 if 10 <= at_s < 200 else 40
        ledger.sweep_ms[f"ant/{at_s}"], ledger.prediction_ms[f"ant/{at_s}"] = (
            1000 * at_s,
            1000 * at_s + wait_ms,
        )
    found = waits_of([ledger], [Mishap(kind="killed", whom="judge", begin_s=10, end_s=215)], 0)
    assert found.at_ms[found.struck].tolist() == [1000 * at_s for at_s in range(10, 10 + 58)]
    summary = found.summary()
    assert summary["calm"]["p99"] == 3000
    [line] = too_slow(summary, 500, judged=True)
    assert line == "99th percentile 3000 ms outside of mishaps, period 500 ms"


def test_a_sweep_that_a_mishap_caught_and_that_waits_on_counts() -> None:
    ledger = Ledger(0)
    ledger.sweep_ms["ant/1"], ledger.prediction_ms["ant/1"] = 15_000, 95_000
    found = waits_of([ledger], [Mishap(kind="killed", whom="judge", begin_s=10, end_s=100)], 0)
    assert found.summary()["calm"]["max"] == 80_000


def test_what_is_left_out_is_bounded_in_drives_that_are_judged() -> None:
    quick = {"p50": 30.0, "p99": 170.0, "max": 380.0}
    assert too_slow({"calm": quick, "struck_share": 0.414}, 500, judged=True) == []
    [line] = too_slow({"calm": quick, "struck_share": 0.503}, 500, judged=True)
    assert line == "50.3 % of sweeps left out, more than 50 %"
    assert too_slow({"calm": quick, "struck_share": 0.503}, 500, judged=False) == []
    assert too_slow({"calm": {}, "struck_share": 1.0}, 500, True) == [
        "no sweep was predicted outside of mishaps"
    ]


def test_no_sweep_at_all_is_no_error() -> None:
    found = waits_of([], [], 0.0)
    assert found.summary() == {"sweeps": 0, "struck_share": 0.0, "all": {}, "calm": {}}
    assert found.by_minute() == []
    assert found.wait_ms.dtype == np.int64
