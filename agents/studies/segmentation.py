"""Can networks tell what the cells of a drive lie on that they have never seen?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from agents.labels.truth import truth_of_cells
from agents.objects.examples import open_drive
from agents.objects.sight import Sight
from agents.studies.drives import StudyError
from agents.studies.result import Cell, Chart, Finding, Line, StudyResult, Table, number
from models.nets.catalogue import NETS, build_net
from models.online.linear import OnlineLinear
from models.scores.confusion import Confusion
from models.training.segmentation import LabelledWindow, logits_of, train_segmenter
from stream.cell_rows import locate
from stream.config import Config, load_config
from stream.progress import Progress
from stream.sources.base import SourceOptions
from stream.sources.simulation.classes import CLASSES
from stream.sources.simulator import SimulatorConfig, parse_location

DRIVE = "sim:city?beams=32&azimuths=256"
EVERY = 5
"""Of so many sweeps one is learnt from, or scored: the others would be nearly the same."""
LINEAR = "linear"
SMALLER: Mapping[str, Mapping[str, int]] = {"transformer": {"rings": 1}}
"""Where a network is not what its class makes of it: a patch of two rings takes four times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationOptions:
    """What the study is made of.

    drive : a simulated one, whose seed and length are left to the study
    train_seeds, held_out_seed : of the worlds that are learnt from, and of the one that is scored
    sweeps : of every drive; steps : of training, of each contestant, a sweep a step
    seeds : weights and orders drawn anew; settings : ``key=value`` of the configuration
    """

    drive: str = DRIVE
    train_seeds: tuple[int, ...] = (101, 102, 103)
    held_out_seed: int = 301
    sweeps: int = 30
    steps: int = 100
    seeds: int = 2
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.held_out_seed in self.train_seeds:
            raise StudyError(f"--held-out-seed {self.held_out_seed}: is learnt from; name another seed")
        if len(set(self.train_seeds)) != len(self.train_seeds) or not self.train_seeds:
            raise StudyError(f"--train-seed {self.train_seeds}: name each seed once, and at least one")
        if self.sweeps < EVERY or self.steps < 1 or self.seeds < 1:
            raise StudyError(
                f"--sweeps {self.sweeps} --steps {self.steps} --seeds {self.seeds}: sweeps must be >= "
                f"{EVERY}, the others >= 1"
            )

    def location(self, seed: int) -> str:
        """The drive with a seed."""
        return dataclasses.replace(self._base(), seed=seed, sweeps=self.sweeps).location

    def _base(self) -> SimulatorConfig:
        if not self.drive.startswith("sim:"):
            raise StudyError(f"--drive {self.drive}: only a simulated drive (sim:WORLD?...) has true classes")
        drive = parse_location(self.drive, SourceOptions())
        if drive.robots != 1:
            raise StudyError(f"--drive {self.drive}: has {drive.robots} robots; leave robots out")
        return drive


def run(options: SegmentationOptions, progress: Progress) -> StudyResult:
    """Train every network and the floor on some drives, and score them on another one.

    progress : counts training steps; drives are noted
    """
    torch.set_num_threads(1)
    config = load_config(None, list(options.settings))
    total = (len(NETS) + 1) * options.seeds * options.steps
    train: list[LabelledWindow] = []
    for seed in options.train_seeds:
        train += _windows(options.location(seed), config, progress, total)
    held_out = list(_windows(options.location(options.held_out_seed), config, progress, total))
    if not sum(len(window.row) for window in train) or not sum(len(window.row) for window in held_out):
        raise StudyError(f"--drive {options.drive}: no cell could be labelled; take more sweeps or beams")
    told: dict[str, list[Confusion]] = {}
    done = 0
    for name in (LINEAR, *NETS):
        told[name] = []
        for seed in range(options.seeds):

            def shown(step: int, _: int | None, note: str, name: str = name, base: int = done) -> None:
                progress(base + step, total, name)

            told[name].append(_trained(name, train, held_out, options.steps, seed, shown))
            done += options.steps
    return _result(options, train, held_out, told)


def _windows(location: str, config: Config, progress: Progress, total: int) -> Iterator[LabelledWindow]:
    """Windows of a drive, the cells that the newest sweep hit labelled."""
    simulator, config = open_drive(location, config)
    for number_, cells in enumerate(Sight(config).sweeps(simulator), 1):
        progress(0, total, location)
        if number_ % EVERY:
            continue
        index = (cells.stamp_ns - simulator.config.first_stamp_ns) // simulator.config.period_ns
        named, code = truth_of_cells(simulator, index, config)
        place, known = locate(named, cells.cell_id)
        yield LabelledWindow(
            cell_id=cells.window.cell_id, half_edge_m=cells.half_edge_m, x=cells.window.x,
            neighbor_index=cells.window.neighbor_index, row=cells.row[known], code=code[place[known]],
        )  # fmt: skip


def _trained(
    name: str,
    train: Sequence[LabelledWindow],
    held_out: Sequence[LabelledWindow],
    steps: int,
    seed: int,
    progress: Progress,
) -> Confusion:
    """What one contestant says of the held-out drive after so many steps."""
    found = Confusion(len(CLASSES))
    features = train[0].x.shape[1]
    if name == LINEAR:
        linear = _Linear(features, seed)
        order = np.random.default_rng(seed).permutation(steps) % len(train)
        for step, place in enumerate(order.tolist(), 1):
            linear.learn(train[place].x[train[place].row], train[place].code)
            progress(step, steps, name)
        for window in held_out:
            found.add(linear.predict(window.x[window.row]), window.code)
        return found
    shape = {"name": name, "feature_count": features, "output_count": len(CLASSES), **SMALLER.get(name, {})}
    net = build_net(shape, seed=seed)
    train_segmenter(net, train, steps=steps, seed=seed, progress=progress)
    with torch.no_grad():
        for window in held_out:
            found.add(torch.softmax(logits_of(net, window), 1).numpy(), window.code)
    return found


class _Linear:
    """The loop's linear baseline, one for each class against all others."""

    def __init__(self, feature_count: int, seed: int) -> None:
        self._each = [OnlineLinear(feature_count, seed) for _ in CLASSES]

    def learn(self, x: NDArray[np.float32], code: NDArray[np.int64]) -> None:
        for place, model in enumerate(self._each):
            model.learn(x, code == place)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities that add up to 1, float64 (N, C); after ``learn``."""
        said = [model.predict(x) for model in self._each]
        share = np.stack([values for values in said if values is not None], 1).astype(np.float64)
        whole: NDArray[np.float64] = share / np.maximum(share.sum(1, keepdims=True), 1e-12)
        return whole


# ---- what came of it -------------------------------------------------------------------------------------


def _result(
    options: SegmentationOptions,
    train: Sequence[LabelledWindow],
    held_out: Sequence[LabelledWindow],
    told: Mapping[str, Sequence[Confusion]],
) -> StudyResult:
    truth = told[LINEAR][0].counts.sum(1)
    there = np.flatnonzero(truth)
    names = [CLASSES[place] for place in there]
    iou = {name: np.array([one.iou()[there] for one in each]) for name, each in told.items()}  # (S, C)
    mean = {name: values.mean(1) for name, values in iou.items()}
    accuracy = {name: np.array([one.scores()["accuracy"] for one in each]) for name, each in told.items()}
    floor = float(mean[LINEAR].mean())
    best = max(NETS, key=lambda name: float(mean[name].mean()))
    findings = [
        Finding(
            text=f"{name}: mean IoU {values.mean():.3f} on the held-out drive, {values.mean() - floor:+.3f} "
            f"against the linear floor's {floor:.3f}.",
            holds=bool(values.mean() > floor),
        )
        for name, values in mean.items()
        if name != LINEAR
    ]
    by_class = iou[best].mean(0)
    worst = int(by_class.argmin())
    findings.append(
        Finding(
            text=f"The best network, {best}, tells {names[worst]} worst: IoU {by_class[worst]:.3f}, on "
            f"{truth[there][worst] / truth.sum():.1%} of the cells."
        )
    )
    seen = np.bincount(np.concatenate([window.code for window in train]), minlength=len(CLASSES))
    missing = [name for place, name in enumerate(CLASSES) if not truth[place]]
    return StudyResult(
        study="segmentation",
        title="What cells lie on",
        question="Can networks tell what cells lie on, in a world that they have never seen?",
        method=(
            "A simulator knows what every return is of; a cell is of the class of most of its returns. Of "
            f"every {EVERY}th sweep of the drives that are learnt from, the cells that the sweep hit are "
            "labelled, and each network reads the whole window that they lie in, with the features of the "
            f"loop. All take {options.steps} steps, a sweep each, against unweighted cross-entropy, with "
            "the defaults of their class, but for the transformer's patches, which are of one ring. "
            "cross_lod is also given two coarser levels, whose features are the means of their cells'. "
            "The floor is the loop's online linear model, one for each class, "
            "which learns from the same sweeps as often, and reads a cell's own features alone. All are "
            "scored on a drive through another world."
        ),
        logs=tuple(options.location(seed) for seed in (*options.train_seeds, options.held_out_seed)),
        findings=tuple(findings),
        tables=(
            _scores_table(options, names, iou, mean, accuracy),
            _cells_table(seen, truth, missing, len(train), len(held_out)),
        ),
        charts=(
            Chart(
                title="Intersection over union by class", x_title="class", y_title="IoU, held-out drive",
                kind="bars",
                lines=tuple(
                    Line(
                        name=name, x=("mean", *names),
                        y=(number(mean[name].mean()), *(number(value) for value in values.mean(0))),
                    )
                    for name, values in iou.items()
                ),
            ),
        ),
    )  # fmt: skip


def _scores_table(
    options: SegmentationOptions,
    names: Sequence[str],
    iou: Mapping[str, NDArray[np.float64]],
    mean: Mapping[str, NDArray[np.float64]],
    accuracy: Mapping[str, NDArray[np.float64]],
) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name, number(mean[name].mean()), f"{mean[name].min():.3f} to {mean[name].max():.3f}",
            *(number(value) for value in values.mean(0)), number(accuracy[name].mean()),
        )
        for name, values in iou.items()
    ]  # fmt: skip
    return Table(
        title="Intersection over union on the held-out drive",
        columns=("network", "mean IoU", "over seeds", *names, "accuracy"),
        rows=tuple(rows),
        note=f"Means over {options.seeds} seeds of weights and order, and the least and greatest mean IoU of "
        "them. Mean IoU is over the classes that occur on the held-out drive, each alike; cells of all "
        "sweeps are pooled.",
    )


def _cells_table(
    seen: NDArray[np.int64], truth: NDArray[np.float64], missing: Sequence[str], train: int, held_out: int
) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name, int(seen[place]), number(seen[place] / seen.sum()),
            int(truth[place]), number(truth[place] / truth.sum()),
        )
        for place, name in enumerate(CLASSES) if seen[place] or truth[place]
    ]  # fmt: skip
    absent = f" Not on the held-out drive: {', '.join(missing)}." if missing else ""
    return Table(
        title="Labelled cells",
        columns=("class", "learnt from", "share", "held out", "share held out"),
        rows=tuple(rows),
        note=f"Cells times sweeps, of {train} sweeps that were learnt from and {held_out} held-out ones."
        + absent,
    )
