"""Scores of a training for TensorBoard or Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from models.training.trainer_config import Tracker

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


class Track(Protocol):
    """Takes scores by name."""

    def __call__(self, step: int, scores: Mapping[str, float]) -> None: ...


def require_trackers(names: Sequence[Tracker]) -> None:
    """Raises ModuleNotFoundError naming the package that is missing, and the way out."""
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ModuleNotFoundError(
                f"track: {name} is not installed: pip install {name}, or track=() for checkpoints alone",
                name=name,
            )


@contextmanager
def tracking(names: Sequence[Tracker], folder: Path, settings: Mapping[str, Any]) -> Iterator[Track]:
    """What takes scores for as long as the block lasts.

    folder : TensorBoard's files go to ``folder/tensorboard``, those of wandb to ``folder/wandb``
    settings : plain values that wandb shows beside the scores
    """
    with ExitStack() as stack:
        tracks = [_OPENERS[name](stack, folder, settings) for name in names]

        def track(step: int, scores: Mapping[str, float]) -> None:
            for each in tracks:
                each(step, scores)

        yield track


def _tensorboard(stack: ExitStack, folder: Path, settings: Mapping[str, Any]) -> Track:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    stack.callback(writer.close)

    def track(step: int, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            writer.add_scalar(name, value, step)

    return track


def _wandb(stack: ExitStack, folder: Path, settings: Mapping[str, Any]) -> Track:
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(project="octastream", dir=str(folder), config=dict(settings))
    stack.callback(run.finish)

    def track(step: int, scores: Mapping[str, float]) -> None:
        run.log(dict(scores), step=step)

    return track


_OPENERS = {"tensorboard": _tensorboard, "wandb": _wandb}
