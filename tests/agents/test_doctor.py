"""The dry run: what it measures, what it says would be rejected, and what it advises."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from agents.advice import Finding, advise, replay_command
from agents.doctor import Diagnosis, diagnose
from agents.measures import Period, PointTally, Spread
from agents.stopwatch import Stopwatch
from stream.config import Config, ConfigError, load_config
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Damage, Item, SourceInfo
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path

PERIOD_NS = 100_000_000
START_NS = 1_000_000_000


@dataclass(frozen=True)
class Log:
    """A source made of a list."""

    items: Sequence[Item]
    root: str | None = "odom"

    def info(self) -> SourceInfo:
        sweeps = sum(isinstance(item, Sweep) for item in self.items)
        return SourceInfo(
            location="list", format="list", sweeps=sweeps, start_ns=None, end_ns=None, root_frame=self.root
        )

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def sweep(stamp_ns: int, intensity: float = 1.0, radius: float = 10.0, count: int = 200) -> Sweep:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1)
    return Sweep(
        stream_id="robot/lidar",
        stamp_ns=stamp_ns,
        frame="lidar",
        points=points.astype(np.float32),
        intensity=np.linspace(0, intensity, count, dtype=np.float32),
    )


def pose(stamp_ns: int, parent: str = "odom") -> Transform:
    return Transform(
        robot_id="robot",
        stamp_ns=stamp_ns,
        parent=parent,
        child="lidar",
        translation=(stamp_ns * 1e-9, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0),
    )


def drive(stamps: Sequence[int], parent: str = "odom") -> list[Item]:
    """Sweeps with a pose just before and at each stamp."""
    items: list[Item] = [pose(stamps[0] - PERIOD_NS, parent)]
    for stamp in stamps:
        items += [sweep(stamp), pose(stamp, parent)]
    return items


STAMPS = [START_NS + index * PERIOD_NS for index in range(50)]


def diagnose_items(
    items: Sequence[Item], config: Config | None = None, root: str | None = "odom"
) -> Diagnosis:
    return diagnose(Log(items, root), config or Config())


def texts(diagnosis: Diagnosis, config: Config | None = None) -> list[str]:
    return [f"{found.level}: {found.text}" for found in advise(diagnosis, config or Config())]


def flags(diagnosis: Diagnosis, config: Config | None = None) -> list[str]:
    return [
        flag for found in advise(diagnosis, config or Config()) for flag in found.flags if flag != "--set"
    ]


def test_a_good_log_needs_no_advice() -> None:
    diagnosis = diagnose_items(drive(STAMPS))
    assert advise(diagnosis, Config()) == ()
    assert (diagnosis.sweeps, diagnosis.binned, diagnosis.predicted) == (50, 50, 50)
    assert diagnosis.rejected == {}
    assert diagnosis.streams == {"robot/lidar": 50}
    assert diagnosis.period == Period(
        median_ns=1e8, longest_ns=1e8, jitter_ns=0, gaps=0, backward=0, repeated=0
    )
    assert diagnosis.sizes == Spread(least=200, median=200, most=200)
    (edge,) = diagnosis.edges
    assert (edge.parent, edge.child, edge.count, edge.static) == ("odom", "lidar", 51, False)
    assert diagnosis.cells_hit is not None
    assert diagnosis.cells_window is not None
    assert diagnosis.cells_tested is not None
    assert 0 < diagnosis.cells_hit.most <= diagnosis.cells_window.most < diagnosis.cells_tested.most
    assert diagnosis.complete
    assert diagnosis.stage_ms == {}


def test_the_same_log_gives_the_same_diagnosis() -> None:
    assert diagnose_items(drive(STAMPS)) == diagnose_items(drive(STAMPS))


def test_a_log_without_transforms_is_a_problem() -> None:
    items = [item for item in drive(STAMPS) if isinstance(item, Sweep)]
    diagnosis = diagnose_items(items, root=None)
    assert diagnosis.rejected == {"no_pose": 50}
    assert len(diagnosis.rejections) == 3
    assert texts(diagnosis)[0].startswith("problem: no transforms")
    assert "--poses" in texts(diagnosis)[0]
    assert advise(diagnosis, Config())[0].flags == ("--odometry",)


def test_sweeps_before_the_first_and_after_the_last_transform_are_rejected() -> None:
    items = [sweep(START_NS - 2 * PERIOD_NS), *drive(STAMPS), sweep(STAMPS[-1] + PERIOD_NS)]
    diagnosis = diagnose_items(items)
    assert diagnosis.rejected == {"no_pose": 2}
    assert [item.stamp_ns for item in diagnosis.rejections] == [
        START_NS - 2 * PERIOD_NS,
        STAMPS[-1] + PERIOD_NS,
    ]
    assert "warning: 2 of 52 sweeps would be rejected: no_pose 2" in texts(diagnosis)


def test_a_map_frame_without_an_id_is_given_one_unless_it_was_named() -> None:
    items = drive(STAMPS, "utm_local")
    assert diagnose_items(items, root="utm_local").predicted == 50
    with pytest.raises(ConfigError, match=r"utm_local.*--set grid.frame_ids.utm_local"):
        diagnose_items(items, load_config(overrides=["grid.map_frame=utm_local"]))


@pytest.mark.parametrize(
    ("reach", "scale"), [(255.0, "255"), (40.0, "255"), (4095.0, "65535"), (7e4, "70000")]
)
def test_intensity_above_the_cap_gets_a_flag(reach: float, scale: str) -> None:
    items = [
        replace(item, intensity=np.linspace(0, reach, 200, dtype=np.float32))
        if isinstance(item, Sweep)
        else item
        for item in drive(STAMPS)
    ]
    diagnosis = diagnose_items(items)
    assert flags(diagnosis) == [f"grid.intensity_max={scale}"]
    assert flags(diagnosis, load_config(overrides=flags(diagnosis))) == []


def test_a_short_log_gets_a_shorter_warmup() -> None:
    diagnosis = diagnose_items(drive(STAMPS[:22]))
    assert flags(diagnosis) == ["task.warmup_sweeps=5"]
    assert advise(diagnosis, load_config(overrides=flags(diagnosis))) == ()


def test_a_slow_sensor_gets_wider_bins_and_tolerance() -> None:
    diagnosis = diagnose_items(drive([START_NS + index * 300_000_000 for index in range(60)]))
    assert flags(diagnosis) == ["window.bin_ns=300000000", "task.tolerance_ns=180000000"]
    assert advise(diagnosis, load_config(overrides=flags(diagnosis))) == ()


def test_gaps_repeats_and_steps_back_are_counted() -> None:
    stamps = [*STAMPS[:20], STAMPS[19], *STAMPS[25:40], STAMPS[30], *STAMPS[41:]]
    diagnosis = diagnose_items(drive(stamps))
    period = diagnosis.period
    assert period is not None
    assert (period.gaps, period.longest_ns) == (2, 11 * PERIOD_NS)
    assert (period.backward, period.repeated) == (1, 1)
    assert diagnosis.events["duplicate"] == 2
    shown = texts(diagnosis)
    assert any("2 gaps" in text and "1100 ms" in text for text in shown)
    assert any("1 stamps go back in time and 1 repeat" in text for text in shown)


def test_points_are_counted_by_where_they_fall() -> None:
    points = np.array(
        [[1, 0, 0], [0, 10, 0], [0, 0, 41], [np.nan, 0, 0], [3, 0, 0], [np.inf, 0, 0]], np.float32
    )
    tally = PointTally(Config())
    assert tally.result() is None
    intensity = np.array([1, 2, 3, np.nan, 5, 6], np.float32)
    tally.add(replace(sweep(START_NS), points=points, intensity=intensity))
    result = tally.result()
    assert result is not None
    assert (result.in_range, result.nearer, result.farther) == (2 / 6, 1 / 6, 1 / 6)
    assert result.not_finite == 2 / 6
    assert result.intensity == (1, 6)


def test_rays_without_return_and_what_is_masked_are_counted() -> None:
    up = np.array([[0, 0, 1], [0, 0.6, 0.8]], np.float32)
    items = [replace(item, misses=up) if isinstance(item, Sweep) else item for item in drive(STAMPS)]
    assert diagnose_items(drive(STAMPS)).misses == 0
    diagnosis = diagnose_items(items)
    assert (diagnosis.rays, diagnosis.misses, diagnosis.masked) == (50 * 202, 50 * 2, 0)
    assert advise(diagnosis, Config()) == ()
    config = load_config(overrides=["mask.drop_sectors_deg=[[-10, 250]]"])
    diagnosis = diagnose_items(items, config)
    assert diagnosis.rays + diagnosis.masked == 50 * 202
    assert diagnosis.misses == 50
    (finding,) = advise(diagnosis, config)
    assert finding.level == "warning"
    assert "mask.drop_sectors_deg" in finding.text


def test_a_crowd_at_the_far_end_is_noted() -> None:
    far = sweep(START_NS, radius=120.0, count=20).points

    def written(item: Item) -> Item:
        if not isinstance(item, Sweep):
            return item
        points = np.concatenate([item.points, far])
        return replace(item, points=points, intensity=np.linspace(0, 1, len(points), dtype=np.float32))

    items = [written(item) for item in drive(STAMPS)]
    diagnosis = diagnose_items(items)
    assert diagnosis.points is not None
    assert (diagnosis.points.farthest_m, diagnosis.points.at_farthest) == (120.0, 20 / 220)
    (text,) = texts(diagnosis)
    assert text.startswith("note: 9% of the points lie 120 m away and none farther")
    assert "mask.miss_beyond_m" in text
    config = load_config(overrides=["mask.miss_beyond_m=119"])
    diagnosis = diagnose_items(items, config)
    assert (diagnosis.misses, diagnosis.rays) == (50 * 20, 50 * 220)
    assert advise(diagnosis, config) == ()


def test_points_out_of_range_are_a_warning() -> None:
    items = [
        replace(item, points=item.points * np.float32(5)) if isinstance(item, Sweep) else item
        for item in drive(STAMPS)
    ]
    assert any("only 0% of the points lie 3 to 40 m" in text for text in texts(diagnose_items(items)))


def test_damage_and_undecodable_sweeps_are_reported() -> None:
    rejected = SweepRejected(
        robot_id="robot", stream_id="robot/lidar", stamp_ns=5, part=0, reason="undecodable", detail="short"
    )
    items = [rejected, *drive(STAMPS), Damage(location="list", detail="truncated at byte 10")]
    diagnosis = diagnose_items(items)
    assert diagnosis.damage == "list: truncated at byte 10"
    assert diagnosis.rejected == {"undecodable": 1}
    shown = texts(diagnosis)
    assert "warning: damaged, and read up to the damage: list: truncated at byte 10" in shown
    assert "warning: 1 of 51 sweeps would be rejected: undecodable 1" in shown


def test_refused_transforms_are_reported_with_the_first_reason() -> None:
    items = [*drive(STAMPS), pose(STAMPS[-1], parent="elsewhere")]
    (finding,) = advise(diagnose_items(items), Config())
    assert finding.level == "warning"
    assert "1 transforms are refused" in finding.text
    assert "two parents" in finding.text


def test_an_empty_log_is_a_problem() -> None:
    diagnosis = diagnose_items([])
    assert texts(diagnosis) == ["problem: no sweep in this log can be decoded"]
    assert diagnosis.period is None
    assert diagnosis.cells_hit is None


def test_reading_stops_early_and_says_so() -> None:
    seen: list[tuple[int, int | None]] = []
    diagnosis = diagnose(
        Log(drive(STAMPS)),
        Config(),
        max_sweeps=7,
        progress=lambda done, total, stream: seen.append((done, total)),
    )
    assert diagnosis.sweeps == 7
    assert not diagnosis.complete
    assert seen == [(number, 7) for number in range(1, 8)]
    assert advise(diagnosis, Config()) == ()


def test_a_clock_gives_the_cost_by_stage() -> None:
    ticks = iter(range(10**6))
    watch = Stopwatch(lambda: next(ticks) * 1e-3)
    diagnosis = diagnose(Log(drive(STAMPS)), Config(), stopwatch=watch)
    assert set(diagnosis.stage_ms) == {"decode", "bin", "visibility", "features", "inference"}
    assert all(value >= 1 for value in diagnosis.stage_ms.values())


def test_the_replay_command_can_be_typed() -> None:
    findings = (
        Finding(level="warning", text="", flags=("--set", "grid.intensity_max=255")),
        Finding(level="note", text=""),
    )
    command = replay_command("my logs/drive 1.mcap", ["--topic", "/points"], findings)
    assert shlex.split(command) == [
        "octastream", "replay", "my logs/drive 1.mcap", "--out", "runs/drive 1",
        "--topic", "/points", "--set", "grid.intensity_max=255",
    ]  # fmt: skip
    assert "runs/sim-city " in replay_command("sim:city?seed=1", [], ()) + " "


def test_hits_only_are_said_and_a_map_is_taken_whole() -> None:
    hits = [replace(item, hits_only=True) if isinstance(item, Sweep) else item for item in drive(STAMPS)]
    whole = diagnose_items(hits)
    assert whole.hits_only == len(STAMPS)
    assert "all 50 sweeps are hits only" in " ".join(texts(whole))
    assert "--poses FILE" not in " ".join(texts(whole))
    assert "--poses FILE" in " ".join(texts(replace(whole, info=replace(whole.info, format="las"))))
    mixed = diagnose_items([*drive(STAMPS[:40]), *hits[81:]])
    assert "10 of 50 sweeps are hits only" in " ".join(texts(mixed))
    assert whole.points is not None
    cut_off = replace(whole, points=replace(whole.points, in_range=0.9, farthest_m=61.2))
    (found,) = (item for item in advise(cut_off, Config()) if "of the points lie" in item.text)
    assert found.flags == ("--set", "grid.range_min_m=0", "--set", "grid.range_max_m=62")
    seen = replace(cut_off, hits_only=0)
    assert not [item for item in advise(seen, Config()) if "of the points lie" in item.text]


def test_a_log_without_a_point_is_a_problem() -> None:
    empty = [
        replace(item, points=item.points[:0], intensity=item.intensity[:0])
        if isinstance(item, Sweep)
        else item
        for item in drive(STAMPS)
    ]
    (problem,) = (item for item in advise(diagnose_items(empty), Config()) if item.level == "problem")
    assert problem.text == "no sweep in this log holds a point"


def test_spread_of_nothing_is_none() -> None:
    assert Spread.of([]) is None
    assert Period.of({"a/b": [1]}) is None


@pytest.mark.data
def test_the_recorded_drive_is_fit_for_a_replay() -> None:
    source = open_source(str(data_path("kitti_0005_000-053.mcap")))
    diagnosis = diagnose(source, Config(), max_sweeps=12)
    assert diagnosis.map_frame == "odom"
    assert diagnosis.predicted >= 11
    assert diagnosis.period is not None
    assert diagnosis.period.median_ns == pytest.approx(1e8, rel=0.05)
    assert diagnosis.sizes is not None
    assert 110_000 < diagnosis.sizes.median < 130_000
    assert diagnosis.points is not None
    assert diagnosis.points.in_range > 0.7
    assert [found for found in advise(diagnosis, Config()) if found.level == "problem"] == []


# ---- odometry and motion within sweeps -----------------------------------------------------------------


def test_odometry_is_said_with_the_way_that_it_makes_of_the_sweeps() -> None:
    @dataclass(frozen=True)
    class Made(Log):
        def info(self) -> SourceInfo:
            return replace(super().info(), odometry="kiss-icp 1.3.0")

    diagnosis = diagnose(Made(drive(STAMPS), "odom"), Config())
    (edge,) = diagnosis.edges
    assert edge.way_m == pytest.approx(5.0)  # 1 m/s for 5 s, one transform before the first sweep
    assert "note: poses are made of the sweeps and drift: a way of 5.0 m in 5.0 s, 1.0 m/s" in "\n".join(
        texts(diagnosis)
    )


def timed(items: Sequence[Item], last_ns: int) -> list[Item]:
    """The same, with points that were measured until so long after the stamp."""
    return [
        replace(item, time_offset_ns=np.linspace(0, last_ns, len(item.points)).astype(np.int32))
        if isinstance(item, Sweep)
        else item
        for item in items
    ]


@pytest.mark.parametrize(
    ("last_ns", "settings", "text"),
    [
        (
            90_000_000,
            [],
            "note: 1 of 50 sweeps keep their motion, though their points carry their own time: ",
        ),
        (0, [], "note: points carry their own time, by which motion within a sweep is undone"),
        (90_000_000, ["sweep.deskew=off"], "note: points carry their own time, but sweep.deskew is off"),
    ],
)
def test_motion_within_sweeps_is_undone_or_it_is_said_why_not(
    last_ns: int, settings: list[str], text: str
) -> None:
    config = load_config(None, settings)
    diagnosis = diagnose_items(timed(drive(STAMPS), last_ns), config)
    assert (diagnosis.timed_points, diagnosis.binned) == (50, 50)
    assert any(found.startswith(text) for found in texts(diagnosis, config))
