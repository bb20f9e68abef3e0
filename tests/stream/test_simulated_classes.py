"""What the points and cells of a simulated sweep lie on, and things that appear out of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from stream.sources.base import SourceOptions
from stream.sources.simulation.classes import CLASSES, cell_classes, point_classes
from stream.sources.simulator import open_simulator


def classes_of(location: str, index: int):
    simulator = open_simulator(location, SourceOptions())
    points, code = point_classes(simulator, 0, index)
    return simulator, points, np.array(CLASSES)[code]


def test_a_popup_stands_there_from_one_sweep_to_the_next_and_is_gone_again() -> None:
    location = "sim:city?sweeps=8&beams=32&azimuths=512&seed=3&events=popup@3-6"
    counts = {i: int((classes_of(location, i)[2] == "popup").sum()) for i in (2, 3, 5, 6)}
    assert counts[2] == counts[6] == 0
    assert counts[3] > 50
    assert counts[5] > 50
    simulator = open_simulator(location, SourceOptions())
    boxes = [box for box in simulator.boxes(simulator.shot(0, 4).sweep.stamp_ns) if box.label == "popup"]
    assert len(boxes) == 4
    origin, _ = simulator.pose(0, 4, believed=False)
    assert all(np.hypot(*(np.array(box.centre[:2]) - origin[:2])) > 2.5 for box in boxes)


def test_an_event_that_is_a_thing_changes_nothing_before_it() -> None:
    plain = open_simulator("sim:city?sweeps=6&beams=32&azimuths=256&seed=3", SourceOptions())
    other = open_simulator("sim:city?sweeps=6&beams=32&azimuths=256&seed=3&events=popup@3", SourceOptions())
    for index, same in ((2, True), (3, False)):
        one, two = plain.shot(0, index).sweep, other.shot(0, index).sweep
        assert (one.points.tobytes() == two.points.tobytes()) == same


@pytest.mark.parametrize(("world", "seen"), [
    ("city", {"building", "ground", "vehicle", "vegetation", "structure"}),
    ("highway", {"ground", "vehicle"}),
    ("yard", {"ground", "structure"}),
])  # fmt: skip
def test_points_lie_on_what_a_person_would_call_them(world: str, seen: set[str]) -> None:
    simulator, points, names = classes_of(f"sim:{world}?sweeps=4&beams=32&azimuths=512&seed=3", 2)
    assert seen <= set(names.tolist())
    origin, _ = simulator.pose(0, 2, believed=True)
    ground = points[names == "ground"]
    assert np.median(ground[:, 2]) < origin[2] - 1.0
    boxes = [b for b in simulator.boxes(simulator.shot(0, 2).sweep.stamp_ns) if b.label in ("car", "truck")]
    near = np.hypot(*(points[:, :2] - origin[:2]).T) < 60
    for x, y, _ in points[near & (names == "vehicle")]:
        away = [np.hypot(x - b.centre[0], y - b.centre[1]) - np.hypot(*b.size[:2]) / 2 for b in boxes]
        assert min(away) < 0.2


def test_rain_is_no_surface() -> None:
    _, _, names = classes_of("sim:city?sweeps=4&beams=32&azimuths=512&seed=3&events=rain@2", 2)
    assert 0.01 < np.mean(names == "rain") < 0.2


def test_cells_are_what_most_of_their_points_lie_on() -> None:
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.8, 0.8, 0.8]])
    sites, code = cell_classes(points, np.array([3, 1, 1, 2]), 0.4)
    assert dict(zip(map(tuple, sites.tolist()), code.tolist(), strict=True)) == {(0, 0, 0): 1, (2, 2, 2): 2}
