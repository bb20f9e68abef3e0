"""What an audit says of sweeps that were rejected; on ledgers that are filled by hand."""

from __future__ import annotations

from stream.topics import BINNED, SHADOWS
from tests.kafka.audit import Report, _nonsense, _sweeps
from tests.kafka.ledger import Ledger

SWEEPS = 20


def ledger_of(late: int) -> Ledger:
    """One robot's sweeps; the last of them became dead letters."""
    ledger = Ledger(0)
    ledger.prints = {BINNED: {}, SHADOWS: {}}
    for stamp_ns in range(SWEEPS):
        name = f"ant/lidar/{stamp_ns}"
        ledger.sweep_ms[name] = 1000 + stamp_ns
        if stamp_ns >= SWEEPS - late:
            ledger.rejected[name] = "late"
            continue
        ledger.models[name], ledger.prediction_ms[name] = "builtin", 1040 + stamp_ns
        ledger.prints[BINNED]["Binned", "ant/lidar", stamp_ns, 0] = "print"
        ledger.prints[SHADOWS]["Shadow", name] = "print"
    return ledger


def report_of(ledger: Ledger, nonsense: int = 0) -> Report:
    report = Report()
    _sweeps(report, [ledger], {"ant": SWEEPS})
    _nonsense(report, [ledger], nonsense)
    return report


def test_a_fleet_whose_sweeps_half_end_as_late_has_lost_them() -> None:
    report = report_of(ledger_of(late=SWEEPS // 2))
    assert set(report.wrong) == {"good sweeps rejected"}
    assert len(report.wrong["good sweeps rejected"]) == SWEEPS // 2
    assert "ant/lidar/19 (late)" in report.wrong["good sweeps rejected"]
    assert ("of these rejected", "0", SWEEPS // 2) in report.rows
    [line] = report.lines()
    assert line.endswith("and 5 more")


def test_sweeps_that_come_twice_and_what_is_no_sweep_are_no_loss() -> None:
    ledger = ledger_of(late=0)
    ledger.repeated["octa.sweep.received.v1"] = 3
    ledger.nonsense = ledger.letters = {f"letter-{number}" for number in range(20)}
    report = report_of(ledger, nonsense=20)
    assert report.wrong == {}
    assert ("of these rejected", "0", 0) in report.rows
