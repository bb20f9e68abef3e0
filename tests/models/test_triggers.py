"""What makes models train: each kind of trigger at the sweep at which it must, and at no other."""

from __future__ import annotations

import pytest

from models.online.triggers import Triggers
from stream.codecs.state import pack, unpack
from stream.config import ConfigError, TriggerConfig, load_config

PERIOD_NS = 100_000_000


def fire(
    trigger: TriggerConfig, losses: list[float | None], alarms: dict[int, set[str]] | None = None
) -> list[int]:
    """Numbers of the sweeps, from 0, at which a trigger fires."""
    triggers = Triggers({"it": trigger})
    return [
        sweep
        for sweep, loss in enumerate(losses)
        if triggers.labelled(sweep * PERIOD_NS, loss, (alarms or {}).get(sweep, set()))
    ]


@pytest.mark.parametrize(("sweeps", "expected"), [(1, [*range(9)]), (3, [2, 5, 8]), (10, [])])
def test_amount(sweeps: int, expected: list[int]) -> None:
    assert fire(TriggerConfig(when="amount", sweeps=sweeps), [0.4] * 9) == expected


def test_time_counts_from_the_first_labelled_sweep_and_then_from_the_last_time() -> None:
    assert fire(TriggerConfig(when="time", seconds=0.4), [0.4] * 10) == [4, 8]


def test_performance_compares_with_the_best_since_the_trigger_fired_last() -> None:
    trigger = TriggerConfig(when="performance", sweeps=3, rise=0.1)
    assert fire(trigger, [0.4] * 10) == []
    rise = [0.5] * 5 + [0.4] * 5 + [0.56] * 6  # the mean of three passes 0.5 with the second 0.56
    assert fire(trigger, rise) == [11]
    assert fire(trigger, [0.4] * 5 + [0.8] * 10) == [5]  # and is then the new normal
    assert fire(trigger, [0.4, None, 0.4, 0.4, None, 0.8]) == [5]


def test_drift_listens_to_the_detectors_it_names() -> None:
    alarms = {2: {"adwin"}, 4: {"page_hinkley"}, 5: {"always"}}
    losses: list[float | None] = [0.4] * 7
    expected = {"any": [2, 4], "adwin": [2], "page_hinkley": [4], "always": [*range(7)], "never": []}
    for detector, sweeps in expected.items():
        trigger = TriggerConfig(when="drift", detector=detector)  # type: ignore[arg-type]
        assert fire(trigger, losses, alarms) == sweeps, detector


def test_what_fires_says_why() -> None:
    triggers = Triggers(
        {
            "amount": TriggerConfig(when="amount", sweeps=2),
            "slump": TriggerConfig(when="performance", sweeps=1, rise=0.1),
            "shift": TriggerConfig(when="drift"),
            "off": None,
        }
    )
    assert triggers.labelled(0, 0.4, set()) == []
    fired = triggers.labelled(PERIOD_NS, 0.6, {"adwin", "page_hinkley", "always"})
    assert {item.name: item.reason for item in fired} == {
        "amount": {"sweeps": 2},
        "slump": {"loss": 0.6, "lowest": 0.4},
        "shift": {"detectors": ["adwin", "page_hinkley"]},
    }


@pytest.mark.parametrize("cut", range(12))
def test_restored_triggers_go_on(cut: int) -> None:
    config = {
        "amount": TriggerConfig(when="amount", sweeps=3),
        "time": TriggerConfig(when="time", seconds=0.25),
        "slump": TriggerConfig(when="performance", sweeps=2, rise=0.05),
    }
    losses = [0.4, 0.42, 0.4, 0.5, 0.52, 0.5, 0.4, 0.38, 0.5, 0.6, 0.6, 0.7]
    whole, first, second = Triggers(config), Triggers(config), Triggers(config)
    expected = [whole.labelled(sweep * PERIOD_NS, loss, set()) for sweep, loss in enumerate(losses)]
    found = [first.labelled(sweep * PERIOD_NS, losses[sweep], set()) for sweep in range(cut)]
    second.restore(unpack(pack(first.state())))
    found += [second.labelled(sweep * PERIOD_NS, losses[sweep], set()) for sweep in range(cut, 12)]
    assert found == expected
    assert {item.name for some in expected for item in some} == set(config)
    assert second.state() == whole.state()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("learn.triggers.a={when: amount, sweeps: 0}", "learn.triggers.sweeps: 0 must be >= 1"),
        ("learn.triggers.a={when: time, seconds: 0}", "learn.triggers.seconds: 0.0 must be > 0"),
        ("learn.triggers.a={when: never}", "learn.triggers.a"),
        ("learn.triggers.a={when: amount, lineages: [wide]}", "'wide' must be one of network"),
        ("learn.triggers.a={when: drift, detector: kswin}", "learn.triggers.a.detector"),
        ("learn.triggers.a={when: amount, renew: true, lineages: [network]}", "must be a challenger whose"),
        ("learn.challengers.network={width: 8}", "is the name of the configured network"),
        ("drift.detectors=[adwin, adwin]", "names one twice"),
        ("drift.region_levels=[16]", "drift.region_levels: 16 must be 0..15"),
        ("drift.adwin_delta=1", "drift.adwin_delta: 1.0 must be above 0 and below 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(setting: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(None, [setting])
    assert error in str(raised.value)


def test_a_drift_trigger_needs_its_detector() -> None:
    with pytest.raises(ConfigError, match=r"learn\.triggers\.a\.when: 'drift' needs drift\.enabled=true"):
        load_config(None, ["drift.enabled=false", "learn.triggers.a={when: drift}"])
    with pytest.raises(ConfigError, match=r"a\.detector: 'adwin' must be one of page_hinkley, always, never"):
        load_config(
            None, ["drift.detectors=[page_hinkley]", "learn.triggers.a={when: drift, detector: adwin}"]
        )


def test_the_steady_trigger_can_be_replaced() -> None:
    triggers = load_config(None, ["learn.triggers.steady=null"]).learn.triggers
    assert triggers == {"steady": None}
    slow = load_config(None, ["learn.triggers.steady.sweeps=40"]).learn.triggers
    assert slow == {"steady": TriggerConfig(when="amount", sweeps=40)}
