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

from agents.cluster_options import KAFKA_PREFIX, TopicOptions

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
    odometry: Annotated[
        bool, typer.Option("--odometry", help="Make poses of the sweeps, for logs without transforms.")
    ] = False
    topic: Annotated[str | None, typer.Option(help="Point cloud topic, when there are several.")] = None
    robot: Annotated[str, typer.Option(help="Name of the robot: first half of stream ids.")] = "robot"

    def to_source_options(self) -> SourceOptions:
        """The same as the sources take it; raises ConfigError for a rate that is not positive, poses that
        come from two places, or a name that no robot can have."""
        from stream.config import ConfigError
        from stream.sources.base import SourceOptions

        if self.rate_hz is not None and not self.rate_hz > 0:
            raise ConfigError(f"--rate-hz {self.rate_hz:g}: must be above 0, for example --rate-hz 10")
        if self.odometry and self.poses is not None:
            raise ConfigError(f"--poses {self.poses}: --odometry makes poses, too; leave one of them out")
        check_robot(self.robot)
        return SourceOptions(
            robot_id=self.robot,
            topic=self.topic,
            rate_hz=self.rate_hz,
            poses=self.poses,
            odometry=self.odometry,
        )

    def open(self, location: str, topic: TopicOptions | None = None) -> Source:
        """Open one log, or what a topic retains where the command reads topics.

        Raises SourceError; ConfigError for options that the log has no use for; ClusterError, KafkaError
        """
        from stream.sources import open_source
        from stream.sources.base import SourceError

        if not location.startswith(KAFKA_PREFIX):
            if topic is not None:
                topic.refuse_for(location)
            return open_source(location, self.to_source_options())
        if topic is None:
            raise SourceError(f"{location}: this command reads no topics; name a recorded log")
        self._refuse_for_topic(location)
        return topic.open(location)

    def _refuse_for_topic(self, location: str) -> None:
        """Options without effect would be taken for heard."""
        from stream.config import ConfigError

        ways_out = {
            "--rate-hz": "messages of a topic have stamps; leave it out",
            "--poses": "the transforms of a topic lie beside it, in octa.transform.received.v1; leave it out",
            "--odometry": "the transforms of a topic lie beside it; replay a recorded log to try it",
            "--topic": f"the location names the topic, as {KAFKA_PREFIX}TOPIC; leave it out",
            "--robot": f"messages name their robots; to choose one give {KAFKA_PREFIX}TOPIC?robot=NAME",
        }
        given = self.arguments()
        if given:
            option, *value = given[: 1 if given[0] == "--odometry" else 2]
            raise ConfigError(f"{' '.join([option, *value])}: {ways_out[option]} (for {location})")

    def arguments(self) -> list[str]:
        """What has to be typed to get these options again; defaults are left out."""
        given: list[str] = []
        if self.rate_hz is not None:
            given += ["--rate-hz", f"{self.rate_hz:g}"]
        if self.poses is not None:
            given += ["--poses", str(self.poses)]
        if self.odometry:
            given += ["--odometry"]
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
    activations: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="Serve what a run activated, and do not learn: its events.jsonl or folder; may be repeated.",
        ),
    ] = field(default_factory=list)
    models: Annotated[
        Path | None,
        typer.Option(help="Registry of the activated models. Default: models/ beside --activations."),
    ] = None

    pin: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="Serve this model only: a folder of a registry, as RUN/models/ID."
        ),
    ] = None
    freeze_after: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Activate no other model after N sweeps.")
    ] = None

    def overrides(self) -> list[str]:
        """The flags that are configuration, as ``--set`` takes it."""
        given = ["learn.enabled=false"] if self.no_learn or self.activations else []
        given += ["learn.prior=none"] if self.from_scratch else []
        given += [f"learn.budget_ms={LIVE_BUDGET_MS}"] if self.pace else []
        if self.log_features is not None:
            given.append(f"log_features={self.log_features}")
        return given

    def to_options(self) -> ReplayOptions:
        """The flags that are not, as the replay takes them."""
        from agents.replay import ReplayOptions

        return ReplayOptions(
            max_sweeps=self.sweeps,
            activations=tuple(self.activations),
            models=self.models,
            pin=self.pin,
            freeze_after=self.freeze_after,
        )

    def check(self, out: Path) -> None:
        """Raises ConfigError for flags that need another, and for an --out that --force would empty of what
        is to be followed."""
        from stream.config import ConfigError

        if self.models is not None and not self.activations:
            raise ConfigError(f"--models {self.models}: only --activations FILE needs it")
        if self.activations and (self.pin is not None or self.freeze_after is not None):
            raise ConfigError("--activations: says which model serves; leave out --pin and --freeze-after")
        for path in [*self.activations, *filter(None, (self.models, self.pin))]:
            if out.resolve() in (path.resolve(), *path.resolve().parents):
                raise ConfigError(f"--out {out}: holds {path}, which is to be followed; name another folder")


def check_robot(name: str) -> None:
    """Raises ConfigError for a --robot that no robot can have."""
    from stream.codecs.names import require_robot_id
    from stream.config import ConfigError

    try:
        require_robot_id(name)
    except ValueError as error:
        raise ConfigError(f"--robot: {error}") from error


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
