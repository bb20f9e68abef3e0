"""Data care: a run of a recorded log as two robots, one of which is deleted; pruning by age and share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from agents.care import deletion
from agents.care.deletion import delete, plan
from agents.care.inventory import Kept, kept_in, unfinished
from agents.care.models import MARK, models_that_saw
from agents.care.receipt import Receipt, receipts_in, sha256_of_file
from agents.care.retention import prune
from agents.care.subject import CareError, Subject, iso_of, parse_time
from agents.cli import main
from agents.explain import ExplainError, explain
from agents.options import LogOptions
from agents.outfolder import claim
from agents.replay import ReplayOptions, replay
from models.canary import CanaryRecord
from models.manifest import (
    FeatureSchemaId,
    Manifest,
    SourceRange,
    TrainingRange,
    model_id_of,
    sha256_of,
)
from models.registry import ModelRegistry
from stream.config import ArchiveConfig, ConfigError, load_config
from stream.run_folder import RunFolder
from stream.sources.base import Item, Source, SourceInfo
from stream.sweep import Sweep
from tests.agents.loops import loop_of
from tests.agents.worlds import config_of, drive
from tests.data import data_path

GONE, STAYS = "kestrel-7", "plover-3"
SWEEPS = 4
NOW_NS = parse_time("now", "2026-05-01T10:30")


class Beginning:
    """The first sweeps of a log, with the transforms among them."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def info(self) -> SourceInfo:
        return self._source.info()

    def __iter__(self) -> Iterator[Item]:
        left = SWEEPS
        for item in self._source:
            left -= isinstance(item, Sweep)
            if left < 0:
                return
            yield item


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a recorded log as two robots, in one file of each dataset, with a model trained on both."""
    path = str(data_path("kitti_0005_000-053.mcap"))
    out = tmp_path_factory.mktemp("care") / "run"
    config = load_config(None, ["learn.enabled=false", "task.warmup_sweeps=1", "log_features=0.05"])
    sources = [Beginning(LogOptions(robot=robot).open(path)) for robot in (GONE, STAYS)]
    replay(sources, config, out, ReplayOptions(), lambda *_: None)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("logs:\n- ", f"logs:\n- {GONE}.mcap\n- ", 1))
    return out


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it, without the report, which takes a while to make again."""
    return shutil.copytree(recorded, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))


def texts_of(path: Path) -> Iterator[str]:
    """Everything that a file says: strings of Parquet and Arrow are decoded, all else is read as it is."""
    yield path.read_bytes().decode("latin-1")
    table = None
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield str(pq.read_metadata(path).to_dict())
    elif path.suffix == ".arrow":
        table = ipc.open_file(path.read_bytes()).read_all()
    for name in table.column_names if table is not None else []:
        if pa.types.is_string(table.schema.field(name).type):
            yield from table[name].unique().to_pylist()


def naming(folder: Path, robot: str) -> list[str]:
    """Files that name a robot anywhere."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files
            if robot in path.name or any(robot in text for text in texts_of(path))]  # fmt: skip


def rows_by_robot(kept: list[Kept], robot: str) -> dict[str, int]:
    return {item.dataset: item.rows for item in kept if item.robot_id == robot}


def contents(folder: Path, robot: str) -> dict[str, Any]:
    """Rows of a robot by dataset, as plain values; and its folded records."""
    found: dict[str, Any] = {}
    for dataset in ("predictions", "shadows", "outcomes", "features"):
        tables = [pq.read_table(path) for path in sorted((folder / dataset).glob("*.parquet"))]
        table = pa.concat_tables(tables) if tables else pa.table({"prediction_id": pa.array([], pa.string())})
        own = [str(name).startswith(f"{robot}/") for name in table["prediction_id"].to_pylist()]
        found[dataset] = table.filter(pa.array(own, pa.bool_()))
    records = list(RunFolder(folder).records(robot, 0, 2**62))
    found["containers"] = [
        (record.seq, record.cell_id.tobytes(), record.sums.tobytes()) for record in records
    ]
    return found


# ---- a robot -------------------------------------------------------------------------------------------


def test_a_robot_is_deleted_from_every_file_and_the_other_one_stays_bit_for_bit(
    recorded: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(recorded, tmp_path / "run")
    every = naming(run, GONE)
    assert {path.split("/")[0] for path in every} >= {
        "config.yaml", "containers", "events.jsonl", "features", "outcomes", "predictions", "report.html",
        "shadows", "sweeps.parquet",
    }  # fmt: skip
    before, other = rows_by_robot(kept_in(run), GONE), contents(run, STAYS)
    hashes = {path: sha256_of_file(run / path) for path in every}

    receipt = delete(run, Subject(robot_id=GONE), NOW_NS)

    assert naming(run, GONE) == []
    assert contents(run, STAYS) == other
    assert receipt.done
    assert receipt.rows == sum(before.values()) > 10_000
    assert {item.file: item.sha256_before for item in receipt.files} | hashes == {
        item.file: item.sha256_before for item in receipt.files
    }
    for item in receipt.files:
        assert (
            item.sha256_after
            == hashlib.sha256((run / item.file).read_bytes()).hexdigest()
            != item.sha256_before
        )
        assert item.bytes_after == (run / item.file).stat().st_size
    stamps = [record.stamp_ns for record in RunFolder(run).records(STAYS, 0, 2**62)]
    assert (receipt.first_ns, receipt.last_ns) == (min(stamps), max(stamps)), "both drove the same log"
    assert list(receipts_in(run)) == [receipt]


def test_a_second_deletion_finds_nothing_and_changes_nothing(run: Path) -> None:
    delete(run, Subject(robot_id=GONE), NOW_NS)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = delete(run, Subject(robot_id=GONE), NOW_NS)
    assert (again.rows, list(again.files), again.done) == (0, [], True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


def test_a_plan_changes_nothing_and_says_what_a_deletion_does(run: Path) -> None:
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    planned = plan(run, Subject(robot_id=GONE), NOW_NS)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files
    done = delete(run, Subject(robot_id=GONE), NOW_NS)
    assert not planned.done
    assert [(item.file, item.rows, item.sha256_before) for item in planned.files] == [
        (item.file, item.rows, item.sha256_before) for item in done.files
    ]


class Cut(BaseException):
    """The power goes."""


@pytest.mark.parametrize("calls", [0, 3, 6, 8])
def test_a_deletion_that_is_cut_off_is_finished_with_the_same_receipt(
    calls: int, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = delete(shutil.copytree(run, run.with_name("whole")), Subject(robot_id=GONE), NOW_NS)
    left = calls

    def cut(step: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Cut
            left -= 1
            return step(*arguments)

        return call

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(deletion, "drop_rows", cut(deletion.drop_rows))
        for name in ("rewrite_events", "mark_reduced", "rebuild_report"):
            patch.setattr(deletion.small_files, name, cut(getattr(deletion.small_files, name)))
        delete(run, Subject(robot_id=GONE), NOW_NS)
    [begun] = unfinished(run)
    receipt = delete(run, Subject(robot_id=GONE), NOW_NS + 1)
    assert naming(run, GONE) == []
    assert unfinished(run) == []
    assert (receipt.receipt, receipt.at, receipt.rows) == (begun.receipt, begun.at, whole.rows)
    data = [item for item in receipt.files if item.rows and item.file != "events.jsonl"]
    assert data == [item for item in whole.files if item.rows and item.file != "events.jsonl"]
    marks = json.loads((run / "summary.json").read_text())["reduced"]
    assert [mark["receipt"] for mark in marks] == [receipt.receipt]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["receipt"] for event in events if event["event"] == "deleted"] == [receipt.receipt]


def test_a_page_of_the_error_map_goes_and_labels_stay(run: Path) -> None:
    (run / "errors.html").write_text("a page")
    (run / "labels").mkdir()
    (run / "labels" / "part-00000.parquet").write_bytes(b"words")
    receipt = delete(run, Subject(robot_id=GONE), NOW_NS)
    assert not (run / "errors.html").exists()
    assert [item.removed for item in receipt.files if item.file == "errors.html"] == [True]
    assert (run / "labels" / "part-00000.parquet").read_bytes() == b"words"


def test_the_only_robot_leaves_an_empty_run_that_can_be_read(run: Path) -> None:
    for robot in (GONE, STAYS):
        delete(run, Subject(robot_id=robot), NOW_NS)
    assert kept_in(run) == []
    assert not list(run.rglob("part-*"))
    assert pq.read_table(run / "sweeps.parquet").num_rows == 0
    assert "kept" not in naming(run, STAYS)
    assert claim(run, force=True) == run, "and another run may take the folder"
    assert list(run.iterdir()) == []


# ---- a time --------------------------------------------------------------------------------------------


def stamps_of(run: Path, robot: str) -> list[int]:
    return [record.stamp_ns for record in RunFolder(run).records(robot, 0, 2**62)]


def test_a_time_of_a_robot_goes_with_the_outcomes_that_were_seen_in_it(run: Path) -> None:
    stamps, other = stamps_of(run, GONE), contents(run, STAYS)
    subject = Subject(robot_id=GONE, begin_ns=stamps[2], end_ns=stamps[3])
    receipt = delete(run, subject, NOW_NS)
    assert stamps_of(run, GONE) == [stamps[0], stamps[1], stamps[3]]
    left = contents(run, GONE)
    assert stamps[2] not in left["outcomes"]["observed_stamp_ns"].to_pylist()
    for dataset in ("predictions", "shadows", "outcomes", "features"):
        ids = set(left[dataset]["prediction_id"].unique().to_pylist())
        assert all(int(name.rsplit("/", 1)[1]) != stamps[2] for name in ids)
    assert contents(run, STAYS) == other
    assert [item.what for item in receipt.left] == ["1 forecasts right after the span"]


def test_a_time_of_all_robots(run: Path) -> None:
    stamps = stamps_of(run, GONE)
    delete(run, Subject(end_ns=stamps[2]), NOW_NS)
    assert stamps_of(run, GONE) == stamps_of(run, STAYS) == stamps[2:]


# ---- who asks later ------------------------------------------------------------------------------------


def test_explain_says_that_a_prediction_was_deleted(run: Path) -> None:
    stamps = stamps_of(run, GONE)
    stream = pq.read_table(run / "sweeps.parquet")["stream_id"][0].as_py()
    other = stream.replace(GONE, STAYS)
    receipt = delete(run, Subject(robot_id=GONE), NOW_NS)
    with pytest.raises(ExplainError, match=rf"was deleted on {receipt.at} \(by request\); see deletions/"):
        explain(run, f"{stream}/{stamps[1]}")
    assert explain(run, f"{other}/{stamps[3]}").matches
    with pytest.raises(ExplainError, match="not in this run"):
        explain(run, f"albatross/x/{stamps[1]}")


def test_explain_says_that_part_of_a_window_was_deleted(run: Path) -> None:
    stamps = stamps_of(run, GONE)
    stream = pq.read_table(run / "sweeps.parquet")["stream_id"][0].as_py()
    delete(run, Subject(robot_id=GONE, begin_ns=stamps[1], end_ns=stamps[2]), NOW_NS)
    with pytest.raises(ExplainError, match="part of its window was deleted"):
        explain(run, f"{stream}/{stamps[3]}")


def test_a_receipt_is_read_as_it_was_written_and_names_nobody(run: Path) -> None:
    receipt = delete(run, Subject(robot_id=GONE), NOW_NS)
    text = (run / "deletions" / f"{receipt.receipt}.json").read_text()
    assert GONE not in text
    assert Receipt.from_json(text) == receipt
    values = json.loads(text)
    salted = f"{values['about']['salt']}:{GONE}".encode()
    assert values["about"]["robot_sha256"] == hashlib.sha256(salted).hexdigest()
    assert values["event_time"] == [iso_of(values["first_ns"]), iso_of(values["last_ns"])]


@pytest.mark.fault(40)
def test_a_damaged_file_stops_a_deletion_before_anything_changes(run: Path) -> None:
    path = run / "outcomes" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CareError, match=r"outcomes/part-00000.parquet: cannot be read, so whose rows"):
        delete(run, Subject(robot_id=GONE), NOW_NS)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


# ---- models --------------------------------------------------------------------------------------------


def put_model(
    registry: ModelRegistry,
    name: str,
    first_ns: int,
    last_ns: int,
    parent_id: str = "",
    sources: tuple[SourceRange, ...] = (),
) -> str:
    """A file in the registry; it is never run here."""
    data = name.encode()
    registry.put(
        data,
        Manifest(
            model_id=model_id_of(data), sha256=sha256_of(data), architecture="a", lod=7, half_edge_m=0.4,
            map_frame="odom", feature_schema=FeatureSchemaId(name="f", version=1, hash="00"),
            feature_count=1, horizons_ns=(1,), parent_id=parent_id, kind="update",
            training=TrainingRange(first_stamp_ns=first_ns, last_stamp_ns=last_ns, steps=1, examples=1,
                                   sources=sources),
            canary=CanaryRecord(seed=0, rows=1, probability=(0.5,)),
        ),
    )  # fmt: skip
    return model_id_of(data)


def source(robot: str, first_ns: int, last_ns: int) -> SourceRange:
    return SourceRange(
        robot_id=robot, first_seq=0, last_seq=1, first_stamp_ns=first_ns, last_stamp_ns=last_ns, sweeps=2,
        digest="0" * 64,
    )  # fmt: skip


def test_a_trainer_that_went_on_in_another_process_has_seen_what_was_before(tmp_path: Path) -> None:
    """Its own examples are of stamps 50 to 60; its weights are of all that the sources name."""
    registry = ModelRegistry(tmp_path)
    resumed = put_model(registry, "m", 50, 60, sources=(source(GONE, 10, 60), source(STAYS, 30, 70)))
    spans = [(1, 9), (5, 10), (20, 25), (65, 70), (71, 80)]
    assert [models_that_saw(registry, *span) for span in spans] == [[], [resumed], [resumed], [resumed], []]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("mode", ["list", "mark", "remove"])
def test_models_that_may_have_learnt_from_the_data_are_found(mode: Any, again: bool, run: Path) -> None:
    """Also by a second call, that does what the first one's receipt advised."""
    stamps, registry = stamps_of(run, GONE), ModelRegistry(run / "models")
    early = put_model(registry, "early", 1, stamps[0] - 1)
    saw = put_model(registry, "saw", 1, stamps[1])
    child = put_model(registry, "child", stamps[-1] + 1, stamps[-1] + 2, parent_id=saw)
    champion = put_model(registry, "champion", stamps[0], stamps[3])
    registry.set_champion(champion)

    receipt = delete(run, Subject(robot_id=GONE), NOW_NS, "list" if again else mode)
    if again and mode != "list":
        assert set(receipt.models.values()) == {"listed"}
        receipt = delete(run, Subject(robot_id=GONE), NOW_NS, mode)

    done = {"list": "listed", "mark": "marked", "remove": "removed"}[mode]
    serving = "marked: serves; set another champion first" if mode == "remove" else done
    assert receipt.models == {saw: done, child: done, champion: serving}
    whole = {early, champion} if mode == "remove" else {early, saw, child, champion}
    assert set(ModelRegistry(run / "models").list()) == whole
    marked = {path.parent.name for path in run.glob(f"models/*/{MARK}")}
    assert marked == {"list": set(), "mark": {saw, child, champion}, "remove": {champion}}[mode]
    assert ModelRegistry(run / "models").champion() == champion
    assert any("models in models/" in item.what for item in receipt.left)


def test_a_model_that_a_person_holds_is_marked_where_others_are_removed(run: Path) -> None:
    """Workers would not start again without it."""
    stamps, registry = stamps_of(run, GONE), ModelRegistry(run / "models")
    held = put_model(registry, "held", stamps[0], stamps[1])
    registry.keep(held)
    receipt = delete(run, Subject(robot_id=GONE), NOW_NS, "remove")
    assert receipt.models[held] == "marked: a person holds it; release it first"
    assert held in ModelRegistry(run / "models").list()


# ---- pruning -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two robots, one after the other and then both, in several chunks, as a worker writes them."""
    folder = tmp_path_factory.mktemp("archive")
    items = [*drive(40, robot_id=GONE), *drive(40, robot_id=STAYS)]
    items.sort(key=lambda item: getattr(item, "stamp_ns", 0))
    loop_of(config_of(), folder).run(items)
    assert len(list((folder / "predictions").iterdir())) == 3
    return folder


@pytest.fixture
def archive(archived: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archived, tmp_path / "archive")


def newest(path: Path) -> int:
    return int(np.max(np.asarray(pq.read_table(path)["stamp_ns"])))


def test_old_chunks_go_whole_by_the_stamps_in_them(archive: Path) -> None:
    chunks = sorted((archive / "predictions").iterdir())
    kept = {path: path.read_bytes() for path in chunks[1:]}
    now_ns = newest(chunks[1]) + 1_000_000_000  # the newest row of the second chunk is just not too old
    limits = ArchiveConfig(retain="1s")
    assert [item.rows for item in prune(archive, limits, now_ns, dry_run=True)] == [
        item.rows for item in prune(shutil.copytree(archive, archive.with_name("b")), limits, now_ns)
    ]
    [receipt] = prune(archive, limits, now_ns)
    assert {path: path.read_bytes() for path in sorted((archive / "predictions").iterdir())} == kept
    assert receipt.kind == "retention"
    assert all(item.removed for item in receipt.files)
    assert receipt.last_ns is not None
    assert receipt.last_ns < newest(chunks[1])
    event = json.loads((archive / "events.jsonl").read_text().splitlines()[-1])
    assert (event["event"], event["reason"], event["rows"]) == ("pruned", "retention", receipt.rows)
    assert prune(archive, limits, now_ns) == []


def bytes_of(folder: Path, robot: str) -> int:
    return sum(item.bytes for item in kept_in(folder)
               if item.robot_id == robot and item.dataset not in ("events", "sweeps"))  # fmt: skip


def test_a_robot_over_its_share_loses_its_oldest_data_and_nobody_else_any(archive: Path) -> None:
    stamps = stamps_of(archive, GONE)
    delete(archive, Subject(robot_id=STAYS, end_ns=stamps[25]), NOW_NS)  # so that it has less
    most = bytes_of(archive, GONE) * 2 // 3
    other = contents(archive, STAYS)
    assert 0 < bytes_of(archive, STAYS) < most
    [receipt] = prune(archive, ArchiveConfig(robot_bytes=most), NOW_NS)
    left = stamps_of(archive, GONE)
    assert bytes_of(archive, GONE) <= most
    assert 0 < len(left) < len(stamps)
    assert left == stamps[-len(left) :], "the oldest went"
    assert contents(archive, STAYS) == other
    assert receipt.kind == "quota"
    assert prune(archive, ArchiveConfig(robot_bytes=most), NOW_NS) == []


def test_a_call_does_a_bounded_piece_of_work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.care.retention.MAX_FILES", 2)
    limits = ArchiveConfig(retain="1s")
    files = len([path for path in archive.rglob("part-*") if path.parent.name != "sweeps"])
    calls = []
    while receipts := prune(archive, limits, NOW_NS):
        calls += [len(item.files) for item in receipts]
    assert sum(calls) == files
    assert max(calls) == 2


def test_a_call_that_is_cut_off_is_settled_by_the_next(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop, left = deletion.drop_rows, 3

    def cut(*arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise Cut
        left -= 1
        drop(*arguments)

    total = sum(item.rows for item in kept_in(archive) if item.dataset not in ("events", "sweeps"))
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr("agents.care.retention.drop_rows", cut)
        prune(archive, ArchiveConfig(retain="1s"), NOW_NS)
    prune(archive, ArchiveConfig(retain="1s"), NOW_NS)
    receipts = list(receipts_in(archive))
    assert 3 in [len(item.files) for item in receipts]
    assert all(item.done for item in receipts)
    assert sum(item.rows for item in receipts) == total


@pytest.mark.parametrize("retain", ["30", "d", "0d", "-1d", "1.5h", "30 d", "30days"])
def test_an_age_that_is_none_is_refused(retain: str) -> None:
    with pytest.raises(ConfigError, match=r"archive.retain: .* must be a whole number above 0 and d"):
        ArchiveConfig(retain=retain)


def test_ages_have_units() -> None:
    found = [ArchiveConfig(retain=text).retain_ns for text in ("2d", "3h", "4m", "5s")]
    assert found == [second * 10**9 for second in (172_800, 10_800, 240, 5)]
    assert load_config(None, ["archive.retain=30d"]).archive.retain_ns == 30 * 86_400 * 10**9
    with pytest.raises(ConfigError, match=r"archive.robot_bytes: 0 must be > 0"):
        dataclasses.replace(ArchiveConfig(), robot_bytes=0)


# ---- commands ------------------------------------------------------------------------------------------


def test_the_commands_show_delete_and_prune(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> str:
        assert main(["data", *arguments, str(run)]) == 0
        return capsys.readouterr().out

    assert GONE in shown("show")
    assert "would delete" in shown("delete", "--robot", GONE, "--dry-run")
    assert naming(run, GONE) != []
    text = shown("delete", "--robot", GONE)
    assert "receipt: " in text
    assert "nothing found" in shown("delete", "--robot", GONE)
    assert GONE not in shown("show")
    assert "older than archive.retain" in shown("prune", "--set", "archive.retain=1s")
    assert "nothing to prune" in shown("prune", "--set", "archive.retain=1s")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["delete", "RUN"], "nothing to delete is named: give --robot NAME, --from TIME or --to TIME"),
        (
            ["delete", "--robot", "a/b", "RUN"],
            "--robot 'a/b': must be the part of a stream id before",
        ),
        (["delete", "--from", "now", "RUN"], "--from 'now': must be a time, as 2026-05-01T10:30 (UTC)"),
        (["delete", "--from", "2000000000", "--to", "1000000000", "RUN"], "must be after --from 1970-01-01"),
        (
            ["delete", "--robot", "ant", "--snapshots", "RUN"],
            "--snapshots and --topics need --folder DIR",
        ),
        (["show"], "no place is named: give run folders, or workers' folder with --folder DIR"),
        (["show", "."], ".: holds no run; name a run folder"),
        (["show", "--folder", "nowhere"], "--folder nowhere: no such folder"),
        (["prune", "RUN"], "nothing to prune by: give --set archive.retain=30d"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str], words: str, archived: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["data", *(str(archived) if item == "RUN" else item for item in arguments)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("octastream: ")
    assert words in line


@pytest.mark.parametrize(
    ("text", "stamp_ns"),
    [
        ("1970-01-01T00:00:01", 10**9),
        ("1970-01-01T01:00:00.000001+01:00", 1000),
        ("1317042275000000000", 1317042275 * 10**9),
        ("20260501", 1777593600 * 10**9),
    ],
)
def test_times_are_read_in_utc_or_as_stamps(text: str, stamp_ns: int) -> None:
    assert parse_time("--from", text) == stamp_ns
