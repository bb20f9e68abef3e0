"""Model after model goes live while sweeps stream: what a swap costs a sweep, and what it leaves in memory.

``python -m tests.bench.bench_swap [--activations N] [--every N] [--out FILE]``

Perceive serves the recorded sweeps, played forwards and backwards without end so that stamps and poses go on.
After every so many sweeps a network with other weights is published: its file is written to a registry, read
again, verified, and warmed up, all between two sweeps, and the next sweep is predicted with it. Sweeps with a
swap and sweeps without come from one run. Wall time holds whatever else the machine did; processor time does
not, and is what to quote when other work shares the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from agents.lineage import Version
from agents.manifests import architecture_of, manifest_of, requirements_of
from agents.perceive import Perceive
from agents.protocol import LoadModel, ModelLoaded, Step, StepBuilder
from models.export import export_graph, with_weights
from models.manifest import model_id_of
from models.nets.bcc_conv import BccNet
from models.online.builtin import FrequencyModel
from models.registry import ModelRegistry
from models.runtime import OnnxModel
from stream.config import Config, to_dict
from stream.features import schema_of
from stream.records import ModelActivated, ModelPublished, Prediction
from stream.sources import open_source
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.transform import Transform
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS, load_config
from tests.bench.timed import CLOCKS, Times, TwoClocks, statistics
from tests.data import data_dir

TURN_NS = 100_000_000
"""Time the robot stands at either end before it drives back."""

WARM_UP_SWEEPS = 30
SETTLED = 100
"""Memory may still grow while so many models come and go: caches and arenas fill."""

NOISE = 0.01
"""Standard deviation of what is added to every weight to make another model."""


def endless(items: Sequence[Sweep | Transform]) -> Iterator[Sweep | Transform]:
    """A log forwards, backwards, forwards …: stamps ascend and no pose jumps; static transforms come once."""
    moving = [item for item in items if isinstance(item, Sweep) or not item.static]
    yield from (item for item in items if isinstance(item, Transform) and item.static)
    first, last = (pick(item.stamp_ns for item in moving) for pick in (min, max))
    begin = first
    while True:
        for item in moving:
            yield dataclasses.replace(item, stamp_ns=begin + item.stamp_ns - first)
        begin += last - first + TURN_NS
        for item in reversed(moving):
            yield dataclasses.replace(item, stamp_ns=begin + last - item.stamp_ns)
        begin += last - first + TURN_NS


class TimedPerceive(Perceive):
    """Perceive with the exchange of models timed on its own."""

    def __init__(self, config: Config, watch: TwoClocks) -> None:
        super().__init__(config, FrequencyModel(schema_of(config).names, len(config.task.horizons_ns)))
        self._watch = watch

    def _activate(self, stream: Any, record: Any, model_id: str, step: StepBuilder) -> None:
        with self._watch.stage("exchange"):
            super()._activate(stream, record, model_id, step)


class Publisher:
    """Makes models, stores them, and loads them as a runtime does when Perceive asks for it."""

    def __init__(self, config: Config, folder: Path, watch: TwoClocks) -> None:
        self._config, self._schema, self._watch = config, schema_of(config), watch
        self._registry = ModelRegistry(folder)
        self._requirements = requirements_of(config, self._schema)
        net = BccNet(config.network, self._schema.count, len(config.task.horizons_ns), config.seed)
        self._weights = {name: value.numpy().copy() for name, value in net.state_dict().items()}
        self._template = export_graph(net)
        self.loaded: list[weakref.ref[OnnxModel]] = []

    def publish(self, number: int, stamp_ns: int) -> ModelPublished:
        """Store the model of a number, and say so."""
        rng = np.random.default_rng((self._config.seed, number))
        data = with_weights(
            self._template,
            {
                name: (value + NOISE * rng.normal(size=value.shape)).astype(np.float32)
                for name, value in self._weights.items()
            },
        )
        report = {"loss": None, "examples": number, "total_steps": number}
        version = Version(
            model=OnnxModel(model_id_of(data), data),
            data=data,
            weights={},
            report=report | {"first_stamp_ns": stamp_ns, "last_stamp_ns": stamp_ns},
        )
        architecture = architecture_of(self._config.network)
        manifest = manifest_of(
            self._config, self._schema, version, architecture=architecture, kind="update", parent_id=""
        )
        with self._watch.stage("store"):
            self._registry.put(data, manifest)
            self._registry.set_champion(manifest.model_id)
        return ModelPublished(
            model_id=manifest.model_id,
            sha256=manifest.sha256,
            kind="update",
            parent_id="",
            stamp_ns=stamp_ns,
            manifest=manifest.to_dict(),
        )

    def load(self, effect: LoadModel) -> ModelLoaded:
        """Read, verify, warm up."""
        with self._watch.stage("load"):
            model = self._registry.load(effect.model_id, self._requirements, self._make)
            sha256 = self._registry.manifest(effect.model_id).sha256
        self.loaded.append(weakref.ref(model))
        return ModelLoaded(model_id=effect.model_id, stamp_ns=effect.stamp_ns, sha256=sha256, model=model)

    def _make(self, model_id: str, data: bytes) -> OnnxModel:
        with self._watch.stage("session and warm-up"):
            return OnnxModel(model_id, data)

    @property
    def alive(self) -> int:
        """Loaded models that something still holds."""
        return sum(reference() is not None for reference in self.loaded)


class Run:
    """One run: sweeps of Perceive, and a swap after every so many of them."""

    def __init__(self, config: Config, folder: Path, activations: int, every: int) -> None:
        self._watch = TwoClocks()
        self._perceive = TimedPerceive(config, self._watch)
        self._publisher = Publisher(config, folder, self._watch)
        self._activations, self._every = activations, every
        self.sweeps: list[dict[str, Any]] = []
        self.swaps: list[dict[str, Any]] = []

    def play(self, items: Sequence[Sweep | Transform]) -> None:
        """Until the last activation has served its sweeps."""
        last = WARM_UP_SWEEPS + (self._activations + 1) * self._every
        for item in endless(items):
            with self._watch.stage("sweep"):
                step = self._perceive.handle(item)
            self._note(step, self._watch.times())
            if any(isinstance(output, Prediction) for output in step.outputs):
                self._after(item.stamp_ns)
            if len(self.sweeps) >= last:
                return

    def _note(self, step: Step, times: Times) -> None:
        predictions = [output for output in step.outputs if isinstance(output, Prediction)]
        if not predictions:
            return
        swapped = sum(isinstance(output, ModelActivated) for output in step.outputs)
        row = {"swaps": swapped, "cells": len(predictions[-1].cell_id)}
        for clock in CLOCKS:
            row[clock] = {name: times[clock][name] for name in ("sweep", "exchange")}
        self.sweeps.append(row)

    def _after(self, stamp_ns: int) -> None:
        """Between two sweeps: publish, load and stage the next model, when it is time."""
        done = len(self.sweeps) - WARM_UP_SWEEPS
        if done < 0 or done % self._every or len(self.swaps) == self._activations:
            return
        published = self._publisher.publish(len(self.swaps), stamp_ns)
        for effect in self._perceive.handle(published).effects:
            assert isinstance(effect, LoadModel)
            loaded = self._publisher.load(effect)
            with self._watch.stage("stage"):
                self._perceive.handle(loaded)
        del loaded
        self.swaps.append({"alive": self._publisher.alive, "rss_mb": resident_mb(), **self._watch.times()})


def resident_mb() -> float:
    """Memory of this process that is in RAM, in 2^20 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 3)


# ---- results ------------------------------------------------------------------------------------------


def measure(activations: int, every: int) -> dict[str, Any]:
    """One run and what it shows."""
    config = load_config()
    items: list[Sweep | Transform] = [item for item in log_items() if isinstance(item, Sweep | Transform)]
    described = machine.describe()
    with tempfile.TemporaryDirectory() as name:
        run = Run(config, Path(name), activations, every)
        run.play(items)
    return {
        "scenario": "swap",
        "log": LOG,
        "machine": described | {"load_at_end": machine.load()},
        "config": to_dict(config),
        "seed": config.seed,
        "activations": activations,
        "every": every,
        "skipped_sweeps": WARM_UP_SWEEPS,
        "settled_after": SETTLED,
        "summary": summarise(run),
        "per_sweep": run.sweeps,
        "per_activation": run.swaps,
    }


def log_items() -> Iterator[Item]:
    """The recorded log, decoded once."""
    return iter(open_source(str(data_dir() / LOG)))


def summarise(run: Run) -> dict[str, Any]:
    """Statistics by clock, and memory over the activations after the first hundred."""
    rows = run.sweeps[WARM_UP_SWEEPS:]
    resident = [swap["rss_mb"] for swap in run.swaps]
    found: dict[str, Any] = {
        "sweeps": len(rows),
        "activations": sum(row["swaps"] for row in rows),
        "models_alive": max(swap["alive"] for swap in run.swaps),
        "rss_mb": {"first": resident[0], "last": resident[-1], "max": max(resident)},
        "rss_growth_mb": round(resident[-1] - resident[min(SETTLED, len(resident)) - 1], 3),
    }
    for clock in CLOCKS:
        swapped = [row[clock]["sweep"] for row in rows if row["swaps"]]
        plain = [row[clock]["sweep"] for row in rows if not row["swaps"]]
        off_path = ("store", "load", "session and warm-up", "stage")
        found[clock] = {
            "sweep with a swap": statistics(swapped),
            "sweep without": statistics(plain),
            "longest with a swap / p99 without": round(max(swapped) / float(np.percentile(plain, 99)), 3),
            "longest / p99, both without": round(max(plain) / float(np.percentile(plain, 99)), 3),
            "exchange": statistics([row[clock]["exchange"] for row in rows if row["swaps"]]),
            **{stage: statistics([swap[clock][stage] for swap in run.swaps]) for stage in off_path},
        }
    return found


def show(results: dict[str, Any], path: Path) -> None:
    """Print what was found."""
    console, summary = Console(highlight=False), results["summary"]
    console.print(
        f"{results['machine']['cpu']}, load {results['machine']['load_average'][0]} to "
        f"{results['machine']['load_at_end']}",
        f"{summary['activations']} activations in {summary['sweeps']} sweeps",
        sep="\n",
    )
    for clock in CLOCKS:
        console.print(f"{clock} time, ms: median, p99, max")
        for name, value in summary[clock].items():
            text = (
                f"{value:.2f}"
                if isinstance(value, float)
                else (f"{value['median']:.3f}  {value['p99']:.3f}  {value['max']:.3f}")
            )
            console.print(f"  {name:36} {text}")
    console.print(
        f"resident memory {summary['rss_mb']} MB, growth after activation {results['settled_after']}: "
        f"{summary['rss_growth_mb']} MB; at most {summary['models_alive']} models alive",
        f"written to {path}",
        sep="\n",
    )


def main() -> None:
    """Measure, write the results, and show them."""
    machine.restart_on_one_core("tests.bench.bench_swap")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--activations", type=int, default=500, help="models to swap in (default: 500)")
    parser.add_argument("--every", type=int, default=2, help="sweeps from one swap to the next (default: 2)")
    parser.add_argument("--out", type=Path, default=RESULTS / "swap.json", help="where results go")
    options = parser.parse_args()
    if options.activations < 2 or options.every < 2:
        parser.error("--activations, --every: both must be at least 2, so that some sweeps have no swap")
    results = measure(options.activations, options.every)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    show(results, options.out)


if __name__ == "__main__":
    main()
