"""BCCDataset: samples against a look-up one by one, and what it refuses."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pytest

from models.datasets import cache
from models.datasets.cells import BCCDataset
from models.datasets.place import Place
from models.datasets.stored import StoredError
from models.datasets.window import cells_of_grid, with_column, with_outcomes
from models.datasets.writer import ContainerWriter
from models.graphs.columns import FeatureError
from native.cells import Rows
from native.container import Container, ContainerOptions, RecordKey
from native.grid import Grid
from native.schema import Column, MismatchError
from tests.models.datasets.stores import NAMES, TARGETS, WHERE, expected, same, store, window
from tests.models.graphs.containers import GRID, container, random_ids

WINDOWS = [window(1), window(2, 0.0), window(3, 0.05), window(4, 0.6)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four windows, one of them empty, in two parts."""
    return store(tmp_path_factory.mktemp("stored") / "city", WINDOWS, part_rows=50)


@pytest.mark.parametrize("keys", [NAMES, ("age", "hits")])
def test_samples_are_those_found_one_by_one(stored: Path, keys: tuple[str, ...]) -> None:
    dataset = BCCDataset(stored, **WHERE, feature_keys=keys)
    wanted = expected(WINDOWS, keys)
    assert len(dataset) == len(wanted) and dataset.feature_names == keys and dataset.targets == TARGETS
    assert not all(sample["neighbor_mask"].any() for sample in wanted), "no cell is alone"
    for row in (*range(0, len(wanted), 7), -1):
        same(dataset[row], wanted[row])
    rows = np.random.default_rng(0).permutation(len(wanted))
    same(
        dataset.__getitems__(rows),
        {name: np.stack([wanted[row][name] for row in rows]) for name in wanted[0]},
    )


def test_one_file_is_a_container_too(tmp_path: Path) -> None:
    file = tmp_path / "one.arrow"
    with ipc.new_file(str(file), WINDOWS[0].schema) as writer:
        for batch in WINDOWS:
            writer.write_batch(batch)
    dataset = BCCDataset(file, **WHERE, feature_keys=NAMES)
    same(dataset[3], expected(WINDOWS, NAMES)[3])
    assert dataset.cache == tmp_path / "one.arrow.cache"


def test_uris_are_read_into_a_cache_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = (tmp_path / "city").as_uri()
    with ContainerWriter(uri) as writer:
        for batch in WINDOWS:
            writer.write(batch)
    same(BCCDataset(uri, **WHERE, feature_keys=NAMES)[-1], expected(WINDOWS, NAMES)[-1])
    monkeypatch.setattr(Place, "local", None)  # as if it were elsewhere: files are read, not mapped
    with pytest.raises(StoredError, match="is not on this machine; name a folder for the feature cache"):
        BCCDataset(uri, **WHERE, feature_keys=NAMES)
    dataset = BCCDataset(uri, **WHERE, feature_keys=NAMES, cache=tmp_path / "here")
    same(dataset[-1], expected(WINDOWS, NAMES)[-1])


def test_windows_without_outcomes_have_no_targets(tmp_path: Path) -> None:
    dataset = BCCDataset(store(tmp_path / "a", [window(1, outcomes=False)]), **WHERE, feature_keys=NAMES)
    assert dataset.targets == () and "target" not in dataset[0] and "observed" not in dataset[0]


def test_a_transform_gets_the_batch(stored: Path) -> None:
    def doubled(batch: dict) -> dict:
        assert batch["features"].ndim == 2
        return {"features": 2 * batch["features"], "index": batch["index"]}

    plain, changed = (BCCDataset(stored, **WHERE, feature_keys=NAMES, transform=t) for t in (None, doubled))
    assert changed[5].keys() == {"features", "index"}
    assert np.array_equal(changed[5]["features"], 2 * plain[5]["features"])


def test_some_windows_alone(stored: Path) -> None:
    whole = BCCDataset(stored, **WHERE, feature_keys=NAMES)
    first, rest = whole.between(0, 1), whole.between(1, 4)
    assert len(first) == len(WINDOWS[0]) and len(first) + len(rest) == len(whole)
    same(rest[0], whole[len(first)])
    same(rest.between(1, 3)[-1], whole[-1])
    assert rest.stamp_ns.tolist() == [0, 300, 400]
    with pytest.raises(IndexError, match=r"windows: 1\.\.5 are not among 0\.\.4"):
        whole.between(1, 5)
    with pytest.raises(IndexError, match="is not among"):
        first[len(first)]


def test_levels_and_columns_of_a_container(tmp_path: Path) -> None:
    """What a container exports is a window as it is, at every level, the user's columns among it."""
    boxes = [container(1), container(2)]
    folder = store(tmp_path / "map", [box.cells(level).to_arrow() for box in boxes for level in (0, 1)])
    keys = ("flow", "class", "hits", "state")
    for level in (0, 1):
        dataset = BCCDataset(folder, GRID.frame, GRID.lod - level, keys)
        assert dataset.feature_names[:6] == (
            "flow.0",
            "flow.1",
            "flow.2",
            "class.car",
            "class.road",
            "class.tree",
        )
        assert dataset.half_edge_m == GRID.half_edge_m * 2.0**level
        cells = [box.cells(level) for box in boxes]
        assert len(dataset) == sum(map(len, cells))
        last = dataset[-1]
        assert np.array_equal(last["features"][3:6], cells[1].values("class")[-1])
        assert np.allclose(last["features"][:3], cells[1].values("flow")[-1])
        assert np.allclose(last["position"], cells[1].positions()[-1])


def test_cells_without_a_value_are_refused_or_filled(tmp_path: Path) -> None:
    folder = store(tmp_path / "map", [container(nothing=True).cells().to_arrow()])
    with pytest.raises(FeatureError, match=r"height: \d+ of \d+ cells have no value .*fill=0.0"):
        BCCDataset(folder, **WHERE, feature_keys=["height"])
    assert not list((folder / "cache").iterdir()), "half a table is left"
    filled = BCCDataset(folder, **WHERE, feature_keys=["height"], fill=-1.0)
    assert (filled.table.features[:-1] == -1.0).any()


def test_infinite_features_are_refused(tmp_path: Path) -> None:
    batch = with_column(window(1), "speed", np.full(len(window(1)), np.inf))
    with pytest.raises(FeatureError, match=r"speed: .* have an infinite value"):
        BCCDataset(store(tmp_path / "a", [batch]), **WHERE, feature_keys=["speed"], fill=0.0)


def with_target(target: np.ndarray, observed: np.ndarray) -> pa.RecordBatch:
    """A window in which these are known of the first cell."""
    ids = random_ids()
    targets, seen = np.zeros((len(ids), 2), np.float32), np.zeros((len(ids), 2), np.bool_)
    targets[0], seen[0] = target, observed
    batch = with_column(cells_of_grid(GRID, ids), "hits", np.ones(len(ids)))
    return with_outcomes(batch, TARGETS, targets, seen)


def test_what_nobody_saw_has_target_zero(tmp_path: Path) -> None:
    folder = store(tmp_path / "a", [with_target(np.array([1, np.nan]), np.array([True, False]))])
    sample = BCCDataset(folder, **WHERE, feature_keys=["hits"])[0]
    assert sample["target"].tolist() == [1.0, 0.0] and sample["observed"].tolist() == [True, False]
    folder = store(tmp_path / "b", [with_target(np.array([1, np.nan]), np.array([True, True]))])
    with pytest.raises(FeatureError, match=r"target: 1 of \d+ cells were observed and have no finite target"):
        BCCDataset(folder, **WHERE, feature_keys=["hits"])


def test_a_column_of_the_users_comes_before_one_of_that_name(tmp_path: Path) -> None:
    box = Container(GRID, ContainerOptions(columns=(Column(name="state", rule="greatest"),)))
    ids = random_ids()
    values = {"state": np.full((len(ids), 1), 7, np.int64)}
    box.add(
        RecordKey(0, 0),
        Rows.of(ids, np.ones(len(ids), np.uint64), np.zeros((len(ids), 11), np.int64), values=values),
    )
    folder = store(tmp_path / "a", [box.cells().to_arrow()])
    assert BCCDataset(folder, **WHERE, feature_keys=["state"])[0]["features"].tolist() == [7.0]


# ---- the cache -------------------------------------------------------------------------------------------


def test_the_cache_is_made_once_for_schema_and_columns(stored: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "cache"
    made = []
    write = cache._write
    monkeypatch.setattr(cache, "_write", lambda *arguments: made.append(1) or write(*arguments))
    for keys in (NAMES, NAMES, NAMES[:2], NAMES):
        BCCDataset(stored, **WHERE, feature_keys=keys, cache=folder)
    assert len(made) == 2 == len(list(folder.iterdir()))


def test_a_container_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = store(tmp_path / "a", [window(1)])
    before = len(BCCDataset(folder, **WHERE, feature_keys=NAMES))
    for name in ("parts.json", "part-00000.arrow"):
        (folder / name).unlink()
    shutil.move(folder / "cache", tmp_path / "cache")
    store(folder, [window(1), window(4)])
    assert len(BCCDataset(folder, **WHERE, feature_keys=NAMES, cache=tmp_path / "cache")) > before


def test_two_processes_may_make_it_at_once(stored: Path, tmp_path: Path, monkeypatch) -> None:
    """The slower one finds that the table is there, and reads it."""
    folder, write = tmp_path / "cache", cache._write

    def overtaken(*arguments) -> None:
        monkeypatch.setattr(cache, "_write", write)
        BCCDataset(stored, **WHERE, feature_keys=NAMES, cache=folder)
        write(*arguments)

    monkeypatch.setattr(cache, "_write", overtaken)
    dataset = BCCDataset(stored, **WHERE, feature_keys=NAMES, cache=folder)
    assert [path.name[0] != "." for path in folder.iterdir()] == [True]
    same(dataset[0], expected(WINDOWS, NAMES)[0])


def test_rows_are_mapped_and_do_not_travel(stored: Path) -> None:
    dataset = BCCDataset(stored, **WHERE, feature_keys=NAMES)
    assert isinstance(dataset.table.features.base, np.memmap)
    sent = pickle.dumps(dataset)
    assert len(sent) < 1500 < dataset.table.features.nbytes
    same(pickle.loads(sent)[9], dataset[9])


def test_what_is_written_into_a_sample_stays_there(stored: Path) -> None:
    dataset = BCCDataset(stored, **WHERE, feature_keys=NAMES)
    dataset.table.features[0] = 99.0  # as a tensor over a window may
    again = BCCDataset(stored, **WHERE, feature_keys=NAMES)
    same(again[0], expected(WINDOWS, NAMES)[0])


# ---- what is refused -------------------------------------------------------------------------------------


def test_another_frame_or_lod_is_refused_with_what_there_is(stored: Path) -> None:
    for frame, lod in ((5, 6), (2, 7)):
        with pytest.raises(
            MismatchError, match=rf"no cells of frame {frame}, LOD {lod}; there are frame 5, LOD 7"
        ):
            BCCDataset(stored, frame, lod, NAMES)


def test_an_unknown_column_is_refused_with_those_there_are(stored: Path) -> None:
    with pytest.raises(FeatureError, match="no column 'color'; there are hits, range, age, before"):
        BCCDataset(stored, **WHERE, feature_keys=["hits", "color"])


def test_missing_parts_are_named(stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(stored, folder)
    (folder / "part-00001.arrow").unlink()
    with pytest.raises(StoredError, match=r"1 of 2 parts are missing: part-00001\.arrow"):
        BCCDataset(folder, **WHERE, feature_keys=NAMES)
    (folder / "parts.json").unlink()
    with pytest.raises(
        StoredError, match=r"has no parts\.json, so it is no stored container, or writing it was cut off"
    ):
        BCCDataset(folder, **WHERE, feature_keys=NAMES)
    with pytest.raises(StoredError, match="no such file or folder"):
        BCCDataset(tmp_path / "nowhere", **WHERE, feature_keys=NAMES)


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1, "parts": [3]}', '{"version": 2, "parts": []}'])
def test_a_damaged_list_is_named(stored: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "parts.json").write_text(text)
    with pytest.raises(StoredError, match=r"parts\.json: (damaged|version 2, this release reads version 1)"):
        BCCDataset(tmp_path, **WHERE, feature_keys=NAMES)


def test_damaged_parts_are_named(stored: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.arrow"
    part.write_bytes((stored / "part-00000.arrow").read_bytes()[:-200])
    with pytest.raises(StoredError, match=r"part\.arrow: damaged, or no Arrow file"):
        BCCDataset(part, **WHERE, feature_keys=NAMES)


def edited(folder: Path, schema: pa.Schema, batch: pa.RecordBatch) -> Path:
    """A container whose second part was made elsewhere."""
    with ipc.new_file(str(folder / "part-00001.arrow"), schema) as writer:
        writer.write_batch(batch)
    parts = json.loads((folder / "parts.json").read_text())
    parts["parts"].append({"file": "part-00001.arrow"})
    (folder / "parts.json").write_text(json.dumps(parts))
    return folder


def test_parts_that_disagree_are_refused(tmp_path: Path) -> None:
    other = Grid(half_edge_m=0.8, frame=GRID.frame, tier=GRID.tier, lod=GRID.lod)
    coarse = cells_of_grid(other, random_ids())
    folder = edited(store(tmp_path / "a", [cells_of_grid(GRID, random_ids())]), coarse.schema, coarse)
    with pytest.raises(MismatchError, match=r"part-00001.*octa.half_edge_m is 0.8, expected 0.4"):
        BCCDataset(folder, **WHERE, feature_keys=NAMES)
    less = window(1).select(["cell_id", "stamp_ns", "features", "target", "observed"])
    folder = edited(store(tmp_path / "b", [window(1)]), less.schema, less)
    with pytest.raises(MismatchError, match=r"part-00001.*columns are cell_id .*; expected .*before uint8"):
        BCCDataset(folder, **WHERE, feature_keys=NAMES)


def test_the_writer_refuses_windows_that_disagree(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"octa\.targets is None, expected"):
        store(tmp_path / "a", [window(1), window(2, outcomes=False)])
    assert not (tmp_path / "a" / "parts.json").exists()
    with pytest.raises(MismatchError, match=r"no octa\.frame, so it holds no cells"):
        store(tmp_path / "b", [pa.record_batch({"cell_id": pa.array([1], pa.uint64())})])
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        store(tmp_path / "a", [])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (random_ids()[::-1].copy(), "the cells of a window must ascend"),
        (np.sort(container().cells(1).cell_id), r"cell_id: lod is \[6\], but the metadata says 7"),
    ],
)
def test_cells_that_are_not_what_is_said_are_refused(tmp_path: Path, ids: np.ndarray, message: str) -> None:
    batch = cells_of_grid(GRID, ids)
    batch = with_column(batch, "hits", np.ones(len(ids)))
    with pytest.raises(MismatchError, match=message):
        BCCDataset(store(tmp_path / "a", [batch]), **WHERE, feature_keys=["hits"])


@pytest.mark.parametrize("left", ["target", "observed", "features"])
def test_columns_without_names_and_names_without_columns_are_refused(tmp_path: Path, left: str) -> None:
    batch = window(1)
    batch = batch.select([name for name in batch.schema.names if name != left])
    with pytest.raises(MismatchError, match=rf"octa\.\w+ has [23] names, but the column {left} is None"):
        BCCDataset(store(tmp_path / "a", [batch]), **WHERE, feature_keys=["before"])


def test_columns_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    ids = random_ids()
    batch = cells_of_grid(GRID, ids)
    schema = batch.schema.append(pa.field("name", pa.string())).append(pa.field("half", pa.float32()))
    some = [None if row % 2 else 1.0 for row in range(len(ids))]
    batch = pa.RecordBatch.from_arrays(
        [batch["cell_id"], pa.array(["a"] * len(ids)), pa.array(some, pa.float32())], schema=schema
    )
    folder = store(tmp_path / "a", [batch])
    with pytest.raises(FeatureError, match="name: expected numbers"):
        BCCDataset(folder, **WHERE, feature_keys=["name"])
    with pytest.raises(FeatureError, match="half: has nulls"):
        BCCDataset(folder, **WHERE, feature_keys=["half"])
