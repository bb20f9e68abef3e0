"""Damaged files: flipped bits are found, the file is set aside, and made again to the byte if that can be."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.care.deletion import delete
from agents.care.receipt import Receipt
from agents.care.repair import beside
from agents.care.subject import Subject
from agents.cli import main
from agents.replay import ReplayOptions, replay
from stream.config import load_config
from stream.container_file import read_containers
from stream.damage import damage_of
from stream.run_folder import CONTAINERS
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.tables import TableError, prediction_table
from tests.agents.worlds import plain
from tests.stream.test_run_folder import BINNED, PREDICTIONS, chunk, new

CITY = "sim:city?sweeps=36&beams=32&azimuths=64"
FILES = ("predictions/part-00000.parquet", "outcomes/part-00001.parquet", "containers/part-00000.arrow")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two chunks."""
    return run_of(tmp_path_factory.mktemp("repair") / "run", "learn.enabled=false")


def run_of(out: Path, *overrides: str) -> Path:
    source = open_source(CITY, SourceOptions())
    replay([source], load_config(None, list(overrides)), out, ReplayOptions(report=False), lambda *_: None)
    return out


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "run")


def flip(path: Path) -> bytes:
    """Turn a bit over in the middle; returns what there was."""
    data = path.read_bytes()
    path.write_bytes(bytes([*data[: len(data) // 2], data[len(data) // 2] ^ 4, *data[len(data) // 2 + 1 :]]))
    return data


def events(run: Path, name: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


@pytest.mark.fault(40)
@pytest.mark.parametrize("dataset", ["predictions", CONTAINERS])
def test_every_flipped_bit_is_found_or_changes_no_value(tmp_path: Path, dataset: str) -> None:
    folder = new(tmp_path)
    table = chunk(BINNED[:3]) if dataset == CONTAINERS else prediction_table(PREDICTIONS[-1])
    folder.write_table(dataset, table, 0)
    [path] = (tmp_path / dataset).iterdir()
    data = path.read_bytes()
    assert damage_of(path) == ""
    whole = plain(list(read_containers(path))) if dataset == CONTAINERS else pq.read_table(path)
    found, rng = 0, random.Random(40)
    for _ in range(60):
        bit = rng.randrange(8 * len(data))
        other = bytearray(data)
        other[bit // 8] ^= 1 << bit % 8
        path.write_bytes(other)
        if damage_of(path):
            found += 1
        elif dataset == CONTAINERS:
            assert plain(list(read_containers(path))) == whole
        else:
            assert pq.read_table(path).equals(whole)
    assert found > 30
    path.write_bytes(data[: len(data) // 2])
    assert damage_of(path)


@pytest.mark.fault(40)
def test_a_container_with_a_flipped_bit_is_not_read(tmp_path: Path) -> None:
    folder = new(tmp_path)
    folder.write_table(CONTAINERS, chunk(BINNED[:2]), 0)
    flip(tmp_path / CONTAINERS / "part-00000.arrow")
    with pytest.raises(TableError, match=r"part-00000\.arrow: damaged"):
        list(folder.records("robot", 0, 2**62))


@pytest.mark.fault(40)
def test_damaged_files_of_a_run_are_set_aside_and_made_again_of_its_log(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: flip(run / name) for name in FILES}
    torn = run / "sweeps.parquet"
    torn.write_bytes(torn.read_bytes()[:-9])
    damaged = {name: (run / name).read_bytes() for name in FILES}

    assert main(["data", "repair", str(run), "--dry-run"]) == 1
    assert f"{run}: 4 damaged files" in capsys.readouterr().out
    assert not (run / "quarantine").exists()

    assert main(["data", "repair", str(run), CITY]) == 0

    assert "4 damaged files set aside, 4 built again, 0 lost" in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in FILES} == before
    assert pq.read_table(torn).num_rows == 36
    aside = run / "quarantine"
    assert {name: (aside / f"{name}.1").read_bytes() for name in FILES} == damaged
    note = json.loads((aside / f"{FILES[0]}.1.json").read_text())
    assert note["file"] == FILES[0] and "CRC" in note["reason"] and note["rebuilt"]
    assert {event["file"] for event in events(run, "quarantined")} == {*FILES, "sweeps.parquet"}
    assert {event["file"] for event in events(run, "rebuilt")} == {*FILES, "sweeps.parquet"}
    assert main(["data", "repair", str(run)]) == 0
    assert f"{run}: 0 damaged files" in capsys.readouterr().out


@pytest.mark.fault(40)
def test_what_cannot_be_made_again_is_said_to_be_lost_by_name(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run / FILES[0])
    assert main(["data", "repair", str(run)]) == 1
    assert f"{FILES[0]}: damaged" in (said := capsys.readouterr().out) and "lost: nothing to build it" in said
    assert not (run / FILES[0]).exists()

    assert main(["data", "repair", str(run), CITY.replace("36", "3")]) == 1
    assert "give another run (run_digest)" in capsys.readouterr().out
    assert not (run / FILES[0]).exists()


@pytest.mark.fault(40)
def test_deleted_rows_do_not_come_back_with_a_file_that_is_made_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (FILES[0], FILES[1]):
        flip(run / name)
    main(["data", "repair", str(run)])
    receipt = delete(run, Subject(begin_ns=0, end_ns=1), 1)  # of nothing that can be read
    assert {f"quarantine/{name}.1" for name in FILES[:2]} < {item.file for item in receipt.files}
    assert not [path for path in (run / "quarantine").rglob("*") if path.is_file()]

    flip(run / FILES[2])
    change = {"file": FILES[2], "rows": 1, "bytes_before": 1, "sha256_before": ""}
    values = {**json.loads(receipt.to_json()), "receipt": "earlier", "files": [change]}
    Receipt.from_json(json.dumps(values)).write(run)
    capsys.readouterr()
    assert main(["data", "repair", str(run), CITY]) == 1
    assert "building it again would bring them back" in capsys.readouterr().out
    assert not (run / FILES[2]).exists()


@pytest.mark.fault(40)
def test_what_a_killed_repair_left_is_no_hindrance_and_goes_with_a_deletion(run: Path) -> None:
    left = shutil.copytree(run, beside(run))
    delete(run, Subject(robot_id="nobody"), 1)
    assert not left.exists()
    shutil.copytree(run, left)
    flip(run / FILES[0])
    assert main(["data", "repair", str(run), CITY]) == 0
    assert (run / FILES[0]).exists() and not left.exists()


@pytest.mark.fault(40)
def test_a_part_of_sweeps_that_was_damaged_before_they_were_joined_is_made_again(run: Path) -> None:
    whole = run / "sweeps.parquet"
    rows = pq.read_table(whole)
    pq.write_table(rows.slice(32), whole)
    (run / "sweeps").mkdir()
    (run / "sweeps" / "part-00000.parquet").write_bytes(b"PAR1 torn")
    assert main(["data", "repair", str(run), CITY]) == 0
    found = pq.read_table(whole)
    assert found["prediction_id"].to_pylist() == rows["prediction_id"].to_pylist()
    assert found["feature_digest"].to_pylist() == rows["feature_digest"].to_pylist()
    assert {event["file"] for event in events(run, "rebuilt")} == {"sweeps/part-00000.parquet"}


def test_a_run_into_the_folder_of_another_has_the_sweeps_of_its_own_only(run: Path) -> None:
    run_of(run, "learn.enabled=false")
    assert pq.read_table(run / "sweeps.parquet").num_rows == 36


@pytest.mark.fault(40)
@pytest.mark.learn
@pytest.mark.long
@pytest.mark.slow
def test_files_of_a_run_that_learnt_follow_its_models_and_shadows_learn_again(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    before = {name: flip(run / name) for name in FILES}
    assert main(["data", "repair", str(run), CITY]) == 0  # by the models that it activated
    assert {name: (run / name).read_bytes() for name in FILES} == before
    shadows = flip(run / "shadows" / "part-00000.parquet")
    assert main(["data", "repair", str(run), CITY]) == 0  # learning once more
    assert (run / "shadows" / "part-00000.parquet").read_bytes() == shadows
