"""Milliseconds a sweep of the in-process loop on one core, beside the same pipeline in plain numpy.

``python -m tests.bench.bench_loop [--sweeps N] [--passes N] [--out FILE]``

Two parts. *Latency path*: Perceive with an untrained network of the default shape serving, and after every
sweep the numpy pipeline on the same sweep with the same network; decoding and visibility are left out of the
comparison. The numpy side is given the counts of rays that saw through and the nine columns of beams cast
from the forecast pose, and pays nothing for them, while octastream's features include sampling and casting
these beams. *Whole loop*: all agents with training, as ``octastream replay`` runs them. Processor time is
what to quote when other work shares the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from agents.archive import Archive, RunDigest
from agents.effects import LocalEffects
from agents.inprocess import Agents, InProcess
from agents.judge import Judge
from agents.learn import Learn
from agents.perceive import Perceive
from agents.protocol import ModelLoaded, Step
from agents.replay import learn_of, networks_of, priors_of, with_map_frame
from models.export import export_graph
from models.manifest import model_id_of, sha256_of
from models.nets.bcc_conv import BccNet
from models.online.builtin import builtin_of
from models.runtime import OnnxModel
from native.window import CellFeatures
from stream.config import Config, to_dict
from stream.container import RollingContainer, grid_of
from stream.ego import forecast
from stream.features import digest, schema_of
from stream.records import Binned, Prediction
from stream.run_folder import RunFolder
from stream.sources import open_source
from stream.sources.base import Item
from stream.sweep import Sweep
from tests.bench import loop_tables, machine
from tests.bench.numpy_columns import CASTS, casts_by_key, keys_of, passes_by_key
from tests.bench.numpy_pipeline import NumpyPipeline
from tests.bench.timed import CLOCKS, TimedAgent, TimedEffects, Times, TwoClocks, summarise
from tests.data import data_dir

LOG = "kitti_0005_000-053.mcap"
RESULTS = Path(__file__).parent / "results"
COMPARED = ("bin", "features", "inference")
GIVEN = ("passes", *CASTS)
"""What the numpy pipeline is handed and spends no time on; octastream's features include the casts."""

STAGES = ("decode", "bin", "visibility", "features", "inference")


def load_config() -> Config:
    """Defaults, with the map frame of the log."""
    root = open_source(str(data_dir() / LOG)).info().root_frame
    return with_map_frame(Config(), [root])


def network(config: Config) -> tuple[OnnxModel, str]:
    """An untrained network of the default shape, from the seed, and the sha256 of its file."""
    net = BccNet(config.network, schema_of(config).count, len(config.task.horizons_ns), config.seed)
    data = export_graph(net)
    return OnnxModel(model_id_of(data), data), sha256_of(data)


def items_timed(watch: TwoClocks, sweeps: int | None) -> Iterator[Item]:
    """The log, decoding timed, up to a number of sweeps."""
    iterator = iter(open_source(str(data_dir() / LOG)))
    left = sweeps if sweeps is not None else -1
    while left != 0:
        with watch.stage("decode"):
            item = next(iterator, None)
        if item is None:
            return
        yield item
        left -= isinstance(item, Sweep)


# ---- latency path, interleaved with numpy -------------------------------------------------------------


class Comparison:
    """One pass over the log: every sweep through Perceive, then through the numpy pipeline."""

    def __init__(self, config: Config, model: OnnxModel, sha256: str) -> None:
        self._config, self._model = config, model
        self._names = schema_of(config).names
        builtin = builtin_of(config)
        self._watch, self._other = TwoClocks(), TwoClocks()
        self._perceive = Perceive(config, builtin, self._watch)
        self._perceive.handle(ModelLoaded(model_id=model.model_id, stamp_ns=0, sha256=sha256, model=model))
        self._rebuilt = RollingContainer(config)
        self._numpy = NumpyPipeline(grid_of(config), config.window.bin_ns, config.window.bins)
        self._waiting: dict[int, Sweep] = {}

    def run(self, sweeps: int | None) -> list[dict[str, Any]]:
        """Times by sweep, of both."""
        rows = []
        for item in items_timed(self._watch, sweeps):
            if isinstance(item, Sweep):
                self._waiting[item.stamp_ns] = item
            with self._watch.stage("handle"):
                step = self._perceive.handle(item)
            row = self._after(step)
            if row:
                rows.append(row)
        return rows

    def _after(self, step: Step) -> dict[str, Any] | None:
        """The numpy pipeline on what Perceive has just predicted from, if anything."""
        records = [record for record in step.outputs if isinstance(record, Binned)]
        predictions = [record for record in step.outputs if isinstance(record, Prediction)]
        if not predictions:
            return None
        ours = _with_totals(self._watch.times())
        record, prediction = records[-1], predictions[-1]
        sweep = self._waiting.pop(prediction.stamp_ns)
        rebuilt = self._rebuild(record)
        rebuild = self._other.times()
        probability = self._in_numpy(sweep, record, casts_by_key(rebuilt, self._names))
        return {
            "stamp_ns": prediction.stamp_ns,
            "points": record.points,
            "cells": len(prediction.cell_id),
            "probability_difference": _difference(prediction, *probability),
            "octastream": ours,
            "numpy": self._other.times(),
            "rebuild": rebuild,
        }

    def _in_numpy(
        self, sweep: Sweep, record: Binned, casts: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Keys of the cells and their probabilities; tested cells, their passes and the casts are given."""
        tested, passes = passes_by_key(record)
        bin_ns, horizon_ns = self._config.window.bin_ns, self._config.task.primary_horizon_ns
        with self._other.stage("bin"):
            cells = self._numpy.bin(sweep.points, sweep.intensity, record.pose)
            self._numpy.fold(sweep.stamp_ns, cells, tested, passes)
        with self._other.stage("features"):
            ego = forecast(record.pose, record.pose_history, bin_ns, horizon_ns)
            features = self._numpy.features(ego, casts)
        with self._other.stage("inference"):
            probability = self._model.predict(features.x, features.neighbor_index)
        return features.key, probability

    def _rebuild(self, record: Binned) -> CellFeatures:
        """What Learn does to have the features of a prediction again; the casts among them are also given to
        the numpy pipeline."""
        with self._other.stage("rebuild"):
            self._rebuilt.fold(record)
            features = self._rebuilt.features(record)
            digest(features)
        return features


def _with_totals(times: Times) -> Times:
    """Add ``total``, and ``other``: digests, poses, and what lies between the stages."""
    for stages in times.values():
        handle = stages.pop("handle")
        stages["other"] = handle - sum(stages.get(name, 0.0) for name in STAGES[1:])
        stages["total"] = stages["decode"] + handle
    return times


def _difference(prediction: Prediction, key: NDArray[np.int64], probability: NDArray[np.float32]) -> float:
    """Largest difference of any probability; raises ValueError when the cells differ."""
    ours = keys_of(prediction.cell_id)
    order = np.argsort(ours)
    if not np.array_equal(ours[order], key):
        raise ValueError(f"{prediction.prediction_id}: the numpy pipeline has other cells")
    return float(np.abs(prediction.probability[order] - probability).max(initial=0.0))


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Time of numpy over time of octastream, sweep by sweep; ``ceiling`` is what the last group would reach
    if binning and features took octastream no time at all, as both run the same network."""
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in COMPARED}
    groups |= {"bin + features": COMPARED[:2], "bin + features + inference": COMPARED}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for clock in CLOCKS:
        values = {
            name: [_sum(row["numpy"][clock], group) / _sum(row["octastream"][clock], group) for row in rows]
            for name, group in groups.items()
        }
        values["ceiling"] = [
            _sum(row["numpy"][clock], COMPARED) / row["octastream"][clock]["inference"] for row in rows
        ]
        found[clock] = {name: _spread(numbers) for name, numbers in values.items()}
    return found


def _sum(stages: dict[str, float], names: tuple[str, ...]) -> float:
    return sum(stages[name] for name in names)


def _spread(values: list[float]) -> dict[str, float]:
    p5, median, p95 = np.percentile(values, [5, 50, 95])
    return {"median": round(float(median), 3), "p5": round(float(p5), 3), "p95": round(float(p95), 3)}


# ---- the whole loop -----------------------------------------------------------------------------------


def whole_loop(config: Config, sweeps: int | None) -> list[dict[str, Any]]:
    """Times by sweep of all agents and their effects."""
    watch, rows = TwoClocks(), []

    def note(sweep: Sweep) -> None:
        rows.append({"stamp_ns": sweep.stamp_ns, "octastream": watch.times()})

    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        folder.create()
        runtime = _runtime(config, folder, watch, note)
        runtime.run(items_timed(watch, sweeps))
    return rows


def _runtime(config: Config, folder: RunFolder, watch: TwoClocks, note: Any) -> InProcess:
    schema, networks = schema_of(config), networks_of(config)
    priors, _ = priors_of(config, schema)
    builtin, learn = builtin_of(config), learn_of(config, networks, priors)
    agents = Agents(
        perceive=cast(Perceive, TimedAgent(Perceive(config, builtin, watch), "perceive", watch)),
        judge=cast(Judge, TimedAgent(Judge(config), "judge", watch)),
        learn=cast(Learn, TimedAgent(learn, "learn", watch)),
        archive=cast(Archive, TimedAgent(Archive(digest=RunDigest()), "archive", watch)),
    )
    effects = cast(LocalEffects, TimedEffects(LocalEffects(config, schema, folder, networks, priors), watch))
    return InProcess(agents, effects, watch, CLOCKS["wall"], on_sweep=note, on_latency=lambda stages: None)


# ---- results ------------------------------------------------------------------------------------------


def measure(sweeps: int | None, passes: int) -> dict[str, Any]:
    """Both parts; sweeps before the window is full are stored but not summarised."""
    config = load_config()
    model, sha256 = network(config)
    described, skip = machine.describe(), config.window.bins
    compared: list[dict[str, Any]] = []
    for number in range(passes):
        rows = Comparison(config, model, sha256).run(sweeps)
        compared += [{"pass": number, "sweep": place, **row} for place, row in enumerate(rows)]
    looped = [{"sweep": place, **row} for place, row in enumerate(whole_loop(config, sweeps))]
    full = [row for row in compared if row["sweep"] >= skip]
    late = [row for row in looped if row["sweep"] >= skip + config.learn.gate_sweeps]
    if not full or not late:
        raise SystemExit(f"--sweeps: {sweeps} leave nothing to summarise; give more than {skip + 5}")
    return {
        "scenario": "loop",
        "log": LOG,
        "machine": described | {"load_at_end": machine.load()},
        "config": to_dict(config),
        "seed": config.seed,
        "network": {**dataclasses.asdict(config.network), "features": model.feature_count, "sha256": sha256},
        "passes": passes,
        "given_to_numpy": GIVEN,
        "skipped_sweeps": skip,
        "summary": {
            "sweeps": len(full),
            "octastream": summarise([row["octastream"] for row in full]),
            "numpy": summarise([row["numpy"] for row in full]),
            "rebuild": summarise([row["rebuild"] for row in full]),
            "whole_loop": summarise([row["octastream"] for row in late]),
            "probability_difference": max(row["probability_difference"] for row in compared),
        },
        "ratios": ratios(full),
        "per_sweep": {"compared": compared, "whole_loop": looped},
    }


def main() -> None:
    """Measure, write the results, and show them."""
    machine.restart_on_one_core("tests.bench.bench_loop")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, help="sweeps of the log to use (default: all)")
    parser.add_argument("--passes", type=int, default=3, help="times to compare over the log (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS / "loop.json", help="where results go")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    results = measure(options.sweeps, options.passes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    loop_tables.show(results, options.out)


if __name__ == "__main__":
    main()
