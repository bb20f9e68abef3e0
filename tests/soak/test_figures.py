"""What a soak concludes from readings, ledgers and mishaps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kafka.ledger import Ledger
from tests.soak.figures import grows, growth_of, joint_level, waits_of
from tests.soak.gauges import Reading, lives
from tests.soak.mishaps import Mishap


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
    told = grows("learn", growth_of(readings, since_s=0))
    assert len(told) == 2
    assert told[0].startswith("learn: rss_mib grows by 36.00 an hour")
    assert told[1].startswith("learn: handles grows by ")


def test_of_many_processes_that_wander_one_in_twenty_soaks_finds_one_that_grows() -> None:
    rng, soaks, processes = np.random.default_rng(13), 200, 9
    at_s = np.arange(0, 1800, 10.0)
    false_alarms = 0
    for _ in range(soaks):
        means = [rng.normal(100, 1, len(at_s)) for _ in range(processes)]
        found = [
            growth_of(
                [reading(at, 9, rss) for at, rss in zip(at_s, values, strict=True)],
                since_s=0, level=joint_level(processes),
            )
            for values in means
        ]  # fmt: skip
        false_alarms += any(grows("worker", item) for item in found)
    assert false_alarms / soaks <= 0.05


@pytest.mark.parametrize(("leak", "found"), [(0.0, 0), (20.0, 19)])
def test_a_leak_within_a_sawtooth_is_found_at_the_joint_level(leak: float, found: int) -> None:
    """Memory that a snapshot takes every half minute, and 20 MiB an hour that nobody gives back."""
    at_s, rng = np.arange(0, 1500, 5.0), np.random.default_rng(5)
    told = 0
    for phase in rng.uniform(0, 35, 20):
        rss = 250 + 12 * ((at_s + phase) % 35 < 5) + rng.normal(0, 0.5, len(at_s)) + leak * at_s / 3600
        readings = [reading(at, 9, float(value)) for at, value in zip(at_s, rss, strict=True)]
        told += bool(grows("judge", growth_of(readings, since_s=0, level=joint_level(9))))
    assert told >= found if leak else told == found


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


def test_no_sweep_at_all_is_no_error() -> None:
    found = waits_of([], [], 0.0)
    assert found.summary() == {"sweeps": 0, "struck_share": 0.0, "all": {}, "calm": {}}
    assert found.by_minute() == []
    assert found.wait_ms.dtype == np.int64
