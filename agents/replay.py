"""Replay recorded or simulated logs through the agents into a run folder."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from agents.archive import Archive, RunDigest
from agents.effects import LocalEffects
from agents.holds import freeze, load_pinned, pin
from agents.inprocess import Agents, InProcess
from agents.judge import Judge
from agents.learn import Learn
from agents.manifests import architecture_of, requirements_of
from agents.pace import Pace
from agents.perceive import Perceive
from agents.protocol import StoreModel
from agents.recorded_models import (
    ActivationLog,
    ActivationsError,
    RecordedModels,
    load_activated,
    read_activations,
)
from agents.report import build_report
from agents.stopwatch import Stopwatch
from agents.summary import Latencies, rebuild_check, summarise
from models.manifest import ModelRefused
from models.model import Model
from models.online.builtin import builtin_of
from models.online.linear import OnlineLinear
from models.prior import SHIPPED, Prior, load_prior
from models.runtime import OnnxModel
from stream.config import Config, ConfigError, NetworkConfig, to_dict
from stream.config_sections import CHAMPION_LINEAGE
from stream.features import FeatureSchema, schema_of
from stream.progress import Progress
from stream.records import SweepRejected, robot_of
from stream.run_folder import RunFolder
from stream.sources.base import Damage, Item, Source, SourceError, SourceInfo
from stream.sweep import Sweep

VERSIONED = ("octastream", "numpy", "onnxruntime", "torch", "river", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What to do beside the configuration.

    max_sweeps : stop after so many sweeps of all logs together
    activations : files of events, or run folders, whose activations are followed; learning must be off then
    models : registry that holds what was activated; None takes the one beside each file
    pin : folder of a model that serves from the first sweep to the last, whatever is learnt meanwhile
    freeze_after : after so many sweeps no other model is activated
    report : write report.html, too
    learn : makes Learn; studies put theirs here
    clock : seconds, for latencies and for learning's budget
    observe : called with every record of the agents, in the order in which they pass; raising ends the replay
    """

    max_sweeps: int | None = None
    activations: tuple[Path, ...] = ()
    models: Path | None = None
    pin: Path | None = None
    freeze_after: int | None = None
    report: bool = True
    learn: Callable[..., Learn] = Learn
    clock: Callable[[], float] = time.perf_counter
    observe: Callable[[Any], None] = lambda record: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run: its summary, where the report is, and what cut it short, if anything.

    series : scores by sweep at the primary horizon (``PrequentialScores.series``)
    """

    summary: dict[str, Any]
    report: Path
    damage: str | None
    series: Mapping[str, Any] = field(default_factory=dict)


def replay(
    sources: Sequence[Source],
    config: Config,
    out: Path,
    options: ReplayOptions,
    progress: Progress,
) -> RunResult:
    """Run the whole loop over logs, one after the other, and write the run folder.

    Deterministic: predictions, outcomes and models follow from logs, configuration and seed, bit for bit;
    with ``learn.budget_ms`` set, models follow from the time that training had as well. Given the activations
    of an earlier run, predictions and outcomes are that run's, whatever training was like.
    Raises SourceError for a log without sweeps or transforms, ActivationsError for activations that cannot be
    followed, ConfigError, OSError (disk full)
    """
    infos = [source.info() for source in sources]
    config = with_map_frame(config, [info.root_frame for info in infos])
    followed = [read_activations(path) for path in options.activations]
    recorded = _recorded(followed, options.models, sources, config) if followed else None
    pinned = load_pinned(options.pin, config) if options.pin else None
    totals = [info.sweeps for info in infos]
    total = None if None in totals else sum(count for count in totals if count is not None)
    folder = RunFolder(out)
    folder.create()
    folder.drop_sweeps()
    folder.write_text("config.yaml", _config_text(config, infos, followed, options))

    done = 0
    latencies = Latencies()

    def count(sweep: Sweep) -> None:
        nonlocal done
        done += 1
        if done == options.freeze_after:
            _freeze(agents, runtime, effects, sweep.stamp_ns)
        progress(done, options.max_sweeps or total, sweep.stream_id)

    agents, runtime, effects = _build(config, folder, count, latencies, options, recorded)
    if pinned is not None:
        effects.perform(StoreModel(data=pinned.data, manifest=pinned.manifest, champion=True))
        effects.keep(pinned.manifest.model_id)
        runtime.tell(pin(pinned.manifest, 0))
    limit = _Limit(options.max_sweeps)
    damages = [runtime.run(limit.items(source)) for source in sources]
    runtime.finish()
    if done == 0:
        raise SourceError(_nothing_read(infos[0].location, limit.refused, _describe(damages)))
    folder.join_sweeps()
    progress(done, done, "rebuilding features from stored containers")
    summary = summarise(config, agents, latencies, rebuild_check(folder, config))
    folder.write_text("summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    if options.report:
        progress(done, done, "writing the report")
    return RunResult(
        summary=summary,
        report=build_report(out) if options.report else out / "report.html",
        damage=_describe(damages),
        series=agents.judge.scores.series(),
    )


def with_map_frame(config: Config, roots: Sequence[str | None]) -> Config:
    """The configuration with ``grid.map_frame: auto`` resolved to the root of the logs' transform trees."""
    if config.grid.map_frame != "auto":
        return config
    found = sorted({root for root in roots if root is not None})
    if len(found) != 1:
        what = f"several roots: {', '.join(found)}" if found else "no transforms"
        raise SourceError(
            f"poses: the log has {what}; name the map frame with --set grid.map_frame=NAME, "
            "or give the poses of the sensor with --poses FILE, or have them made with --odometry"
        )
    ids = dict(config.grid.frame_ids)
    if found[0] not in ids:  # any free id will do: it is written to config.yaml
        ids[found[0]] = next(number for number in range(1, 256) if number not in ids.values())
    grid = dataclasses.replace(config.grid, map_frame=found[0], frame_ids=ids)
    return dataclasses.replace(config, grid=grid)


def networks_of(config: Config) -> dict[str, NetworkConfig]:
    """Networks to train by lineage: the configured one, then its challengers; none when learning is off."""
    return {CHAMPION_LINEAGE: config.network, **config.learn.challengers} if config.learn.enabled else {}


def priors_of(config: Config, schema: FeatureSchema) -> tuple[dict[str, Prior], str]:
    """What lineages start from: the shipped prior where it fits, or the one that was asked for.

    Returns the priors by lineage, and a line for the event log that says which or why none
    Raises ModelRefused when a prior was named and does not fit; the shipped one is then left out, since it
    was made for the default grid and task
    """
    if not config.learn.enabled or config.learn.prior == "none":
        return {}, ""
    shipped = config.learn.prior == "shipped"
    folder = SHIPPED if shipped else Path(config.learn.prior)
    try:
        prior = load_prior(folder, requirements_of(config, schema), architecture_of(config.network))
    except ModelRefused as error:
        if shipped:
            return {}, f"learning starts from scratch: {error}"
        raise
    return {CHAMPION_LINEAGE: prior}, f"learning starts from the prior {prior.manifest.model_id}"


def load_version(builtin: Model) -> Callable[[str, bytes], Model]:
    """Makes models of snapshots: empty bytes stand for the built-in one."""
    return lambda model_id, data: OnnxModel(model_id, data) if data else builtin


def _build(
    config: Config,
    folder: RunFolder,
    on_sweep: Callable[[Sweep], None],
    latencies: Latencies,
    options: ReplayOptions,
    recorded: RecordedModels | None,
) -> tuple[Agents, InProcess, LocalEffects]:
    clock = options.clock
    schema, stopwatch = schema_of(config), Stopwatch(clock)
    priors, note = priors_of(config, schema)
    if note:
        folder.append_event({"event": "prior", "stamp_ns": 0, "reason": note})
    builtin, networks = builtin_of(config), networks_of(config)
    agents = Agents(
        perceive=Perceive(config, builtin, stopwatch, recorded),
        judge=Judge(config),
        learn=learn_of(config, networks, priors, options.learn),
        archive=Archive(digest=RunDigest()),
    )
    pace = Pace(clock, networks)
    if agents.learn.drift.unwatched:
        folder.append_event({"event": "unwatched", "stamp_ns": 0, "reason": agents.learn.drift.unwatched})
    effects = LocalEffects(config, schema, folder, networks, priors, pace)
    runtime = InProcess(
        agents,
        effects,
        stopwatch,
        clock=clock,
        on_sweep=on_sweep,
        on_latency=lambda stages: latencies.add({**stages, "learning": pace.take_ms()}),
        pace=pace,
        observe=options.observe,
    )
    return agents, runtime, effects


def _freeze(agents: Agents, runtime: InProcess, effects: LocalEffects, stamp_ns: int) -> None:
    effects.keep(agents.perceive.staged)
    runtime.tell(freeze(stamp_ns))


def _recorded(
    followed: Sequence[ActivationLog], models: Path | None, sources: Sequence[Source], config: Config
) -> RecordedModels:
    """The models that serve, and when, each checked before the first sweep."""
    if config.learn.enabled:
        raise ConfigError(
            "learn.enabled: True: a replay that follows activations does not learn; set learn.enabled=false"
        )
    activated = [record for log in followed for record in log.activated]
    _check_robots({robot_of(record.stream_id) for record in activated}, sources)
    schema = schema_of(config)
    load = load_activated(followed, models, requirements_of(config, schema))
    return RecordedModels(builtin_of(config), activated, load)


def _check_robots(activated: set[str], sources: Sequence[Source]) -> None:
    """Activations of other robots than those of the logs would be followed without a word, by none."""
    firsts = [next((item for item in source if isinstance(item, Sweep)), None) for source in sources]
    robots = {sweep.robot_id for sweep in firsts if sweep is not None}
    if robots and robots.isdisjoint(activated):
        raise ActivationsError(
            f"activations: of {_names(activated)}, but the logs are replayed as {_names(robots)}; "
            f"give --robot {min(activated)}"
        )


def _names(robots: set[str]) -> str:
    return " and ".join(f"robot {robot!r}" for robot in sorted(robots))


def learn_of(
    config: Config,
    networks: Mapping[str, NetworkConfig],
    priors: Mapping[str, Prior],
    make: Callable[..., Learn] = Learn,
) -> Learn:
    """A Learn with the linear baseline, where that can be had. make : Learn, or what behaves as one"""
    schema, builtin = schema_of(config), builtin_of(config)
    return make(
        config,
        schema,
        builtin,
        networks=networks,
        priors=priors,
        linear=linear_baseline(config, schema),
        load=load_version(builtin),
    )


def linear_baseline(config: Config, schema: FeatureSchema) -> OnlineLinear | None:
    """The online linear model, or None where river is not installed."""
    try:
        return OnlineLinear(schema.count, seed=config.seed)
    except ImportError:
        return None


class _Limit:
    """Cuts logs before the sweep that would be one too many, so that the last one still gets its pose.

    refused : the first sweep that the logs' own sources could not read
    """

    def __init__(self, sweeps: int | None) -> None:
        self._left = sweeps
        self.refused: SweepRejected | None = None

    def items(self, source: Source) -> Iterator[Item]:
        """The items of one log, as far as the limit allows."""
        for item in source:
            if isinstance(item, SweepRejected):
                self.refused = self.refused or item
            if isinstance(item, Sweep) and self._left is not None:
                if self._left == 0:
                    return
                self._left -= 1
            yield item


def _nothing_read(location: str, refused: SweepRejected | None, damage: str | None) -> str:
    why = damage if refused is None else f"{refused.reason}: {refused.detail}"
    return f"{location}: holds no sweep that could be read" + (f": {why}" if why else "")


def _describe(damages: Sequence[Damage | None]) -> str | None:
    texts = [f"{damage.location}: {damage.detail}" for damage in damages if damage is not None]
    return "; ".join(texts) or None


def _config_text(
    config: Config, infos: Sequence[SourceInfo], followed: Sequence[ActivationLog], options: ReplayOptions
) -> str:
    """The resolved configuration, with what else decides the bits: logs by name, versions, machine type,
    the activations that were followed, by name and content, what was pinned or when models were frozen, and
    where the zero of a moved map was."""
    versions: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for name in VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    if followed:
        versions["activations"] = [
            {"file": f"{log.path.resolve().parent.name}/{log.path.name}", "sha256": log.sha256}
            for log in followed
        ]
    if options.pin is not None:
        versions["pin"] = options.pin.resolve().name
    if options.freeze_after is not None:
        versions["freeze_after"] = options.freeze_after
    names = [_name_of(info.location) for info in infos]
    if made := sorted({info.odometry for info in infos if info.odometry is not None}):
        versions["odometry"] = ", ".join(made)
    moved = [(name, info) for name, info in zip(names, infos, strict=True) if info.origin is not None]
    if moved:
        versions["origins"] = [
            {"log": name, "origin_m": list(info.origin or ()), "crs": info.crs} for name, info in moved
        ]
    return yaml.safe_dump(to_dict(config) | {"logs": names, "versions": versions}, sort_keys=False)


def _name_of(log: str) -> str:
    """A log without the folders it lies in."""
    return Path(log).name if "://" not in log and not log.startswith("sim:") else log
