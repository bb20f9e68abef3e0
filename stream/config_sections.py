"""The sections of a configuration, with what each allows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict

from stream.config_errors import ConfigError, require
from stream.config_triggers import STEADY, TriggerConfig

__all__ = [
    "ArchiveConfig",
    "ConfigError",
    "GridConfig",
    "LearnConfig",
    "LimitsConfig",
    "MaskConfig",
    "NetworkConfig",
    "Normaliser",
    "PoseConfig",
    "SweepConfig",
    "TaskConfig",
    "WindowConfig",
    "require",
]

SECOND_NS = 1_000_000_000

_AGE = re.compile(r"([1-9]\d{0,5})([dhms])")
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}

CHAMPION_LINEAGE = "network"
"""The lineage of the configured network; challengers have names of their own."""

Normaliser = Literal["standardised", "min_max", "raw", "dropped"]
"""How a network scales a feature column: by mean and deviation, to 0..1, not at all, or to 0, unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConfig:
    """The lattice and which returns fill it.

    half_edge_lod0_m : half edge at LOD 0; at LOD l it is this / 2^l
    map_frame : frame of the map; "auto" takes the root of the log's transform tree
    frame_ids : 8-bit id of every frame that may be a map frame
    miss_range_m : a ray without return counts as free up to here
    intensity_max : intensity that counts as 1; larger values are clamped
    max_not_finite_share : a sweep with more points that are not finite is rejected; organised clouds mark
        beams without a return that way, so the default refuses only a sweep that is nearly all of them
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    half_edge_lod0_m: float = 51.2
    lod: int = 7
    tier: int = 0
    map_frame: str = "auto"
    frame_ids: dict[str, int] = field(
        default_factory=lambda: {"map": 1, "odom": 2, "base_link": 3, "world": 4}
    )
    range_min_m: float = 3.0
    range_max_m: float = 40.0
    miss_range_m: float = 40.0
    intensity_max: float = 1.0
    max_not_finite_share: float = 0.95

    def __post_init__(self) -> None:
        require(0 < self.half_edge_lod0_m < math.inf, "grid.half_edge_lod0_m", self.half_edge_lod0_m,
                 "must be > 0 and finite")  # fmt: skip
        require(0 <= self.lod <= 15, "grid.lod", self.lod, "must be 0..15")
        require(0 <= self.tier <= 3, "grid.tier", self.tier, "must be 0..3")
        require(self.range_max_m < math.inf, "grid.range_max_m", self.range_max_m, "must be finite")
        require(0 <= self.range_min_m < self.range_max_m, "grid.range_min_m", self.range_min_m,
                 "must be >= 0 and below grid.range_max_m")  # fmt: skip
        require(0 < self.miss_range_m <= 10_000, "grid.miss_range_m", self.miss_range_m,
                 "must be above 0 and at most 10000")  # fmt: skip
        require(self.intensity_max > 0, "grid.intensity_max", self.intensity_max, "must be > 0")
        for name, number in self.frame_ids.items():
            require(0 <= number <= 255, f"grid.frame_ids.{name}", number, "must be 0..255")

    @property
    def half_edge_m(self) -> float:
        """Half edge at the configured LOD, metres."""
        return self.half_edge_lod0_m / 2.0**self.lod


def _unquoted(value: object) -> object:
    """``off`` without quotes is false in YAML."""
    return "off" if value is False else value


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """How a sweep becomes evidence.

    deskew : ``auto`` moves points that carry their own time by the pose at that time; ``off`` takes all as
        measured at the stamp
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    deskew: Annotated[Literal["auto", "off"], BeforeValidator(_unquoted)] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskConfig:
    """What of a sweep says nothing about the world. What it covers is neither hit nor ray, and is counted.

    ego_box_m : x_min, y_min, z_min, x_max, y_max, z_max: points in it are the robot's own; empty for none
    ego_frame : frame of the box, for example base_link; "sensor" is the sensor's own
    drop_sectors_deg : azimuths from, to, counter-clockwise, 0 along the sensor's x axis and 90 along its y
        axis; through 180 where to is less than from
    miss_beyond_m : finite points this far or farther are rays without return; None for sensors that do not
        report those as points
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    ego_box_m: tuple[float, ...] = ()
    ego_frame: str = "sensor"
    drop_sectors_deg: tuple[tuple[float, float], ...] = ()
    miss_beyond_m: float | None = None

    def __post_init__(self) -> None:
        box = self.ego_box_m
        fits = len(box) == 6 and all(-math.inf < box[i] < box[i + 3] < math.inf for i in range(3))
        require(not box or fits, "mask.ego_box_m", list(box),
                 "must be x_min, y_min, z_min, x_max, y_max, z_max, each minimum below its maximum",
        )  # fmt: skip
        require(bool(self.ego_frame), "mask.ego_frame", self.ego_frame, 'must be a frame, or "sensor"')
        for start, end in self.drop_sectors_deg:
            fits = -360 <= start <= 360 and -360 <= end <= 360 and (end - start) % 360 != 0
            require(fits, "mask.drop_sectors_deg", [start, end],
                     "must be two different azimuths, each -360..360")  # fmt: skip
        beyond = self.miss_beyond_m
        require(beyond is None or 0 < beyond <= 10_000, "mask.miss_beyond_m", beyond,
                 "must be above 0 and at most 10000")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """The rolling container: ``bins`` time bins of ``bin_ns``; caps keep memory bounded.

    max_beams : rays of a sweep that are kept with its record, for the forecast casts
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    bin_ns: int = 100_000_000
    bins: int = 10
    max_records: int = 128
    max_cells: int = 200_000
    max_beams: int = 12_288

    def __post_init__(self) -> None:
        require(self.bin_ns > 0, "window.bin_ns", self.bin_ns, "must be > 0")
        require(1 <= self.bins <= 64, "window.bins", self.bins, "must be 1..64")
        require(self.max_records >= 2, "window.max_records", self.max_records, "must be >= 2")
        require(self.max_beams >= 1, "window.max_beams", self.max_beams, "must be >= 1")
        require(self.max_cells >= 1, "window.max_cells", self.max_cells, "must be >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """What is forecast, and from when on it is scored.

    horizons_ns : ascending; primary_horizon_ns : the one that quoted scores rest on
    warmup_sweeps : predictions of the first so many sweeps of a stream are not scored
    tolerance_ns : the outcome comes from the sweep nearest to the horizon, at most this far from it: a
        little over half a sweep period
    region_levels : regions of the error map are that many LODs coarser than cells
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    horizons_ns: tuple[int, ...] = (200_000_000, 500_000_000, 1_000_000_000)
    primary_horizon_ns: int = 500_000_000
    warmup_sweeps: int = 30
    tolerance_ns: int = 60_000_000
    region_levels: int = 4

    def __post_init__(self) -> None:
        require(
            bool(self.horizons_ns) and list(self.horizons_ns) == sorted(set(self.horizons_ns)),
            "task.horizons_ns", self.horizons_ns, "must be ascending and not empty",
        )  # fmt: skip
        require(self.horizons_ns[0] > 0, "task.horizons_ns", self.horizons_ns, "must be > 0")
        require(self.primary_horizon_ns in self.horizons_ns, "task.primary_horizon_ns",
                 self.primary_horizon_ns, "must be one of task.horizons_ns")  # fmt: skip
        require(self.tolerance_ns > 0, "task.tolerance_ns", self.tolerance_ns, "must be > 0")
        require(self.region_levels >= 0, "task.region_levels", self.region_levels, "must be >= 0")
        require(self.warmup_sweeps >= 0, "task.warmup_sweeps", self.warmup_sweeps, "must be >= 0")

    @property
    def primary(self) -> int:
        """Column of the primary horizon."""
        return self.horizons_ns.index(self.primary_horizon_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseConfig:
    """How long a sweep waits for its pose, in event time, how far transforms may be apart, what is a jump.

    jump_m, jump_deg : a transform is farther than this from where the motion before it leads, at a sensor:
        localisation has jumped, and a new map begins. What braking and turning may do is added, see
        ``stream.jumps``; None for no bound
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    max_wait_ns: int = 2 * SECOND_NS
    max_gap_ns: int = SECOND_NS // 2
    max_held_sweeps: int = 32
    history: int = 5
    jump_m: float | None = 0.5
    jump_deg: float | None = 3.0

    def __post_init__(self) -> None:
        for name in ("max_wait_ns", "max_gap_ns", "max_held_sweeps"):
            require(getattr(self, name) > 0, f"pose.{name}", getattr(self, name), "must be > 0")
        require(self.history >= 0, "pose.history", self.history, "must be >= 0")
        for name in ("jump_m", "jump_deg"):
            bound = getattr(self, name)
            require(bound is None or 0 < bound < math.inf, f"pose.{name}", bound,
                     "must be > 0 and finite, or null for no bound")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """How many names an agent knows: beyond, the one that was silent longest is forgotten.

    max_robots : robots of one task; Learn has one task for the robots of all partitions
    max_streams : streams of one robot; max_frames : coordinate frames of one robot, beyond which transforms
        that bring another one are refused, as a tree cannot do without its older ones
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    max_robots: int = 256
    max_streams: int = 32
    max_frames: int = 1024

    def __post_init__(self) -> None:
        for name in ("max_robots", "max_streams"):
            require(getattr(self, name) >= 1, f"limits.{name}", getattr(self, name), "must be >= 1")
        require(self.max_frames >= 2, "limits.max_frames", self.max_frames,
                 "must be >= 2, a sensor's frame and the map's")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of the BCC-convolution network."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    width: int = 24
    layers: int = 1

    def __post_init__(self) -> None:
        require(1 <= self.width <= 1024, "network.width", self.width, "must be 1..1024")
        require(1 <= self.layers <= 16, "network.layers", self.layers, "must be 1..16")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnConfig:
    """Training while outcomes arrive. Every number that decides weights is here, so a run repeats.

    steps_per_sweep : optimiser steps after each newly labelled sweep
    budget_ms : paces learning to real time: milliseconds a sweep, features, baselines and publishing
        included; as many steps as fit, at least one, at most steps_per_sweep. Time decides then how many, so
        such a run does not repeat bit for bit; None takes all steps
    newest_share : probability that a step uses the newest labelled sweep instead of an earlier one
    hard_share : probability that an earlier one is chosen by its loss, where it was worst, not at random
    auxiliary_weight : weight of the loss at the other horizons
    recalibrate : correct scale and shift of the logits at each horizon by outcomes not yet trained on
    averaging : decay of the averaged weights that are served, per step; fewer steps than steps_per_sweep
        forget as much as all of them
    standard_sweeps : the features of the first so many sweeps decide how all later ones are normalised
    normalisers : feature column, or shell pattern of columns, to how it is normalised; of several that fit
        the last counts, and columns that none fits are standardised
    prior : folder of the model to start from; "shipped" is the one in the package, "none" starts from scratch
    symmetry : each step sees the world under one of the lattice's eight symmetries about the vertical
    buffer_bytes : cap of the replay buffer (float16 features)
    guard_sweeps : an update is compared with an anchor over this many labelled sweeps
    guard_margin : loss increase (nats per cell) that rolls updates back
    gate_sweeps : labelled sweeps a challenger must be scored on before it can be promoted
    triggers : what makes lineages train, by name, null for none of that name; a labelled sweep takes the most
        steps that one of them asks for; without any, nothing trains
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    enabled: bool = True
    prior: str = "shipped"
    steps_per_sweep: int = 24
    budget_ms: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 20
    newest_share: float = 0.5
    hard_share: float = 0.0
    auxiliary_weight: float = 0.5
    recalibrate: bool = False
    averaging: float = 0.99
    standard_sweeps: int = 10
    normalisers: dict[str, Normaliser] = field(default_factory=dict)
    sector_degrees: float = 90.0
    symmetry: bool = True
    buffer_bytes: int = 2 << 30
    guard_sweeps: int = 10
    guard_margin: float = 0.02
    gate_sweeps: int = 5
    challengers: dict[str, NetworkConfig] = field(default_factory=dict)
    triggers: dict[str, TriggerConfig | None] = field(
        default_factory=lambda: {STEADY: TriggerConfig(when="amount", sweeps=1)}
    )

    def __post_init__(self) -> None:
        for name in ("steps_per_sweep", "standard_sweeps", "learning_rate", "buffer_bytes", "guard_sweeps",
                     "gate_sweeps"):  # fmt: skip
            require(getattr(self, name) > 0, f"learn.{name}", getattr(self, name), "must be > 0")
        for name in ("weight_decay", "warmup_steps", "auxiliary_weight", "guard_margin"):
            require(getattr(self, name) >= 0, f"learn.{name}", getattr(self, name), "must be >= 0")
        require(self.budget_ms is None or self.budget_ms > 0, "learn.budget_ms", self.budget_ms,
                 "must be > 0, or null for all steps")  # fmt: skip
        for name in ("newest_share", "hard_share", "averaging"):
            require(0 <= getattr(self, name) <= 1, f"learn.{name}", getattr(self, name), "must be 0..1")
        require(0 < self.sector_degrees <= 360, "learn.sector_degrees", self.sector_degrees,
                 "must be above 0 and at most 360")  # fmt: skip
        require(not self.normalisers or self.prior == "none", "learn.normalisers", self.normalisers,
                 f"cannot be had with the prior {self.prior!r}, which brings its own scale; "
                 "add --from-scratch (learn.prior=none)")  # fmt: skip
        lineages = (CHAMPION_LINEAGE, *self.challengers)
        require(CHAMPION_LINEAGE not in self.challengers, "learn.challengers", CHAMPION_LINEAGE,
                 "is the name of the configured network; take another one")  # fmt: skip
        for name, trigger in self.triggers.items():
            for lineage in trigger.lineages if trigger else ():
                require(lineage in lineages, f"learn.triggers.{name}.lineages", lineage,
                         f"must be one of {', '.join(lineages)}")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveConfig:
    """What of an archive is kept when it is pruned. Nothing that is forecast depends on it.

    retain : age beyond which chunks go, by the stamps in them: a number and d, h, m or s; None keeps all
    robot_bytes : of files, for one robot; beyond, its oldest data go; None means no limit
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    retain: str | None = None
    robot_bytes: int | None = None

    def __post_init__(self) -> None:
        require(self.retain is None or self.retain_ns is not None, "archive.retain", self.retain,
                 "must be a whole number above 0 and d, h, m or s, for example 30d, or null")  # fmt: skip
        require(self.robot_bytes is None or self.robot_bytes > 0, "archive.robot_bytes", self.robot_bytes,
                 "must be > 0, or null for no limit")  # fmt: skip

    @property
    def retain_ns(self) -> int | None:
        """``retain`` in nanoseconds."""
        found = _AGE.fullmatch(self.retain) if self.retain else None
        return int(found[1]) * _UNITS_S[found[2]] * SECOND_NS if found else None
