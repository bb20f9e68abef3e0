"""What goes wrong in a training step, said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CHECKED = ("features", "neighbors", "position", "target")

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""In the message of the RuntimeError by which torch says that the CPU's memory is out."""


class OutOfMemory(RuntimeError):
    """A step that does not fit the memory; says what takes less."""


def first_fault(batch: Mapping[str, Any], names: Sequence[str] = ()) -> str | None:
    """The first column of a batch that holds NaN or Inf; None where all is finite.

    Outcomes that were not observed may hold anything. names : of the feature columns
    """
    for key in CHECKED:
        values = batch.get(key)
        if not isinstance(values, Tensor):
            continue
        bad = ~torch.isfinite(values)
        if key == "target":
            bad &= batch["observed"]
        if bad.any():
            return _describe(key, bad, names)
    return None


def _describe(key: str, bad: Tensor, names: Sequence[str]) -> str:
    columns = bad.flatten(0, -2).any(0)
    column = int(columns.nonzero()[0])
    rows = int(bad.flatten(1).any(1).sum())
    named = f" ({names[column]})" if key in ("features", "neighbors") and column < len(names) else ""
    return f"{key}: column {column}{named} holds NaN or Inf, {rows} of {len(bad)} rows are hit"


def first_output_fault(outputs: Tensor) -> str:
    """The first column of outputs that is not finite."""
    bad = ~torch.isfinite(outputs)
    if not bad.any():
        return "all outputs are finite, their loss is not"
    return _describe("output", bad, ())


def first_gradient_fault(model: nn.Module) -> str:
    """The first parameter whose gradient is not finite."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"the gradient of {name} is not finite"
    return "the norm of all gradients is not finite"


def memory_fault(error: BaseException) -> str | None:
    """What is said first by what torch or Python raise where memory is out; None for any other error."""
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and CPU_ALLOCATOR not in str(error):
        return None
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def remedies(rows: int, accumulation: int) -> Iterator[None]:
    """Raises OutOfMemory for what torch raises where memory is out; the cache of CUDA is cleared.

    rows : of a batch; accumulation : batches a step
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if (said := memory_fault(error)) is None:
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = max(rows // 2, 1)
        raise OutOfMemory(
            f"out of memory in a step of {accumulation} x {rows} rows. Ways out: batches of {half} rows with "
            f"accumulation={2 * accumulation} train the same; gradient_checkpointing=True keeps less; "
            f"mixed_precision=True halves states; a smaller hidden_dim. torch said: {said}"
        ) from error
