"""A soak, far too short to show growth: whatever strikes, nothing is lost, and all of it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak.__main__ import main

pytestmark = [pytest.mark.kafka, pytest.mark.learn, pytest.mark.long, pytest.mark.timeout(900)]
NOT_JUDGED = ("grows by", "99th percentile")
"""Other tests use the processors meanwhile, and what is filled for the first time grows."""


@pytest.mark.fault(16)
def test_a_minute_of_mishaps_loses_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "soak"
    main(["--minutes", "1", "--hz", "1", "--seed", "2", "--folder", str(folder)])
    found = json.loads((folder / "soak.json").read_text())
    assert [line for line in found["wrong"] if not any(part in line for part in NOT_JUDGED)] == []
    counts = {what: (expected, there) for what, expected, there in found["counts"]}
    assert counts["sweeps with a prediction or a reason"] == ("180", 180)
    kinds = [mishap["kind"] for mishap in found["mishaps"]]
    assert kinds[:2] == ["start", "sweeps twice"]  # a minute has room for one or two; the seed says which
    assert found["waits"]["sweeps"] == 180
    for name in ("perceive-1", "learn", "web", "robot-ant", "broker"):
        assert all(item["rss_mib"] > 10 and item["handles"] > 3 for item in found["processes"][name][1:])
    assert set(found["disk_mib"]) == {"broker", "models, snapshots, archive"}
    assert (folder / "soak.png").stat().st_size > 50_000
    assert "mishap" in capfd.readouterr().out
