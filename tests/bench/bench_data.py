"""Samples a second of the loader, beside loops over items, a training step and the memory of the machine.

``python -m tests.bench.bench_data [--seconds N] [--rounds N] [--out FILE]``: the recorded log is replayed
once without learning and stored; then every contestant reads shuffled batches of all feature columns for so
many seconds, in turns. Two loops over items, both under torch's own DataLoader and collate function:

* ``item loop``: the obvious way. A dictionary from cell to row for each window, features in memory, the 14
  neighbours of an item looked up one by one;
* ``prepared items``: one sample at a time of the same table that the loader reads.

``training step`` is forward, backward and AdamW of a small network on batches that are there already. Ratios
are of processor time, which holds whatever else the machine does, but for the loader with workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader

from agents.cli import main as octastream
from agents.explain import run_config
from models.datasets.cells import BCCDataset
from models.datasets.loader import create_bcc_dataloader
from native import index64
from stream.features import schema_of
from stream.run_folder import RunFolder
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.data import data_path

BATCHES = (32, 256, 1024)
HIDDEN = 64
WORKERS = 4
LOADER, LOADER_WORKERS = "loader", f"loader, {WORKERS} workers"
ITEM_LOOP, PREPARED, STEP = "item loop", "prepared items", "training step"
ALONE = (ITEM_LOOP, PREPARED, LOADER, STEP)
"""What runs in this process alone."""
GOAL_TIMES = 50
COPY_BYTES = 2**28


class ItemLoop:
    """A dataset as one writes it who thinks of one cell at a time."""

    def __init__(self, folder: Path, keys: Sequence[str], half_edge_m: float) -> None:
        self._half_edge_m, self._items = half_edge_m, []
        self._windows = [self._window(batch, keys) for batch in _batches(folder)]
        for number, window in enumerate(self._windows):
            self._items += [(number, row) for row in range(len(window["ids"]))]

    def _window(self, batch: pa.RecordBatch, keys: Sequence[str]) -> dict[str, Any]:
        def matrix(name: str) -> Any:
            flat = batch[name].flatten().to_numpy(zero_copy_only=False)
            return flat.reshape(len(batch), -1)

        ids = batch["cell_id"].to_numpy()
        named = json.loads(batch.schema.metadata[b"octa.features"])
        return {
            "ids": ids,
            "row_of": {cell_id: row for row, cell_id in enumerate(ids.tolist())},
            "x": np.ascontiguousarray(matrix("features")[:, [named.index(key) for key in keys]]),
            "target": matrix("target").copy(),
            "observed": matrix("observed"),
        }

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, row = self._items[index]
        window = self._windows[number]
        x, row_of = window["x"], window["row_of"]
        own = window["ids"][row : row + 1]
        neighbors, mask = np.zeros((14, x.shape[1]), np.float32), np.zeros(14, np.bool_)
        for place, cell_id in enumerate(index64.neighbors(own)[0].tolist()):
            if cell_id in row_of:
                neighbors[place], mask[place] = x[row_of[cell_id]], True
        return {
            "features": x[row],
            "position": (index64.decode(own).sites[0] * self._half_edge_m).astype(np.float32),
            "neighbors": neighbors,
            "neighbor_mask": mask,
            "index": int(own.view(np.int64)[0]),
            "target": window["target"][row],
            "observed": window["observed"][row],
        }


class Items:
    """The table of the loader, one sample at a time."""

    def __init__(self, cells: BCCDataset) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample: dict[str, Any] = self._cells[index]
        return sample | {"index": int(sample["index"].view(np.int64))}


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for path in sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            yield from map(reader.get_batch, range(reader.num_record_batches))


# ---- contestants -----------------------------------------------------------------------------------------


def forever(loader: Any) -> Iterator[int]:
    """Sizes of batches, epoch after epoch."""
    while True:
        for batch in loader:
            yield len(batch["features"])


def training(batches: list[dict[str, torch.Tensor]], columns: int, targets: int) -> Iterator[int]:
    """Sizes of batches that were trained on."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(15 * columns, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.ReLU(), torch.nn.Linear(HIDDEN, targets),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters())
    for batch in itertools.cycle(batches):
        n = len(batch["features"])
        logits = network(torch.cat([batch["features"], batch["neighbors"].reshape(n, -1)], 1))
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
        loss = (each * batch["observed"]).sum() / batch["observed"].sum().clamp(min=1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield n


def contestants(cells: BCCDataset, plain: ItemLoop, size: int) -> dict[str, Callable[[], Iterator[int]]]:
    """How to begin each."""
    some = list(itertools.islice(create_bcc_dataloader(cells, size, 0), 8))
    return {
        ITEM_LOOP: lambda: forever(DataLoader(plain, size, shuffle=True)),
        PREPARED: lambda: forever(DataLoader(Items(cells), size, shuffle=True)),
        LOADER: lambda: forever(create_bcc_dataloader(cells, size, 0)),
        LOADER_WORKERS: lambda: forever(create_bcc_dataloader(cells, size, WORKERS)),
        STEP: lambda: training(some, len(cells.feature_names), len(cells.targets)),
    }


def rate(sizes: Iterator[int], seconds: float) -> tuple[float, float]:
    """Samples a second of wall time, and of processor time of this process."""
    next(sizes)
    begin, cpu, samples = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        samples += next(sizes)
    return samples / elapsed, samples / (time.process_time() - cpu)


def copy_bytes_per_s(rounds: int) -> float:
    """Bytes read and written a second by copying an array that no cache holds, at best."""
    source, target = np.ones(COPY_BYTES, np.uint8), np.zeros(COPY_BYTES, np.uint8)
    best = 0.0
    for _ in range(rounds):
        begin = time.perf_counter()
        np.copyto(target, source)
        best = max(best, 2 * COPY_BYTES / (time.perf_counter() - begin))
    return best


# ---- results ---------------------------------------------------------------------------------------------


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Every contestant in turns, at every size of batch."""
    described = machine.describe()
    with tempfile.TemporaryDirectory() as name:
        run, stored = Path(name) / "run", Path(name) / "stored"
        if octastream(["replay", str(data_path(LOG)), "--no-learn", "--out", str(run)]) != 0:
            raise SystemExit("the log cannot be replayed")
        octastream(["dataset", "windows", str(run), "--out", str(stored)])
        config = run_config(RunFolder(run))
        keys = schema_of(config).names
        cells = BCCDataset(stored, config.grid.frame_ids[config.grid.map_frame], config.grid.lod, keys)
        plain = ItemLoop(stored, keys, cells.half_edge_m)
        for _ in create_bcc_dataloader(cells, 4096, 0, shuffle=False):
            pass  # so that no contestant is the first to read the file
        found = {
            str(size): _in_turns(contestants(cells, plain, size), seconds, rounds, size) for size in BATCHES
        }
    sample = sum(array.nbytes for array in cells.__getitems__([0]).values())
    return {
        "scenario": "data",
        "log": LOG,
        "machine": described | {"load_at_end": machine.load(), "cores_used": len(os.sched_getaffinity(0))},
        "rows": len(cells),
        "windows": len(cells.windows),
        "features": len(keys),
        "sample_bytes": sample,
        "copy_bytes_per_s": copy_bytes_per_s(5),
        "seconds": seconds,
        "rounds": rounds,
        "samples_per_s": found,
    }


def _in_turns(
    begin: dict[str, Callable[[], Iterator[int]]], seconds: float, rounds: int, size: int
) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in begin}
    for _ in track(range(rounds), f"batches of {size}", transient=True):
        for name, start in begin.items():
            wall, cpu = rate(start(), seconds)
            found[name]["wall"].append(round(wall, 1))
            found[name]["cpu"].append(round(cpu, 1))
    return found


def median(results: dict[str, Any], size: str, name: str, clock: str) -> float:
    """Samples a second of one contestant."""
    return float(np.median(results["samples_per_s"][size][name][clock]))


def ratios(results: dict[str, Any]) -> dict[str, list[float]]:
    """What is quoted, by size of batch."""
    sizes, found = list(results["samples_per_s"]), {}
    for other in (ITEM_LOOP, PREPARED, STEP):
        found[f"loader / {other}"] = [
            median(results, size, LOADER, "cpu") / median(results, size, other, "cpu") for size in sizes
        ]
    found[f"loader, {WORKERS} workers / {STEP}"] = [
        median(results, size, LOADER_WORKERS, "wall") / median(results, size, STEP, "wall") for size in sizes
    ]
    moved = 2 * results["sample_bytes"] / results["copy_bytes_per_s"]
    found["loader / copying memory"] = [median(results, size, LOADER, "cpu") * moved for size in sizes]
    return found


def show(results: dict[str, Any], path: Path) -> None:
    """Print what was found."""
    table = Table(box=SIMPLE)
    for name in ("samples a second, batches of", *results["samples_per_s"]):
        table.add_column(name, justify="right")
    for clock in ("wall", "cpu"):
        for name in ALONE if clock == "cpu" else (*ALONE, LOADER_WORKERS):
            rates = (median(results, size, name, clock) for size in results["samples_per_s"])
            table.add_row(f"{name}, {clock} time", *(f"{found:,.0f}" for found in rates))
    for name, row in ratios(results).items():
        table.add_row(name, *(f"{ratio:.3g}" for ratio in row))
    Console().print(
        table,
        f"{results['rows']:,} cells, {results['features']} features",
        f"goals: loader / {ITEM_LOOP} >= {GOAL_TIMES}, loader / {STEP} >= 1",
        f"load at the end {results['machine']['load_at_end']}",
        f"written to {path}",
        sep="\n",
    )


def main() -> None:
    """Measure, write the results, and show them."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS / "data.json", help="where results go")
    options = parser.parse_args()
    results = measure(options.seconds, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    show(results, options.out)


if __name__ == "__main__":
    main()
