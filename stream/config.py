"""The resolved configuration of a run: defaults, then a YAML file, then ``--set key=value``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stream.config_sections import (
    ArchiveConfig,
    ConfigError,
    GridConfig,
    LearnConfig,
    LimitsConfig,
    MaskConfig,
    NetworkConfig,
    Normaliser,
    PoseConfig,
    SweepConfig,
    TaskConfig,
    WindowConfig,
    require,
)
from stream.config_triggers import DUMMIES, DriftConfig, TriggerConfig
from stream.plain_yaml import YamlError, read_yaml

__all__ = [
    "ArchiveConfig",
    "Config",
    "ConfigError",
    "DriftConfig",
    "GridConfig",
    "LearnConfig",
    "LimitsConfig",
    "MaskConfig",
    "NetworkConfig",
    "Normaliser",
    "PoseConfig",
    "SweepConfig",
    "TaskConfig",
    "TriggerConfig",
    "WindowConfig",
    "load_config",
    "parse_config",
    "to_dict",
    "with_overrides",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that decides a run, beside the log itself.

    seed : of everything random; log_features : share of cells whose feature vectors are archived, 0..1
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    seed: int = 0
    log_features: float = 0.0
    grid: GridConfig = field(default_factory=GridConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    learn: LearnConfig = field(default_factory=LearnConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    archive: ArchiveConfig = field(default_factory=ArchiveConfig)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be 0..2^63 - 1")
        require(0 <= self.log_features <= 1, "log_features", self.log_features, "must be 0..1")
        beyond = self.mask.miss_beyond_m
        reach = self.grid.miss_range_m
        require(beyond is None or reach <= beyond, "grid.miss_range_m", reach,
                 f"must be at most mask.miss_beyond_m, {beyond}: the sensor sees no farther")  # fmt: skip
        for name, trigger in self.learn.triggers.items():
            if trigger is not None and trigger.when == "drift":
                self._check_drift_trigger(name, trigger)
            for lineage in trigger.lineages or self.learn.challengers if trigger and trigger.renew else ():
                require(self.learn.challengers.get(lineage) == self.network, f"learn.triggers.{name}.renew",
                         lineage, "must be a challenger whose network is the configured one")  # fmt: skip

    def _check_drift_trigger(self, name: str, trigger: TriggerConfig) -> None:
        """A trigger that could never fire would be taken for heard."""
        known = (*self.drift.detectors, *DUMMIES, "any")
        require(self.drift.enabled, f"learn.triggers.{name}.when", trigger.when,
                 "needs drift.enabled=true")  # fmt: skip
        require(trigger.detector in known, f"learn.triggers.{name}.detector", trigger.detector,
                 f"must be one of {', '.join(known)}; see drift.detectors")  # fmt: skip

    @property
    def keep_bins(self) -> int:
        """Time bins that cells are kept beyond the window so that the longest horizon finds them."""
        return -(-self.task.horizons_ns[-1] // self.window.bin_ns) + 1

    @property
    def reach_ns(self) -> int:
        """How far back cells are kept: the window, and the bins beyond it."""
        return (self.window.bins + self.keep_bins) * self.window.bin_ns

    @property
    def keep_ns(self) -> int:
        """Age beyond which a sweep is too late to be folded."""
        return self.reach_ns - self.window.bin_ns


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain values, ready for YAML."""
    values: dict[str, Any] = dataclasses.asdict(config)
    values["task"]["horizons_ns"] = list(config.task.horizons_ns)
    return values


def _nest(overrides: list[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(_one_line(f"--set {text}: expected key=value, for example --set grid.lod=8"))
        inner = nested
        *path, last = key.split(".")
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(_one_line(f"--set {text}: {name} is a value already, and has no {last}"))
        try:
            inner[last] = read_yaml(value)
        except YamlError as error:
            raise ConfigError(_one_line(f"--set {text}: {error}")) from error
    return nested


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def load_config(path: Path | None = None, overrides: list[str] | None = None) -> Config:
    """Defaults, then the YAML file, then ``key=value`` overrides.

    Raises ConfigError with one line that names the field, the value and what is allowed.
    """
    values = {} if path is None else read_values(path)
    return parse_config(_merge(to_dict(Config()), _merge(values, _nest(overrides or []))))


def read_values(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, not checked; none of an empty one. Raises ConfigError"""
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a readable YAML file: {_one_line(str(error))}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of configuration keys")
    return values


def with_overrides(config: Config, overrides: list[str]) -> Config:
    """A configuration with some keys changed, ``key=value`` each; raises ConfigError as ``load_config``."""
    return parse_config(_merge(to_dict(config), _nest(overrides)))


def parse_config(values: dict[str, Any]) -> Config:
    """A configuration from plain values; raises ConfigError as ``load_config``."""
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        cause = first.get("ctx", {}).get("error")
        if first["type"] == "unexpected_keyword_argument":
            raise ConfigError(f"{name}: unknown configuration key, see docs/configuration.md") from error
        raise ConfigError(
            _one_line(str(cause) if cause else f"{name}: {first['input']!r}: {first['msg']}")
        ) from error
