"""Several processes that train one network: who is who, sums over all, and how they are started."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

TIMEOUT = timedelta(minutes=10)
"""A process that waits so long for another one ends with an error instead of hanging."""

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


class NotLaunched(RuntimeError):
    """Processes were expected, and nobody has started them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """One process among many. rank : 0..world_size - 1; local_rank : on its machine, the device's number"""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: {self.rank} must be 0..{self.world_size - 1} (world_size - 1)")

    @property
    def first(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, of a tensor of the same shape in each."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def least(self, value: int, device: torch.device) -> int:
        """The smallest of a number that each process has its own of."""
        found = torch.tensor(value, device=device)
        if self.world_size > 1:
            distributed.all_reduce(found, distributed.ReduceOp.MIN)
        return int(found)

    def wait(self) -> None:
        """Until all are here."""
        if self.world_size > 1:
            distributed.barrier()


ALONE = Ranks()


def ranks_of_torchrun(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Who this process is, as ``torchrun`` says.

    Raises NotLaunched where it did not start this process
    """
    missing = [name for name in TORCHRUN if name not in environment]
    if missing:
        raise NotLaunched(
            f"{', '.join(missing)} are not set: start with torchrun --nproc-per-node N --no-python "
            "octastream train ... --ddp, or let --processes N start them"
        )
    rank, world_size, local_rank = (int(environment[name]) for name in TORCHRUN)
    return Ranks(rank=rank, world_size=world_size, local_rank=local_rank)


@contextmanager
def process_group(
    ranks: Ranks, device: str = "cpu", init_method: str | None = None
) -> Iterator[torch.device]:
    """Join the other processes for as long as the block lasts; yields this one's device.

    device : cpu (gloo) or cuda (NCCL, one device a process)
    init_method : where they meet; None as torchrun says
    """
    own = torch.device(device, ranks.local_rank) if device == "cuda" else torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group(
        "nccl" if own.type == "cuda" else "gloo", init_method=init_method or "env://", rank=ranks.rank,
        world_size=ranks.world_size, timeout=TIMEOUT,
    )  # fmt: skip
    try:
        yield own
    finally:
        distributed.destroy_process_group()


def launch(worker: Callable[..., None], processes: int, *arguments: Any, device: str = "cpu") -> None:
    """Start processes on this machine and wait; each calls ``worker(ranks, device, *arguments)``.

    worker : a function of a module, and arguments that can be pickled
    Raises torch.multiprocessing.ProcessRaisedException with the traceback of the first that failed
    """
    if processes < 1:
        raise ValueError(f"processes: {processes} must be >= 1")
    with tempfile.TemporaryDirectory() as folder:
        meet = (Path(folder) / "meet").as_uri()
        given = (worker, processes, device, meet, arguments)
        spawn(_run, given, nprocs=processes)  # type: ignore[no-untyped-call]


def _run(
    rank: int, worker: Callable[..., None], processes: int, device: str, meet: str, arguments: tuple[Any, ...]
) -> None:
    ranks = Ranks(rank=rank, world_size=processes, local_rank=rank)
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))
    with process_group(ranks, device, meet) as own:
        worker(ranks, own, *arguments)
