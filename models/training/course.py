"""A training on a stored container by plain values: what a command, a process of many and a trial share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.datasets.cells import BCCDataset
from models.datasets.loader import create_bcc_dataloader
from models.datasets.stored import StoredContainer, grids_of
from models.datasets.window import feature_names_of
from models.datasets.windows import WindowGraphDataset
from models.nets.bcc_model import BCCModel
from models.nets.catalogue import NETS, build_net
from models.nets.cross_lod import BCCCrossLOD
from models.nets.graph_net import Standardised
from models.training.ranks import ALONE, Ranks
from models.training.standard import RunningStandard
from models.training.trainer import BCCTrainer
from models.training.trainer_config import TrainerConfig


class CourseError(ValueError):
    """A training that cannot be made of this container or with these values; says the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is trained on what.

    container : stored container with outcomes, of one frame and LOD
    net : name of a network; hidden_dim, num_layers, dropout : its shape
    batch_size : cells for bcc_model, windows for the others, of each process
    validation : share of the windows, the last ones
    num_workers : processes that read for each
    trainer : all else
    """

    container: Path
    net: str = "attention"
    hidden_dim: int = 32
    num_layers: int = 2
    dropout: float = 0.0
    batch_size: int = 4
    validation: float = 0.25
    num_workers: int = 0
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        if self.net not in NETS or self.net == BCCCrossLOD.name:
            fitting = [name for name in NETS if name != BCCCrossLOD.name]
            raise CourseError(
                f"net: {self.net!r} must be one of {', '.join(fitting)}; a window has one level"
            )
        if not 0 < self.validation < 1:
            raise CourseError(f"validation: {self.validation} must be above 0 and below 1")

    def at(self, container: Path) -> Course:
        """The same on another container."""
        return dataclasses.replace(self, container=container)

    def changed(self, values: Mapping[str, Any]) -> Course:
        """With other values, of its own fields and of the trainer's, by name.

        Raises CourseError naming one that does not exist or does not fit
        """
        known = {item.name for item in dataclasses.fields(TrainerConfig)}
        own = {item.name for item in dataclasses.fields(Course)} - {"trainer", "container"}
        if unknown := sorted(set(values) - known - own):
            raise CourseError(f"{unknown[0]}: no such value; there are {', '.join(sorted(own | known))}")
        try:
            trainer = dataclasses.replace(
                self.trainer, **{name: value for name, value in values.items() if name in known}
            )
            return dataclasses.replace(
                self, trainer=trainer, **{name: value for name, value in values.items() if name in own}
            )
        except (TypeError, ValueError) as error:
            raise CourseError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Classroom:
    """A course with its container opened: train and validation datasets, the network, its level.

    All windows but the last ones train; they come earlier, so nothing of the future is learnt
    """

    train: Any
    validation: Any
    net: Standardised
    lod: int

    def trainer(
        self, course: Course, out: Path, ranks: Ranks = ALONE, device: torch.device | str = "cpu"
    ) -> BCCTrainer:
        """A trainer that reads this process's share."""
        loaders = [
            create_bcc_dataloader(
                dataset, course.batch_size, course.num_workers, shuffle, seed=course.trainer.seed,
                rank=ranks.rank, world_size=ranks.world_size,
            )
            for dataset, shuffle in ((self.train, True), (self.validation, False))
        ]  # fmt: skip
        return BCCTrainer(
            self.net, *loaders, out=out, config=course.trainer, device=device, ranks=ranks,
            feature_names=self.train.feature_names,
        )  # fmt: skip


def open_course(course: Course) -> Classroom:
    """Open the container and make a network for its columns, which it standardises by the training windows.

    Deterministic. Raises CourseError, StoredError, MismatchError
    """
    frame_id, lod = _only_lattice(course.container)
    names = _feature_names(StoredContainer(course.container, frame_id, lod))
    windows = WindowGraphDataset(course.container, frame_id, lod, names)
    if not windows.targets:
        raise CourseError(
            f"{course.container}: has no outcomes; octastream dataset windows RUN... writes them"
        )
    first = len(windows) - max(round(course.validation * len(windows)), 1)
    if first < 1:
        raise CourseError(f"{course.container}: {len(windows)} windows are too few to train and validate")
    net = _net(course, len(windows.feature_names), len(windows.targets))
    standard = RunningStandard(len(windows.feature_names), settle=first)
    for number in range(first):
        standard.update(windows[number]["features"])
    net.set_scale(*standard.scale())
    data = BCCDataset(course.container, frame_id, lod, names) if course.net == BCCModel.name else windows
    return Classroom(
        train=data.between(0, first), validation=data.between(first, len(windows)), net=net, lod=lod
    )


def _net(course: Course, feature_count: int, output_count: int) -> Standardised:
    shape = {
        "name": course.net, "feature_count": feature_count, "output_count": output_count,
        "hidden_dim": course.hidden_dim, "num_layers": course.num_layers, "dropout": course.dropout,
    }  # fmt: skip
    try:
        return build_net(shape, seed=course.trainer.seed)
    except ValueError as error:
        raise CourseError(str(error)) from error


def _only_lattice(container: Path) -> tuple[int, int]:
    found = sorted({(grid.frame, grid.lod) for grid in grids_of(container)})
    if len(found) != 1:
        there = "; ".join(f"frame {frame}, LOD {lod}" for frame, lod in found)
        raise CourseError(f"{container}: has cells of {there or 'nothing'}; a course takes one frame and LOD")
    return found[0]


def _feature_names(stored: StoredContainer) -> tuple[str, ...]:
    """The columns of ``features``, in order."""
    names = feature_names_of(stored.schema)
    if not names:
        where = stored.place.shown("")
        raise CourseError(f"{where}: has no features; octastream dataset windows RUN... writes them")
    return names
