"""What an agent is: a fold over records, with effects asked for and answered as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.model import Model
from stream.codecs.state import pack

Key = tuple[str | int, ...]
"""Names an input: kind, then what makes it unique."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModel:
    """Load, verify and warm up a published model; answered by ModelLoaded.

    number : the how-manieth publication this is, counted by who asks; 0 for a load by hand or after a restart
    sha256 : of its file, as published: one that has another is refused; None where that is not known
    """

    model_id: str
    stamp_ns: int
    number: int = 0
    sha256: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelLoaded:
    """``model`` is None when it was refused, and ``reason`` says why; ``number`` is that of the request.

    sha256 : of the file that was loaded, empty when it was refused
    """

    model_id: str
    stamp_ns: int
    sha256: str
    model: Model | None
    reason: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Example:
    """Features of one prediction, for a trainer.

    x float32 (N, F), neighbor_index int32 (N, 14), azimuth float32 (N,) radians about the sensor
    """

    prediction_id: str
    stamp_ns: int
    x: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    azimuth: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Labels:
    """Outcomes of one prediction at one horizon: row int32 (M,), occupied bool (M,)."""

    prediction_id: str
    horizon: int
    row: NDArray[np.int32]
    occupied: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Train:
    """Give a lineage its new examples and labels, then take steps; answered by Trained or TrainingFailed.

    steps : at most so many, 0 only gives; budget_ms : of time that learning may take since the lineage's
    training before, this one included, None for all steps
    sources : all that trainers were ever given, this included, as a manifest has it; the report has it too
    """

    lineage: str
    stamp_ns: int
    examples: tuple[Example, ...]
    labels: tuple[Labels, ...]
    steps: int
    budget_ms: float | None = None
    sources: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trained:
    """Averaged weights of a lineage after training, and the model they make. ``data`` is the ONNX file.

    report : what training says of itself; ``resumed`` is true for the first one of a new process, which went
    on from the weights of the one before without its optimiser, its past sweeps and its counts
    """

    lineage: str
    stamp_ns: int
    data: bytes
    model: Model
    weights: Mapping[str, NDArray[np.float32]]
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """The other answer to Train: the loss diverged, and these steps came to nothing."""

    lineage: str
    stamp_ns: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Restore:
    """Put a lineage's trainer back to earlier weights; not answered."""

    lineage: str
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoreModel:
    """Put a model into the registry; not answered."""

    data: bytes
    manifest: Manifest
    champion: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WriteTable:
    """Put one chunk of a dataset into the archive; the same chunk again changes nothing.

    table : pyarrow Table; chunk : its number in the dataset, from 0, kept by who asks
    """

    dataset: str
    table: Any
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteEvent:
    """Append one line to the archive's event log."""

    event: Mapping[str, Any]


Storage = StoreModel | WriteTable | WriteEvent | Restore
"""Durable before any output of its step is sent: what a record names can be read by whoever reads it."""

Request = LoadModel | Train
"""Made after the outputs of its step; the answer comes back as a record."""

Effect = Storage | Request


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """What handling one record led to.

    outputs : records, in the order they must become durable
    released : inputs that are now safe to acknowledge, with every delivery of them
    effects : Storage comes before the outputs, in order, then the outputs, then the Requests
    """

    outputs: tuple[Any, ...] = ()
    released: tuple[Key, ...] = ()
    effects: tuple[Effect, ...] = ()


@dataclass(slots=True)
class StepBuilder:
    """Collects a step while an agent handles one record."""

    outputs: list[Any] = field(default_factory=list)
    released: list[Key] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def build(self) -> Step:
        """The finished step."""
        return Step(outputs=tuple(self.outputs), released=tuple(self.released), effects=tuple(self.effects))


class Agent(Protocol):
    """A deterministic fold. No I/O, no clock, no randomness that was not passed in."""

    def handle(self, record: Any) -> Step:
        """Fold one record."""
        ...

    def state(self) -> Mapping[str, Any]:
        """The whole state, a tree for ``Frozen``; arrays in it that are read-only stay as they are."""
        ...

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        return pack(self.state())

    def restore(self, data: bytes) -> None:
        """Continue from a snapshot of an agent with the same configuration."""
        ...
