"""Does the body-centred-cubic lattice pay beside a cubic grid with as many nodes?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.studies.drives import StudyError
from agents.studies.result import Chart, Finding, Line, StudyResult, Table, number
from models.nets.bcc_model import BCCModel
from native.lattice import neighbors
from stream.progress import Progress

BATCH = 512
WAVES = 48
TEST_BATCHES = 40
HIDDEN_DIM, NUM_LAYERS, RATE = 64, 2, 3e-3

KINDS = ("RMSE", "Share of points with a wrong sign")

BANDS = (0.4, 0.6, 0.8, 1.0, 1.2)
"""Of the fields, in units of the highest frequency that the cubic grid can hold along its axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatticeOptions:
    """What the study is made of.

    steps : of training, of each network; seeds : fields and weights drawn anew
    noise : of samples, in standard deviations of the field
    """

    steps: int = 1500
    seeds: int = 3
    noise: float = 0.05

    def __post_init__(self) -> None:
        if self.steps < 1 or self.seeds < 1 or not self.noise >= 0:
            raise StudyError(f"--steps {self.steps} --seeds {self.seeds}: must be >= 1, and noise >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Nodes with one node a unit of volume.

    around : float64 (14, 3), offsets of the neighbours that a network reads; present : bool (14,)
    draw : uniform points of the cell about a node, by a generator, float64 (n, 3)
    """

    name: str
    around: NDArray[np.float64]
    present: NDArray[np.bool_]
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]]


def _bcc() -> Lattice:
    half_edge = 0.25 ** (1 / 3)  # two nodes in a cube of two half edges
    around = neighbors(np.zeros((1, 3), np.int32))[0].astype(np.float64)

    def draw(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """By rejection from the cube of two half edges: half of it is the cell."""
        found = np.zeros((0, 3))
        while len(found) < n:
            points = rng.uniform(-1, 1, (2 * n, 3))
            nearest = np.abs(points).sum(1) <= 1.5  # the other sublattice's nodes are at the corners
            found = np.concatenate([found, points[nearest]])
        within: NDArray[np.float64] = half_edge * found[:n]
        return within

    present = np.ones(14, np.bool_)
    return Lattice(name="BCC, 14 neighbours", around=half_edge * around, present=present, draw=draw)


def _cubic(corners: bool) -> Lattice:
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    present = np.ones(14, np.bool_)
    present[6:] = corners
    return Lattice(
        name=f"cubic, {14 if corners else 6} neighbours", around=np.concatenate([faces, signs]),
        present=present, draw=lambda rng, n: rng.uniform(-0.5, 0.5, (n, 3)),
    )  # fmt: skip


class _Field:
    """Random fields of variance 1 without a frequency beyond a sphere, each about one node of its own.

    band : radius of the sphere over pi
    """

    def __init__(self, band: float, rng: np.random.Generator) -> None:
        self._radius, self._rng = math.pi * band, rng

    def batch(self, lattice: Lattice, noise: float) -> tuple[dict[str, Tensor], Tensor]:
        """What a network is given of a point in a cell, and the field there."""
        rng = self._rng
        direction = rng.normal(size=(BATCH, WAVES, 3))
        direction /= np.linalg.norm(direction, axis=2, keepdims=True)
        wave = direction * self._radius * rng.uniform(size=(BATCH, WAVES, 1)) ** (1 / 3)
        phase = rng.uniform(0, 2 * math.pi, (BATCH, WAVES, 1))
        point = lattice.draw(rng, BATCH)
        nodes = np.concatenate([np.zeros((1, 3)), lattice.around])  # (15, 3)
        places = np.concatenate([np.broadcast_to(nodes, (BATCH, 15, 3)), point[:, None]], 1)  # (B, 16, 3)
        value = math.sqrt(2 / WAVES) * np.cos(wave @ places.transpose(0, 2, 1) + phase).sum(1)  # (B, 16)
        seen = value[:, :15] + noise * rng.normal(size=(BATCH, 15))
        features = np.concatenate([seen[:, :1], point], 1)
        around = np.zeros((BATCH, 14, 4))
        around[:, :, 0] = seen[:, 1:] * lattice.present
        mask = np.broadcast_to(lattice.present, (BATCH, 14)).copy()
        batch = {
            "features": torch.from_numpy(features.astype(np.float32)),
            "neighbors": torch.from_numpy(around.astype(np.float32)),
            "neighbor_mask": torch.from_numpy(mask),
        }
        return batch, torch.from_numpy(value[:, 15].astype(np.float32))


def run(options: LatticeOptions, progress: Progress) -> StudyResult:
    """Train the same network on each lattice, for fields of each band."""
    lattices = (_bcc(), _cubic(corners=True), _cubic(corners=False))
    total = len(lattices) * len(BANDS) * options.seeds
    error: dict[str, list[tuple[float, float]]] = {lattice.name: [] for lattice in lattices}
    done = 0
    for band in BANDS:
        for lattice in lattices:
            found = []
            for seed in range(options.seeds):
                progress(done, total, f"{lattice.name}, band {band}")
                found.append(_score(lattice, band, seed, options))
                done += 1
            square, wrong = np.mean(found, axis=0)
            error[lattice.name].append((math.sqrt(square), float(wrong)))
    return _result(options, error)


def _score(lattice: Lattice, band: float, seed: int, options: LatticeOptions) -> tuple[float, float]:
    """Mean squared error, and share of points on the wrong side of 0, on fields that were not trained on."""
    fields = _Field(band, np.random.default_rng((seed, round(100 * band))))
    net = BCCModel(HIDDEN_DIM, NUM_LAYERS, feature_count=4, seed=seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in range(options.steps):
        batch, value = fields.batch(lattice, options.noise)
        loss = (net(**batch)[:, 0] - value).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    square, wrong = [], []
    with torch.no_grad():
        for _ in range(TEST_BATCHES):
            batch, value = fields.batch(lattice, options.noise)
            said = net(**batch)[:, 0]
            square.append((said - value).square().mean().item())
            wrong.append(((said > 0) != (value > 0)).float().mean().item())
    return float(np.mean(square)), float(np.mean(wrong))


def _result(options: LatticeOptions, error: dict[str, list[tuple[float, float]]]) -> StudyResult:
    names = list(error)
    findings = []
    for place, band in enumerate(BANDS):
        bcc, cubic = error[names[0]][place][0], min(error[name][place][0] for name in names[1:])
        text = f"band {band}: the error on BCC cells is {bcc / cubic - 1:+.1%} against the better cubic grid."
        findings.append(Finding(text=text, holds=bcc < cubic))
    return StudyResult(
        study="lattice",
        title="BCC or cubic",
        question="Does a network on BCC cells know more of a field than one on as many cubic cells?",
        method=(
            "Random fields without frequencies beyond a sphere are sampled at nodes, with noise. The same "
            f"network, {HIDDEN_DIM} wide with {NUM_LAYERS} layers, is told the samples at a node and its "
            "neighbours, and where in the node's cell a point lies, and says the field there. Both lattices "
            "have one node a unit of volume. A band of 1 is the highest frequency that the cubic grid can "
            "hold along its axes. Errors are relative to the field's standard deviation, on fields that "
            "were not trained on."
        ),
        logs=(),
        findings=tuple(findings),
        tables=tuple(
            Table(
                title=f"{kind} by band of the field",
                columns=("lattice", *(f"band {band}" for band in BANDS)),
                rows=tuple((name, *(number(each[place]) for each in some)) for name, some in error.items()),
                note=f"Means over {options.seeds} seeds.",
            )
            for place, kind in enumerate(KINDS)
        ),
        charts=(
            Chart(
                title="Error by band", x_title="band of the field",
                y_title="RMSE (field's standard deviations)",
                lines=tuple(
                    Line(name=name, x=BANDS, y=tuple(number(square) for square, _ in values))
                    for name, values in error.items()
                ),
            ),
        ),
    )  # fmt: skip
