"""The records that agents exchange; each is a topic on Kafka and a table in the archive.

Records are values: arrays inside are never written to after construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINNED_VERSION = 3

UNOBSERVED, SEEN_THROUGH, HIT = 0, 1, 2
"""State of a cell in one sweep: no ray reached it, a ray crossed it, a return lies in it."""


PIN, FREEZE, RELEASE = HOLDS = ("pin", "freeze", "release")
"""Kinds of ModelPublished by which a person holds a model: serve this one and no other; activate none any
more; follow what is published again, beginning with the newest. Nothing is published by them."""


def hold(record: object) -> None:
    """Make a record's arrays read-only, so that whoever keeps one may rely on it."""
    for field_ in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field_.name)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False


def robot_of(stream_id: str) -> str:
    """The robot of a ``robot/sensor`` stream id."""
    return stream_id.split("/", 1)[0]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Binned:
    """One sweep or part as evidence by cell: everything that features, outcomes and maps read.

    seq : position in the robot's fold order, from 0 without gaps; where the robot was forgotten and is back,
        or its localisation has jumped, from the next multiple of 2^32 on
    late : its sweep was predicted, or a newer one of its stream had begun; folded, but not predicted from
    pose : float64 (12,), sensor to map at the stamp, 3 x 4 row-major
    pose_history : float64 (J, 12), the same at 1..J time bins earlier, as far back as transforms reach
    cell_id : uint64 (N,), tested cells, ascending: every cell hit within the window plus the longest horizon
    hits, passes : uint32 (N,), returns in the cell; rays that crossed it and left it before they ended
    sums : int32 (M, 11), fixed-point sums of the M cells with hits > 0, in row order
    beams : int16 (B, 3), directions of a sample of the rays, sensor frame, units of 1/32767
    points : points in the sweep; masked : of these, and of rays without return, what the mask dropped
    rays : finite returns and rays without return, 0 for a sweep of hits only; misses : the latter alone
    binned : returns that fell into a cell
    evicted : cells dropped by this fold to stay within the window's caps
    """

    robot_id: str
    seq: int
    stream_id: str
    stamp_ns: int
    part: int
    parts: int
    late: bool
    pose: NDArray[np.float64]
    pose_history: NDArray[np.float64]
    cell_id: NDArray[np.uint64]
    hits: NDArray[np.uint32]
    passes: NDArray[np.uint32]
    sums: NDArray[np.int32]
    beams: NDArray[np.int16]
    points: int
    rays: int
    binned: int
    misses: int = 0
    masked: int = 0
    evicted: int = 0

    def __post_init__(self) -> None:
        hold(self)

    @property
    def prediction_id(self) -> str:
        """``stream_id/stamp_ns``."""
        return f"{self.stream_id}/{self.stamp_ns}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prediction:
    """The forecast of every window cell after one complete sweep.

    seq : last binned record folded into the features
    cell_id : uint64 (N,), ascending
    probability : float32 (N, H), occupied at each horizon, given that it will be observed
    before : uint8 (N,), UNOBSERVED, SEEN_THROUGH or HIT at the prediction's own sweep
    feature_digest : of cells, features and neighbours, XXH3 (128 bits); state_digest : of the container
    """

    prediction_id: str
    robot_id: str
    stream_id: str
    stamp_ns: int
    seq: int
    model_id: str
    horizons_ns: tuple[int, ...]
    cell_id: NDArray[np.uint64]
    probability: NDArray[np.float32]
    before: NDArray[np.uint8]
    feature_digest: str
    state_digest: str

    def __post_init__(self) -> None:
        hold(self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shadow:
    """What the baselines and challengers would have predicted at the primary horizon.

    probability : name to float32 (N,), rows as in the prediction; a name that had no model yet is absent
    """

    prediction_id: str
    robot_id: str
    stream_id: str
    stamp_ns: int
    cell_id: NDArray[np.uint64]
    probability: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What a later sweep of the same stream revealed about one prediction at one horizon.

    row : int32 (M,), rows of the prediction, ascending; cells that were not observed are absent
    occupied : bool (M,), a return lay in the cell; before : uint8 (M,), copied from the prediction
    """

    prediction_id: str
    robot_id: str
    stream_id: str
    stamp_ns: int
    horizon_ns: int
    observed_stamp_ns: int
    row: NDArray[np.int32]
    cell_id: NDArray[np.uint64]
    occupied: NDArray[np.bool_]
    before: NDArray[np.uint8]

    def __post_init__(self) -> None:
        hold(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPublished:
    """A model ready to serve, or a person's word on which may: kinds of HOLDS.

    model_id : empty where nothing is named, for ``freeze`` and ``release``
    kind : ``prior``, ``update``, ``promotion`` or ``rollback``, which may be to the built-in model; or a hold
    sha256 : of its file; ``builtin`` for the built-in model, which has no file and no manifest
    """

    model_id: str
    sha256: str
    kind: str
    parent_id: str
    stamp_ns: int
    manifest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelActivated:
    """From ``first_stamp_ns`` on, this stream's predictions are made by this model."""

    robot_id: str
    stream_id: str
    first_stamp_ns: int
    model_id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRejected:
    """A dead letter: a sweep or message that could not become evidence, and why."""

    robot_id: str
    stream_id: str
    stamp_ns: int
    part: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person wants to know about: trained, promoted, refused, rolled back, drift, gap."""

    kind: str
    stamp_ns: int
    robot_id: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureSample:
    """A sample of the feature vectors behind one prediction: cell_id uint64 (S,), x float32 (S, F)."""

    prediction_id: str
    robot_id: str
    stream_id: str
    stamp_ns: int
    cell_id: NDArray[np.uint64]
    x: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelGiven:
    """What somebody says that cells are.

    stamp_ns : when it was said, on the clock of whoever labels: of two words on a cell the later one counts
    author : who says so; label : the class
    at_ns : stamp of the sweep that it is about, for what moves; 0 for what lies in the cell at any time
    weight : how many cells each of these stands for, > 0: one over the probability that its region was drawn
    cell_id : uint64 (N,), ascending
    """

    robot_id: str
    stamp_ns: int
    author: str
    label: str
    at_ns: int
    weight: float
    cell_id: NDArray[np.uint64]

    def __post_init__(self) -> None:
        hold(self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelRequested:
    """A region that is worth a person's word.

    stamp_ns : of the newest sweep it was chosen by; region : text form of its id
    reason : ``uncertain``, ``wrong``, ``novel``, ``contradicted`` or ``drawn``; value : by which it ranks
    inclusion : probability that it was chosen, 1 unless ``drawn``
    cell_id : uint64 (N,), ascending: its cells
    """

    robot_id: str
    stamp_ns: int
    region: str
    reason: str
    value: float
    inclusion: float
    cell_id: NDArray[np.uint64]

    def __post_init__(self) -> None:
        hold(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfLog:
    """No more input follows: whatever is held must be released or rejected."""

    robot_id: str = ""
