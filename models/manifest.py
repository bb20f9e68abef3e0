"""What a model file says about itself, and the check that it fits where it is to run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

LATTICE = "bcc"

_MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelRefused(ValueError):
    """A model that must not serve; one line that says what does not fit. The old model stays."""


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256 of a model file."""
    return hashlib.sha256(data).hexdigest()


def model_id_of(data: bytes) -> str:
    """``bcc-`` and the first 12 digits of the sha256: equal weights have equal ids."""
    return f"bcc-{sha256_of(data)[:12]}"


def is_model_id(text: str) -> bool:
    """Whether a text may name a model, and so a folder: lower case, no separators, no leading dot."""
    return _MODEL_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchemaId:
    """Which features a model reads; ``hash`` is the sha256 over the ordered feature names."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRange:
    """A stretch of one robot's log that a model has learnt from.

    first_seq, last_seq : of the binned records behind it, in the robot's fold order
    sweeps : of the stretch that trainers were given, those with an outcome
    digest : sum modulo 2^256, as 64 hexadecimal digits, of a sha256 for each such sweep: over its prediction
        id, the digest of its features, and that of the rolling container that they were made of
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    robot_id: str
    first_seq: int
    last_seq: int
    first_stamp_ns: int
    last_stamp_ns: int
    sweeps: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRange:
    """What a model has learnt from: stamps of the first and last example, steps and examples so far.

    sources : by robot; empty for a prior
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    first_stamp_ns: int
    last_stamp_ns: int
    steps: int
    examples: int
    sources: tuple[SourceRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRecord:
    """A batch that can be made again from ``seed``, and what the model answered to it.

    probability : ``rows`` times H values, row by row; tolerance : largest difference that still reproduces
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    seed: int
    rows: int
    probability: tuple[float, ...]
    tolerance: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequirements:
    """What a run needs of a model; every field must equal the manifest's."""

    lattice: str = LATTICE
    lod: int
    half_edge_m: float
    map_frame: str
    feature_schema: FeatureSchemaId
    feature_count: int
    horizons_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The identity card of one model file, stored beside it as JSON.

    sha256 : of ``model.onnx``; architecture : names the graph, weights are interchangeable within one
    kind : ``update``, ``challenger``, ``prior``, …; parent_id : the model it was trained on from, or ""
    metrics : plain numbers at publication, None where nothing supports one
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    model_id: str
    sha256: str
    architecture: str
    lattice: str = LATTICE
    lod: int
    half_edge_m: float
    map_frame: str
    feature_schema: FeatureSchemaId
    feature_count: int
    horizons_ns: tuple[int, ...]
    parent_id: str = ""
    kind: str
    training: TrainingRange
    metrics: dict[str, float | None] = field(default_factory=dict)
    canary: CanaryRecord

    def __post_init__(self) -> None:
        if not is_model_id(self.model_id):
            raise ValueError(f"model_id: {self.model_id!r} must match {_MODEL_ID.pattern}")
        if _SHA256.fullmatch(self.sha256) is None:
            raise ValueError(f"sha256: {self.sha256!r} must be 64 lower-case hexadecimal digits")
        expected = self.canary.rows * len(self.horizons_ns)
        if len(self.canary.probability) != expected:
            raise ValueError(
                f"canary.probability: {len(self.canary.probability)} values, expected {expected}"
            )

    def check(self, requirements: ModelRequirements) -> None:
        """Refuse a model made for another lattice, frame, feature schema or task.

        Raises ModelRefused naming the first field that differs and both values
        """
        for item in dataclasses.fields(requirements):
            own, needed = getattr(self, item.name), getattr(requirements, item.name)
            if own != needed:
                raise ModelRefused(
                    f"{self.model_id}: {item.name}: model has {_plain(own)}, this run needs {_plain(needed)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are in JSON."""
        values: dict[str, Any] = json.loads(self.to_json())
        return values

    def to_json(self) -> str:
        """JSON text, keys sorted, deterministic. Raises ValueError for a metric that is not finite."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what ``to_json`` wrote.

        Raises ModelRefused naming the first missing, unknown or misshapen field
        """
        try:
            return _manifest_adapter().validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "manifest"
            cause, message = first.get("ctx", {}).get("error"), first["msg"]
            raise ModelRefused(f"manifest: {cause or f'{name}: {message}'}") from error


@cache
def _manifest_adapter() -> TypeAdapter[Manifest]:
    """Made once: it takes longer than reading a manifest with it."""
    return TypeAdapter(Manifest)


def _plain(value: Any) -> str:
    return str(dataclasses.asdict(value)) if isinstance(value, FeatureSchemaId) else repr(value)
