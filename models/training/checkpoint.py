"""Files of a training: written whole or not at all, read without running what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.nets.catalogue import build_net
from models.nets.graph_net import Standardised
from stream.files import replacing

BEST = "best_model.pt"


class CheckpointRefused(ValueError):
    """A file that is no checkpoint, or one of another training; says what differs."""


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Where the state after so many epochs lies."""
    return folder / f"checkpoint_epoch_{epoch}.pt"


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the last epoch in a folder, None where there is none."""
    found = {int(path.stem.rpartition("_")[2]): path for path in folder.glob("checkpoint_epoch_*.pt")}
    return found[max(found)] if found else None


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values and tensors; whoever reads sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.save(dict(content), temporary)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What ``write`` wrote, tensors on ``device``; never runs code of the file.

    Raises CheckpointRefused, OSError
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what is no checkpoint may lead the reader into any error
        said = " ".join(str(error).split())[:200]
        raise CheckpointRefused(
            f"{path}: not a checkpoint, or damaged: {type(error).__name__}: {said}"
        ) from error
    if not isinstance(content, dict) or "model_config" not in content:
        raise CheckpointRefused(f"{path}: holds no model_config, so it is no checkpoint of a network")
    return content


def require_same(path: Path, what: str, stored: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raises CheckpointRefused naming the first value that differs."""
    for name in sorted(set(stored) | set(own)):
        if stored.get(name) != own.get(name):
            raise CheckpointRefused(
                f"{path}: {what}.{name}: {stored.get(name)!r} in the file, {own.get(name)!r} here; "
                "resume with what it was begun with"
            )


def model_entries(model: nn.Module) -> dict[str, Any]:
    """What ``load_model`` needs."""
    return {"model_config": getattr(model, "model_config", {}), "model": model.state_dict()}


def load_model(path: Path) -> Standardised:
    """The network of ``best_model.pt`` or of a checkpoint, ready to answer.

    Raises CheckpointRefused, OSError
    """
    content = read(path)
    try:
        net = build_net(content["model_config"])
        net.load_state_dict(content["model"])
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointRefused(f"{path}: {' '.join(str(error).split())[:300]}") from error
    return net.eval()
