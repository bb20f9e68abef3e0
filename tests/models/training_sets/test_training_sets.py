"""Training sets: partitions, publication, merging by cell and stamp, verification, Flight."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest

from models.training_sets import publish
from models.training_sets.additions import Additions
from models.training_sets.flight import TrainingSetServer, parse_request, read_batches
from models.training_sets.manifest import MANIFEST, NEXT, TrainingSetError, read_manifest
from models.training_sets.merge import merge
from models.training_sets.publish import publishing
from models.training_sets.read import TrainingSet
from models.training_sets.verify import verify
from native.index64 import ancestor, to_text
from tests.models.graphs.containers import GRID
from tests.models.training_sets.rows import DAY, STREAM, chunk_bytes, rows, stamp, training_set


def quiet(done: int, total: int | None, note: str) -> None:
    """No progress is shown."""


def together(root: Path) -> pa.Table:
    """All rows, as a reader without a line of ours has them, ordered by key."""
    table = ds.dataset(root, partitioning="hive").to_table()
    return table.sort_by([("stamp_ns", "ascending"), ("cell_id", "ascending")])


def labels(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return training_set(tmp_path / "set", range(4))


@pytest.mark.parametrize("buffer_rows", [1, 2**19])
def test_every_row_is_in_its_partition_once(tmp_path: Path, buffer_rows: int) -> None:
    root = training_set(tmp_path / "set", range(4), buffer_rows)
    found, given = together(root), pa.concat_tables([rows(number) for number in range(4)])
    for name in given.schema.names:
        assert found[name].to_pylist() == given[name].to_pylist()
    regions = [to_text(int(region)) for region in ancestor(given["cell_id"].to_numpy(), GRID.lod - 2)]
    assert found["region"].to_pylist() == regions
    assert set(found["date"].to_pylist()) == {"1970-01-01", "1970-01-02"}
    assert set(found["lod"].to_pylist()) == {GRID.lod}
    assert verify(root, quiet) == []
    for path in root.glob("date=*/**/*.parquet"):
        table = pq.ParquetFile(path).read()
        keys = np.stack([table["stamp_ns"].to_numpy().astype(np.uint64), table["cell_id"].to_numpy()], axis=1)
        assert keys.tolist() == sorted(keys.tolist())


def test_labels_are_merged_by_id_and_nothing_else_changes(root: Path, tmp_path: Path) -> None:
    everything = pa.concat_tables([rows(number) for number in range(4)])
    before = chunk_bytes(root, everything.schema.names)
    chosen = everything.slice(0, len(everything) // 2)
    order = pa.array(np.random.default_rng(0).permutation(len(chosen)))
    given = pa.table(
        {
            "stamp_ns": chosen["stamp_ns"], "cell_id": chosen["cell_id"],
            "class": [f"kind {cell % 5}" for cell in chosen["cell_id"].to_pylist()],
            "flow": pa.FixedSizeListArray.from_arrays(
                pa.array(np.arange(2 * len(chosen), dtype=np.float32)), 2),
        }
    ).take(order)  # fmt: skip
    found = merge(root, Additions(labels(given, tmp_path / "labels.parquet")), progress=quiet)
    assert (found.matched, found.rows) == (len(chosen), len(everything))
    assert chunk_bytes(root, everything.schema.names) == before
    table = together(root)
    assert table["class"].to_pylist() == [
        f"kind {cell % 5}" if row < len(chosen) else None
        for row, cell in enumerate(everything["cell_id"].to_pylist())
    ]
    assert table["flow"].to_pylist()[1] == [2.0, 3.0]
    assert table["flow"].null_count == len(everything) - len(chosen)
    assert verify(root, quiet) == []


def test_without_a_stamp_values_hold_at_all_times(root: Path, tmp_path: Path) -> None:
    cells = np.unique(np.concatenate([rows(number)["cell_id"].to_numpy() for number in range(4)]))
    path = tmp_path / "static.csv"
    path.write_text("cell_id,road\n" + "".join(f"{cell},{cell % 2}\n" for cell in cells.tolist()))
    found = merge(root, Additions(path, prefix="is_"), progress=quiet)
    assert found.matched == found.rows
    table = together(root)
    assert table["is_road"].to_pylist() == [cell % 2 for cell in table["cell_id"].to_pylist()]


def test_columns_are_replaced_only_when_asked(root: Path, tmp_path: Path) -> None:
    given = rows(0).select(["cell_id", "stamp_ns", "hits"])
    path = labels(given, tmp_path / "hits.parquet")
    with pytest.raises(TrainingSetError, match="hits: the set has this column"):
        merge(root, Additions(path), progress=quiet)
    merge(root, Additions(path), replace=True, progress=quiet)
    assert together(root)["hits"].null_count == sum(len(rows(number)) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: pa.concat_tables([t, t.slice(3, 1)]), "comes twice"),
        (lambda t: t.drop_columns("cell_id"), "has no column cell_id"),
        (lambda t: t.drop_columns("label"), "no column to merge"),
        (lambda t: t.set_column(0, "cell_id", t["cell_id"].cast(pa.string())), "cell_id is string"),
        (lambda t: t.rename_columns(["cell_id", "stamp_ns", "date"]), "no column to merge"),
        (lambda t: t.set_column(1, "stamp_ns", pa.array([7] * len(t))), "nothing was merged"),
        (lambda t: t.append_column("stream_id", pa.repeat("other/lidar", len(t))), "nothing was merged"),
    ],
)
def test_what_cannot_be_merged_changes_nothing(change, words: str, root: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    table = rows(1).select(["cell_id", "stamp_ns"])
    table = change(table.append_column("label", pa.array(range(len(table)))))
    with pytest.raises(TrainingSetError, match=words):
        merge(root, Additions(labels(table, tmp_path / "labels.parquet")), progress=quiet)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_stored_container_is_merged_too(root: Path, tmp_path: Path) -> None:
    from models.datasets.window import cells_of_grid, with_column, with_stamp
    from models.datasets.writer import ContainerWriter

    ids = rows(2)["cell_id"].to_numpy()
    with ContainerWriter(tmp_path / "labels") as writer:
        window = with_stamp(cells_of_grid(GRID, ids), stamp(2))
        writer.write(with_column(window, "class", np.arange(len(ids), dtype=np.int32)))
    assert merge(root, Additions(tmp_path / "labels"), progress=quiet).matched == len(ids)
    table = together(root)
    found = table.filter(pa.compute.equal(table["stamp_ns"], stamp(2)))
    assert found["class"].to_pylist() == list(range(len(ids)))


# ---- publication -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_writer_that_dies_leaves_the_old_set_or_completes_the_new_one(
    at: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before its n-th rename: of the manifest, of a part, of the manifest in its place."""
    old, count = read_manifest(root), 0
    rename = Path.replace

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > at:
            raise Killed
        return rename(self, target)

    given = rows(0).select(["cell_id", "stamp_ns"])
    path = labels(given.append_column("label", pa.array(range(len(given)))), tmp_path / "labels.parquet")
    monkeypatch.setattr(Path, "replace", dying)
    monkeypatch.setattr(publish, "_remove_staged", lambda root: None)  # a dead process tidies nothing up
    with pytest.raises(Killed):
        merge(root, Additions(path), progress=quiet)
    monkeypatch.undo()
    if at == 0:
        assert not (root / NEXT).exists()
        assert verify(root, quiet) == []
    else:
        with pytest.raises(TrainingSetError, match="is being published"):
            TrainingSet(root)
    with publishing(root):
        pass
    assert verify(root, quiet) == []
    assert not list(root.rglob(f"*{publish.STAGED}"))
    assert (read_manifest(root) == old) == (at == 0)
    assert ("label" in TrainingSet(root).schema.names) == (at > 0)


def test_one_writer_at_a_time(root: Path) -> None:
    with publishing(root), pytest.raises(TrainingSetError, match="another process"), publishing(root):
        pass


# ---- verification ----------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_with_its_column(root: Path) -> None:
    path = max(root.glob("date=*/**/*.parquet"), key=lambda path: path.stat().st_size)
    metadata = pq.read_metadata(path).row_group(0)
    column = next(metadata.column(i) for i in range(5) if metadata.column(i).path_in_schema == "hits")
    data = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    data[begin + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    (line,) = verify(root, quiet)
    assert line == f"{path.relative_to(root)}: damaged: column hits"
    stored = TrainingSet(root)
    with pytest.raises(TrainingSetError, match="damaged"):
        list(stored.batches(["hits"]))


@pytest.mark.parametrize("place", [0, 1, -1, -9])
def test_any_flipped_byte_is_found(place: int, root: Path) -> None:
    path = sorted(root.glob("date=*/**/*.parquet"))[1]
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)
    (line,) = verify(root, quiet)
    assert line.startswith(f"{path.relative_to(root)}: damaged: ")


def test_what_is_missing_or_strange_is_found(root: Path) -> None:
    parts = read_manifest(root).parts
    gone = (root / parts[0].file).parent
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    (root / parts[1].file).unlink()
    (root / parts[2].file).rename(root / parts[2].file.replace("part-00000", "part-00007"))
    found = verify(root, quiet)
    assert f"{gone.relative_to(root)}: the partition is missing, {parts[0].rows:,} rows" in found
    assert f"{parts[1].file}: missing" in found
    assert any("part-00007" in line and "is not of this set" in line for line in found)
    assert len(found) == 4


def test_cells_of_another_partition_are_found(root: Path) -> None:
    one, other = read_manifest(root).parts[:2]
    values = json.loads((root / MANIFEST).read_text())
    data = (root / other.file).read_bytes()
    (root / one.file).write_bytes(data)
    values["parts"][0] |= {"rows": other.rows, "bytes": other.bytes, "sha256": other.sha256}
    (root / MANIFEST).write_text(json.dumps(values))
    (line,) = verify(root, quiet)
    assert line.startswith(f"{one.file}: has cells of date=")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v | {"version": 9}, "version 9"),
        (lambda v: v | {"parts": [v["parts"][0] | {"file": "../../etc/passwd"}]}, "expected date="),
        (lambda v: v | {"parts": [v["parts"][0] | {"file": "/etc/passwd"}]}, "expected date="),
        (lambda v: v | {"parts": [v["parts"][0] | {"rows": -1}]}, "-1, expected a whole number"),
        (lambda v: v | {"parts": 7}, "damaged"),
        (lambda v: v | {"region_lod": 99}, "region_lod 99"),
        (lambda v: {}, "version"),
        (lambda v: [], "damaged"),
    ],
)
def test_hostile_manifests_are_refused(change, words: str, root: Path) -> None:
    values = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps(change(values)))
    with pytest.raises(TrainingSetError, match=words):
        TrainingSet(root)


def test_manifests_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training_sets.manifest.MAX_BYTES", 100)
    with pytest.raises(TrainingSetError, match="more than 100"):
        read_manifest(root)
    with pytest.raises(TrainingSetError, match="is no training set"):
        read_manifest(root.parent)


# ---- serving ---------------------------------------------------------------------------------------------


def test_ranks_share_the_rows_over_flight(root: Path) -> None:
    whole = pa.Table.from_batches(TrainingSet(root).batches())
    with TrainingSetServer(root) as server:
        url = f"grpc://127.0.0.1:{server.port}"
        shares = [
            list(read_batches(url, ["cell_id", "stamp_ns"], rank=rank, world_size=3, batch_rows=100))
            for rank in range(3)
        ]
        assert pa.Table.from_batches(read_batches(url)).equals(whole, check_metadata=True)
        with flight.connect(url) as client:
            (info,) = client.list_flights()
            assert info.total_records == len(whole)
            assert info.schema.equals(whole.schema, check_metadata=True)
            for request in (b'{"columns": ["x"]}', b"{", b'{"rank": 5, "world_size": 2}', b'{"run": 1}'):
                with pytest.raises(
                    flight.FlightError, match=r"no column x|no JSON|rank 5|expected an object"
                ):
                    client.do_get(flight.Ticket(request)).read_all()
    rows_of = [sum(map(len, share)) for share in shares]
    assert sum(rows_of) == len(whole)
    assert all(len(batch) <= 100 for share in shares for batch in share)
    pairs = [tuple(row.values()) for share in shares for batch in share for row in batch.to_pylist()]
    assert sorted(pairs) == sorted(
        zip(whole["cell_id"].to_pylist(), whole["stamp_ns"].to_pylist(), strict=True)
    )


@pytest.mark.parametrize(
    "text", [b"[" * 70_000, b"[" * 50_000, b'{"columns": [1]}', b'{"rank": true}', b"\xff"]
)
def test_hostile_requests_are_refused(text: bytes) -> None:
    with pytest.raises(TrainingSetError):
        parse_request(text)


def test_stamps_before_1970_have_no_date(tmp_path: Path) -> None:
    table = rows(0).set_column(1, rows(0).schema.field(1), pa.array(np.full(len(rows(0)), -DAY)))
    with pytest.raises(TrainingSetError, match="before 1970"), publishing(tmp_path / "set") as publication:
        from models.training_sets.partition import PartitionWriter

        writer = PartitionWriter(publication.stage, 3, 0)
        writer.add(table)
        writer.flush()
    assert STREAM in table["stream_id"].to_pylist()
