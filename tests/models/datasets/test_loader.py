"""Loaders: the same batches whatever reads them, every row once, resumed in the middle."""

from __future__ import annotations

import itertools
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from models.datasets.cells import BCCDataset
from models.datasets.order import BatchOrder
from models.datasets.windows import WindowGraphDataset
from tests.models.datasets.stores import NAMES, WHERE, store, window

torch = pytest.importorskip("torch")

from models.datasets import loader as loaders  # noqa: E402
from models.datasets.collate import bcc_collate_fn  # noqa: E402
from models.datasets.device import DeviceBuffers  # noqa: E402
from models.datasets.loader import create_bcc_dataloader  # noqa: E402

pytestmark = pytest.mark.learn


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> BCCDataset:
    folder = store(tmp_path_factory.mktemp("stored") / "city", [window(number, 0.6) for number in range(6)])
    return BCCDataset(folder, **WHERE, feature_keys=NAMES)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def all_equal(one: list, other: list) -> bool:
    return len(one) == len(other) and all(map(equal, one, other))


# ---- the order -------------------------------------------------------------------------------------------


def test_every_row_comes_once_an_epoch_in_another_order() -> None:
    order = BatchOrder(103, 8, seed=4)
    epochs = []
    for epoch in range(3):
        order.set_epoch(epoch)
        batches = list(order)
        assert [len(batch) for batch in batches] == [8] * 12 + [7] and len(order) == 13
        epochs.append(np.concatenate(batches).tolist())
        assert sorted(epochs[-1]) == list(range(103))
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == list(
        itertools.chain(*(rows.tolist() for rows in again(BatchOrder(103, 8, seed=4), 1)))
    )
    assert epochs[1] != list(
        itertools.chain(*(rows.tolist() for rows in again(BatchOrder(103, 8, seed=5), 1)))
    )
    assert np.concatenate(list(BatchOrder(103, 8, shuffle=False))).tolist() == list(range(103))


def again(order: BatchOrder, epoch: int) -> BatchOrder:
    order.set_epoch(epoch)
    return order


@pytest.mark.parametrize(
    ("length", "drop_last"), [(103, False), (103, True), (96, True), (5, False), (0, False)]
)
def test_groups_are_the_same_batches(length: int, drop_last: bool) -> None:
    for batches in (1, 3, 50):
        order = BatchOrder(length, 8, drop_last=drop_last)
        groups = list(order.groups(batches))
        assert [len(group) <= 8 * batches for group in groups] == [True] * len(groups)
        assert np.array_equal(np.concatenate([*groups, []]), np.concatenate([*order, []]))
        assert sum(-(-len(group) // 8) for group in groups) == len(order)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_readers_share_all_rows_evenly(world_size: int) -> None:
    shares = [BatchOrder(103, 8, rank=rank, world_size=world_size).rows() for rank in range(world_size)]
    assert len({len(rows) for rows in shares}) == 1
    assert set(np.concatenate(shares).tolist()) == set(range(103))
    assert sum(map(len, shares)) < 103 + world_size


def test_what_makes_no_order_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: 0"):
        BatchOrder(10, 0)
    with pytest.raises(ValueError, match=r"rank: 2 must be 0\.\.1"):
        BatchOrder(10, 4, rank=2, world_size=2)


# ---- the loader ------------------------------------------------------------------------------------------


def test_batches_are_those_of_the_dataset(dataset: BCCDataset) -> None:
    loader = create_bcc_dataloader(dataset, num_workers=0, seed=3)
    order = BatchOrder(len(dataset), 32, seed=3)
    batches = list(loader)
    assert len(batches) == len(loader) == len(order) > 2
    for batch, rows in zip(batches, order, strict=True):
        assert equal(batch, bcc_collate_fn([dataset[row] for row in rows]))
    assert batches[0]["neighbors"].shape == (32, 14, 3) and batches[0]["indices"].dtype == torch.int64
    ids = torch.cat([batch["indices"] for batch in batches]).numpy().view(np.uint64)
    assert sorted(ids.tolist()) == sorted(dataset.table.cell_id.tolist())


def test_rows_are_fetched_together(dataset: BCCDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(self: BCCDataset, index: int) -> None:
        raise AssertionError("an item was asked for on its own")

    monkeypatch.setattr(BCCDataset, "__getitem__", alone)
    monkeypatch.setattr(loaders, "GROUP_ROWS", 64)
    assert len(list(create_bcc_dataloader(dataset, num_workers=0))) > 2


def test_workers_give_the_same_batches(dataset: BCCDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "GROUP_ROWS", 64)  # many tasks, so that slots are used again
    monkeypatch.setattr(loaders, "_cores", lambda: 2)
    here, there = (create_bcc_dataloader(dataset, 16, workers, seed=1) for workers in (0, 2))
    for _ in range(2):  # two epochs of the same workers
        assert all_equal(list(here), list(there))
    assert there.num_workers == 2 and there.persistent_workers and not here.persistent_workers
    peeked = next(iter(there))
    assert equal(peeked, next(iter(here)))
    assert all_equal(list(here), list(there)), "one that was left early begins anew"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_another_one_was(dataset: BCCDataset, workers: int, monkeypatch) -> None:
    monkeypatch.setattr(loaders, "GROUP_ROWS", 64)
    monkeypatch.setattr(loaders, "_cores", lambda: 2)
    one, other = (create_bcc_dataloader(dataset, 32, workers, seed=1) for _ in range(2))
    list(one)
    reader = iter(one)
    taken = [next(reader) for _ in range(5)]
    state = one.state_dict()
    assert (state["epoch"], state["batches"]) == (1, 5)
    rest = list(reader)
    other.load_state_dict(state)
    other.set_epoch(1)
    assert all_equal(list(other), rest) and len(taken) + len(rest) == len(one)
    assert all_equal(list(one), list(other)), "the epochs after that differ"
    strange = create_bcc_dataloader(dataset, 16, 0, seed=1)
    with pytest.raises(ValueError, match="batch_size: the state has 32, this loader 16"):
        strange.load_state_dict(state)


def test_whole_windows_are_graphs(dataset: BCCDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_cores", lambda: 2)
    graphs = WindowGraphDataset(dataset.container_path, **WHERE, feature_keys=NAMES)
    here, there = (list(create_bcc_dataloader(graphs, 4, workers, shuffle=False)) for workers in (0, 2))
    assert all_equal(here, there) and [int(batch["graph"].max()) for batch in here] == [3, 1]
    assert torch.equal(
        torch.cat([batch["features"] for batch in here]), torch.from_numpy(graphs.table.features[:-1])
    )


def test_samples_that_outgrow_shared_memory_still_come(dataset: BCCDataset, monkeypatch) -> None:
    class Tiny(loaders.Slots):
        def __init__(self, count: int, nbytes: int) -> None:
            super().__init__(count, 100)

    monkeypatch.setattr(loaders, "Slots", Tiny)
    monkeypatch.setattr(loaders, "_cores", lambda: 1)
    assert all_equal(*(list(create_bcc_dataloader(dataset, 64, workers)) for workers in (0, 1)))


@pytest.mark.long
@pytest.mark.slow
def test_workers_that_begin_anew_give_the_same_batches(dataset: BCCDataset) -> None:
    here, there = (
        create_bcc_dataloader(dataset, 64, workers, multiprocessing_context="spawn") for workers in (0, 1)
    )
    assert all_equal(list(here), list(there))


def test_an_empty_dataset_has_no_batch(dataset: BCCDataset) -> None:
    nothing = dataset.between(2, 2)
    assert (
        list(create_bcc_dataloader(nothing, num_workers=1))
        == []
        == list(create_bcc_dataloader(nothing, num_workers=0))
    )


def test_defaults(dataset: BCCDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_cores", lambda: 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on a machine with fewer cores
        loader = create_bcc_dataloader(dataset)
    assert (loader.order.batch_size, loader.num_workers, loader.order.shuffle) == (32, 4, True)
    assert loader.persistent_workers and loader.pins == torch.cuda.is_available()
    monkeypatch.setattr(loaders, "_cores", lambda: 2)
    assert create_bcc_dataloader(dataset).num_workers == 2


# ---- collating -------------------------------------------------------------------------------------------


def test_missing_neighbours_and_outcomes_are_padded_and_masked(dataset: BCCDataset) -> None:
    whole, short, bare = dataset[0], dict(dataset[1]), dict(dataset[2])
    short["neighbors"] = short["neighbors"][:5]
    del short["neighbor_mask"], bare["target"], bare["observed"]
    batch = bcc_collate_fn([whole, short, bare])
    assert batch["neighbors"].shape == (3, 14, 3) and not batch["neighbors"][1, 5:].any()
    assert batch["neighbor_mask"][1].tolist() == [True] * 5 + [False] * 9
    assert not batch["observed"][2].any() and not batch["target"][2].any()
    assert torch.equal(batch["target"][0], torch.from_numpy(whole["target"]))


def test_samples_that_do_not_fit_together_are_refused(dataset: BCCDataset) -> None:
    sample = dataset[0]
    with pytest.raises(ValueError, match="at least one"):
        bcc_collate_fn([])
    with pytest.raises(ValueError, match="number 1 has 15 neighbors, at most 14"):
        bcc_collate_fn([sample, sample | {"neighbors": np.zeros((15, 3), np.float32)}])
    with pytest.raises(ValueError, match=r"features of number 1 is \(2,\), of the first \(3,\)"):
        bcc_collate_fn([sample, sample | {"features": np.zeros(2, np.float32)}])
    with pytest.raises(ValueError, match=r"number 1 has .*extra"):
        bcc_collate_fn([sample, sample | {"extra": np.zeros(1)}])


def test_stacked_samples_are_not_copied(dataset: BCCDataset) -> None:
    stacked = dataset.__getitems__([3, 1, 4])
    batch = bcc_collate_fn(stacked)
    for name, array in stacked.items():
        assert (
            batch["indices" if name == "index" else name].data_ptr() == array.__array_interface__["data"][0]
        ), name


# ---- devices ---------------------------------------------------------------------------------------------


def test_buffers_are_used_again(dataset: BCCDataset) -> None:
    batches = [bcc_collate_fn(dataset.__getitems__(range(n))) for n in (8, 5, 8, 9)]
    buffers = DeviceBuffers("cpu")
    places = []
    for batch in batches:
        moved = buffers.move(batch)
        assert equal(moved, batch)
        places.append(moved["neighbors"].data_ptr())
    assert places[0] == places[1] == places[2] != places[3], "only a larger batch needs more memory"


def test_a_module_has_loaders_and_moves_batches(dataset: BCCDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lightning is not installed; with it, a longer test does."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "models.datasets.module", raising=False)
    from models.datasets.module import BCCDataModule

    module = BCCDataModule(dataset.between(0, 4), dataset.between(4, 6), num_workers=0, seed=7, device="meta")
    batch = next(iter(module.train_dataloader()))
    assert module.train_dataloader().order.shuffle and not module.val_dataloader().order.shuffle
    assert module.test_dataloader() == []
    moved = module.transfer_to_device(batch)
    assert {tensor.device.type for tensor in moved.values()} == {"meta"}
    assert module.transfer_to_device(moved) is moved
    del sys.modules["models.datasets.module"]  # so that others import it with lightning


@pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: needs a CUDA device")
def test_batches_move_to_cuda_in_the_same_memory(dataset: BCCDataset) -> None:
    loader = create_bcc_dataloader(dataset, num_workers=0)
    buffers, places = DeviceBuffers("cuda"), set()
    for batch in itertools.islice(loader, 4):
        assert batch["features"].is_pinned()
        moved = buffers.move(batch)
        places.add(moved["features"].data_ptr())
        assert equal({name: tensor.cpu() for name, tensor in moved.items()}, batch)
    assert len(places) == 1
