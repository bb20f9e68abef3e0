"""Options that several commands share, each declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from agents.replay import ReplayOptions
    from stream.config import Config
    from stream.sources.base import Source, SourceOptions

LIVE_BUDGET_MS = 75
"""Of the 100 ms between two sweeps of a usual sensor; some sweeps take a little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How to read a log: what the log itself does not say."""

    rate_hz: Annotated[float | None, typer.Option(help="Sweeps a second, for logs without stamps.")] = None
    poses: Annotated[Path | None, typer.Option(help="Pose file, for logs without transforms.")] = None
    topic: Annotated[str | None, typer.Option(help="Point cloud topic, when there are several.")] = None
    robot: Annotated[str, typer.Option(help="Name of the robot: first half of stream ids.")] = "robot"

    def to_source_options(self) -> SourceOptions:
        """The same as the sources take it; raises ConfigError for a rate that is not positive."""
        from stream.config import ConfigError
        from stream.sources.base import SourceOptions

        if self.rate_hz is not None and not self.rate_hz > 0:
            raise ConfigError(f"--rate-hz {self.rate_hz:g}: must be above 0, for example --rate-hz 10")
        return SourceOptions(robot_id=self.robot, topic=self.topic, rate_hz=self.rate_hz, poses=self.poses)

    def open(self, location: str) -> Source:
        """Open one log; raises SourceError."""
        from stream.sources import open_source

        return open_source(location, self.to_source_options())

    def arguments(self) -> list[str]:
        """What has to be typed to get these options again; defaults are left out."""
        given: list[str] = []
        if self.rate_hz is not None:
            given += ["--rate-hz", f"{self.rate_hz:g}"]
        if self.poses is not None:
            given += ["--poses", str(self.poses)]
        if self.topic is not None:
            given += ["--topic", self.topic]
        if self.robot != "robot":
            given += ["--robot", self.robot]
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """Where the configuration comes from."""

    config: Annotated[Path | None, typer.Option(help="YAML file with configuration keys.")] = None
    set: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Override one key; may be repeated.")
    ] = field(default_factory=list)

    def load(self, *more: str) -> Config:
        """The resolved configuration; ``more`` are overrides of lower rank than the user's."""
        from stream.config import load_config

        return load_config(self.config, [*more, *self.set])

    def arguments(self) -> list[str]:
        """What has to be typed to get these options again."""
        given = ["--config", str(self.config)] if self.config is not None else []
        for text in self.set:
            given += ["--set", text]
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFlags:
    """What a replay does beside its configuration."""

    no_learn: Annotated[bool, typer.Option("--no-learn", help="Serve only; needs no torch.")] = False
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Learn without the prior.")] = False
    pace: Annotated[
        bool, typer.Option("--pace", help="Learn at the pace of a live sensor: learn.budget_ms.")
    ] = False
    log_features: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of cells whose features are kept.")
    ] = None
    sweeps: Annotated[int | None, typer.Option(min=1, help="Stop after N sweeps.")] = None
    force: Annotated[bool, typer.Option("--force", help="Replace a run that lies in --out.")] = False

    def overrides(self) -> list[str]:
        """The flags that are configuration, as ``--set`` takes it."""
        given = ["learn.enabled=false"] if self.no_learn else []
        given += ["learn.prior=none"] if self.from_scratch else []
        given += [f"learn.budget_ms={LIVE_BUDGET_MS}"] if self.pace else []
        if self.log_features is not None:
            given.append(f"log_features={self.log_features}")
        return given

    def to_options(self) -> ReplayOptions:
        """The flags that are not, as the replay takes them."""
        from agents.replay import ReplayOptions

        return ReplayOptions(max_sweeps=self.sweeps)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take option groups: each dataclass parameter becomes one option a field."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _options(hints[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            own = {item.name: values.pop(item.name) for item in dataclasses.fields(group)}
            values[name] = group(**own)
        command(**values)

    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=item.default if item.default is not dataclasses.MISSING else [],
            annotation=hints[item.name],
        )
        for item in dataclasses.fields(group)
    ]
