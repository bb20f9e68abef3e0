"""Archive: chunks of tables and lines of events, counts, and a digest that only the content decides."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.archive import CHUNK_SWEEPS, CROWD, Archive, Latency, RunDigest, event_of
from agents.protocol import WriteEvent, WriteTable
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    FeatureSample,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep_rows import read_sweeps
from stream.tables import TableError
from tests.agents.loops import Loop, loop_of
from tests.agents.worlds import config_of, drive, of_type, plain

CONFIG = config_of("log_features=0.2")
SWEEPS = 2 * CHUNK_SWEEPS + 5


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A drive of a little more than two chunks, with a clock that ticks."""
    ticks = iter(range(10**9))
    path = tmp_path_factory.mktemp("archive")
    return loop_of(CONFIG, path, clock=lambda: float(next(ticks))).run(drive(SWEEPS))


def tables(steps: list[Any]) -> list[WriteTable]:
    return [effect for step in steps for effect in step.effects if isinstance(effect, WriteTable)]


# ---- the run folder ------------------------------------------------------------------------------------


def test_datasets_are_flat_files_of_chunks(loop: Loop) -> None:
    for name in ("predictions", "shadows", "outcomes", "features"):
        entries = sorted((loop.folder.path / name).iterdir())
        assert [entry.name for entry in entries] == [f"part-{place:05d}.parquet" for place in range(3)]
        assert all(entry.is_file() for entry in entries)
    containers = sorted((loop.folder.path / "containers").iterdir())
    assert [entry.name for entry in containers] == [f"part-{place:05d}.arrow" for place in range(3)]


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_every_file_passes_its_checksums_and_holds_every_record_once(jitter: float, tmp_path: Path) -> None:
    """Where stamps jitter, one sweep often decides two predictions at one horizon."""
    loop = loop_of(CONFIG, tmp_path).run(drive(SWEEPS, jitter=jitter))
    made = loop.perceive.outputs(Prediction)
    expected = {
        "predictions": [(p.prediction_id, h, int(c)) for p in made for h in p.horizons_ns for c in p.cell_id],
        "outcomes": [
            (o.prediction_id, o.horizon_ns, int(c)) for o in loop.judge.outputs(Outcome) for c in o.cell_id
        ],
        "shadows": [(s.prediction_id, 0, int(c)) for s in loop.learn.outputs(Shadow) for c in s.cell_id],
    }
    for name, keys in expected.items():
        files = sorted((loop.folder.path / name).glob("*.parquet"))
        table = pa.concat_tables([pq.read_table(path, page_checksum_verification=True) for path in files])
        horizon = table["horizon_ns"] if "horizon_ns" in table.column_names else [0] * len(table)
        rows = list(zip(table["prediction_id"].to_pylist(), list(map(int, _plain(horizon))),
                        table["cell_id"].to_pylist(), strict=True))  # fmt: skip
        assert sorted(rows) == sorted(keys)
        assert len(set(rows)) == len(rows)


def _plain(column: Any) -> list[int]:
    return column.to_pylist() if hasattr(column, "to_pylist") else list(column)


def test_every_prediction_has_a_sweep_row_with_its_latency(loop: Loop) -> None:
    table = read_sweeps(loop.folder.path)
    made = loop.perceive.outputs(Prediction)
    assert table["prediction_id"].to_pylist() == [record.prediction_id for record in made]
    assert table["cells"].to_pylist() == [len(record.cell_id) for record in made]
    for stage in ("decode", "bin", "visibility", "features", "inference", "total"):
        column = table[f"{stage}_ms"]
        assert column.null_count == 0, stage  # also of the sweep that fills a chunk
        assert min(column.to_pylist()) > 0


def test_containers_are_written_before_the_predictions_they_explain(loop: Loop) -> None:
    for step in loop.archive.steps:
        names = [effect.dataset for effect in step.effects if isinstance(effect, WriteTable)]
        if names:
            assert names[0] == "containers"
            assert names[-1] == "sweeps"


def test_events_are_lines_of_json_with_event_time(loop: Loop) -> None:
    lines = (loop.folder.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [event["event"] for event in found] == ["activated"]
    assert found[0]["stamp_ns"] == loop.perceive.outputs(Prediction)[0].stamp_ns


def test_counts_follow_the_records(loop: Loop) -> None:
    counts = loop.archive.agent.counts
    made = loop.perceive.outputs(Prediction)
    assert counts["sweeps"] == counts["predictions"] == SWEEPS
    assert counts["points"] == sum(len(item.points) for item in drive(SWEEPS) if hasattr(item, "points"))
    assert counts["cells"] == sum(len(record.cell_id) for record in made)
    assert not loop.archive.agent.dead_letters


# ---- events --------------------------------------------------------------------------------------------

REJECTED = SweepRejected(
    robot_id="r", stream_id="r/s", stamp_ns=2**62, part=0, reason="no_pose", detail='say "why"\nhere'
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            ModelActivated(robot_id="r", stream_id="r/s", first_stamp_ns=5, model_id="m", sha256="ab"),
            {"event": "activated", "stamp_ns": 5, "robot_id": "r", "stream_id": "r/s", "model_id": "m",
             "sha256": "ab"},
        ),
        (
            ModelPublished(model_id="m", sha256="s", kind="update", parent_id="p", stamp_ns=7,
                           manifest={"x": 1}),
            {"event": "published", "stamp_ns": 7, "model_id": "m", "sha256": "s", "kind": "update",
             "parent_id": "p"},
        ),
        (
            REJECTED,
            {"event": "dead_letter", "robot_id": "r", "stream_id": "r/s", "stamp_ns": 2**62, "part": 0,
             "reason": "no_pose", "detail": 'say "why"\nhere'},
        ),
        (
            Event(kind="trained", stamp_ns=9, fields={"loss": 0.5}),
            {"event": "trained", "stamp_ns": 9, "loss": 0.5},
        ),
        (
            Event(kind="duplicate", stamp_ns=9, robot_id="r", fields={"part": 1}),
            {"event": "duplicate", "stamp_ns": 9, "robot_id": "r", "part": 1},
        ),
    ],
)  # fmt: skip
def test_every_event_is_one_line(record: Any, expected: dict[str, Any]) -> None:
    assert event_of(record) == expected
    step = Archive().handle(record)
    assert plain(step.effects) == plain([WriteEvent(event=expected)])
    line = json.dumps(step.effects[0].event)
    assert "\n" not in line
    assert json.loads(line) == expected


def test_dead_letters_are_counted_by_reason() -> None:
    archive = Archive()
    for reason in ("late", "no_pose", "late"):
        archive.handle(dataclasses.replace(REJECTED, reason=reason))
    assert archive.dead_letters == {"late": 2, "no_pose": 1}
    assert archive.counts["dead_letter"] == 3


def test_the_end_of_the_log_writes_what_is_left_and_only_once(loop: Loop) -> None:
    archive = Archive()
    assert archive.handle(EndOfLog()).effects == ()
    archive.handle(loop.perceive.outputs(Prediction)[0])
    assert [effect.dataset for effect in tables([archive.handle(EndOfLog())])] == ["predictions", "sweeps"]
    assert archive.handle(EndOfLog()).effects == ()


def test_latencies_that_no_prediction_asks_for_are_not_kept_for_ever(loop: Loop) -> None:
    archive = Archive()
    record = loop.perceive.outputs(Prediction)[0]
    for place in range(200):
        made = dataclasses.replace(record, prediction_id=f"r/s/{place}", stamp_ns=place)
        archive.handle(made)
        archive.handle(Latency(prediction_id=made.prediction_id, milliseconds={"total": 1.0}))
        archive.handle(EndOfLog())
    assert len(archive.snapshot()) < 200 * 6 * 100 + 10_000


@pytest.mark.parametrize("kind", [Outcome, Shadow])
def test_records_that_come_late_and_without_sweeps_do_not_pile_up(loop: Loop, kind: type[Any]) -> None:
    """As when Judge or Learn is behind, and the robots have gone."""
    archive, record = Archive(2), [*loop.judge.outputs(kind), *loop.learn.outputs(kind)][0]
    late = [
        dataclasses.replace(record, stamp_ns=place, prediction_id=f"r/s/{place}") for place in range(1, 200)
    ]
    steps = []
    for item in late:
        steps.append(archive.handle(item))
        archive, before = Archive(2), archive
        archive.restore(before.snapshot())  # changes nothing
    written = tables([*steps, archive.handle(EndOfLog())])
    assert [effect.table["prediction_id"].unique().to_pylist() for effect in written] == [
        [item.prediction_id for item in late[first : first + 2 * CROWD]]
        for first in range(0, len(late), 2 * CROWD)
    ]


def test_a_log_without_end_leaves_nothing_behind_but_counts(loop: Loop) -> None:
    records, sizes = some(loop), []
    archive = Archive(2)
    for epoch in range(3):
        for record in records:
            archive.handle(dataclasses.replace(record, **_moved(record, epoch)))
        archive.handle(EndOfLog())
        sizes.append(len(archive.snapshot()))
    assert abs(sizes[2] - sizes[1]) < 10  # digits; stamps of the first epoch have fewer


def _moved(record: Any, epoch: int) -> dict[str, int]:
    """A record as it would be an hour later."""
    if isinstance(record, Binned):
        return {"seq": record.seq + (epoch << 32)}
    return {"stamp_ns": record.stamp_ns + epoch * 3_600_000_000_000}


def some(loop: Loop) -> list[Any]:
    """What an archive is given over a few sweeps, of all kinds that have rows."""
    kinds = (Binned, Prediction, Shadow, Outcome, FeatureSample)
    return [record for record in loop.archive.inputs if isinstance(record, kinds)][:60]


def rows(steps: list[Any]) -> dict[tuple[str, int], Any]:
    return {(effect.dataset, effect.chunk): plain(effect.table) for effect in tables(steps)}


def test_a_restored_archive_goes_on_with_the_next_chunk(loop: Loop) -> None:
    records = [*some(loop), EndOfLog()]
    whole = Archive(2)
    expected = rows([whole.handle(record) for record in records])
    assert {chunk for _, chunk in expected} > {0, 1, 2}
    for cut in (5, 17, 40):
        first, second = Archive(2), Archive(2)
        steps = [first.handle(record) for record in records[:cut]]
        second.restore(first.snapshot())
        assert second.snapshot() == first.snapshot()
        steps += [second.handle(record) for record in records[cut:]]
        assert rows(steps) == expected
        assert len(tables(steps)) == len(expected)


def test_a_restart_after_an_outcome_without_rows_leaves_no_trace(loop: Loop) -> None:
    """How rows lie in memory is no part of the state."""
    first, second, third = loop.judge.outputs(Outcome)[:3]
    nothing = {name: getattr(second, name)[:0] for name in ("row", "cell_id", "occupied", "before")}
    whole, restored = Archive(), Archive()
    for record in (first, dataclasses.replace(second, **nothing)):
        whole.handle(record)
    restored.restore(whole.snapshot())
    for archive in (whole, restored):
        archive.handle(third)
    assert restored.snapshot() == whole.snapshot()


def test_a_snapshot_holds_the_open_chunk_uncopied(loop: Loop) -> None:
    archive = Archive()
    for record in some(loop)[:20]:
        archive.handle(record)
    tables = [pa.Table.from_batches([batch]) for batch in archive._batches]
    columns = {
        buffer.address
        for table in tables
        for column in table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    }
    pieces = [piece for table in archive.state()["batches"] for piece in table]
    large = [
        np.frombuffer(piece, np.uint8) for piece in pieces if len(piece) > 100 and type(piece) is not bytes
    ]
    assert len(large) > len(tables)
    assert {piece.ctypes.data for piece in large} <= columns


def test_what_comes_again_is_archived_and_counted_once(loop: Loop) -> None:
    records = some(loop)
    once, twice = Archive(2), Archive(2)
    expected = rows([once.handle(record) for record in [*records, EndOfLog()]])
    again = [*records[:40], *records[20:], EndOfLog()]
    assert rows([twice.handle(record) for record in again]) == expected
    assert twice.counts == once.counts
    assert twice.snapshot() == once.snapshot()


def test_a_snapshot_with_records_of_another_version_is_refused(loop: Loop) -> None:
    archive = Archive()
    archive.handle(loop.perceive.outputs(Binned)[0])
    batch = archive._batches[0]
    archive._batches = [batch.replace_schema_metadata({"octa.version": "2"})]
    with pytest.raises(TableError, match=r"binned record version 2, this release reads version 3$"):
        Archive().restore(archive.snapshot())


# ---- the digest ----------------------------------------------------------------------------------------


def digest_of(records: list[Any]) -> str:
    digest = RunDigest()
    for record in records:
        (digest.add_prediction if isinstance(record, Prediction) else digest.add_outcome)(record)
    return digest.hex()


def scored(loop: Loop) -> list[Any]:
    return [*loop.perceive.outputs(Prediction)[:12], *loop.judge.outputs(Outcome)[:12]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_digest_does_not_depend_on_order_or_repetition(loop: Loop, seed: int) -> None:
    records = scored(loop)
    shuffled = random.Random(seed).sample(records, len(records))
    assert digest_of([*shuffled, *shuffled[:5]]) == digest_of(records)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_bit_changes_the_digest(loop: Loop, data: st.DataObject) -> None:
    records = scored(loop)
    place = data.draw(st.integers(0, len(records) - 1))
    record = records[place]
    names = (
        ["cell_id", "probability"] if isinstance(record, Prediction) else ["cell_id", "occupied", "before"]
    )
    name = data.draw(st.sampled_from(names))
    array = getattr(record, name).copy()
    bits = array.reshape(-1).view(np.uint8)
    spot = data.draw(st.integers(0, len(bits) - 1))
    bits[spot] ^= 1 if array.dtype == bool else 1 << data.draw(st.integers(0, 7))
    changed = [*records[:place], dataclasses.replace(record, **{name: array}), *records[place + 1 :]]
    assert digest_of(changed) != digest_of(records)


def test_a_missing_record_changes_the_digest(loop: Loop) -> None:
    records = scored(loop)
    whole = digest_of(records)
    for place in (0, 5, 13, -1):
        assert digest_of([r for r in records if r is not records[place]]) != whole
    empty = dataclasses.replace(
        records[-1], cell_id=records[-1].cell_id[:0], occupied=records[-1].occupied[:0],
        before=records[-1].before[:0],
    )  # fmt: skip
    assert digest_of([*records[:-1], empty]) != digest_of(records[:-1])


def test_the_digest_follows_from_the_stored_rows(loop: Loop) -> None:
    """Anyone can recompute it: hashes of columns by prediction and horizon, hashed in order."""
    parts: dict[tuple[str, str, int], str] = {}
    for name, columns in (("predictions", ("cell_id", "probability")),
                          ("outcomes", ("cell_id", "occupied", "before"))):  # fmt: skip
        order = [("prediction_id", "ascending"), ("horizon_ns", "ascending"), ("cell_id", "ascending")]
        table = pq.read_table(loop.folder.path / name).sort_by(order)
        keys = list(zip(table["prediction_id"].to_pylist(), table["horizon_ns"].to_pylist(), strict=True))
        arrays = [table[column].to_numpy() for column in columns]
        starts = [0, *(place for place in range(1, len(keys)) if keys[place] != keys[place - 1]), len(keys)]
        for begin, end in pairwise(starts):
            sha = hashlib.sha256(b"".join(np.ascontiguousarray(a[begin:end]).tobytes() for a in arrays))
            parts[f"{int(name == 'outcomes')}-{name}", *keys[begin]] = sha.hexdigest()
    whole = hashlib.sha256()
    for (name, prediction_id, horizon), part in sorted(parts.items()):
        whole.update(f"{name} {prediction_id} {horizon} {part}\n".encode())
    assert loop.archive.agent.digest.hex() == whole.hexdigest()


def test_of_type_finds_what_was_made(loop: Loop) -> None:
    assert len(of_type(loop.archive.inputs, Prediction)) == SWEEPS


def test_chunks_hold_no_more_than_they_should(loop: Loop, tmp_path: Path) -> None:
    sizes = [
        len(set(pq.read_table(path)["prediction_id"].to_pylist()))
        for path in sorted((loop.folder.path / "predictions").glob("*.parquet"))
    ]
    assert sizes == [CHUNK_SWEEPS, CHUNK_SWEEPS, 5]
