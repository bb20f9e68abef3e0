"""Train a network on a stored container: alone, as one process of torchrun's, or several started here."""

from __future__ import annotations

from pathlib import Path

import torch

from models.net_export import export_net
from models.training.checkpoint import BEST, load_model, newest_checkpoint
from models.training.course import Course, CourseError, open_course
from models.training.ranks import ALONE, Ranks, launch, process_group, ranks_of_torchrun
from models.training.trainer import EpochResult
from stream.progress import Progress

MODEL = "model.onnx"


def train_network(
    course: Course, out: Path, *, resume: bool, device: str = "cpu", progress: Progress | None = None
) -> list[EpochResult]:
    """Train in this process alone, and write the best network as ONNX beside the checkpoints.

    resume : go on with the newest checkpoint in ``out``; otherwise a folder with checkpoints is refused
    Raises CourseError, CheckpointRefused, TrainingDiverged, OutOfMemory, StoredError
    """
    return _train(ALONE, device, course, out, resume, progress)


def train_under_torchrun(
    course: Course, out: Path, *, resume: bool, device: str = "cpu"
) -> list[EpochResult]:
    """Train as the process that ``torchrun`` says this is. Raises NotLaunched, and as ``train_network``"""
    ranks = ranks_of_torchrun()
    with process_group(ranks, device) as own:
        return _train(ranks, own, course, out, resume, None)


def train_in_processes(
    course: Course, out: Path, processes: int, *, resume: bool, device: str = "cpu"
) -> None:
    """Train in so many processes started here."""
    launch(_train_silently, processes, course, out, resume, device=device)


def _train_silently(ranks: Ranks, device: torch.device, course: Course, out: Path, resume: bool) -> None:
    _train(ranks, device, course, out, resume, None)


def _train(
    ranks: Ranks,
    device: torch.device | str,
    course: Course,
    out: Path,
    resume: bool,
    progress: Progress | None,
) -> list[EpochResult]:
    newest = newest_checkpoint(out)
    if newest is not None and not resume:
        raise CourseError(f"{out}: holds a training; add --resume, or name another folder")
    classroom = open_course(course)
    trainer = classroom.trainer(course, out, ranks, device)
    if newest is not None:
        trainer.load_checkpoint(newest)
    results = trainer.train(progress)
    if ranks.first:
        net = load_model(out / BEST)
        lod = classroom.lod if "lod" in net.inputs else None
        (out / MODEL).write_bytes(export_net(net, lod=lod))
    return results
