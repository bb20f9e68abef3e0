"""Messages: every record there and back to the bit, and a WireError for bytes that are none."""

from __future__ import annotations

import dataclasses
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.judge import Judge
from stream.codecs import inflated, rows
from stream.codecs.formats import FORMATS
from stream.codecs.inflated import inflated_bytes
from stream.codecs.rows import to_batch
from stream.codecs.wire import MAGIC, WireError, decode, decode_all, encode, encode_all
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    FeatureSample,
    LabelGiven,
    LabelRequested,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.tables import BINNED_SCHEMA
from stream.topics import topic_of
from stream.transform import Transform
from tests.agents.worlds import config_of, feed, joined, perceived, plain, sweep_of, transform_at
from tests.data import ROOT

FRAME_BYTES = 16

# ---- records -------------------------------------------------------------------------------------------

texts = st.text(max_size=8)
int32s, int64s = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 5)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, plain_values, max_size=3)
UNIT = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, -0.0, -1]], np.float32)


def any_bits(dtype: Any, *shape: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any bits: NaN of every kind, both zeros, denormals."""
    size = np.dtype(dtype).itemsize
    return arrays(np.uint8, (int(np.prod(shape)) * size,)).map(lambda raw: raw.view(dtype).reshape(shape))


def ascending(dtype: Any, count: int) -> st.SearchStrategy[np.ndarray]:
    top = np.iinfo(dtype).max
    numbers = st.lists(st.integers(0, top), min_size=count, max_size=count, unique=True)
    return numbers.map(lambda values: np.array(sorted(values), dtype))


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    count, parts, hits_only = draw(counts), draw(st.integers(1, 2**31 - 1)), draw(st.booleans())
    misses = [] if hits_only else draw(st.lists(st.integers(0, 2), max_size=3))
    return Sweep(
        stream_id=f"{draw(texts)}/{draw(texts)}",
        stamp_ns=draw(int64s),
        frame=draw(texts),
        points=draw(any_bits(np.float32, count, 3)),
        intensity=draw(any_bits(np.float32, count)),
        misses=UNIT[misses].reshape(-1, 3),
        hits_only=hits_only,
        time_offset_ns=draw(st.none() | any_bits(np.int32, count)),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
    )


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    x, y, z, qx, qy, qz, qw = (draw(st.floats()) for _ in range(7))
    return Transform(
        robot_id=draw(texts),
        stamp_ns=draw(int64s),
        parent=draw(texts),
        child=draw(texts),
        translation=(x, y, z),
        rotation=(qx, qy, qz, qw),
        static=draw(st.booleans()),
        resets_map=draw(st.booleans()),
    )


@st.composite
def binned(draw: st.DrawFn) -> Binned:
    count, parts = draw(counts), draw(st.integers(1, 9))
    hits = draw(any_bits(np.uint32, count))
    numbers = {
        name: draw(int64s) for name in ("seq", "points", "rays", "binned", "misses", "masked", "evicted")
    }
    return Binned(
        robot_id=draw(texts),
        stream_id=draw(texts),
        stamp_ns=draw(int64s),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
        late=draw(st.booleans()),
        pose=draw(any_bits(np.float64, 12)),
        pose_history=draw(any_bits(np.float64, draw(counts), 12)),
        cell_id=draw(ascending(np.uint64, count)),
        hits=hits,
        passes=draw(any_bits(np.uint32, count)),
        sums=draw(any_bits(np.int32, np.count_nonzero(hits), 11)),
        beams=draw(any_bits(np.int16, draw(counts), 3)),
        **numbers,
    )


def named(draw: st.DrawFn) -> dict[str, Any]:
    """What names a prediction."""
    return {
        "prediction_id": draw(texts),
        "robot_id": draw(texts),
        "stream_id": draw(texts),
        "stamp_ns": draw(int64s),
    }


def states(count: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.uint8, count, elements=st.integers(0, 2))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    count, horizons = draw(counts), draw(st.lists(int64s, max_size=3))
    return Prediction(
        **named(draw),
        seq=draw(int64s),
        model_id=draw(texts),
        horizons_ns=tuple(horizons),
        cell_id=draw(ascending(np.uint64, count)),
        probability=draw(any_bits(np.float32, count, len(horizons))),
        before=draw(states(count)),
        feature_digest=draw(texts),
        state_digest=draw(texts),
    )


@st.composite
def shadows(draw: st.DrawFn) -> Shadow:
    count = draw(counts)
    return Shadow(
        **named(draw),
        cell_id=draw(ascending(np.uint64, count)),
        probability=draw(st.dictionaries(texts, any_bits(np.float32, count), max_size=3)),
    )


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    count = draw(counts)
    return Outcome(
        **named(draw),
        horizon_ns=draw(int64s),
        observed_stamp_ns=draw(int64s),
        row=draw(ascending(np.int32, count)),
        cell_id=draw(any_bits(np.uint64, count)),
        occupied=draw(arrays(np.bool_, count)),
        before=draw(states(count)),
    )


@st.composite
def samples(draw: st.DrawFn) -> FeatureSample:
    count = draw(counts)
    return FeatureSample(
        **named(draw),
        cell_id=draw(any_bits(np.uint64, count)),
        x=draw(any_bits(np.float32, count, draw(counts))),
    )


@st.composite
def labels_given(draw: st.DrawFn) -> LabelGiven:
    return LabelGiven(
        robot_id=draw(texts),
        stamp_ns=draw(int64s),
        author=draw(texts),
        label=draw(texts.filter(bool)),
        at_ns=draw(int64s),
        weight=draw(st.floats(1e-6, 1e6)),
        cell_id=draw(ascending(np.uint64, draw(counts))),
    )


@st.composite
def labels_requested(draw: st.DrawFn) -> LabelRequested:
    return LabelRequested(
        robot_id=draw(texts),
        stamp_ns=draw(int64s),
        region=draw(texts),
        reason=draw(texts),
        value=draw(st.floats(allow_nan=False)),
        inclusion=draw(st.floats(1e-6, 1.0)),
        cell_id=draw(ascending(np.uint64, draw(counts))),
    )


STRATEGIES: dict[type, st.SearchStrategy[Any]] = {
    Sweep: sweeps(),
    Transform: transforms(),
    Binned: binned(),
    Prediction: predictions(),
    Shadow: shadows(),
    Outcome: outcomes(),
    FeatureSample: samples(),
    ModelPublished: st.builds(
        ModelPublished,
        model_id=texts,
        sha256=texts,
        kind=texts,
        parent_id=texts,
        stamp_ns=int64s,
        manifest=mappings,
    ),
    ModelActivated: st.builds(
        ModelActivated, robot_id=texts, stream_id=texts, first_stamp_ns=int64s, model_id=texts, sha256=texts
    ),
    SweepRejected: st.builds(
        SweepRejected,
        robot_id=texts,
        stream_id=texts,
        stamp_ns=int64s,
        part=int32s,
        reason=texts,
        detail=texts,
    ),
    LabelGiven: labels_given(),
    LabelRequested: labels_requested(),
    Event: st.builds(Event, kind=texts, stamp_ns=int64s, robot_id=texts, fields=mappings),
}


def copied(value: Any) -> Any:
    """An equal record that shares nothing with the first; mappings are filled in another order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(
            **{item.name: copied(getattr(value, item.name)) for item in dataclasses.fields(value)}
        )
    if isinstance(value, dict):
        return {key: copied(value[key]) for key in reversed(value)}
    return value.copy() if isinstance(value, np.ndarray) else value


# ---- there and back ------------------------------------------------------------------------------------


def test_every_format_is_tested() -> None:
    assert set(STRATEGIES) == set(FORMATS)
    for kind, form in FORMATS.items():
        columns = set(form.schema.names) - set(form.widths)
        assert columns == {item.name for item in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_records_go_there_and_back_to_the_bit(kind: type, data: st.DataObject) -> None:
    record = data.draw(STRATEGIES[kind])
    message = encode(record)
    assert plain(decode(topic_of(record), message)) == plain(record)
    assert plain(decode(kind, message)) == plain(record)
    assert encode(copied(record)) == message
    assert encode(decode(kind, message)) == message


@given(st.lists(transforms(), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_many_transforms_travel_in_one_message(wanted: list[Transform]) -> None:
    message = encode_all(wanted)
    assert plain(decode_all(Transform, message)) == plain(wanted)
    if len(wanted) > 1:
        with pytest.raises(WireError, match="records in the message, expected one"):
            decode(Transform, message)


def of_a_world() -> list[Any]:
    """Records that agents made, and some by hand where the world has none."""
    config = config_of()
    made = joined(perceived(config, 7))
    cells = np.array([3, 2**63 + 5], np.uint64)
    about = {"prediction_id": "a/b/1", "robot_id": "a", "stream_id": "a/b", "stamp_ns": 1}
    half = np.array([0.5, np.nan], np.float32)
    return [
        *made[-4:],
        next(record for record in feed(Judge(config), made) if isinstance(record, Outcome)),
        sweep_of(1),
        transform_at(5),
        Shadow(**about, cell_id=cells, probability={"linear": half, "frozen": half}),
        FeatureSample(**about, cell_id=cells, x=np.arange(8, dtype=np.float32).reshape(2, 4)),
        ModelPublished(
            model_id="m",
            sha256="s",
            kind="update",
            parent_id="",
            stamp_ns=1,
            manifest={"a": [1, None, {"b": 0.1}]},
        ),
        ModelActivated(robot_id="a", stream_id="a/b", first_stamp_ns=1, model_id="m", sha256="s"),
        SweepRejected(robot_id="a", stream_id="a/b", stamp_ns=1, part=0, reason="late", detail="…"),
        LabelGiven(robot_id="a", stamp_ns=5, author="b", label="tree", at_ns=0, weight=2.5, cell_id=cells),
        LabelRequested(
            robot_id="a", stamp_ns=5, region="r", reason="wrong", value=0.2, inclusion=1.0, cell_id=cells
        ),
        Event(kind="drift", stamp_ns=1, fields={"region": "x", "score": 0.5}),
    ]


WORLD = of_a_world()
assert {type(record) for record in WORLD} == set(STRATEGIES)


@pytest.mark.parametrize("record", WORLD, ids=lambda record: type(record).__name__)
def test_records_of_agents_go_there_and_back(record: Any) -> None:
    assert plain(decode(type(record), encode(record))) == plain(record)


def test_numbers_of_numpy_in_mappings_come_back_as_plain_ones() -> None:
    fields = {"score": np.float32(0.5), "n": np.int64(2**62), "free": np.bool_(True), "nan": float("nan")}
    found = decode(Event, encode(Event(kind="drift", stamp_ns=1, fields=fields))).fields
    assert repr(found) == f"{{'free': True, 'n': {2**62}, 'nan': nan, 'score': 0.5}}"


def test_arrays_of_a_decoded_record_are_as_the_core_takes_them() -> None:
    sweep = decode(Sweep, encode(sweep_of(1)))
    for array in (sweep.points, sweep.intensity):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable


def test_arrays_that_are_views_with_gaps_are_sent_as_they_read() -> None:
    outcome = next(record for record in WORLD if isinstance(record, Outcome))
    table = np.zeros((len(outcome.row), 2), np.uint8)
    table[:, 0] = outcome.before
    assert encode(dataclasses.replace(outcome, before=table[:, 0])) == encode(outcome)


def test_the_page_shows_how_to_read_a_message() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/wire.md").read_text(), re.DOTALL)
    event = Event(kind="gap", stamp_ns=7, robot_id="r")
    names: dict[str, Any] = {"message": encode(event)}
    exec(code, names)
    assert names["row"] == {"kind": "gap", "stamp_ns": 7, "robot_id": "r", "fields": "{}"}


# ---- records that must not be sent ---------------------------------------------------------------------


def first(kind: type) -> Any:
    return next(record for record in WORLD if type(record) is kind)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Event, {"stamp_ns": 2**63}, "stamp_ns: 9223372036854775808 does not fit int64"),
        (Event, {"stamp_ns": 1.5}, "stamp_ns: expected int64, got 1.5"),
        (Event, {"stamp_ns": True}, "stamp_ns: expected int64, got True"),
        (Event, {"robot_id": None}, "robot_id: expected string, got None"),
        (Event, {"robot_id": "\ud800"}, r"robot_id: '\\ud800' cannot be written as UTF-8"),
        (Event, {"fields": {"a": {1: 2}}}, "fields: keys must be strings, got 1"),
        (Event, {"fields": {"a": np.zeros(2)}}, "fields: a ndarray cannot be sent as JSON"),
        (Event, {"fields": "{}"}, "fields: expected a mapping, got str"),
        (SweepRejected, {"part": 2**31}, "part: 2147483648 does not fit int32"),
        (Transform, {"translation": (1.0, 2.0)}, r"translation: expected the shape \(3,\), got \(2,\)"),
        (Transform, {"rotation": (0.0, 0.0, 0.0, "1")}, "rotation: expected double, got '1'"),
        (Prediction, {"horizons_ns": (1,)}, "probability: expected the shape"),
        (Prediction, {"horizons_ns": (1, 2.5)}, "horizons_ns: expected int64, got 2.5"),
        (FeatureSample, {"x": np.zeros((2, 4))}, "x: expected an array of float32, got float64"),
        (FeatureSample, {"x": [[0.0]]}, "x: expected an array of float32, got list"),
        (
            FeatureSample,
            {"x": np.zeros((3, 4), np.float32)},
            r"x: expected the shape \(2, 'F'\), got \(3, 4\)",
        ),
        (FeatureSample, {"x": np.zeros(2, np.float32)}, "x: expected the shape"),
        (Shadow, {"cell_id": np.array([5, 5], np.uint64)}, "cell_id: does not ascend"),
        (Shadow, {"probability": {"linear": np.zeros(3, np.float32)}}, "linear: expected the shape"),
        (Shadow, {"probability": {1: np.zeros(2, np.float32)}}, "probability: expected string, got 1"),
        (Binned, {"parts": 0}, "part: expected 0 <= part < parts, got 0 of 0"),
        (Binned, {"sums": np.zeros((0, 11), np.int32)}, "sums: 0 rows for"),
        (Binned, {"pose": np.zeros(11)}, r"pose: expected the shape \(12,\), got \(11,\)"),
    ],
)
def test_a_record_that_breaks_its_promise_is_not_sent(
    kind: type, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode(dataclasses.replace(first(kind), **changes))


def test_values_out_of_range_are_not_sent() -> None:
    outcome = first(Outcome)
    with pytest.raises(ValueError, match=r"before: expected 0\.\.2, got 3"):
        encode(dataclasses.replace(outcome, before=np.full_like(outcome.before, 3)))
    with pytest.raises(ValueError, match="row: expected rows from 0 on, got -1"):
        encode(dataclasses.replace(outcome, row=np.arange(-1, len(outcome.row) - 1, dtype=np.int32)))


def test_only_records_are_sent() -> None:
    with pytest.raises(TypeError, match="EndOfLog is no record of the wire"):
        encode(EndOfLog())
    with pytest.raises(ValueError, match="expected one type, got none"):
        encode_all([])
    with pytest.raises(ValueError, match="expected one type, got Event, Transform"):
        encode_all([first(Transform), first(Event)])


# ---- bytes that are no message -------------------------------------------------------------------------


def reason(kind: type | str, message: bytes | None) -> str:
    with pytest.raises(WireError) as caught:
        decode(kind, message)
    error = caught.value
    assert "\n" not in str(error)
    assert str(error) == f"{error.reason}: {error.detail}"
    return str(error)


def framed(stream: bytes, version: int = 1, reserved: int = 0) -> bytes:
    """A stream in a frame whose checksum is right."""
    return struct.pack("<4sHHII", MAGIC, version, reserved, zlib.crc32(stream), len(stream)) + stream


def stream_of(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def batch_of(record: Any) -> pa.RecordBatch:
    return pa.ipc.open_stream(encode(record)[FRAME_BYTES:]).read_next_batch()


@pytest.mark.fault(23, 25)
def test_messages_that_are_none() -> None:
    event = encode(first(Event))
    assert reason(Event, None) == "corrupt: the message has no payload"
    assert reason(Event, b"") == "corrupt: message of 0 bytes, its frame alone has 16"
    assert reason(Event, b"\x00\x01" * 20) == "schema: the message begins with 00010001, expected 4f435441"
    assert reason(Event, framed(event[16:], 2)) == "schema: frame version 2.0, this release reads 1.0"
    assert reason(Event, framed(event[16:], 1, 3)) == "schema: frame version 1.3, this release reads 1.0"
    assert (
        reason(Event, event + b"\0")
        == f"corrupt: message of {len(event) + 1} bytes, expected 16 + {len(event) - 16}"
    )
    assert reason(Event, event[:-1] + b"\1").startswith("corrupt: checksum ")
    assert reason(Event, framed(b"")).startswith("corrupt: Event: ")
    assert reason(Event, framed(bytes(64))).startswith("corrupt: Event: ")


@pytest.mark.fault(25)
def test_messages_of_another_record_or_version() -> None:
    event = first(Event)
    assert reason(Outcome, encode(event)) == "schema: record event version 1, expected outcome version 1"
    assert (
        reason(topic_of(first(Binned)), encode(event))
        == "schema: record event version 1, expected binned version 3"
    )
    batch = batch_of(event)
    newer = batch.replace_schema_metadata({"octa.record": "event", "octa.version": "2"})
    assert reason(Event, framed(stream_of(newer.schema, [newer]))) == (
        "schema: record event version 2, expected event version 1"
    )
    bare = batch.replace_schema_metadata(None)
    assert reason(Event, framed(stream_of(bare.schema, [bare]))) == (
        "schema: record none version none, expected event version 1"
    )
    fewer = batch.drop_columns(["robot_id"])
    assert reason(Event, framed(stream_of(fewer.schema, [fewer]))) == (
        "schema: columns are not those of record event version 1"
    )


def test_a_topic_without_records_is_a_mistake_of_the_caller() -> None:
    for name in ("octa.order.learn.v1", "sweeps"):
        with pytest.raises(
            ValueError, match="neither a topic that carries records nor a record type"
        ) as caught:
            decode(name, encode(first(Event)))
        assert not isinstance(caught.value, WireError)


def test_messages_of_no_batch_or_two() -> None:
    batch = batch_of(first(Event))
    whole = stream_of(batch.schema, [batch])
    assert plain(decode(Event, framed(whole))) == plain(decode(Event, encode(first(Event))))
    for stream in (
        stream_of(batch.schema, []),
        stream_of(batch.schema, [batch.slice(0, 0)]),
        stream_of(batch.schema, [batch, batch]),
        whole + bytes(8),
    ):
        assert reason(Event, framed(stream)) == (
            "corrupt: Event: expected one batch of at least one row and nothing after it"
        )


def changed(record: Any, name: str, column: pa.Array) -> bytes:
    """The message of a record with another column."""
    batch = batch_of(record)
    place = batch.schema.get_field_index(name)
    columns = [column if number == place else batch.column(number) for number in range(batch.num_columns)]
    batch = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    return framed(stream_of(batch.schema, [batch]))


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (Event, "stamp_ns", None, "stamp_ns: is null"),
        (Event, "fields", "{", "Expecting property name"),
        (Event, "fields", "[]", "fields: expected a mapping, got list"),
        (Event, "fields", "[" * 100_000, "recursion"),
        (Transform, "translation", [1.0, 2.0], "translation: expected the shape"),
        (Transform, "translation", [1.0, None, 2.0], "translation: expected double, got None"),
        (Sweep, "points", [1.0, 2.0], "points: 2 values do not fill the shape"),
        (Sweep, "intensity", [None], "intensity: is null or holds nulls"),
        (Sweep, "parts", 0, "part: expected 0 <= part < parts, got 0 of 0"),
        (Sweep, "stream_id", "robot", "stream_id: expected robot/sensor"),
        (Prediction, "cell_id", [5, 3], "do not fill the shape"),
        (FeatureSample, "x_width", -1, "x_width: is negative"),
        (FeatureSample, "x_width", 3, "x: 8 values do not fill the shape"),
        (FeatureSample, "x", None, "x: is null"),
        (Shadow, "cell_id", [2**63, 3], "cell_id: does not ascend"),
        (Shadow, "probability", [("a", [0.5, 0.5]), ("a", [0.5, 0.5])], "a name is there twice"),
        (Shadow, "probability", [("a", None)], "a: is null"),
        (Shadow, "probability", [("a", [0.5])], "a: 1 values do not fill the shape"),
        (Outcome, "before", [7], "before"),
        (Binned, "pose", [None] * 12, "null"),
        (Binned, "sums", [1] * 12, "cannot reshape"),
        (Binned, "hits", [1], "hits: expected the shape"),
    ],
)
def test_a_row_that_breaks_the_promise_of_its_record_is_corrupt(
    kind: type, name: str, value: Any, message: str
) -> None:
    record = first(kind)
    column = pa.array([value], FORMATS[kind].schema.field(name).type)
    found = reason(kind, changed(record, name, column))
    assert found.startswith(f"corrupt: {kind.__name__}: ")
    assert re.search(message, found)


def test_the_schema_of_binned_sweeps_is_that_of_the_archive() -> None:
    assert batch_of(first(Binned)).schema.equals(BINNED_SCHEMA, check_metadata=True)


# ---- at random -----------------------------------------------------------------------------------------


def flip(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.choice((1, 1, 2, 8))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def cut(dice: random.Random, data: bytearray) -> None:
    del data[dice.randrange(len(data)) :]


def splice(dice: random.Random, data: bytearray) -> None:
    start, end = sorted((dice.randrange(len(data)), dice.randrange(len(data))))
    data[start:end] = dice.randbytes(dice.choice((0, end - start, 9)))


DAMAGE: tuple[Callable[[random.Random, bytearray], None], ...] = (flip, cut, splice)
SMALL = [record for record in WORLD if not isinstance(record, Sweep)] + [
    sweep_of(1, points=np.ones((3, 3), np.float32))
]


MESSAGES = [(type(record), encode(record)) for record in SMALL]


@pytest.mark.fault(23)
def test_no_damage_passes_the_checksum() -> None:
    dice = random.Random(5)
    for number in range(3000):
        kind, message = MESSAGES[number % len(MESSAGES)]
        data = bytearray(message)
        dice.choice(DAMAGE)(dice, data)
        if data != message:
            assert reason(kind, bytes(data)).startswith(("corrupt: ", "schema: "))


@pytest.mark.fault(23)
def test_damage_with_a_checksum_that_fits_is_an_error_or_a_valid_record() -> None:
    """Whoever computes a checksum over nonsense must not get past the end of it either."""
    dice = random.Random(6)
    refused = decoded = 0
    for number in range(4000):
        kind, message = MESSAGES[number % len(MESSAGES)]
        stream = bytearray(message[FRAME_BYTES:])
        dice.choice(DAMAGE)(dice, stream)
        try:
            found = decode(kind, framed(bytes(stream)))
        except WireError as error:
            assert error.reason in ("corrupt", "schema")
            refused += 1
        else:
            assert plain(decode(kind, encode(found))) == plain(found)
            decoded += 1
    assert refused > 1000
    assert decoded > 50


def test_every_message_says_how_large_it_becomes() -> None:
    for kind, message in MESSAGES:
        stream = pa.py_buffer(message[FRAME_BYTES:])
        sizes = [inflated_bytes(found) for found in pa.ipc.MessageReader.open_stream(stream)]
        plain = pa.ipc.open_stream(stream).read_all().nbytes
        assert plain <= sum(sizes) <= plain + len(message), kind


def packed(record: Any) -> bytes:
    """The message of a record that was not checked."""
    form, sink = FORMATS[type(record)], pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, form.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(to_batch(form, record))
    return framed(bytes(sink.getvalue()))


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("record", "message"),
    [
        (dataclasses.replace(sweep_of(0), stream_id="r/" + "a" * 2**24), "Sweep: stream_id: has 16777218"),
        (dataclasses.replace(first(SweepRejected), detail="a" * 4097), "SweepRejected: detail: has 4097"),
        (
            dataclasses.replace(first(Shadow), probability={"a" * 5000: np.zeros(0, np.float32)}),
            "Shadow: probability: has 5000",
        ),
    ],
)
def test_a_text_that_is_long_is_not_read(record: Any, message: str) -> None:
    """Found by a review: packed into 5 kB it took four times its length of memory, and went into headers."""
    data = packed(record)
    assert len(data) < 10_000
    assert reason(type(record), data) == f"corrupt: {message} bytes, at most 4096 are taken"
    with pytest.raises(ValueError, match="at most 4096"):
        encode(record)


@pytest.mark.fault(23)
def test_json_that_would_take_gigabytes_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    event = dataclasses.replace(first(Event), fields={"a": [0] * 600_000})
    assert decode(Event, encode(event)).fields == event.fields
    monkeypatch.setattr(rows, "MAX_JSON_BYTES", 2**20)
    with pytest.raises(ValueError, match="fields: 1200007 bytes of JSON, at most 1048576 are taken"):
        encode(event)
    monkeypatch.undo()
    data = encode(event)
    monkeypatch.setattr(rows, "MAX_JSON_BYTES", 2**20)
    assert reason(Event, data) == "corrupt: Event: fields: has 1200007 bytes, at most 1048576 are taken"


@pytest.mark.fault(23)
def test_a_message_that_would_fill_the_memory_is_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_of(0)
    points = np.zeros((200_000, 3), np.float32)
    bomb = encode(dataclasses.replace(sweep, points=points, intensity=np.zeros(len(points), np.float32)))
    assert len(bomb) < 20_000
    assert len(decode(Sweep, bomb).points) == len(points)
    monkeypatch.setattr(inflated, "MAX_INFLATED_BYTES", 2**20)
    before = pa.total_allocated_bytes()
    with pytest.raises(WireError, match=r"corrupt: Sweep: 3\d{6} bytes once decompressed, at most 1048576"):
        decode(Sweep, bomb)
    assert pa.total_allocated_bytes() - before < 2**20
