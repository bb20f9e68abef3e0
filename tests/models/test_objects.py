"""Moving cells to objects, objects to tracks, and how well objects are found."""

from __future__ import annotations

import numpy as np
import pytest

from models.objects.boxes import Boxes, fit_box, inside, into_frame, out_of_frame
from models.objects.components import components, find_moving
from models.objects.detection_scores import DetectionScores, average_precision
from models.objects.free_memory import FreeMemory
from models.objects.tracking import Tracker, TrackOptions
from native.index64 import encode
from native.neighbors import neighbor_table
from tests.models.objects import boxes_at, cells_of, cuboid

STEP_NS = 100_000_000


# ---- boxes ---------------------------------------------------------------------------------------------


def test_frames_turn_there_and_back() -> None:
    assert into_frame(np.array([0.0, 2.0]), np.pi / 2) == pytest.approx([2.0, 0.0])
    offset = np.random.default_rng(0).normal(size=(5, 3, 2))
    yaw = np.linspace(-3, 3, 5)[:, None]
    assert out_of_frame(into_frame(offset, yaw), yaw) == pytest.approx(offset)


@pytest.mark.parametrize("yaw", [0.0, 0.6, 1.2, 2.4])
def test_a_box_is_fitted_around_cells(yaw: float) -> None:
    cells = cells_of(cuboid((3.0, -2.0, 0.8), (4.4, 1.8, 1.6), yaw), np.ones(10**6))
    centre, size, found = fit_box(cells.centroid, cells.covariance, floor_m=0.0)
    assert centre[:2] == pytest.approx([3.0, -2.0], abs=0.1)
    assert size == pytest.approx([4.4, 1.8, 1.6], abs=0.35)
    assert abs((found - yaw + np.pi / 2) % np.pi - np.pi / 2) < 0.1


def test_points_lie_in_the_nearest_box_that_holds_them() -> None:
    boxes = boxes_at((0.0, 0.0), (4.0, 0.0))
    points = np.array([[0.0, 0.0, 0.5], [2.1, 0.0, 0.5], [1.9, 0.0, 0.5], [0.0, 1.2, 0.5], [0, 0, 9.0]])
    assert inside(points, boxes, 0.0).tolist() == [0, 1, 0, -1, -1]
    assert inside(points, boxes, 0.4).tolist() == [0, 1, 0, 0, -1]
    assert inside(points, Boxes.none(), 0.4).tolist() == [-1] * 5


# ---- what was free -------------------------------------------------------------------------------------


def test_memory_tells_shares_and_fades() -> None:
    memory = FreeMemory(half_life_s=1.0, least=0.2)
    a, b, c = (np.array([value], np.uint64) for value in (1, 2, 3))
    for sweep in range(4):
        memory.see(sweep, a, np.array([1, 2], np.uint64))  # hit and seen through: hit
    memory.see(4, b, a)
    assert memory.share_free(np.array([2, 1, 3], np.uint64), 3.0) == pytest.approx([0.8, 0.2, 0.0])
    assert memory.share_free(a, 6.0).tolist() == [0.0]  # seen too seldom
    memory.see(4 + 10**10, c, np.zeros(0, np.uint64))
    assert len(memory) == 1  # ten half lives later the others are forgotten


# ---- components ----------------------------------------------------------------------------------------


def test_components_are_those_of_the_neighbours() -> None:
    sites = np.array([[0, 0, 0], [1, 1, 1], [2, 0, 0], [40, 40, 40], [41, 41, 41], [60, 0, 0]], np.int32)
    cells = np.sort(encode(sites, frame=1, tier=0, lod=7))
    label = components(neighbor_table(cells))
    groups = sorted(np.bincount(label).tolist())
    assert groups == [1, 2, 3]
    assert label[0] == 0
    assert (np.diff(np.unique(label, return_index=True)[1]) > 0).all()  # numbered in order
    assert len(components(np.zeros((0, 14), np.int32))) == 0


def test_what_was_free_and_touches_is_one_object() -> None:
    near, far = cuboid((5.0, 0.0, 0.8), (4.4, 1.8, 1.5)), cuboid((15.0, 5.0, 0.9), (0.6, 0.6, 1.8))
    wall = cuboid((10.0, -6.0, 1.0), (8.0, 0.4, 2.0))
    points = np.concatenate([near, far, wall])
    free = np.concatenate([np.ones(len(near) + len(far)), np.zeros(len(wall))])
    cells = cells_of(points, free)
    found = find_moving(cells)
    assert len(found.boxes) == 2
    assert sorted(np.round(found.boxes.centre[:, 0]).tolist()) == [5.0, 15.0]
    owner = inside(cells.centroid, found.boxes, 0.3)
    assert (found.instance == owner).all()
    assert (found.instance[cells.centroid[:, 1] < -5] == -1).all()  # the wall was always there
    assert len(find_moving(cells_of(points, free, height=0.2)).boxes) == 0  # ground


# ---- tracks --------------------------------------------------------------------------------------------


def test_two_objects_that_pass_keep_their_tracks() -> None:
    tracker, ids = Tracker(), []
    for sweep in range(30):
        t = sweep * 0.1
        tracks = tracker.step(sweep * STEP_NS, boxes_at((8 * t, 0.0), (24 - 8 * t, 3.0), kind=2))
        ids.append([track.id for track in tracks])
    assert ids[1] == [] and ids[2:] == [[1, 2]] * 28
    east, west = tracks
    assert east.state == pytest.approx([23.2, 0.0, 8.0, 0.0], abs=0.2)
    assert west.state[2] == pytest.approx(-8.0, abs=0.2)
    assert east.kind == 2 and len(east.history) == 21


def test_a_track_outlives_a_gap_and_ends_after_it() -> None:
    tracker = Tracker(TrackOptions(lost_s=0.5))
    for sweep in range(10):
        tracker.step(sweep * STEP_NS, boxes_at((sweep * 0.5, 0.0)))
    for sweep in (10, 11, 12):
        (track,) = tracker.step(sweep * STEP_NS, Boxes.none())
        assert track.box == -1
    (track,) = tracker.step(13 * STEP_NS, boxes_at((6.5, 0.0)))
    assert (track.id, track.box) == (1, 0)
    assert tracker.step(20 * STEP_NS, Boxes.none()) == []
    with pytest.raises(ValueError, match="before the last sweep"):
        tracker.step(19 * STEP_NS, boxes_at((0.0, 0.0)))


def test_what_is_out_of_reach_starts_a_track_of_its_own() -> None:
    tracker = Tracker()
    for sweep in range(5):
        tracker.step(sweep * STEP_NS, boxes_at((0.0, 0.0)))
    for sweep in range(5, 9):
        tracks = tracker.step(sweep * STEP_NS, boxes_at((0.0, 0.0), (9.0, 0.0)))
    assert [track.id for track in tracks] == [1, 2]


# ---- scores --------------------------------------------------------------------------------------------


def test_average_precision_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, False, True, False])
    assert average_precision(score, right, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(score[::-1], right[::-1], 4) == pytest.approx((1 + 2 / 3) / 4)


def test_detections_are_counted_by_class_and_distance() -> None:
    scores = DetectionScores(("car", "person"))
    truth = boxes_at((0.0, 0.0), (20.0, 0.0), kind=0)
    found = boxes_at((0.7, 0.0), (0.1, 0.0), (50.0, 0.0), kind=0)
    scores.add(found, truth, Boxes.none())
    car = scores.scores()["car"]
    # Both near boxes are of one object: the surer one has it. All are equally sure: the first one, 0.7 m off.
    assert car["average_precision"] == pytest.approx(np.mean([0.25, 0.5, 0.5, 0.5]))
    assert (car["recall"], car["objects"], car["detections"]) == (0.5, 2, 3)
    assert car["place_m"] == pytest.approx(0.7) and car["size_m"] == 0.0
    assert scores.scores()["person"]["average_precision"] is None


def test_what_need_not_be_found_is_no_error() -> None:
    scores = DetectionScores(("any",))
    found = boxes_at((0.0, 0.0), (20.5, 0.0))
    scores.add(found, boxes_at((0.0, 0.0), kind=3), boxes_at((20.0, 0.0)))
    assert scores.scores()["any"]["average_precision"] == 1.0
    assert scores.scores()["any"]["detections"] == 1
