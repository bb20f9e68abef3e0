"""A recording of a recorded drive is replayed to the bits of the drive itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.cli import main
from stream.run_folder import RunFolder
from tests.data import data_path

LOG = "kitti_0005_000-053.mcap"
SWEEPS = 8


def replay(location: Path, out: Path) -> dict[str, object]:
    quick = ["--no-learn", "--sweeps", str(SWEEPS), "--set", "task.warmup_sweeps=3"]
    assert main(["replay", str(location), "--out", str(out), *quick]) == 0
    summary: dict[str, object] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.mark.data
@pytest.mark.slow
def test_cells_of_a_recording_are_those_of_the_log(tmp_path: Path) -> None:
    log, path = data_path(LOG), tmp_path / "recorded.mcap"
    assert main(["record", str(log), "--out", str(path)]) == 0
    own, again = (replay(one, tmp_path / name) for one, name in ((log, "own"), (path, "again")))
    assert own["sweeps"] == again["sweeps"] == SWEEPS
    assert own["run_digest"] == again["run_digest"]
    folds = [list(RunFolder(tmp_path / name).records("robot", 0, 2**62)) for name in ("own", "again")]
    assert len(folds[0]) == len(folds[1]) == SWEEPS
    for one, other in zip(*folds, strict=True):
        assert one.cell_id.tobytes() == other.cell_id.tobytes()
        assert one.sums.tobytes() == other.sums.tobytes()
        assert len(one.cell_id) > 1000
