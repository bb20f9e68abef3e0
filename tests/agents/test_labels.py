"""``octastream label``: from the queue over a form to labels that stand, and the truth of a simulated log."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.archive import Archive
from agents.cli import main
from agents.labels.give import give_file
from agents.labels.queue import opened_queue
from agents.outfolder import claim
from agents.protocol import WriteTable
from agents.report.source import ReportError
from native.index64 import to_text
from stream.labels import read_labels
from stream.records import LabelGiven
from stream.tables import LABEL_SCHEMA
from tests.agents.run_folder import RunSpec, encode, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", RunSpec(sweeps=40, cells=500, warmup=10))


def form_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fill(path: Path, label: str, rows: int | None = None) -> None:
    """Write a label into the first rows of a form."""
    form = form_of(path)
    for row in form[:rows]:
        row["label"] = label
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, form[0])
        out.writeheader()
        out.writerows(form)


def test_a_form_is_filled_in_and_given(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["label", "list", str(run), "--count", "3"]) == 0
    shown = capsys.readouterr().out
    with opened_queue(run, 3) as queue:
        chosen = queue.requests[0]
        cells = queue.cells(chosen.region)
    assert to_text(chosen.region.region) in shown
    assert chosen.reason in shown
    form = tmp_path / "form.csv"
    assert main(["label", "show", str(run), "1", "--count", "3", "--out", str(form)]) == 0
    assert [row["cell_id"] for row in form_of(form)] == [to_text(int(cell)) for cell in cells.cell_id]
    fill(form, "tree", rows=len(cells.cell_id) - 1)
    assert main(["label", "give", str(run), str(form), "--author", "ann"]) == 0
    assert "1 rows say nothing" in capsys.readouterr().out
    labels = read_labels(run)
    assert labels.counts() == {"tree": len(cells.cell_id) - 1}
    with opened_queue(run, 100) as queue:
        assert chosen.region.region not in [r.region.region for r in queue.requests]
        assert queue.standings[chosen.region.region].labelled == len(cells.cell_id) - 1


def test_a_file_that_is_given_twice_changes_nothing(run: Path, tmp_path: Path) -> None:
    with opened_queue(run, 1) as queue:
        cell = to_text(int(queue.cells(queue.requests[0].region).cell_id[0]))
    path = tmp_path / "a.csv"
    path.write_text(f"cell_id,label\n{cell},car\n")
    first, again = give_file(run, path), give_file(run, path)
    assert (first.known, again.known) == (0, 1)
    assert again.labels.words == 1
    assert [p.name for p in (run / "labels").iterdir()] == ["part-00000.parquet"]


def test_the_last_word_stands_and_contradictions_show(run: Path, tmp_path: Path, capsys) -> None:
    with opened_queue(run, 1) as queue:
        region = queue.requests[0].region
        cell = to_text(int(queue.cells(region).cell_id[0]))
    for author, label, stamp in (("ann", "car", 100), ("bob", "tree", 200), ("ann", "wall", 50)):
        path = tmp_path / f"{author}-{stamp}.csv"
        path.write_text(f"cell_id,label,author,stamp_ns\n{cell},{label},{author},{stamp}\n")
        assert main(["label", "give", str(run), str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.endswith("of 3 in all 0 repeat, 1 correct their author, 1 contradict another")
    labels = read_labels(run)
    assert [labels.classes[code] for code in labels.code] == ["tree"]
    with opened_queue(run, 50) as queue:
        assert queue.standings[region.region].contradicted == 1


def test_the_age_of_a_file_is_when_its_words_were_said(run: Path, tmp_path: Path) -> None:
    cell = to_text(int(encode(np.array([[900, 900, 900]]))[0]))
    for name, label, age in (("new", "car", 2_000), ("old", "tree", 1_000)):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"cell_id,label\n{cell},{label}\n")
        os.utime(path, (age, age))
        given = give_file(run, path)
    assert given.elsewhere == 1
    assert given.labels.counts() == {"car": 1, "tree": 0}


def test_labels_of_an_archive_are_sent_and_not_given(run: Path, tmp_path: Path) -> None:
    """Archive numbers its files by itself: the next label that is sent would replace those given."""
    archive = shutil.copytree(run, tmp_path / "archive" / "000")
    (archive / "config.yaml").unlink()
    file = tmp_path / "labels.jsonl"
    file.touch()
    with pytest.raises(ReportError, match=r"has no config\.yaml, as an archive of workers; .*label send"):
        give_file(archive, file)


def test_what_cannot_be_given_leaves_no_trace(run: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a.csv"
    path.write_text("cell_id,label\nhouse,car\n")
    assert main(["label", "give", str(run), str(path)]) == 1
    assert "row 1: cell_id: 'house'" in capsys.readouterr().err
    assert not (run / "labels").exists()
    assert main(["label", "show", str(run), "house"]) == 1
    assert "neither a place in the queue nor an id" in capsys.readouterr().err
    far = to_text(int(encode(np.array([[900, 900, 900]]), lod=3)[0]))
    assert main(["label", "show", str(run), far]) == 1
    assert "has no forecast in this run" in capsys.readouterr().err


def test_a_new_run_does_not_take_the_place_of_labels(run: Path, tmp_path: Path) -> None:
    cell = to_text(int(encode(np.array([[0, 0, 0]]))[0]))
    (tmp_path / "a.csv").write_text(f"cell_id,label\n{cell},car\n")
    give_file(run, tmp_path / "a.csv")
    (run / "errors.html").write_text("a page")
    with pytest.raises(FileExistsError, match="holds labels that people gave"):
        claim(run, force=True)
    (run / "labels" / "part-00000.parquet").unlink()
    claim(run, force=True)
    assert list(run.iterdir()) == []


def test_archive_keeps_words_from_the_topic_at_once() -> None:
    archive, cells = Archive(), encode(np.array([[0, 0, 0]]))
    for place, label in enumerate(("car", "tree")):
        word = LabelGiven(
            robot_id="r", stamp_ns=place, author="ann", label=label, at_ns=0, weight=1.0, cell_id=cells
        )
        (effect,) = archive.handle(word).effects
        assert isinstance(effect, WriteTable)
        assert (effect.dataset, effect.chunk) == ("labels", place)
        assert effect.table.schema == LABEL_SCHEMA
        assert effect.table["label"].to_pylist() == [label]
        archive.restore(archive.snapshot())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "run"
    log = "sim:yard?sweeps=12&beams=32&azimuths=256&seed=3&events=popup@6"
    assert main(["replay", log, "--out", str(out), "--no-learn", "--set", "task.warmup_sweeps=2"]) == 0
    return out


def test_a_simulated_log_tells_the_truth(simulated: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "truth.parquet"
    assert main(["label", "truth", str(simulated), "--out", str(out), "--every", "3"]) == 0
    words = pq.read_table(out)
    stamps = set(pq.read_table(simulated / "sweeps.parquet")["stamp_ns"].to_pylist())
    assert set(words["at_ns"].to_pylist()) <= stamps
    assert main(["label", "give", str(simulated), str(out)]) == 0
    labels = read_labels(simulated)
    counts = labels.counts()
    assert counts["ground"] > 300
    assert 5 < counts["popup"] < 400
    forecast = set()
    for path in (simulated / "predictions").glob("*.parquet"):
        forecast |= set(pq.read_table(path)["cell_id"].to_pylist())
    near = [cell in forecast for cell in labels.cell_id.tolist()]
    assert np.mean(near) > 0.5, "labels name the very cells that are forecast"


def test_only_a_simulated_log_can_tell(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["label", "truth", str(run), "--out", str(tmp_path / "a.parquet")]) == 1
    assert "only one simulated log tells what is there" in capsys.readouterr().err
