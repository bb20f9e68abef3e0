"""Words on cells: the last one stands, contradictions are counted, files are read or refused by row."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.index64 import to_text
from stream.label_files import Defaults, LabelFileError, read_label_file
from stream.labels import merge_labels, read_labels
from stream.records import LabelGiven
from stream.tables import LABEL_SCHEMA, TableError, label_table
from tests.agents.run_folder import encode

CELLS = np.sort(encode(np.array([[0, 0, 0], [2, 0, 0], [1, 1, 1], [4, 2, 0]])))
DEFAULTS = Defaults(robot_id="r", author="file", stamp_ns=50)

words = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["car", "tree", "wall"]), st.integers(0, 3),
        st.sampled_from(["ann", "bob"]), st.sampled_from([0, 7]), st.sampled_from([1.0, 2.0]),
    ),
    max_size=14,
)  # fmt: skip


def table_of(rows):
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in LABEL_SCHEMA]
    cells = [int(CELLS[i]) for i in columns[0]]
    return pa.table(dict(zip(LABEL_SCHEMA.names, [cells, *columns[1:]], strict=True)), schema=LABEL_SCHEMA)


def by_hand(rows):
    """The words on every cell in order, without those that are there twice."""
    found = {}
    for cell, label, stamp, author, at, weight in sorted(set(rows), key=lambda w: (w[2], w[3], w[1], w[5])):
        found.setdefault((int(CELLS[cell]), at), []).append((label, author, weight, stamp))
    return found


@settings(deadline=None, max_examples=150)
@given(words, st.randoms())
def test_the_last_word_stands_in_whatever_order_words_come(rows, random):
    shuffled = random.sample(rows, len(rows))
    labels, told = merge_labels(table_of(shuffled)), by_hand(rows)
    keys = list(zip(labels.cell_id.tolist(), labels.at_ns.tolist(), strict=True))
    assert keys == sorted(told)
    for i, key in enumerate(keys):
        label, _, weight, _ = told[key][-1]
        assert (labels.classes[labels.code[i]], labels.weight[i]) == (label, weight)
    pairs = [pair for said in told.values() for pair in pairwise(said)]
    assert labels.corrected == sum(a[0] != b[0] and a[1] == b[1] for a, b in pairs)
    assert labels.contradictions == sum(a[0] != b[0] and a[1] != b[1] for a, b in pairs)
    odd = [any(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(told[key])) for key in keys]
    assert labels.contradicted.tolist() == odd
    assert labels.words == len(rows)
    assert labels.words == labels.repeated + labels.corrected + labels.contradictions + len(labels)
    assert sum(labels.counts().values()) == len(labels)


def test_a_word_about_a_sweep_counts_before_one_about_any():
    labels = merge_labels(table_of([(0, "wall", 1, "ann", 0, 1.0), (0, "car", 1, "ann", 7, 2.0)]))
    cells = CELLS[[0, 1]]
    for at, name, weight in ((7, "car", 2.0), (8, "wall", 1.0), (0, "wall", 1.0)):
        code, found = labels.of_cells(cells, at)
        assert labels.classes[code[0]] == name
        assert (code[1], found.tolist()) == (-1, [weight, 0.0])
    code, _ = merge_labels(table_of([])).of_cells(cells, 7)
    assert code.tolist() == [-1, -1]


def rows_of(path: Path):
    given, empty = read_label_file(path, DEFAULTS, 7)
    found = pa.concat_tables([LABEL_SCHEMA.empty_table(), *map(label_table, given)]).to_pylist()
    return sorted(tuple(row.values()) for row in found), empty


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        names = list(rows[0])
        lines = [",".join(names), *(",".join(str(row.get(n, "")) for n in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_files_of_every_kind_say_the_same(tmp_path: Path, suffix: str) -> None:
    text = [to_text(int(cell)) for cell in CELLS]
    path = write(
        tmp_path / f"labels.{suffix}",
        [
            {"cell_id": text[0], "label": "car", "stamp_ns": "9", "author": "ann", "at_ns": "7", "x": "1.5"},
            {"cell_id": str(CELLS[1]), "label": " tree ", "stamp_ns": "", "author": "", "at_ns": "", "x": ""},
            {"cell_id": hex(int(CELLS[2])), "label": "", "stamp_ns": "", "author": "", "at_ns": "", "x": ""},
            {"cell_id": text[3], "label": "tree", "stamp_ns": "", "author": "", "at_ns": "", "x": ""},
        ],
    )
    rows, empty = rows_of(path)
    assert empty == 1
    assert rows == sorted(
        [
            (int(CELLS[0]), "car", 9, "ann", 7, 1.0),
            (int(CELLS[1]), "tree", 50, "file", 0, 1.0),
            (int(CELLS[3]), "tree", 50, "file", 0, 1.0),
        ]
    )


def test_numbers_in_parquet_and_json_are_taken_as_they_are(tmp_path: Path) -> None:
    table = pa.table({"cell_id": CELLS, "label": ["a"] * 4, "weight": [2.5] * 4, "stamp_ns": [3] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    rows, _ = rows_of(tmp_path / "a.parquet")
    assert rows == [(int(cell), "a", 3, "file", 0, 2.5) for cell in CELLS]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"cell_id": int(CELLS[0]), "label": "a", "weight": 2}))
    assert rows_of(path)[0] == [(int(CELLS[0]), "a", 50, "file", 0, 2.0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "cell_id,label\nhouse,car\n", "row 1: cell_id: 'house' is neither a number nor"),
        ("a.csv", "cell,label\n1,car\n", "has no column cell_id; columns are cell, label"),
        ("a.csv", f"cell_id,label,weight\n{CELLS[0]},car,-1\n", "row 1: weight: '-1' must be a number > 0"),
        ("a.csv", f"cell_id,label,weight\n{CELLS[0]},car,much\n", "row 1: could not convert"),
        ("a.csv", f"cell_id,label,stamp_ns\n{CELLS[0]},car,now\n", "row 1: stamp_ns: 'now' must be a whole"),
        ("a.csv", f"cell_id,label,at_ns\n{CELLS[0]},car,{2**63}\n", "at_ns: '9223372036854775808' must be 0"),
        ("a.csv", f"cell_id,label\n{2**64},car\n", "must be 0..2^64 - 1"),
        ("a.csv", "cell_id,label\n12,car\n", "cell_id: of label 'car'"),
        ("a.csv", "", "cannot be read"),
        ("a.jsonl", "{nothing\n", "line 1: no JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected an object, got list"),
        ("a.jsonl", '{"cell_id": 1}\n', "has no column label"),
        ("a.parquet", "no parquet", "cannot be read"),
        pytest.param("a.jsonl", "[" * 100_000, "line 1: no JSON", id="deep"),
        ("a.txt", "cell_id,label\n", "is not read; give a file that ends in .csv, .parquet or .jsonl"),
    ],
)
def test_what_is_no_label_is_refused_by_row(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(LabelFileError, match=re.escape(message)):
        read_label_file(path, DEFAULTS, 7)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_bytes_that_are_no_text_are_refused(name: str, tmp_path: Path) -> None:
    """Found by fuzzing: the errors were those of the libraries."""
    path = tmp_path / name
    path.write_bytes(b'cell_id,label\n1,"\xff\xfe"\n')
    with pytest.raises(LabelFileError, match=re.escape(str(path))):
        read_label_file(path, DEFAULTS, 7)


def test_cells_of_another_level_are_refused(tmp_path: Path) -> None:
    coarse = encode(np.array([[0, 0, 0]]), lod=6)
    path = write(tmp_path / "a.csv", [{"cell_id": int(coarse[0]), "label": "car"}])
    with pytest.raises(LabelFileError, match="LOD 6, the run's cells are of LOD 7"):
        read_label_file(path, DEFAULTS, 7)
    given, _ = read_label_file(path, DEFAULTS, None)
    assert given[0].cell_id.tolist() == coarse.tolist()


def test_labels_of_a_run_are_all_its_chunks(tmp_path: Path) -> None:
    assert len(read_labels(tmp_path)) == 0
    (tmp_path / "labels").mkdir()
    for place, label in enumerate(("car", "tree")):
        word = LabelGiven(
            robot_id="r", stamp_ns=place, author="ann", label=label, at_ns=0, weight=1.0, cell_id=CELLS[:2]
        )
        pq.write_table(label_table(word), tmp_path / "labels" / f"part-{place:05d}.parquet")
    assert read_labels(tmp_path).counts() == {"car": 0, "tree": 2}
    (tmp_path / "labels" / "part-00002.parquet").write_text("not this")
    with pytest.raises(TableError, match=r"part-00002.parquet: not a file of labels"):
        read_labels(tmp_path)
