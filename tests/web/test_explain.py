"""/explain and /infer: the cells, features and model of a forecast, and the same numbers from tensors."""

from __future__ import annotations

import shutil
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from agents.explain import explain
from agents.web.app import build_app
from agents.web.limits import Limits
from agents.web.routes_explain import MOST_STORED
from agents.web.server import service_of
from agents.web.service import ARROW
from agents.web.tensors import TensorError, read_tensors
from agents.web.world import World, WorldOptions
from models.runtime import CPU
from native.index64 import to_text
from stream.codecs.inflated import is_compressed
from stream.container_file import read_containers
from stream.records import Outcome, Prediction
from tests.web.played import URL, Played, Still, client_of


def stream_of(
    x: NDArray[np.float32],
    neighbor_index: NDArray[np.int32],
    *,
    compression: str | None = None,
    batches: int = 1,
) -> bytes:
    """Tensors as an Arrow IPC stream."""
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1]),
            "neighbor_index": pa.FixedSizeListArray.from_arrays(neighbor_index.reshape(-1), 14),
        }
    )
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=max(1, -(-len(x) // batches)))
    return bytes(sink.getvalue())


def old_and_new(played: Played) -> tuple[Prediction, Prediction]:
    """A forecast that is in the run folder alone, and one that is remembered."""
    made = [item for item in played.of(Prediction) if item.robot_id == "ant"]
    return made[0], made[-8]


def forgetful(played: Played) -> Played:
    """The same, of which only a second is remembered."""
    world = World(played.world.config, WorldOptions(history_s=1))
    for record in played.records:
        world.fold(record)
    return replace(played, world=world)


# ---- explaining ----------------------------------------------------------------------------------------


def test_a_forecast_is_explained_with_its_cells_features_model_and_outcomes(city: Played) -> None:
    played = forgetful(city)
    client = played.client()
    for prediction, source in zip(old_and_new(played), ("stored", "memory"), strict=True):
        expected = explain(played.folder, prediction.prediction_id)
        answer = client.get(
            f"/explain/{prediction.prediction_id}", params={"limit": 20_000, "order": "id"}
        ).json()
        assert answer["matches"]
        assert answer["source"] == source
        assert answer["digest_rebuilt"] == prediction.feature_digest
        assert answer["model"] == "frequency"
        assert answer["features"] == list(expected.names)
        cells = answer["cells"]
        assert [cell["cell_id"] for cell in cells] == prediction.cell_id.tolist()
        features = np.array([cell["features"] for cell in cells], np.float32)
        assert features.tobytes() == expected.features.tobytes()
        found = np.array([cell["probability"] for cell in cells], np.float32)
        assert found.tobytes() == prediction.probability.tobytes()
        states = {None: -1, False: 0, True: 1}
        outcomes = np.array([[states[state] for state in cell["outcome"]] for cell in cells], np.int8)
        assert outcomes.tobytes() == expected.occupied.tobytes()
        assert {1, 0} <= set(outcomes.reshape(-1).tolist())
        names = [*prediction.cell_id.tolist(), None]
        assert cells[5]["neighbors"] == [names[row] for row in expected.neighbor_index[5]]


def test_the_cells_that_surprised_most_come_first_or_those_that_are_named(
    city: Played, client: TestClient
) -> None:
    _, prediction = old_and_new(city)
    where = f"/explain/{prediction.prediction_id}"
    answer = client.get(where, params={"limit": 5}).json()
    errors = [surprise(cell) for cell in answer["cells"]]
    assert len(errors) == 5 and errors == sorted(errors, reverse=True) and errors[0] > 0.5
    assert answer["cells_in_all"] == len(prediction.cell_id)
    named = [int(prediction.cell_id[9]), to_text(int(prediction.cell_id[2]))]
    found = client.get(where, params={"cell": named, "ids": "text"}).json()["cells"]
    assert [cell["cell_id"] for cell in found] == [to_text(named[0]), named[1]]
    refused = client.get(where, params={"cell": to_text(0x80750000044E8D40 | 2 << 52)})
    assert refused.status_code in (404, 422)


def surprise(cell: dict[str, Any]) -> float:
    pairs = zip(cell["outcome"], cell["probability"], strict=True)
    return max((abs(outcome - p) for outcome, p in pairs if outcome is not None), default=-1.0)


def test_an_explanation_as_arrow_holds_every_cell(city: Played, client: TestClient) -> None:
    _, prediction = old_and_new(city)
    answer = client.get(f"/explain/{prediction.prediction_id}", headers={"accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    expected = explain(city.folder, prediction.prediction_id)
    assert table["cell_id"].to_numpy().tobytes() == expected.cell_id.tobytes()
    for column, name in enumerate(expected.names):
        assert table[name].to_numpy().tolist() == expected.features[:, column].tolist(), name
    neighbors = table["neighbor_index"].combine_chunks().flatten().to_numpy()
    assert neighbors.tobytes() == expected.neighbor_index.tobytes()
    outcomes = [item for item in city.of(Outcome) if item.prediction_id == prediction.prediction_id]
    assert len(table) - table["occupied_500ms"].null_count == len(outcomes[1].row)


@pytest.mark.parametrize(
    "name",
    [
        "nobody/lidar/1000000000", "ant/lidar/17", "ant", "x", "%2e%2e", "../../etc/passwd", "ant/lidar/-1",
        "%2e%2e/%2e%2e/sweeps.parquet", "ant/lidar/1000000000/", "ä/ö/1", "ant/lidar/" + "9" * 400,
    ],
)  # fmt: skip
def test_what_was_never_forecast_is_not_found(client: TestClient, name: str) -> None:
    answer = client.get(f"/explain/{name}")
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_who_listens_too_late_says_so_instead_of_explaining_it_wrong(city: Played, tmp_path: Path) -> None:
    world = World(city.world.config)
    own = [record for record in city.records if getattr(record, "robot_id", "") == "ant"]
    start = next(place for place, record in enumerate(own) if record.__class__ is Prediction) + 8
    for record in own[start:]:
        world.fold(record)
    service = service_of(Still(world.config, tmp_path), world, providers=[CPU])
    client = client_of(service)
    first = next(record for record in own[start:] if isinstance(record, Prediction))
    answer = client.get(f"/explain/{first.prediction_id}")
    assert answer.status_code == 404
    newest = [record for record in own if isinstance(record, Prediction)][-1]
    assert client.get(f"/explain/{newest.prediction_id}").json()["matches"]


def test_what_nobody_waits_for_any_more_is_read_no_further(
    city: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads cannot be stopped from outside: each would read an archive to its end."""
    played, read = forgetful(city), count()
    numbers: list[int] = []

    def endless(path: Path) -> Iterator[Any]:
        record = next(read_containers(path))
        for number in read:
            numbers.append(number)
            time.sleep(0.01)
            yield replace(record, robot_id="somebody else")

    monkeypatch.setattr("stream.run_folder.read_containers", endless)
    app = build_app(played.service(), limits=Limits(request_s=0.3))
    with TestClient(app, base_url=URL) as client:
        for _ in range(MOST_STORED + 1):
            answer = client.get(f"/explain/{old_and_new(played)[0].prediction_id}")
            assert answer.status_code == 504, answer.text
        time.sleep(0.2)
        before = len(numbers)
        time.sleep(0.2)
        assert len(numbers) == before > 0


def test_few_stored_forecasts_are_explained_at_one_time(
    city: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, go_on, begun = forgetful(city), threading.Event(), threading.Semaphore(0)

    def slow(path: Path) -> Iterator[Any]:
        begun.release()
        go_on.wait(20)
        yield from read_containers(path)

    monkeypatch.setattr("stream.run_folder.read_containers", slow)
    old, new = (f"/explain/{item.prediction_id}" for item in old_and_new(played))
    statuses: list[int] = []
    with played.client() as client:
        threads = [
            threading.Thread(target=lambda: statuses.append(client.get(old).status_code))
            for _ in range(MOST_STORED)
        ]
        for thread in threads:
            thread.start()
            assert begun.acquire(timeout=20)
        refused = client.get(old)
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert "ask again" in refused.json()["detail"]
        assert client.get(new).json()["source"] == "memory"
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert statuses == [200] * MOST_STORED
        assert client.get(old).status_code == 200


@pytest.mark.parametrize("gone", ["containers", "predictions"])
def test_files_that_are_removed_while_they_are_read_are_said(
    city: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(city.folder, folder)
    played, glob = replace(forgetful(city), folder=folder), Path.glob

    def pruned(self: Path, pattern: str) -> list[Path]:
        """Listed, and removed before anything is opened."""
        found = list(glob(self, pattern))
        if self.name == gone:
            for path in found:
                path.unlink()
        return found

    monkeypatch.setattr(Path, "glob", pruned)
    answer = played.client().get(f"/explain/{old_and_new(played)[0].prediction_id}")
    assert answer.status_code == 409, answer.text
    assert "ask again" in answer.json()["detail"]


# ---- tensors -------------------------------------------------------------------------------------------


def test_tensors_give_the_forecast_that_was_made_of_them(city: Played, client: TestClient) -> None:
    _, prediction = old_and_new(city)
    found = explain(city.folder, prediction.prediction_id)
    body = stream_of(found.features, found.neighbor_index, batches=3)
    answer = client.post("/infer", content=body, headers={"content-type": ARROW})
    assert answer.status_code == 200, answer.text
    values = answer.json()
    assert values["model"] == "frequency"
    assert np.array(values["predictions"], np.float32).tobytes() == prediction.probability.tobytes()
    both = {"content-type": ARROW, "accept": ARROW}
    raw = client.post("/infer", content=body, params={"model": "frequency"}, headers=both)
    column = pa.ipc.open_stream(raw.content).read_all()["probability_1000ms"].to_numpy()
    assert column.tolist() == prediction.probability[:, 2].tolist()


def tensors(rows: int, features: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    return np.zeros((rows, features), np.float32), np.full((rows, 14), rows, np.int32)


def test_no_rows_are_no_forecasts(city: Played, client: TestClient) -> None:
    body = stream_of(*tensors(0, features_of(city)))
    assert client.post("/infer", content=body, headers={"content-type": ARROW}).json()["predictions"] == []


def features_of(played: Played) -> int:
    from stream.features import schema_of

    return schema_of(played.world.config).count


def test_tensors_that_fit_no_model_are_refused_with_the_reason(city: Played, client: TestClient) -> None:
    width = features_of(city)
    x, neighbor_index = tensors(3, width)
    nan, beyond, below = x.copy(), neighbor_index.copy(), neighbor_index.copy()
    nan[1, 4], beyond[2, 0], below[0, 3] = np.nan, 4, -1
    refused = {
        "columns: x fixed_size_list<item: float>[1]": stream_of(*tensors(3, 1)),
        "x.1: holds a value that is not finite": stream_of(nan, neighbor_index),
        "neighbor_index: must be rows, 0 to 2, or 3 for none": stream_of(x, beyond),
        "0 to 2": stream_of(x, below),
        "compressed": stream_of(*tensors(3000, width), compression="zstd"),
        "no Arrow IPC stream": b"not arrow",
        "body": b"",
        "columns": arrow_of({"x": [1.0]}),
    }
    for said, body in refused.items():
        answer = client.post("/infer", content=body, headers={"content-type": ARROW})
        assert answer.status_code == 422, (said, answer.text)
        assert said in answer.json()["detail"]
    answer = client.post("/infer", content=stream_of(x, neighbor_index), params={"model": "bcc-1"})
    assert answer.status_code == 404


def arrow_of(columns: dict[str, Any]) -> bytes:
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def test_nulls_and_too_many_rows_are_refused() -> None:
    x, neighbor_index = tensors(4, 2)
    assert read_tensors(stream_of(x, neighbor_index), 2, 4)[0].shape == (4, 2)
    with pytest.raises(TensorError, match="more than the 3"):
        read_tensors(stream_of(x, neighbor_index), 2, 3)
    holes = pa.array([[1.0, None], None], pa.list_(pa.float32(), 2))
    rows = pa.FixedSizeListArray.from_arrays(np.zeros(28, np.int32), 14)
    with pytest.raises(TensorError, match="x: holds 1 nulls"):
        read_tensors(arrow_of({"x": holes, "neighbor_index": rows}), 2, 9)


def test_a_flipped_byte_is_refused_or_read_and_never_worse() -> None:
    x, neighbor_index = tensors(40, 3)
    body = stream_of(x, neighbor_index, batches=2)
    dice = np.random.default_rng(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(body[: dice.integers(1, len(body) + 1)])
        damaged[dice.integers(len(damaged))] ^= 1 << dice.integers(8)
        try:
            rows = read_tensors(bytes(damaged), 3, 100)[0]
            assert len(rows) <= 40
        except TensorError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 127])
def test_a_first_message_that_is_no_schema_is_not_read_as_one(kind: int) -> None:
    """Found by fuzzing: with a type that nobody knows Arrow ended the process."""
    body = bytearray(stream_of(*tensors(2, 2)))
    metadata = 8 + struct.unpack_from("<I", body, 8)[0]  # behind the marker and the length of the message
    vtable = metadata - struct.unpack_from("<i", body, metadata)[0]
    at = metadata + struct.unpack_from("<H", body, vtable + 6)[0]  # the second field: the type of the header
    assert body[at] == 1  # a schema
    body[at] = kind
    with pytest.raises(TensorError, match="body: "):
        read_tensors(bytes(body), 2, 4)


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(TensorError, match="it ends too early"):
        read_tensors(b"", 2, 4)


def test_metadata_is_read_as_arrow_writes_it() -> None:
    for compression in (None, "zstd", "lz4"):
        reader = pa.ipc.MessageReader.open_stream(stream_of(*tensors(500, 3), compression=compression))
        reader.read_next_message()
        metadata = reader.read_next_message().metadata.to_pybytes()
        assert is_compressed(metadata) == (compression is not None)
    for nonsense in (b"", b"\xff" * 64, struct.pack("<IIII", 4, 2**31, 0, 0)):
        with pytest.raises(ValueError, match="description"):
            is_compressed(nonsense)
