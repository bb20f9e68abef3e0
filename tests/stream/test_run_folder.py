"""The run folder on disk: whole files or none, checksums, and a full disk that is noticed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from stream import run_folder
from stream.records import Binned, Prediction
from stream.run_folder import CONTAINERS, RunFolder, container_table
from stream.run_tables import run_tables
from stream.sweep_rows import SWEEPS, count_sweeps, read_sweeps, sweep_files
from stream.tables import BINNED_SCHEMA, SWEEP_SCHEMA, binned_to_batch, prediction_table, sweep_table
from tests.agents.worlds import config_of, of_type, perceived, plain, stamp_of

OUTPUTS = perceived(config_of(), 9)
BINNED: list[Binned] = of_type(OUTPUTS, Binned)
PREDICTIONS: list[Prediction] = of_type(OUTPUTS, Prediction)
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def new(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    return folder


def chunk(records: list[Binned]) -> pa.Table:
    return container_table([binned_to_batch(record) for record in records])


def files(path: Path) -> list[str]:
    return sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())


def test_a_new_run_has_its_folders(tmp_path: Path) -> None:
    folder = new(tmp_path / "deep" / "run")
    names = {item.name for item in folder.path.iterdir()}
    assert names == {"predictions", "shadows", "outcomes", "containers", "sweeps", "models", "events.jsonl"}
    folder.create()  # again is no harm


def test_chunks_are_flat_numbered_files(tmp_path: Path) -> None:
    folder = new(tmp_path)
    for number, record in enumerate(PREDICTIONS[:3]):
        folder.write_table("predictions", prediction_table(record), number)
    folder.write_table("features", pa.table({"x": [1]}), 0)
    folder.write_table(CONTAINERS, chunk(BINNED[:2]), 0)
    folder.write_table(CONTAINERS, chunk(BINNED[2:]), 1)
    assert files(tmp_path) == [
        "containers/part-00000.arrow", "containers/part-00001.arrow", "events.jsonl",
        "features/part-00000.parquet", "predictions/part-00000.parquet", "predictions/part-00001.parquet",
        "predictions/part-00002.parquet",
    ]  # fmt: skip
    table = pq.read_table(tmp_path / "predictions")
    assert set(table["prediction_id"].to_pylist()) == {record.prediction_id for record in PREDICTIONS[:3]}


def test_sweeps_are_parts_until_the_run_has_ended_and_one_file_then(tmp_path: Path) -> None:
    folder = new(tmp_path)
    for number, record in enumerate(PREDICTIONS):
        folder.write_table(SWEEPS, sweep_table([(record, {})]), number)
    names = [record.prediction_id for record in PREDICTIONS]
    assert files(tmp_path)[1:] == [f"sweeps/part-{number:05d}.parquet" for number in range(len(names))]
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names
    folder.join_sweeps()
    assert files(tmp_path) == ["events.jsonl", "sweeps.parquet"]
    assert pq.read_table(tmp_path / "sweeps.parquet")["prediction_id"].to_pylist() == names
    folder.join_sweeps()
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names


def test_a_part_of_sweeps_leaves_those_before_alone(tmp_path: Path) -> None:
    """An archive never ends: writing it all again with each part takes more time and memory by the hour."""
    folder = new(tmp_path)
    folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[0], {})] * 20_000), 0)
    before = (tmp_path / "sweeps" / "part-00000.parquet").stat()
    folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[1], {})]), 1)
    after = (tmp_path / "sweeps" / "part-00000.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert count_sweeps(tmp_path) == 20_001


def test_sweeps_are_there_once_where_joining_them_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = with_sweeps(tmp_path, 3), [record.prediction_id for record in PREDICTIONS[:3]]

    def killed(path: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_folder.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.join_sweeps()
    assert len(sweep_files(tmp_path)) == 4
    assert count_sweeps(tmp_path) == 3
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names
    one = [("prediction_id", "=", names[1])]
    assert read_sweeps(tmp_path, ["stamp_ns"], one).to_pylist() == [{"stamp_ns": PREDICTIONS[1].stamp_ns}]
    with run_tables(tmp_path) as tables:
        assert tables.table("SELECT count(*) AS n FROM sweeps")["n"].tolist() == [3]
    folder.join_sweeps()
    assert pq.read_table(tmp_path / "sweeps.parquet")["prediction_id"].to_pylist() == names


def test_an_archive_with_one_file_of_sweeps_goes_on_in_parts(tmp_path: Path) -> None:
    """A worker that was killed before it was of this version writes the last chunk again, as a part."""
    with_sweeps(tmp_path, 3).join_sweeps()
    folder = new(tmp_path)
    for number in (2, 3):
        folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[number], {})]), number)
    names = [record.prediction_id for record in PREDICTIONS[:4]]
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names
    assert count_sweeps(tmp_path) == 4


def test_a_damaged_part_is_set_aside_and_not_joined(tmp_path: Path) -> None:
    folder, names = with_sweeps(tmp_path, 3), [record.prediction_id for record in PREDICTIONS[:3]]
    path = tmp_path / SWEEPS / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    folder.join_sweeps()
    assert pq.read_table(tmp_path / "sweeps.parquet")["prediction_id"].to_pylist() == [names[0], names[2]]
    assert (tmp_path / "quarantine" / SWEEPS / "part-00001.parquet.1").is_file()


def test_a_new_run_drops_the_sweeps_of_an_earlier_one(tmp_path: Path) -> None:
    with_sweeps(tmp_path, 3).join_sweeps()
    folder = with_sweeps(tmp_path, 4)
    folder.drop_sweeps()
    assert sweep_files(tmp_path) == []


def test_a_folder_with_an_equals_sign_adds_no_column(tmp_path: Path) -> None:
    folder = with_sweeps(tmp_path / "seed=1" / "stream_id=2", 2)
    assert read_sweeps(folder.path).schema.equals(SWEEP_SCHEMA)
    folder.join_sweeps()
    assert pq.read_schema(folder.path / "sweeps.parquet").equals(SWEEP_SCHEMA)


def test_parts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = new(tmp_path)
    for place, number in enumerate((99_999, 100_000)):
        folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[place], {})]), number)
        folder.write_table(CONTAINERS, chunk([BINNED[place]]), number)
    names = [record.prediction_id for record in PREDICTIONS[:2]]
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names
    assert [record.seq for record in folder.records("robot", 0, 2**62)] == [BINNED[0].seq, BINNED[1].seq]


def with_sweeps(path: Path, count: int) -> RunFolder:
    """A run that has so many parts of sweeps, one sweep each."""
    folder = new(path)
    for number, record in enumerate(PREDICTIONS[:count]):
        folder.write_table(SWEEPS, sweep_table([(record, {})]), number)
    return folder


def test_a_run_without_sweeps_says_which_file_is_missing(tmp_path: Path) -> None:
    new(tmp_path).join_sweeps()
    assert sweep_files(tmp_path) == []
    with pytest.raises(FileNotFoundError, match=r"sweeps\.parquet"):
        read_sweeps(tmp_path)


@pytest.mark.fault(39)
def test_a_new_process_goes_on_and_what_it_writes_again_changes_nothing(tmp_path: Path) -> None:
    first = new(tmp_path)
    for number, record in enumerate(PREDICTIONS[:3]):
        first.write_table("predictions", prediction_table(record), number)
        first.write_table(SWEEPS, sweep_table([(record, {})]), number)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    second = new(tmp_path)
    second.write_table("predictions", prediction_table(PREDICTIONS[2]), 2)
    second.write_table(SWEEPS, sweep_table([(PREDICTIONS[2], {})]), 2)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    second.write_table("predictions", prediction_table(PREDICTIONS[3]), 3)
    second.write_table(SWEEPS, sweep_table([(PREDICTIONS[3], {})]), 3)
    names = [record.prediction_id for record in PREDICTIONS[:4]]
    assert read_sweeps(tmp_path)["prediction_id"].to_pylist() == names
    assert set(pq.read_table(tmp_path / "predictions")["prediction_id"].to_pylist()) == set(names)


@pytest.mark.fault(40)
def test_page_checksums_verify_and_catch_a_flipped_bit(tmp_path: Path) -> None:
    folder = new(tmp_path)
    folder.write_table("predictions", prediction_table(PREDICTIONS[-1]), 0)
    path = tmp_path / "predictions" / "part-00000.parquet"
    whole = pq.read_table(path, page_checksum_verification=True)
    assert whole.equals(prediction_table(PREDICTIONS[-1]))
    data = bytearray(path.read_bytes())
    meta = pq.read_metadata(path).row_group(0).column(5)
    assert meta.path_in_schema == "cell_id"
    end = meta.data_page_offset + meta.total_compressed_size
    data[min(end, len(data)) - 40] ^= 4
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_events_are_one_json_object_a_line(tmp_path: Path) -> None:
    folder = new(tmp_path)
    events = [{"event": "a", "text": 'line\nbreak \u2028 "quote"'}, {"event": "b", "stamp_ns": 2**62}]
    for event in events:
        folder.append_event(event)
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == events
    with pytest.raises(ValueError, match="JSON"):
        folder.append_event({"loss": float("nan")})
    assert len((tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_records_come_back_in_fold_order_and_to_the_bit(tmp_path: Path) -> None:
    folder = new(tmp_path)
    folder.write_table(CONTAINERS, chunk(BINNED[:4]), 0)
    folder.write_table(CONTAINERS, chunk(BINNED[4:]), 1)
    found = list(folder.records("robot", 0, 2**62))
    assert plain(found) == plain(BINNED)
    some = folder.records("robot", stamp_of(2), 6)
    assert [record.seq for record in some] == [2, 3, 4, 5, 6]
    assert list(folder.records("nobody", 0, 2**62)) == []


def test_containers_are_read_without_copying(tmp_path: Path) -> None:
    folder = new(tmp_path)
    folder.write_table(CONTAINERS, chunk(BINNED), 0)
    with pa.memory_map(str(tmp_path / "containers" / "part-00000.arrow")) as source:
        before = pa.total_allocated_bytes()
        reader = ipc.open_file(source)
        arrays = [reader.get_batch(place).column("cell_id") for place in range(reader.num_record_batches)]
        assert len(arrays) == len(BINNED)  # one record batch a sweep
        assert pa.total_allocated_bytes() - before < sum(record.cell_id.nbytes for record in BINNED)
        assert np.array_equal(arrays[3][0].values.to_numpy(zero_copy_only=True), BINNED[3].cell_id)


@pytest.mark.fault(40)
def test_containers_of_another_version_are_refused_with_their_path(tmp_path: Path) -> None:
    folder = new(tmp_path)
    path = tmp_path / "containers" / "part-00000.arrow"
    schema = BINNED_SCHEMA.with_metadata({"octa.version": "99"})
    with ipc.new_file(str(path), schema) as writer:
        writer.write_batch(binned_to_batch(BINNED[0]).replace_schema_metadata(schema.metadata))
    with pytest.raises(ValueError, match=r"part-00000\.arrow: binned record version 99"):
        list(folder.records("robot", 0, 2**62))


def test_texts_and_json(tmp_path: Path) -> None:
    folder = new(tmp_path)
    path = folder.write_text("summary.json", '{"ä": 1}')
    assert path.read_text(encoding="utf-8") == '{"ä": 1}'
    assert folder.read_json("summary.json") == {"ä": 1}
    assert folder.models == tmp_path / "models"


# ---- trouble -------------------------------------------------------------------------------------------


@pytest.mark.fault(38)
@needs_full
@pytest.mark.parametrize("dataset", ["predictions", CONTAINERS, SWEEPS, "summary.json"])
def test_a_full_disk_is_an_error_and_leaves_no_half_file(tmp_path: Path, dataset: str) -> None:
    folder = new(tmp_path)
    target = {
        "predictions": "predictions/part-00000.parquet", CONTAINERS: "containers/part-00000.arrow",
        SWEEPS: "sweeps/part-00000.parquet", "summary.json": "summary.json",
    }[dataset]  # fmt: skip
    path = tmp_path / target
    path.with_name(f".{path.name}.tmp").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left on device") as caught:
        if dataset == "summary.json":
            folder.write_text(dataset, "x" * 100_000)
        elif dataset == SWEEPS:
            folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[0], {})]), 0)
        else:
            table = chunk(BINNED) if dataset == CONTAINERS else prediction_table(PREDICTIONS[0])
            folder.write_table(dataset, table, 0)
    assert caught.value.errno == errno.ENOSPC
    assert files(tmp_path) == ["events.jsonl"]


@pytest.mark.fault(38)
@needs_full
def test_events_on_a_full_disk_are_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "events.jsonl").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left on device"):
        folder.append_event({"event": "x"})


@pytest.mark.fault(39)
def test_a_failed_write_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new(tmp_path)
    folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[0], {})]), 0)
    path = tmp_path / "sweeps" / "part-00000.parquet"
    before = path.read_bytes()

    def half(path: Path, table: pa.Table) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "_write_parquet", half)
    with pytest.raises(OSError, match="No space left"):
        folder.write_table(SWEEPS, sweep_table([(PREDICTIONS[1], {})]), 0)
    assert path.read_bytes() == before
    assert files(tmp_path) == ["events.jsonl", "sweeps/part-00000.parquet"]
