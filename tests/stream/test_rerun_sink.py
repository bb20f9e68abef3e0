"""Recordings for Rerun, read back by its own reader and checked by its own program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rerun.chunk import RrdReader

from stream.sinks.base import Line, Shown
from stream.sinks.evidence import Evidence, forecast_of
from stream.sinks.rerun import FREE, OCCUPIED, UNKNOWN, RerunSink, colours
from stream.sweep import Sweep
from stream.transform import Transform
from tests.stream.test_sinks import CELLS, CITY, config_of, outcome_of, prediction_of, shown_of


def write(path: Path, shown: list[Shown]) -> None:
    sink = RerunSink(path)
    for number, item in enumerate(shown):
        sink.write(item, 10**9 + number)
    sink.close()


def rows(path: Path, entity: str, component: str) -> list[pa.Scalar]:
    """Values of a component of an entity, in the order of the recording."""
    found = []
    for chunk in RrdReader(path).stream():
        if str(chunk.entity_path) == entity:
            batch = chunk.to_record_batch()
            names = [name for name in batch.schema.names if name.endswith(component)]
            found += [value for name in names for value in batch[name] if value.as_py() is not None]
    return found


def test_clouds_columns_and_lines_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.rrd"
    evidence = Evidence(config_of())
    city = shown_of(CITY)
    line = Line(stamp_ns=7, level="warning", name="dead_letter", text="reason=late")
    cells = evidence.forecast(forecast_of(prediction_of()))
    write(path, [*city, cells, evidence.outcome(outcome_of([0, 2])), line])
    sweeps = [item for item in city if isinstance(item, Sweep)]
    found = rows(path, "/robot/lidar/points", "Points3D:positions")
    assert [len(value) for value in found] == [len(sweep.points) for sweep in sweeps]
    for value, sweep in zip(found, sweeps, strict=True):
        assert value.values.flatten().to_numpy().tobytes() == sweep.points.tobytes()
    assert [value.as_py() for value in rows(path, "/ant/top/predictions", "cell_id")] == [CELLS.tolist()]
    (probability,) = rows(path, "/ant/top/predictions", "probability_500ms")
    assert probability.as_py() == np.float32([0.2, 0.4, 0.6]).tolist()
    (frame,) = rows(path, "/ant/top/predictions", "CoordinateFrame:frame")
    assert frame.as_py() == ["odom"]
    assert [value.as_py() for value in rows(path, "/events", "TextLog:text")] == [
        ["dead_letter: reason=late"]
    ]
    moved = [item for item in city if isinstance(item, Transform)]
    assert len(rows(path, "/tf/base_link", "Transform3D:translation")) == len(moved)


def test_times_are_those_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.rrd"
    write(path, [Evidence(config_of()).forecast(forecast_of(prediction_of()))])
    times = [
        chunk.to_record_batch()["stamp"].cast(pa.int64()).to_pylist()
        for chunk in RrdReader(path).stream()
        if str(chunk.entity_path) == "/ant/top/predictions"
    ]
    assert {time for found in times for time in found} == {10**9}


def verify(path: Path) -> int:
    """Exit code of Rerun's own check, which sends nothing to anybody."""
    program = Path(sys.executable).parent / "rerun"
    environment = {"HOME": str(path.parent), "PATH": ""}
    command = [str(program), "rrd", "verify", str(path)]
    return subprocess.run(command, capture_output=True, check=False, env=environment).returncode


def test_reruns_own_check_passes_and_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "a.rrd"
    write(path, shown_of(CITY))
    assert verify(path) == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert verify(path) != 0


def test_an_empty_recording_and_one_without_cells_can_be_closed(tmp_path: Path) -> None:
    write(tmp_path / "a.rrd", [])
    write(tmp_path / "b.rrd", [Line(stamp_ns=7, level="info", name="a", text="b")])
    assert len(rows(tmp_path / "b.rrd", "/events", "TextLog:text")) == 1


def test_a_place_where_no_file_can_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        RerunSink(tmp_path / "nowhere" / "a.rrd")


def test_colours_go_from_free_to_occupied_and_nothing_known_is_grey() -> None:
    found = colours(np.float32([0, 1, np.nan, -3, 7]))
    assert found.dtype == np.uint8
    assert found.tolist() == [list(FREE), list(OCCUPIED), list(UNKNOWN), list(FREE), list(OCCUPIED)]
