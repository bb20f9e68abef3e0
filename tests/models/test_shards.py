"""Windows shared out by rank, from a file system of pyarrow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from models.datasets.collate import bcc_collate_fn
from models.datasets.windows import WindowGraphDataset
from models.nets.attention import BCCAttention
from models.training.shards import Shard, ShardedWindows
from models.training.trainer import BCCTrainer
from models.training.trainer_config import TrainerConfig
from tests.models.datasets.stores import NAMES, WHERE, store, window

pytestmark = pytest.mark.learn


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("shards") / "city", [window(n) for n in range(7)], part_rows=100)


def read(city: Path, shard: Shard | None = None, **more: Any) -> ShardedWindows:
    return ShardedWindows(city.as_uri(), **WHERE, feature_keys=NAMES, shard=shard, **more)


def stamps(graphs: Any) -> list[float]:
    """What tells windows apart."""
    return [float(graph["features"].double().sum()) for graph in graphs]


def test_windows_are_those_of_the_dataset(city: Path) -> None:
    expected, found = WindowGraphDataset(city, **WHERE, feature_keys=NAMES), read(city)
    assert len(found) == len(expected) == 7
    assert len(list(city.glob("*.arrow"))) > 1
    for graph, sample in zip(found, expected, strict=True):
        batch = bcc_collate_fn(sample)
        assert graph.keys() == batch.keys()
        assert all(torch.equal(graph[name], batch[name]) for name in batch)
    by_path = ShardedWindows(str(city), **WHERE, feature_keys=NAMES)
    assert stamps(by_path) == stamps(found)
    one = ShardedWindows(str(next(iter(sorted(city.glob("*.arrow"))))), **WHERE, feature_keys=NAMES)
    assert 0 < len(one) < 7


@pytest.mark.parametrize("seed", [None, 3])
def test_each_window_goes_to_one_process(city: Path, seed: int | None) -> None:
    shares = [read(city, Shard(rank=rank, world_size=3), seed=seed) for rank in range(3)]
    assert [len(share) for share in shares] == [len(list(share)) for share in shares] == [3, 2, 2]
    assert sorted(stamp for share in shares for stamp in stamps(share)) == sorted(stamps(read(city)))
    if seed is not None:
        first = stamps(shares[0])
        shares[0].set_epoch(1)
        assert stamps(shares[0]) != first
        shares[0].set_epoch(0)
        assert stamps(shares[0]) == first


@pytest.mark.slow
@pytest.mark.long
def test_workers_share_the_windows_of_a_process(city: Path) -> None:
    share = read(city, Shard(rank=1, world_size=2))
    loader = DataLoader(share, batch_size=None, num_workers=2)
    assert sorted(stamps(loader)) == sorted(stamps(share))


def test_a_trainer_takes_them(city: Path, tmp_path: Path) -> None:
    net = BCCAttention(feature_count=3, output_count=2, hidden_dim=8, num_layers=1)
    own = BCCTrainer(net, read(city, seed=0), out=tmp_path, config=TrainerConfig(epochs=1, track=()))
    (result,) = own.train()
    assert result.steps == 7
    assert 0 < result.train_loss < 2


def damaged(city: Path, tmp_path: Path) -> ShardedWindows:
    copy = store(tmp_path / "copy", [window(0)])
    part = next(copy.glob("*.arrow"))
    part.write_bytes(part.read_bytes()[:200])
    return read(copy)


def lacking(city: Path, tmp_path: Path) -> ShardedWindows:
    copy = store(tmp_path / "copy", [window(0)])
    next(copy.glob("*.arrow")).unlink()
    return read(copy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, "damaged, or no Arrow file"),
        (lacking, "1 of 1 parts are missing: part-00000.arrow"),
        (lambda city, out: read(out), "no such file or folder"),
        (lambda city, out: read(out / "nowhere"), "no such file or folder"),
        (lambda city, out: ShardedWindows(str(city), 9, 1, NAMES), "no cells of frame 9, LOD 1"),
        (lambda city, out: Shard(rank=2, world_size=2), r"rank: 2 must be 0\.\.1"),
    ],
)
def test_bad_input_is_named(
    make: Callable[[Path, Path], object], message: str, city: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        make(city, tmp_path)
